"""Apertures on the pixels of a drizzled product: conversion, overlaps, sums. Pixels are 0-based, arrays (ny, nx)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.catalog.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sbcdark.pipeline.apertures.apertures import ApertureSpec


@dataclass(frozen=True, slots=True)
class PixelEllipse:
    """An ellipse (or circle) on the pixels of a drizzled product.

    Attributes
    ----------
    x, y, a, b : float
        The centre (0-based) and the two semi-axes, pixels.
    theta_deg : float
        Angle of axis `a`, degrees counter-clockwise from +x, 0 <= theta < 180.
    label : str
        Name of the aperture.
    """

    x: float
    y: float
    a: float
    b: float
    theta_deg: float
    label: str

    @property
    def area_pix(self) -> float:
        """The area."""
        return math.pi * self.a * self.b

    @property
    def top(self) -> float:
        """The largest y."""
        theta = math.radians(self.theta_deg)
        return self.y + math.hypot(self.a * math.sin(theta), self.b * math.cos(theta))


@dataclass(frozen=True, slots=True)
class PixelPolygon:
    """A polygon (or box) on the pixels of a drizzled product.

    Attributes
    ----------
    xs, ys : tuple of float
        The corners in order around the shape, 0-based pixels.
    label : str
        Name of the aperture.
    """

    xs: tuple[float, ...]
    ys: tuple[float, ...]
    label: str

    @property
    def _moments(self) -> tuple[float, float, float]:
        """Twice the signed area, and six times its first moments about the first corner."""
        x, y = np.array(self.xs) - self.xs[0], np.array(self.ys) - self.ys[0]
        cross = x * np.roll(y, -1) - np.roll(x, -1) * y
        return (
            float(cross.sum()),
            float(((x + np.roll(x, -1)) * cross).sum()),
            float(((y + np.roll(y, -1)) * cross).sum()),
        )

    @property
    def area_pix(self) -> float:
        """The area."""
        return abs(self._moments[0]) / 2

    @property
    def x(self) -> float:
        """The centroid."""
        twice, moment, _ = self._moments
        return self.xs[0] + moment / (3 * twice)

    @property
    def y(self) -> float:
        """The centroid."""
        twice, _, moment = self._moments
        return self.ys[0] + moment / (3 * twice)

    @property
    def top(self) -> float:
        """The largest y."""
        return max(self.ys)


@dataclass(frozen=True, slots=True)
class PixelRing:
    """An annulus on the pixels of a drizzled product: the area between two shapes.

    Attributes
    ----------
    inner : PixelEllipse or PixelPolygon or None
        The hole; None if there is none.
    outer : PixelEllipse or PixelPolygon
        The outer edge.
    label : str
        Name of the annulus.
    """

    inner: PixelEllipse | PixelPolygon | None
    outer: PixelEllipse | PixelPolygon
    label: str

    @property
    def area_pix(self) -> float:
        """The area."""
        return self.outer.area_pix - (0.0 if self.inner is None else self.inner.area_pix)

    @property
    def x(self) -> float:
        """The centre."""
        return self.outer.x

    @property
    def y(self) -> float:
        """The centre."""
        return self.outer.y

    @property
    def top(self) -> float:
        """The largest y."""
        return self.outer.top


PixelShape = PixelEllipse | PixelPolygon | PixelRing


@dataclass(frozen=True, slots=True)
class ApertureSum:
    """The sum over an aperture.

    Attributes
    ----------
    total : float
        Sum in the image's unit; 0.0 where no pixel is covered.
    area_pix : float
        Total area of the aperture, pixels.
    covered_pix : float
        Area of the aperture on pixels with data, pixels.
    """

    total: float
    area_pix: float
    covered_pix: float


def to_pixels(spec: ApertureSpec, wcs: Any) -> PixelShape:
    """Convert an aperture to the pixels of a drizzled product, or of a frame.

    A shape on the sky is transformed by the linear approximation of the WCS at its centre: ellipses stay ellipses and
    boxes are parallelograms. photutils and regions keep the ratio of the axes and the right angles, which is the same
    on AstroDrizzle's square pixels. The corners of a polygon are transformed one by one.

    Parameters
    ----------
    spec : ApertureSpec
    wcs : astropy.wcs.WCS
        WCS of the drizzled product, or of the frame with its distortion.

    Raises
    ------
    UsageError
        The position cannot be projected on this product.
    """
    if spec.shape == "polygon":
        corners = np.array(spec.numbers).reshape(-1, 2)
        xs, ys = corners.T if spec.frame == "pixel" else _projected(corners[:, 0], corners[:, 1], wcs, spec.label)
        return PixelPolygon(tuple(xs.tolist()), tuple(ys.tolist()), spec.label)
    local = None if spec.frame == "pixel" else _local_map(spec, wcs)
    sizes = spec.sizes
    half = len(sizes) // 2
    if not spec.shape.endswith("annulus"):
        return _simple(spec, sizes, local)
    return PixelRing(_simple(spec, sizes[:half], local), _simple(spec, sizes[half:], local), spec.label)


_FAR_PIX = 4096.0
"""Four frames away no shape of interest reaches the frame."""

_Local = tuple[float, float, "NDArray[np.float64]"]
"""The centre in pixels, and the pixels per arcsec (columns: towards the north and the east)."""


def _simple(spec: ApertureSpec, sizes: Sequence[float], local: _Local | None) -> PixelEllipse | PixelPolygon:
    """Return an ellipse or a box with one or two sizes at the centre and angle of a specification."""
    first, second = (sizes[0], sizes[0]) if len(sizes) == 1 else sizes
    if spec.shape.startswith("box"):
        return _box(spec, first, second, local)
    if local is None:
        x, y = spec.centre
        return PixelEllipse(x, y, first, second, spec.angle_deg % 180, spec.label)
    x, y, scale = local
    # The semi-axes of the image of a circle are the singular values of the map.
    axes, lengths, _ = np.linalg.svd(scale @ _rotation(spec.angle_deg) @ np.diag([first, second]))
    longer = 0 if first >= second else 1  # the singular values are in descending order
    theta = 0.0 if len(sizes) == 1 else math.degrees(math.atan2(axes[1, longer], axes[0, longer])) % 180
    return PixelEllipse(x, y, float(lengths[longer]), float(lengths[1 - longer]), theta, spec.label)


def _box(spec: ApertureSpec, width: float, height: float, local: _Local | None) -> PixelPolygon:
    x, y, scale = (*spec.centre, np.eye(2)) if local is None else local
    corners = 0.5 * np.array([[width, -width, -width, width], [height, height, -height, -height]])
    xs, ys = scale @ _rotation(spec.angle_deg) @ corners + np.array([[x], [y]])
    return PixelPolygon(tuple(xs.tolist()), tuple(ys.tolist()), spec.label)


def _rotation(angle_deg: float) -> NDArray[np.float64]:
    angle = math.radians(angle_deg)
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _local_map(spec: ApertureSpec, wcs: Any) -> _Local:
    """Return the linear approximation of the WCS at the centre of a specification on the sky."""
    from astropy import units  # noqa: PLC0415 - slow to load, and not needed for pixel apertures
    from astropy.coordinates import SkyCoord  # noqa: PLC0415

    centre = SkyCoord(*spec.centre, unit="deg", frame="icrs")
    step = 0.1  # arcsec: far above the rounding of a double at 360 degrees (1e-10), far below any curvature
    around = centre.directional_offset_by([180, 0, 270, 90] * units.deg, step * units.arcsec)
    ra, dec = [centre.ra.deg, *around.ra.deg], [centre.dec.deg, *around.dec.deg]
    xs, ys = _projected(ra, dec, wcs, spec.label)
    local = np.array([[xs[2] - xs[1], xs[4] - xs[3]], [ys[2] - ys[1], ys[4] - ys[3]]]) / (2 * step)
    return float(xs[0]), float(ys[0]), local


def _projected(ra_deg: Any, dec_deg: Any, wcs: Any, label: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the pixels of positions (ICRS, degrees) on a product.

    Raises
    ------
    UsageError
        A position cannot be projected.
    """
    from astropy.coordinates import SkyCoord  # noqa: PLC0415 - slow to load, and not needed for pixel apertures
    from astropy.wcs.utils import skycoord_to_pixel  # noqa: PLC0415

    places = SkyCoord(ra_deg, dec_deg, unit="deg", frame="icrs")
    xs, ys = skycoord_to_pixel(places, wcs, origin=0, mode="wcs")
    near = np.hypot(xs, ys) < _FAR_PIX
    if wcs.has_distortion and near.any():  # it can only be inverted near the frame
        xs[near], ys[near] = skycoord_to_pixel(places[near], wcs, origin=0)
    if not np.all(np.isfinite([xs, ys])):
        what = f"The aperture {label} lies in a different part of the sky from this product."
        raise UsageError(what, "Check its ra and dec.")
    return xs, ys


