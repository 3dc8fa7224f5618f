"""An aperture's weights on the native pixels of each exposure: the adjoint of the drizzle. Indices 0-based, (ny, nx).

A drizzled product on the scale IDCSCALE holds at each output pixel o the weighted mean of the native rates r
(count/s per native pixel) beneath it, with the weights t (exposure time) x (overlap of o with the native pixel) / (area
of the native pixel in output pixels): Fruchter & Hook 2002, PASP 114, 144, with drizzlepac's ``square`` kernel, pixfrac
1 and EXP weights. An aperture of output weights m(o) therefore sums to

    S = sum_i sum_p V_ip r_ip,    V_ip = sum_o m(o) t_i cover_ip(o) / sum_j sum_q t_j cover_jq(o),

i, j being the frames, and p, q their good pixels. The counts N are independent Poisson numbers in NATIVE pixels only
(drizzled pixels are correlated, and there are about 1.6 of them to a native one), so the error of S is that of a
weighted sum of native counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.pipeline.apertures import overlap
from sbcdark.pipeline.rates import EXACT_BELOW, count_error
from sbcdark.pipeline.regions import DETECTOR_SHAPE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sbcdark.pipeline.apertures import PixelEllipse

IDCSCALE_ARCSEC = 0.025
"""The SBC's scale in its distortion table, which AstroDrizzle takes for that of the native pixels."""

_NODE_STEP = 16  # output pixels between the nodes at which the WCS is evaluated
_BAND = 128  # output rows that are worked on at a time, to bound the memory that a frame-wide aperture takes
_MARGIN = 256.0  # native pixels around the frame within which the distortion is still inverted


@dataclass(frozen=True, slots=True)
class NativeFrame:
    """One exposure of a product.

    Attributes
    ----------
    wcs : astropy.wcs.WCS
        Of its SCI extension, SIP distortion included.
    good : ndarray of bool, shape (1024, 1024)
        The pixels that the drizzle keeps.
    exptime_s : float
        Its exposure time, and its weight in the drizzle.
    """

    wcs: Any
    good: NDArray[np.bool_]
    exptime_s: float


@dataclass(frozen=True, slots=True)
class NativeWeights:
    """An aperture's weights V on one frame.

    Attributes
    ----------
    where : (slice, slice)
        The (y, x) bounding box of what is not zero; empty slices where the aperture misses the frame.
    values : ndarray of float64
        V within the box: output pixels per native pixel.
    """

    where: tuple[slice, slice]
    values: NDArray[np.float64]

    def full(self) -> NDArray[np.float64]:
        """Return the weights on the whole detector, shape (1024, 1024)."""
        whole = np.zeros(DETECTOR_SHAPE)
        whole[self.where] = self.values
        return whole


