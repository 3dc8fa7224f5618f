"""The counts of a frame: whether they are possible, and its regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sbcdark.pipeline.detector.rates import measure_regions
from sbcdark.pipeline.detector.regions import FRAME
from sbcdark.pipeline.frames.untrusted_fits import UnsoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sbcdark.catalog.records import RegionMeasurement
    from sbcdark.pipeline.detector.rates import Frame
    from sbcdark.pipeline.detector.regions import Region

_COLDEST_DARK = 4e-6
"""Count/s/pixel; half the rate of the coldest darks of program 13961."""

_IMPOSSIBLE = 1e-9
"""Poisson probability of the total counts below which a frame cannot be real."""

LARGEST_PIXEL = 1e7
"""Counts; the detector counts to 65,535, and no flat is below 1 %."""

_FASTEST_PIXEL = 50.0
"""Count/s: the limit of the SBC for a pixel, twice the rate up to which it is linear (ACS Instrument Handbook, sections
4.5 and 4.6). The hottest pixel of the darks of program 13961 has 2.4."""

_FASTEST_FRAME = 300_000.0
"""Count/s; the SBC cannot count more than 285,000 reliably (ACS Instrument Handbook, section 4.5)."""

MOST_NEGATIVE = 0.01
"""Share of the pixels of a frame from which nothing was subtracted: some may be damaged. As 99 of 100 pixels hold no
count, a subtraction makes nearly all of them negative."""


def measured_regions(
    frame: Frame, exptime: float, regions: Sequence[Region], *, subtracted: bool
) -> tuple[RegionMeasurement, ...]:
    """Check the counts of a frame, and measure its regions.

    Parameters
    ----------
    frame : Frame
        Counts as uint16 or float.
    exptime : float
        Seconds.
    subtracted : bool
        Whether a dark was subtracted, which may leave negative sums.

    Raises
    ------
    UnsoundError
        The counts are impossible.
    """
    counts = frame.counts
    if counts.dtype.kind == "f":
        finite = np.isfinite(counts)
        if not finite.any():
            raise UnsoundError("SCI has no finite pixel")
        for extreme in (np.min(counts, where=finite, initial=0.0), np.max(counts, where=finite, initial=0.0)):
            if abs(extreme) > LARGEST_PIXEL:
                raise UnsoundError(f"SCI has a pixel of {extreme:.6g} counts, outside +-{LARGEST_PIXEL:g}")
    elif counts.dtype.kind != "u" or counts.dtype.itemsize != 2:
        raise UnsoundError(f"BITPIX of SCI is {counts.dtype.itemsize * 8}, not 16 or -32")
    measured = measure_regions(frame, exptime, regions)
    if len(measured) < len(regions):
        raise UnsoundError("SCI has no finite pixel in a measured region")
    if not subtracted and any(one.counts < 0 for one in measured):
        raise UnsoundError("SCI has a negative sum in a region, but no dark was subtracted")
    if not subtracted:
        if (share := negative_share(counts)) > MOST_NEGATIVE:
            raise UnsoundError(f"{share:.0%} of the pixels of SCI are negative, but DARKCORR is not COMPLETE")
        _require_counts(measured, exptime)
    _require_countable(measured, exptime)
    return measured


def negative_share(counts: NDArray[np.generic]) -> float:
    """Return which share of the pixels of a frame (any shape) is negative."""
    return 0.0 if counts.dtype.kind == "u" else float(np.mean(np.less(counts, 0)))


def _require_countable(measured: Sequence[RegionMeasurement], exptime: float) -> None:
    """Refuse a frame with more counts than the detector can count in the time."""
    total = sum(one.counts for one in measured if one.region == FRAME.name)
    if total > _FASTEST_FRAME * exptime:
        raise UnsoundError(
            f"{total:.6g} counts in {exptime:.6g} s; the SBC counts at most {_FASTEST_FRAME:.0f} count/s in all"
        )


def doubtful_pixel(frame: Frame, exptime: float) -> tuple[str, ...]:
    """Return that a pixel has more counts than the detector can count in the time, if one has."""
    values = frame.counts if frame.y is None else frame.values
    largest = float(np.max(values, where=np.isfinite(values), initial=0))
    most = _FASTEST_PIXEL * exptime
    # A short exposure may hold some more: 6 sigma of the Poisson distribution, and its skewness.
    if largest <= most + 6.0 * most**0.5 + 35.0 / 6.0:
        return ()
    wrapped = " (a negative count of 16 bits reads as 65,536 more)" if frame.counts.dtype.kind == "u" else ""
    return (f"a pixel has more than the {_FASTEST_PIXEL:g} count/s that the SBC counts{wrapped}; look at the frame",)


def _require_counts(measured: Sequence[RegionMeasurement], exptime: float) -> None:
    """Refuse a frame with fewer counts than the coldest dark would leave.

    The test uses the full frame if it was measured, else the measured regions, which do not overlap.
    """
    judged = [one for one in measured if one.region == FRAME.name] or measured
    counts, pixels = sum(one.counts for one in judged), sum(one.good_pixels for one in judged)
    expected = _COLDEST_DARK * pixels * exptime
    if counts >= expected:
        return
    from scipy.special import gammaincc  # noqa: PLC0415  slow to import, needed only for few counts

    # Poisson probability of this many counts or fewer: P(N <= n | mu) = Q(n + 1, mu).
    if gammaincc(counts + 1.0, expected) < _IMPOSSIBLE:
        raise UnsoundError(f"{counts:.6g} counts in {exptime:.6g} s; the coldest dark gives {expected:.0f}")