def sky_position(shape: PixelShape, wcs: Any) -> tuple[float, float]:
    """Return the (ICRS right ascension, declination) of the centre of a shape in degrees.

    The WCS is that of the drizzled product.
    """
    from astropy.wcs.utils import pixel_to_skycoord  # noqa: PLC0415 - slow to load

    sky = pixel_to_skycoord(shape.x, shape.y, wcs, origin=0).icrs
    return float(sky.ra.deg), float(sky.dec.deg)


def scale_arcsec(wcs: Any) -> float:
    """Return the side of a product pixel in arcsec: the square root of its area."""
    from astropy.wcs.utils import proj_plane_pixel_area  # noqa: PLC0415 - slow to load

    return 3600.0 * math.sqrt(float(proj_plane_pixel_area(wcs)))


_ROUNDING = 1e-9
"""Fraction of a pixel; that of exact overlaps with circles of 2048 pixels is 4e-13."""


def overlap(aperture: PixelShape, shape: tuple[int, int]) -> tuple[tuple[slice, slice], NDArray[np.float64]] | None:
    """Return the exact overlap of an aperture with the pixels of an image.

    Parameters
    ----------
    aperture : PixelShape
    shape : (ny, nx)
        Shape of the image.

    Returns
    -------
    (slice, slice), ndarray of float64, shape (ny', nx')
        Slices of the image, and the fraction of each pixel inside (0 to 1); None if there is no overlap.
    """
    if isinstance(aperture, PixelRing):
        found = overlap(aperture.outer, shape)
        if found is None or aperture.inner is None:
            return found
        where, inside = found
        hole = overlap(aperture.inner, shape)
        if hole is not None:
            (rows, columns), taken = hole
            first, second = rows.start - where[0].start, columns.start - where[1].start
            inside[first : first + taken.shape[0], second : second + taken.shape[1]] -= taken
        # The difference of two full pixels is 0 to rounding only. That changes no sum, but an annulus off the data
        # would get a sky from it, and a mask would take some of the pixels in its hole.
        return where, np.where(inside > _ROUNDING, inside, 0.0)
    if isinstance(aperture, PixelPolygon):
        return _polygon_overlap(aperture, shape)
    from photutils.aperture import EllipticalAperture  # noqa: PLC0415 - slow to load

    angle = math.radians(aperture.theta_deg)
    mask = EllipticalAperture((aperture.x, aperture.y), a=aperture.a, b=aperture.b, theta=angle).to_mask(method="exact")
    image, inside_mask = mask.get_overlap_slices(shape)
    return None if image is None else (image, np.asarray(mask.data[inside_mask], dtype=np.float64))


