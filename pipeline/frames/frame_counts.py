"""The counts of a frame: whether they are possible, and its regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sbcdark.pipeline.detector.rates import measure_regions
from sbcdark.pipeline.detector.regions import FRAME
from sbcdark.pipeline.frames.untrusted_fits import UnsoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sbcdark.catalog.records import RegionMeasurement
    from sbcdark.pipeline.detector.rates import Frame
    from sbcdark.pipeline.detector.regions import Region

_COLDEST_DARK = 4e-6
"""Count/s/pixel; half the rate of the coldest darks of program 13961."""

_IMPOSSIBLE = 1e-9
"""Poisson probability of the total counts below which a frame cannot be real."""

LARGEST_PIXEL = 1e7
"""Counts; the detector counts to 65,535, and no flat is below 1 %."""


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
        _require_counts(measured, exptime)
    return measured


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
