"""Counts, count rates and their Poisson errors in detector regions. Numbers only, no files."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.catalog.records import RegionMeasurement
from sbcdark.pipeline.detector.regions import DEAD_ROWS, REGIONS, good_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sbcdark.pipeline.detector.regions import Region

EXACT_BELOW = 20.0
"""From this number of counts, the error is sqrt(counts)."""

_EXACT_TO = 10.0
"""Up to this number of counts, the error is half the exact central 68.27 % Poisson interval. Between the two it is a
blend of both, since a jump of the error (4.99 to 4.47 at 20 counts) would make sums depend on a fraction of a count."""

_CENTRAL = math.erf(1.0 / math.sqrt(2.0))


def count_error(counts: float) -> float:
    """Return the 1-sigma error of Poisson counts.

    It is sqrt(counts) from 20 counts up. Up to 10 counts it is half the width of the exact central 68.27 % interval
    (Garwood 1936, Biometrika 28, 437), which is positive even for zero counts; between the two it is a linear blend.

    Parameters
    ----------
    counts : float
        Observed counts; flat-fielded counts need not be integers. Not negative.
    """
    if counts >= EXACT_BELOW:
        return math.sqrt(counts)
    from scipy.special import gammaincinv  # noqa: PLC0415  slow to import, needed only for few counts

    tail = 0.5 * (1.0 - _CENTRAL)
    low = float(gammaincinv(counts, tail)) if counts > 0 else 0.0
    high = float(gammaincinv(counts + 1.0, 1.0 - tail))
    share = min((EXACT_BELOW - counts) / (EXACT_BELOW - _EXACT_TO), 1.0)
    return share * 0.5 * (high - low) + (1.0 - share) * math.sqrt(counts)


def unwrapped_counts(science: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return counts as the detector recorded them.

    RAW files hold unsigned 16-bit counts in a signed 16-bit array without BZERO: counts above 32767 read as negative.

    Parameters
    ----------
    science : ndarray, shape (ny, nx)
        SCI array as read from FITS; floats and unsigned arrays are returned unchanged.

    Returns
    -------
    ndarray, shape (ny, nx)
        uint16 for int16 input.
    """
    if science.dtype.kind == "i" and science.dtype.itemsize == 2:
        return science.view(science.dtype.str.replace("i", "u"))
    return science


class Frame:
    """The counts of a frame and, of integers, the pixels that are not zero: in a dark, one of a hundred.

    Parameters
    ----------
    counts : ndarray, shape (1024, 1024)
        Counts (RAW) or flat-fielded counts (FLT).

    Attributes
    ----------
    y, x, values : ndarray of int64, shape (n,), or None
        Places and counts of the pixels that are not zero; None where they are many, or not integers.
    """

    def __init__(self, counts: NDArray[np.generic]) -> None:
        self.counts = counts
        self.y: NDArray[np.int64] | None = None
        if counts.dtype.kind != "u":
            return
        if counts.dtype.itemsize == 2 and counts.flags.c_contiguous:
            # Four pixels at a time; the order of bytes does not matter for zeros.
            fours = counts.reshape(-1).view(np.uint64)
            words = np.flatnonzero(fours != 0)
            if len(words) <= counts.size // 16:
                values = fours[words].view(counts.dtype)
                seen = np.flatnonzero(values != 0)
                self.y, self.x = np.divmod((words[seen >> 2] << 2) + (seen & 3), counts.shape[1])
                self.values = values[seen].astype(np.int64)
                return
        # Sums over swapped bytes take twice as long.
        self.counts = counts.astype(counts.dtype.newbyteorder("="), copy=False)


def measure_regions(
    frame: Frame | NDArray[np.generic], exptime_s: float, regions: Sequence[Region] = REGIONS
) -> tuple[RegionMeasurement, ...]:
    """Measure named regions of a frame.

    Parameters
    ----------
    frame : Frame or ndarray, shape (1024, 1024)
        Counts (RAW) or flat-fielded counts (FLT); pixels that are not finite are excluded.
    exptime_s : float
        Exposure time in seconds.
    regions : sequence of Region
        Regions to measure; by default all.

    Returns
    -------
    tuple of RegionMeasurement
        rate = counts / (good pixels x exptime), in count/s/pixel, and its error.
    """
    frame = frame if isinstance(frame, Frame) else Frame(frame)
    finite = np.isfinite(frame.counts) if frame.counts.dtype.kind == "f" else None
    measured = []
    for region in regions:
        total, pixels = _whole_sum(frame, region) if finite is None else _finite_sum(frame.counts, region, finite)
        scale = pixels * exptime_s
        if scale == 0:
            continue
        measured.append(
            RegionMeasurement(
                region.name, region.version, total, pixels, total / scale, count_error(max(total, 0.0)) / scale
            )
        )
    return tuple(measured)