def _polygon_overlap(
    polygon: PixelPolygon, shape: tuple[int, int]
) -> tuple[tuple[slice, slice], NDArray[np.float64]] | None:
    """Return the exact overlap of a polygon with the pixels of an image.

    photutils and regions sample polygons and boxes at points within each pixel, which gives a box of 4 pixels an error
    of 1 %. Here each side is cut where it crosses the borders of pixels. A piece has the pixels to its right inside
    (or outside, in the other direction) over its height, and a part of its own pixel.
    """
    columns = slice(max(math.floor(min(polygon.xs) + 0.5), 0), min(math.floor(max(polygon.xs) + 0.5) + 1, shape[1]))
    rows = slice(max(math.floor(min(polygon.ys) + 0.5), 0), min(math.floor(max(polygon.ys) + 0.5) + 1, shape[0]))
    ny, nx = rows.stop - rows.start, columns.stop - columns.start
    if ny <= 0 or nx <= 0:
        return None
    # Pixel (j, i) of the box spans j to j + 1 and i to i + 1. What lies beyond the box keeps its y: a side to the left
    # of a pixel covers it, wherever that side is.
    xs = np.clip(np.array(polygon.xs) - (columns.start - 0.5), -1e9, 1e9)
    ys = np.array(polygon.ys) - (rows.start - 0.5)
    covered = np.zeros((ny, nx + 1))
    for x0, y0, x1, y1 in zip(xs, ys, np.roll(xs, -1), np.roll(ys, -1), strict=True):
        x, y = _pieces(x0, y0, x1, y1, nx, ny)
        height = np.diff(y)
        middle_x, middle_y = 0.5 * (x[1:] + x[:-1]), 0.5 * (y[1:] + y[:-1])
        used = (middle_y > 0) & (middle_y < ny) & (middle_x < nx)
        row = np.floor(middle_y[used]).astype(np.intp)
        column = np.clip(np.floor(middle_x[used]), 0, nx - 1).astype(np.intp)
        own = np.clip(column + 1 - middle_x[used], 0.0, 1.0)  # the part of its pixel to the right of the piece
        np.add.at(covered, (row, column), height[used] * own)
        np.add.at(covered, (row, column + 1), height[used] * (1 - own))
    inside = np.abs(np.cumsum(covered, axis=1)[:, :nx])
    return (rows, columns), np.clip(inside, 0.0, 1.0)