class _OutputToNative:
    """The map from a product's pixels to a frame's, interpolated from a coarse grid of nodes by cubic splines."""

    def __init__(self, product_wcs: Any, native_wcs: Any, box: tuple[slice, slice]) -> None:
        from scipy.interpolate import RectBivariateSpline  # noqa: PLC0415 - slow to load

        nodes = []
        for side in box:
            first, last = side.start - 1.0, float(side.stop)
            nodes.append(np.linspace(first, last, max(4, 1 + math.ceil((last - first) / _NODE_STEP))))
        y_nodes, x_nodes = nodes
        y, x = np.meshgrid(y_nodes, x_nodes, indexing="ij")
        native = native_pixels(product_wcs, native_wcs, x.ravel(), y.ravel())
        self._x = RectBivariateSpline(y_nodes, x_nodes, native[0].reshape(y.shape), s=0)
        self._y = RectBivariateSpline(y_nodes, x_nodes, native[1].reshape(y.shape), s=0)

    def __call__(
        self, y: NDArray[np.float64], x: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the native (x, y) of the grid of output rows y and columns x, each of shape (len(y), len(x))."""
        return self._x(y, x), self._y(y, x)

    def native_per_output(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the area of an output pixel in native pixels, on the grid of rows y and columns x."""
        x_dy, x_dx = self._x(y, x, dx=1), self._x(y, x, dy=1)  # scipy's first axis is our y
        y_dy, y_dx = self._y(y, x, dx=1), self._y(y, x, dy=1)
        area: NDArray[np.float64] = np.abs(x_dx * y_dy - x_dy * y_dx)
        return area


def native_pixels(
    product_wcs: Any, native_wcs: Any, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take positions on a product to a frame's native pixels.

    Parameters
    ----------
    product_wcs, native_wcs : astropy.wcs.WCS
        Of the drizzled product and of the frame's SCI extension.
    x, y : ndarray of float64, shape (n,)
        0-based pixels of the product.

    Returns
    -------
    x, y : ndarray of float64, shape (n,)
        0-based native pixels, distortion included. More than 256 pixels off the frame the distortion, a polynomial
        that means nothing there, is left out: such points are outside with and without it.
    """
    ra, dec = product_wcs.all_pix2world(x, y, 0)
    native_x, native_y = (np.array(side, dtype=np.float64) for side in native_wcs.wcs_world2pix(ra, dec, 0))
    ny, nx = DETECTOR_SHAPE
    near = (native_x > -_MARGIN) & (native_x < nx + _MARGIN) & (native_y > -_MARGIN) & (native_y < ny + _MARGIN)
    if near.any():
        native_x[near], native_y[near] = native_wcs.all_world2pix(
            ra[near], dec[near], 0, tolerance=1e-5, maxiter=50, quiet=True
        )
    return native_x, native_y


def native_weights(
    ellipse: PixelEllipse, product_wcs: Any, frames: Sequence[NativeFrame], subsamples: int = 34
) -> list[NativeWeights]:
    """Return an aperture's weights V on each frame's native pixels, so that sum(V x rate) is its sum on the product.

    Each output pixel is sampled at `subsamples` points. For a flat image this is exact; for a noisy one V's sampling
    adds an error of about 0.374 / subsamples^0.75 of the Poisson error, in quadrature: a lattice of unit density has in
    a convex figure of perimeter L a number of points of variance 0.0724 L (Gundersen & Jensen 1987, J. Microsc. 147,
    229); a native pixel has an area of 1.62 and a perimeter of 5.1 output pixels.

    Parameters
    ----------
    ellipse : PixelEllipse
        On the pixels of the product.
    product_wcs : astropy.wcs.WCS
        Of the product, with its size (NAXIS): the aperture is cut there as `aperture_sum` cuts it.
    frames : sequence of NativeFrame
        All frames of the product, also those that the aperture misses.
    subsamples : int
        Points in an output pixel, a Fibonacci number.

    Returns
    -------
    list of NativeWeights
        One a frame, in the order of `frames`.

    Raises
    ------
    ValueError
        `subsamples` is no Fibonacci number, a frame is no SBC exposure, or the size of the product is unknown.
    """
    for frame in frames:
        if frame.good.shape != DETECTOR_SHAPE or not frame.exptime_s > 0:
            raise ValueError(f"a frame of {frame.good.shape} pixels and {frame.exptime_s} s is no SBC exposure")
    if product_wcs.array_shape is None:
        raise ValueError("the product's WCS does not know its size; make it from the whole header")
    found = overlap(ellipse, product_wcs.array_shape)
    totals = [np.zeros(DETECTOR_SHAPE[0] * DETECTOR_SHAPE[1]) for _ in frames]
    if found is not None:
        box, mask = found
        maps = [_OutputToNative(product_wcs, frame.wcs, box) for frame in frames]
        for start in range(0, mask.shape[0], _BAND):
            band = mask[start : start + _BAND]
            rows = np.arange(band.shape[0], dtype=np.float64) + box[0].start + start
            columns = np.arange(band.shape[1], dtype=np.float64) + box[1].start
            _add_band(totals, band, rows, columns, frames, maps, subsamples)
    return [_compact(total.reshape(DETECTOR_SHAPE) * _flux_scale(product_wcs)) for total in totals]


def _flux_scale(product_wcs: Any) -> float:
    """Return AstroDrizzle's factor on the rates: (product scale / IDCSCALE)^2, 1 for the usual products."""
    from astropy.wcs.utils import proj_plane_pixel_area  # noqa: PLC0415 - slow to load

    return float(proj_plane_pixel_area(product_wcs)) * 3600.0**2 / IDCSCALE_ARCSEC**2


def _add_band(
    totals: list[NDArray[np.float64]],
    band: NDArray[np.float64],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    frames: Sequence[NativeFrame],
    maps: Sequence[_OutputToNative],
    subsamples: int,
) -> None:
    """Add to each frame's weights what a band of the aperture's rows gives them."""
    ny, nx = DETECTOR_SHAPE
    offsets = _fibonacci_lattice(subsamples)
    indices: list[list[NDArray[np.intp]]] = []
    per_hit: list[NDArray[np.float64]] = []
    denominator = np.zeros(band.shape)
    for frame, to_native in zip(frames, maps, strict=True):
        good = np.append(frame.good.ravel(), np.False_)  # the last stands for all that is outside
        # A native pixel's overlap counts in units of its own area: the kernel conserves its counts.
        per_hit.append(frame.exptime_s * to_native.native_per_output(rows, columns) / subsamples)
        indices.append([])
        for dy, dx in offsets:
            x, y = to_native(rows + dy, columns + dx)
            ix, iy = np.floor(x + 0.5).astype(np.intp), np.floor(y + 0.5).astype(np.intp)
            inside = (ix >= 0) & (ix < nx) & (iy >= 0) & (iy < ny) & (band > 0)
            index = np.where(inside, iy * nx + ix, nx * ny)
            hit = good[index]
            denominator += per_hit[-1] * hit
            indices[-1].append(np.where(hit, index, nx * ny))
    share = np.divide(band, denominator, out=np.zeros_like(band), where=denominator > 0)
    for i, total in enumerate(totals):
        weight = (share * per_hit[i]).ravel()
        for index in indices[i]:
            total[:] += np.bincount(index.ravel(), weights=weight, minlength=nx * ny + 1)[:-1]


def _fibonacci_lattice(count: int) -> NDArray[np.float64]:
    """Return `count` (a Fibonacci number) points (dy, dx) in a pixel around (0, 0), shape (count, 2).

    Repeated pixel by pixel they make one even lattice with no row along the pixel's sides. A square grid would have
    them, and the sides of SBC pixels run along those of the product: its error then falls but slowly.
    """
    first, second = 1, 1
    while second < count:
        first, second = second, first + second
    if second != count:
        raise ValueError(f"{count} points to an output pixel; a Fibonacci number (5, 8, 13, 21, 34, 55...) is meant")
    steps = np.arange(count)
    return np.stack([(steps + 0.5) / count - 0.5, ((steps * first) % count + 0.5) / count - 0.5], axis=1)


def _compact(whole: NDArray[np.float64]) -> NativeWeights:
    """Cut weights down to the bounding box of what is not zero."""
    sides = []
    for axis in (1, 0):
        used = np.flatnonzero(whole.any(axis=axis))
        sides.append(slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0))
    where = (sides[0], sides[1])
    return NativeWeights(where, whole[where].copy())


def weighted_sum(weights: Sequence[NativeWeights], rates: Sequence[NDArray[Any]]) -> float:
    """Return an aperture's sum on the drizzled product from native rates: sum(V x r).

    Parameters
    ----------
    weights : sequence of NativeWeights
        Of `native_weights`.
    rates : sequence of ndarray, each of shape (1024, 1024)
        Count/s per native pixel, one a frame.

    Returns
    -------
    float
        Count/s in the product's own (drizzled) unit.
    """
    total = 0.0
    for weight, rate in zip(weights, rates, strict=True):
        used = weight.values > 0  # NaN where the drizzle drops a pixel does no harm
        total += float(np.sum(weight.values[used] * np.asarray(rate[weight.where], dtype=np.float64)[used]))
    return total


def area_factor(native_wcs: Any, x: float, y: float, scale_arcsec: float = IDCSCALE_ARCSEC) -> float:
    """Return a native pixel's area on the sky divided by scale^2: drizzled counts per native count.

    From the local Jacobian of the WCS with its distortion, by central differences over one pixel.

    Parameters
    ----------
    native_wcs : astropy.wcs.WCS
        Of the SCI extension.
    x, y : float
        0-based native pixel.
    scale_arcsec : float
        The scale that the drizzle takes for native: IDCSCALE.

    Returns
    -------
    float
        About 1.6 for the SBC.
    """
    ra, dec = native_wcs.all_pix2world([x - 0.5, x + 0.5, x, x], [y, y, y - 0.5, y + 0.5], 0)
    # Differences of right ascension may go round through 360 degrees.
    d_ra = (np.array([ra[1] - ra[0], ra[3] - ra[2]]) + 180.0) % 360.0 - 180.0
    d_ra *= math.cos(math.radians(float(np.mean(dec))))
    d_dec = np.array([dec[1] - dec[0], dec[3] - dec[2]])
    return float(abs(d_ra[0] * d_dec[1] - d_ra[1] * d_dec[0])) * 3600.0**2 / scale_arcsec**2


def poisson_error(
    weights: Sequence[NativeWeights],
    counts: Sequence[NDArray[Any]],
    exptimes: Sequence[float],
    flats: Sequence[NDArray[Any]] | None = None,
) -> float:
    """Return the Poisson error of an aperture's sum on the drizzled product, from native counts.

    With r = N / (flat t), var(S) = sum V^2 N / (flat t)^2. Where fewer than `rates.EXACT_BELOW` counts lie within,
    the error is half the width of their exact central 68.27 % interval (Garwood 1936, Biometrika 28, 437) times the
    root mean square of V / (flat t) over the footprint, so that an empty aperture has an error too.

    Parameters
    ----------
    weights : sequence of NativeWeights
        Of `native_weights`.
    counts : sequence of ndarray, each of shape (1024, 1024)
        Raw native counts N: of an FLT its pixels times the flat that divided them.
    exptimes : sequence of float
        Exposure times t, s.
    flats : sequence of ndarray, each of shape (1024, 1024), optional
        The flats that divided the rates; 1 when there were none. Pixels where a flat is not above 0 hold no data and
        are left out.

    Returns
    -------
    float
        One standard deviation, count/s in the product's own (drizzled) unit; 0 where no frame covers the aperture.

    Raises
    ------
    ValueError
        Counts are negative or not finite: these are no raw counts (a dark has been subtracted?).
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
    if total >= EXACT_BELOW:
        return math.sqrt(variance)
    return 0.0 if exposure == 0 else count_error(total) * math.sqrt(squares / exposure)