def _whole_sum(frame: Frame, region: Region) -> tuple[float, int]:
    """Return the sum and the number of the good pixels of a region in an array of integers, which are exact."""
    inside = frame.counts[region.slices]
    excluded = _bad_pixels(region) if region.masked else (_NONE, _NONE)
    if frame.y is None:
        total = int(np.sum(inside, dtype=np.int64))
    else:
        there = (frame.y >= region.y0) & (frame.y < region.y1) & (frame.x >= region.x0) & (frame.x < region.x1)
        total = int(np.sum(frame.values[there]))
    total -= int(np.sum(inside[excluded], dtype=np.int64))
    return float(total), inside.size - len(excluded[0])


def _finite_sum(counts: NDArray[np.generic], region: Region, finite: NDArray[np.bool_]) -> tuple[float, int]:
    """Return the sum and the number of the good pixels of a region that are finite."""
    mask = finite[region.slices]
    if region.masked:
        mask = mask & _GOOD[region.slices]
    total = float(np.sum(counts[region.slices], where=mask, dtype=np.float64))
    return total, int(np.count_nonzero(mask))


@cache
def _bad_pixels(region: Region) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the indices (y, x) in a region of the pixels that are not good."""
    y, x = np.nonzero(~_GOOD[region.slices])
    return y, x


_NONE: NDArray[np.intp] = np.empty(0, dtype=np.intp)

_CHANCE = 1e-9
"""Poisson probability of a false hot pixel: 0.001 expected in a frame."""

_BLOCK = 64
"""Side in pixels of the squares that define the local level: 31 counts in 1000 s of a cold dark."""


def count_hot_pixels(frame: Frame | NDArray[np.generic]) -> int:
    """Count the pixels of a dark that its local level does not explain: Poisson probability below 1e-9.

    The level is the mean of the other pixels in a square of 64 x 64 plus one count, so that a single count in an empty
    square is not a hot pixel. Dead rows are excluded.

    Parameters
    ----------
    frame : Frame or ndarray, shape (1024, 1024)
        Counts; pixels that are not finite are excluded.

    Returns
    -------
    int
    """
    frame = frame if isinstance(frame, Frame) else Frame(frame)
    counts = frame.counts
    finite = np.isfinite(counts) if counts.dtype.kind == "f" else None
    seen: NDArray[Any] = counts if finite is None else np.where(finite, counts, 0)
    across = counts.shape[1] // _BLOCK
    if frame.y is None:
        # At the lowest possible level, 1 in 4096 pixels, a single count is not significant.
        y, x = np.divmod(np.flatnonzero(seen >= 2), counts.shape[1])
        values = seen[y, x].astype(np.float64)
        total = _square_sums(seen)
    else:
        y, x, values = frame.y, frame.x, frame.values.astype(np.float64)
    alive = (y < DEAD_ROWS.start) | (y >= DEAD_ROWS.stop)
    y, x, values = y[alive], x[alive], values[alive]
    squares = (y // _BLOCK) * across + x // _BLOCK
    number = _whole_squares(counts.shape) if finite is None else _square_sums(finite)
    if frame.y is not None:
        total = np.bincount(squares, values, len(number)).astype(np.float64)
        squares, values = squares[values >= 2], values[values >= 2]
    hot = np.zeros(len(values), dtype=bool)
    for _ in range(10):  # each excluded hot pixel lowers the level for the others
        clean = total - np.bincount(squares[hot], values[hot], len(total))
        left = number - np.bincount(squares[hot], minlength=len(number))
        level = (clean + 1.0) / np.maximum(left, 1.0)
        now = hot | (values >= _least_counts(level)[squares])
        if np.array_equal(now, hot):
            break
        hot = now
    return int(hot.sum())


@cache
def _whole_squares(shape: tuple[int, int]) -> NDArray[np.float64]:
    return _square_sums(np.ones(shape, dtype=bool))


def _square_sums(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return the sums of the squares of an array (ny, nx), dead rows excluded; shape (number of squares,)."""
    ny, nx = values.shape
    exact = np.float64 if values.dtype.kind == "f" else np.int64
    columns = values.reshape(ny // _BLOCK, _BLOCK, nx).sum(axis=1, dtype=exact)
    for row in range(DEAD_ROWS.start, DEAD_ROWS.stop):
        columns[row // _BLOCK] -= values[row]
    squares: NDArray[np.float64] = columns.reshape(ny // _BLOCK, nx // _BLOCK, _BLOCK).sum(axis=2).astype(np.float64)
    return squares.ravel()


def _least_counts(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the smallest counts with a Poisson probability below `_CHANCE` at a mean `level`; any shape.

    Exact Poisson sum up to a mean of 100; above it the Cornish-Fisher expansion at 6 sigma, correct to one count.
    """
    least = np.ceil(level + 6.0 * np.sqrt(level) + 35.0 / 6.0) + 1.0
    found = level > 100.0
    term = np.exp(-np.minimum(level, 100.0))
    below, number = term.copy(), 1
    while not found.all():
        now = ~found & (1.0 - below < _CHANCE)
        least[now] = number
        found |= now
        term *= np.minimum(level, 100.0) / number
        below += term
        number += 1
    return least


_GOOD = good_pixels()
