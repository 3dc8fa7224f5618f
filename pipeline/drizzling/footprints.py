"""An aperture's weights on the native pixels of each exposure: the adjoint of the drizzle. Indices 0-based, (ny, nx).

A drizzled product holds at each pixel o the weighted mean of the native rates r (count/s per native pixel) beneath it,
with weights w (time) x (overlap of o with the native pixel) / (area of the native pixel in product pixels):
Fruchter & Hook 2002, PASP 114, 144, with drizzlepac's ``square`` kernel and pixfrac 1. An aperture of weights m(o)
therefore sums to

    S = sum_i sum_p V_ip r_ip,    V_ip = s w_ip / area_ip sum_o m(o) overlap_ip(o) / WHT(o),

where i are the frames, p their pixels, and s is the factor from native to product rates. The mapping of the pixel
corners, the weights w and WHT are those used by AstroDrizzle (`drizzle.FrameMapping`), and the overlaps are exact, so
S equals the sum over the product to within the rounding of single precision (`check_weights`). The counts N are
independent Poisson numbers in NATIVE pixels only (drizzled pixels are correlated, and there are about 1.6 of them per
native pixel), so the error of S is that of a weighted sum of native counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.catalog.errors import SbcdarkError
from sbcdark.pipeline.apertures.pixel_shapes import overlap
from sbcdark.pipeline.detector.rates import EXACT_BELOW, count_error
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sbcdark.pipeline.apertures.pixel_shapes import PixelShape
    from sbcdark.pipeline.drizzling.drizzled_product import DrizzledProduct, FrameMapping

TOUCHED = 0.009
"""Minimum fraction of a native pixel covered by the product pixels of an aperture for which it is excluded from the
fit of the dark. Outside, a source contributes less than a hundredth of its contribution inside."""

_BAND = 64
"""Rows of native pixels processed at a time, to limit the memory for an aperture as large as the frame."""

_LOOK = 16
"""Distance of the corners that are looked at first."""


@dataclass(frozen=True, slots=True)
class NativeWeights:
    """An aperture's weights on one frame.

    Attributes
    ----------
    where : (slice, slice)
        The (y, x) bounding box of the non-zero weights; empty slices if the aperture misses the frame.
    values : ndarray of float64
        Weights within the box.
    touched : ndarray of bool
        Whether the aperture's product pixels cover at least `TOUCHED` of the native pixel: such pixels are excluded
        from the fit of the dark.
    """

    where: tuple[slice, slice]
    values: NDArray[np.float64]
    touched: NDArray[np.bool_]

    def full(self) -> NDArray[np.float64]:
        """Return the weights on the whole detector, shape (1024, 1024)."""
        whole = np.zeros(DETECTOR_SHAPE)
        whole[self.where] = self.values
        return whole


def native_weights(aperture: PixelShape, product: DrizzledProduct) -> tuple[NativeWeights, ...]:
    """Return an aperture's weights V on the native pixels of each frame; sum(V x rate) is its sum on the product.

    Parameters
    ----------
    aperture : PixelShape
        Aperture in product pixels.
    product : DrizzledProduct
        The product.

    Returns
    -------
    tuple of NativeWeights
        One per frame: product pixels per native pixel.
    """
    found = overlap(aperture, product.weight.shape)
    if found is None:
        return tuple(_nothing() for _ in product.frames)
    box, mask = found
    weight = product.weight[box].astype(np.float64)
    share = np.divide(mask, weight, out=np.zeros_like(mask), where=weight > 0)
    weights = []
    for frame in product.frames:
        where, mean = _means(share, box, frame)
        values = mean * frame.weight[where].astype(np.float64) * frame.rate_scale
        weights.append(_compact(where, values, _means((mask > 0).astype(np.float64), box, frame)[1]))
    return tuple(weights)


def native_fractions(aperture: PixelShape, shape: tuple[int, int], frame: FrameMapping) -> NativeWeights:
    """Return the fraction of each native pixel of a frame that lies in an aperture, 0 on pixels without weight.

    Parameters
    ----------
    aperture : PixelShape
        Aperture in product pixels.
    shape : (ny, nx)
        Shape of the product.
    frame : FrameMapping
        One of its frames.
    """
    found = overlap(aperture, shape)
    if found is None:
        return _nothing()
    box, mask = found
    where, mean = _means(mask, box, frame)
    covered = _means((mask > 0).astype(np.float64), box, frame)[1]
    return _compact(where, mean * (frame.weight[where] > 0), covered)


def _nothing() -> NativeWeights:
    return NativeWeights((slice(0, 0), slice(0, 0)), np.zeros((0, 0)), np.zeros((0, 0), dtype=bool))


def _means(
    image: NDArray[np.float64], box: tuple[slice, slice], frame: FrameMapping
) -> tuple[tuple[slice, slice], NDArray[np.float64]]:
    """Return the mean over the drop of each native pixel of an image in a box of the product (0 outside the box).

    By Green's theorem the integral over a drop is the integral of G dy along its four sides, where G is the integral of
    the image along x. Neighbouring whole pixels share sides. The mean over a point is the pixel that it falls on.

    Returns
    -------
    where : (slice, slice)
        The native pixels that may overlap the box.
    mean : ndarray of float64
        Their means.
    """
    # A border of zeros, so that positions outside the box map to the edge of the image.
    padded = np.pad(image, 1)
    ny, nx = padded.shape
    # The corners lie here in pixels of the padded image; its pixel (j, i) spans j to j + 1 and i to i + 1.
    x0, y0 = box[1].start - 1.5, box[0].start - 1.5
    around = _around(frame, x0, y0, (ny, nx))
    rows, columns = _near(frame.corner_x[around] - x0, frame.corner_y[around] - y0, (ny, nx), 2.0)
    if rows.size == 0:
        return (slice(0, 0), slice(0, 0)), np.zeros((0, 0))
    step, shared = frame.stride, 2 - frame.stride
    rows, columns = (rows + around[0].start) // step, (columns + around[1].start) // step
    first_row, last_row = max(int(rows[0]) - 1, 0), min(int(rows[-1]) + 1, DETECTOR_SHAPE[0])
    used = slice(max(int(columns[0]) - 1, 0), min(int(columns[-1]) + 1, DETECTOR_SHAPE[1]))
    where = (slice(first_row, last_row), used)
    if frame.corner_x.shape == DETECTOR_SHAPE:
        places = ((frame.corner_y[where] - y0, ny), (frame.corner_x[where] - x0, nx))
        inside = [np.clip(np.floor(place), 0, side - 1).astype(np.intp) for place, side in places]
        return where, np.asarray(padded[inside[0], inside[1]])
    along_x = np.concatenate([np.zeros((ny, 1)), np.cumsum(padded, axis=1)], axis=1)
    parts = []
    for row in range(first_row, last_row, _BAND):
        lines = slice(row * step, min(row + _BAND, last_row) * step + shared)
        corners = (lines, slice(used.start * step, used.stop * step + shared))
        x, y = frame.corner_x[corners] - x0, frame.corner_y[corners] - y0
        parts.append(_band_means(padded, along_x, x, y)[::step, ::step])
    return where, np.concatenate(parts)


def _near(
    x: NDArray[np.float64], y: NDArray[np.float64], shape: tuple[int, int], margin: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows and the columns with corners (x, y) in an image, or within a margin of it."""
    near = (x > -margin) & (x < shape[1] + margin) & (y > -margin) & (y < shape[0] + margin)
    return np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))