def _pieces(
    x0: float, y0: float, x1: float, y1: float, nx: int, ny: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the points at which a side starts, crosses the borders of pixels, and ends."""
    cuts = [np.array([0.0, 1.0])]
    for start, end, most in ((x0, x1, nx), (y0, y1, ny)):
        low, high = max(math.floor(min(start, end)), 0), min(math.ceil(max(start, end)), most)
        if start != end and high >= low:
            cuts.append((np.arange(low, high + 1) - start) / (end - start))
    places = np.unique(np.clip(np.concatenate(cuts), 0.0, 1.0))
    return x0 + places * (x1 - x0), y0 + places * (y1 - y0)


def aperture_sum(image: NDArray[Any], aperture: PixelShape) -> ApertureSum:
    """Sum an image over an aperture, with each pixel weighted by its exact fraction inside.

    Parameters
    ----------
    image : ndarray of float, shape (ny, nx)
        NaN pixels (no data) are left out.
    aperture : PixelShape

    Returns
    -------
    ApertureSum
        `covered_pix` is below `area_pix` if pixels were left out.
    """
    area = aperture.area_pix
    shape = (image.shape[0], image.shape[1])
    found = overlap(aperture, shape)
    if found is None:
        return ApertureSum(0.0, area, 0.0)
    where, weight = found
    values = np.asarray(image[where], dtype=np.float64)
    known = np.isfinite(values)
    return ApertureSum(float(np.sum(weight[known] * values[known])), area, float(np.sum(weight[known])))