def _around(frame: FrameMapping, x0: float, y0: float, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return a part of a frame's corners with all those in or near an image, from every sixteenth: a quick look."""
    some = (slice(None, None, _LOOK), slice(None, None, _LOOK))
    # A corner is at most _LOOK corners from one that is looked at; the distortion changes distances by far less.
    margin = 1.5 * _LOOK * (frame.native_x + frame.native_y) + 2
    found = _near(frame.corner_x[some] - x0, frame.corner_y[some] - y0, shape, margin)
    rows, columns = (
        slice(max(int(one[0]) - 1, 0) * _LOOK, (int(one[-1]) + 2) * _LOOK) if one.size else slice(0, 0) for one in found
    )
    return rows, columns


def _band_means(
    image: NDArray[np.float64], along_x: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    across = _side_integrals(image, along_x, x[:, :-1], y[:, :-1], x[:, 1:], y[:, 1:])
    up = _side_integrals(image, along_x, x[:-1], y[:-1], x[1:], y[1:])
    integrals = across[:-1] + up[:, 1:] - across[1:] - up[:, :-1]
    with np.errstate(divide="ignore", invalid="ignore"):  # gaps between drops may have no area; they are not used
        means: NDArray[np.float64] = integrals / _signed_area(x, y)
    return means


def _signed_area(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half the product of the diagonals (n, m) between corners (n + 1, m + 1); negative where the mapping flips."""
    diagonal_x, diagonal_y = x[1:, 1:] - x[:-1, :-1], y[1:, 1:] - y[:-1, :-1]
    other_x, other_y = x[1:, :-1] - x[:-1, 1:], y[1:, :-1] - y[:-1, 1:]
    area: NDArray[np.float64] = 0.5 * (diagonal_x * other_y - other_x * diagonal_y)
    return area


def _side_integrals(
    image: NDArray[np.float64],
    along_x: NDArray[np.float64],
    x0: NDArray[np.float64],
    y0: NDArray[np.float64],
    x1: NDArray[np.float64],
    y1: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Integrate G dy along straight lines, split where they cross the sides of the image's pixels.

    Between two cuts a line lies in one pixel, where G is linear along it, so the midpoint value is exact.
    """
    cuts = [np.zeros_like(x0), np.ones_like(x0)]
    for start, end in ((x0, x1), (y0, y1)):
        step = end - start
        most = int(np.abs(np.floor(end) - np.floor(start)).max(initial=0))
        rising = step > 0
        first = np.where(rising, np.floor(start), np.ceil(start))
        for number in range(1, most + 1):
            side = first + np.where(rising, number, -number)
            place = np.divide(side - start, step, out=np.ones_like(step), where=step != 0)
            cuts.append(np.clip(place, 0.0, 1.0))
    places = np.sort(np.stack(cuts), axis=0)
    length, middle = np.diff(places, axis=0), 0.5 * (places[1:] + places[:-1])
    x, y = x0 + middle * (x1 - x0), y0 + middle * (y1 - y0)
    ny, nx = image.shape
    column = np.clip(np.floor(x), 0, nx - 1).astype(np.intp)
    row = np.clip(np.floor(y), 0, ny - 1).astype(np.intp)
    value = along_x[row, column] + image[row, column] * (x - column)
    total: NDArray[np.float64] = (value * length).sum(axis=0) * (y1 - y0)
    return total


def _compact(where: tuple[slice, slice], values: NDArray[np.float64], covered: NDArray[np.float64]) -> NativeWeights:
    """Crop weights to the bounding box of the non-zero values."""
    # A pixel that only touches the aperture's box is 0 within rounding.
    values = np.where(np.abs(values) > 1e-12 * np.abs(values).max(initial=0.0), values, 0.0)
    sides = []
    for axis, side in zip((1, 0), where, strict=True):
        used = np.flatnonzero(values.any(axis=axis))
        sides.append((side.start, slice(int(used[0]), int(used[-1]) + 1)) if used.size else (0, slice(0, 0)))
    (y0, rows), (x0, columns) = sides
    placed = (slice(y0 + rows.start, y0 + rows.stop), slice(x0 + columns.start, x0 + columns.stop))
    return NativeWeights(placed, values[rows, columns].copy(), covered[rows, columns] >= TOUCHED)


def weighted_sum(weights: Sequence[NativeWeights], rates: Sequence[NDArray[Any]], *, absolute: bool = False) -> float:
    """Return an aperture's sum on the drizzled product from native rates: sum(V x r).

    Parameters
    ----------
    weights : sequence of NativeWeights
        From `native_weights`.
    rates : sequence of ndarray, each of shape (1024, 1024)
        Count/s per native pixel, one per frame.
    absolute : bool
        Take the absolute value of each rate.

    Returns
    -------
    float
        Count/s in the (drizzled) unit of the product.
    """
    total = 0.0
    for weight, rate in zip(weights, rates, strict=True):
        used = weight.values > 0  # skips the NaN of pixels that the drizzle excludes
        inside = np.asarray(rate[weight.where], dtype=np.float64)[used]
        total += float(np.sum(weight.values[used] * (np.abs(inside) if absolute else inside)))
    return total


def check_weights(
    on_product: float, weights: Sequence[NativeWeights], rates: Sequence[NDArray[Any]], what: str
) -> None:
    """Check that an aperture's sum over the product equals its weighted sum over the native pixels.

    The kernel stores the value and weight of a product pixel in single precision and rounds both whenever a native
    pixel is added. Up to 9 pixels of a frame fall on one (a native pixel is 1.2 x 1.3 product pixels), so a pixel, or a
    sum of pixels of one sign, is off by at most 2 x 9 roundings per frame and a few more for rate and weight.

    Parameters
    ----------
    on_product : float
        The sum over the product, count/s.
    weights : sequence of NativeWeights
        From `native_weights`.
    rates : sequence of ndarray, each of shape (1024, 1024)
        Native rates, one per frame.
    what : str
        Name of the sum, for the message.

    Raises
    ------
    SbcdarkError
        The sums differ, so errors from these weights would be wrong.
    """
    on_detector = weighted_sum(weights, rates)
    size = weighted_sum(weights, rates, absolute=True)
    tolerance = (18 * len(rates) + 6) * 2.0**-24 * size
    if not abs(on_product - on_detector) <= tolerance:
        raise SbcdarkError(
            f"{what} sums to {on_product:.9g} count/s on the product and to {on_detector:.9g} on the detector: the "
            "product was not made of these pixels.",
            "Run it again. If it fails again, report it with the drizzle log.",
        )


def poisson_error(
    weights: Sequence[NativeWeights],
    counts: Sequence[NDArray[Any]],
    exptimes: Sequence[float],
    flats: Sequence[NDArray[Any]] | None = None,
) -> float:
    """Return the Poisson error of an aperture's sum on the drizzled product, from native counts.

    With r = N / (flat t), var(S) = sum V^2 N / (flat t)^2. With fewer than `rates.EXACT_BELOW` counts inside, the
    excess of `rates.count_error` over sqrt(N) is added, times the mean square of V / (flat t) over the footprint, so
    that an empty aperture also has an error.

    Parameters
    ----------
    weights : sequence of NativeWeights
        From `native_weights`.
    counts : sequence of ndarray, each of shape (1024, 1024)
        Raw native counts N: for an FLT, its pixels times the flat that divided them.
    exptimes : sequence of float
        Exposure times t, s.
    flats : sequence of ndarray, each of shape (1024, 1024), optional
        The flats that divided the rates; 1 by default. Pixels where a flat is not positive hold no data and are
        excluded.

    Returns
    -------
    float
        One standard deviation, count/s in the (drizzled) unit of the product; 0 where no frame covers the aperture.

    Raises
    ------
    ValueError
        Counts are negative or not finite, as after a dark subtraction: raw counts are needed.
    """
    total = variance = exposure = squares = 0.0
    for i, (weight, frame_counts, exptime) in enumerate(zip(weights, counts, exptimes, strict=True)):
        flat = np.ones(weight.values.shape) if flats is None else np.asarray(flats[i][weight.where], dtype=np.float64)
        used = (weight.values > 0) & np.isfinite(flat) & (flat > 0)
        number = np.asarray(frame_counts[weight.where], dtype=np.float64)[used]
        if not np.all(number >= 0):
            raise ValueError("an error needs raw counts; these are negative or not finite")
        scale = weight.values[used] / (flat[used] * exptime)
        total += float(np.sum(number))
        variance += float(np.sum(scale**2 * number))
        # A uniform rate is expected to count in proportion to flat x time.
        exposure += float(np.sum(flat[used])) * exptime
        squares += float(np.sum(scale**2 * flat[used])) * exptime
    if total >= EXACT_BELOW or exposure == 0:
        return math.sqrt(variance)
    # The excess of the exact interval over sqrt(N), with the mean square of the weights: it goes to 0 at 20 counts.
    return math.sqrt(variance + max(count_error(total) ** 2 - total, 0.0) * squares / exposure)
