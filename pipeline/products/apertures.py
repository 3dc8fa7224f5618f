"""Apertures: parsing, conversion to product pixels, sums. Pixels are 0-based, arrays (ny, nx)."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.text import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FORMS = {
    "ellipse:": ("x", "y", "a", "b", "theta_deg"),
    "circle:": ("x", "y", "r"),
    "ellipse@": ("ra", "dec", "a_arcsec", "b_arcsec", "pa_deg"),
    "circle@": ("ra", "dec", "r_arcsec"),
}
"""The numbers of each form of a specification: ':' is in pixels of the drizzled product, '@' on the sky (ICRS)."""

EXAMPLES = {
    "ellipse:": "ellipse:700,680,60,40,30",
    "circle:": "circle:700,680,40",
    "ellipse@": "ellipse@165.5585,38.0431,1.5,1,30",
    "circle@": "circle@165.5585,38.0431,1",
}

SIZES = {"pixel": (0.1, 2048.0, "pixels"), "icrs": (0.0025, 51.2, "arcsec")}
"""Smallest and largest semi-axis. The largest exceeds the whole drizzled frame (1400 pixels of 0.025 arcsec
on a side): a larger value is a typing error or has the wrong unit."""

FARTHEST_PIX = 100_000.0
LONGEST_LABEL = 80


@dataclass(frozen=True, slots=True)
class ApertureSpec:
    """A circle or an ellipse as given by the user.

    Attributes
    ----------
    shape, frame : str
        "circle" or "ellipse"; "pixel" (0-based pixels of the drizzled product) or "icrs" (the sky).
    x, y : float
        The centre: pixels, or right ascension and declination in degrees.
    a, b : float
        The two semi-axes: pixels, or arcsec. Equal for a circle.
    angle_deg : float
        Angle of axis `a`: counter-clockwise from +x for pixels, east of north for the sky; 0 for a circle.
    label : str
        The region's own text, or else the canonical text.
    """

    shape: Literal["circle", "ellipse"]
    frame: Literal["pixel", "icrs"]
    x: float
    y: float
    a: float
    b: float
    angle_deg: float
    label: str

    @property
    def text(self) -> str:
        """The canonical text, which `parse_aperture` reads back as the same aperture."""
        return _canonical(self.shape, self.frame, (self.x, self.y, self.a, self.b, self.angle_deg))


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


@dataclass(frozen=True, slots=True)
class PixelRing:
    """A circular annulus on the pixels of a drizzled product.

    Attributes
    ----------
    x, y : float
        The centre, 0-based pixels.
    inner, outer : float
        The radii, pixels.
    label : str
        Name of the annulus.
    """

    x: float
    y: float
    inner: float
    outer: float
    label: str


@dataclass(frozen=True, slots=True)
class ApertureSum:
    """The sum over an aperture.

    Attributes
    ----------
    total : float
        Sum in the image's unit; 0.0 where no pixel is covered.
    area_pix : float
        Total area of the ellipse, pixels.
    covered_pix : float
        Area of the ellipse on pixels with data, pixels.
    """

    total: float
    area_pix: float
    covered_pix: float


def _canonical(shape: str, frame: str, values: tuple[float, ...]) -> str:
    """Return the shortest text that reads back as the same numbers."""
    kept = values[:3] if shape == "circle" else values
    # repr is the shortest text that reads back as the same float; a trailing .0 is redundant.
    numbers = ",".join(repr(value).removesuffix(".0") for value in kept)
    return f"{shape}{':' if frame == 'pixel' else '@'}{numbers}"


def clean_label(text: str) -> str:
    """Make a label from untrusted text: one line of bounded length, without control or invisible format characters.

    The result may be empty; it has at most `LONGEST_LABEL` characters.
    """
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    return " ".join(visible.split())[:LONGEST_LABEL].rstrip()


def checked_aperture(
    shape: Literal["circle", "ellipse"],
    frame: Literal["pixel", "icrs"],
    numbers: Sequence[float],
    source: str,
    label: str = "",
) -> ApertureSpec:
    """Return a specification from the right number of numbers; reject impossible values.

    Raises
    ------
    UsageError
    """
    prefix = f"{shape}{':' if frame == 'pixel' else '@'}"
    names, todo = FORMS[prefix], f"Write for example '{EXAMPLES[prefix]}'."
    for name, value in zip(names, numbers, strict=True):
        if not math.isfinite(value):
            raise UsageError(f"The aperture {source} has {name} = {value}, which is not a finite number.", todo)
    x, y = numbers[:2]
    sizes = numbers[2:3] if shape == "circle" else numbers[2:4]
    smallest, largest, unit = SIZES[frame]
    for name, size in zip(names[2:], sizes, strict=False):
        if not smallest <= size <= largest:
            limits = f"{smallest:g}-{largest:g} {unit}"
            raise UsageError(f"The aperture {source} has {name} = {size:g}, outside {limits}.", todo)
    if frame == "pixel" and max(abs(x), abs(y)) > FARTHEST_PIX:
        raise UsageError(f"The aperture {source} has its centre at x = {x:g}, y = {y:g}, far from any product.", todo)
    if frame == "icrs" and not (0 <= x <= 360 and -90 <= y <= 90):
        limits = "ra must be 0 to 360 degrees and dec -90 to 90 degrees"
        raise UsageError(f"The aperture {source} has ra = {x:g}, dec = {y:g}; {limits}.", todo)
    a, b, angle = (sizes[0], sizes[0], 0.0) if shape == "circle" else (sizes[0], sizes[1], numbers[4])
    return ApertureSpec(shape, frame, x, y, a, b, angle, label or _canonical(shape, frame, (x, y, a, b, angle)))


_SEXAGESIMAL = re.compile(r"\s*([-+]?)(\d{1,3}):([0-5]?\d):([0-5]?\d(?:\.\d*)?)\s*", re.ASCII)
_HOURS = {"ra": 15.0, "dec": 1.0}
"""Degrees per unit of the first sexagesimal field: right ascension is in hours."""


def parse_aperture(spec: str) -> ApertureSpec:
    """Parse the text of an aperture.

    Parameters
    ----------
    spec : str
        ``ellipse:x,y,a,b,theta_deg`` or ``circle:x,y,r`` in 0-based pixels of the drizzled product (theta
        counter-clockwise from +x), or ``ellipse@ra,dec,a_arcsec,b_arcsec,pa_deg`` or ``circle@ra,dec,r_arcsec`` in
        ICRS degrees, or ``hh:mm:ss.s,dd:mm:ss.s`` (the position angle of axis a, east of north).

    Raises
    ------
    UsageError
        The shape is unknown, or the numbers are too few, too many, not finite or out of range.
    """
    shown = f"'{clean_label(spec)}'"
    match = re.fullmatch(r"\s*([a-zA-Z]+)\s*([:@])(.*)", spec, flags=re.DOTALL)
    prefix = f"{match[1].lower()}{match[2]}" if match else ""
    if match is None or prefix not in FORMS:
        named = f"has the shape '{match[1]}'" if match else "has no shape"
        raise UsageError(
            f"The aperture {shown} {named}; the shapes are circle and ellipse.",
            f"Write for example '{EXAMPLES['ellipse:']}' (pixels) or '{EXAMPLES['circle@']}' (sky).",
        )
    names, todo = FORMS[prefix], f"Write for example '{EXAMPLES[prefix]}'."
    words = match[3].split(",")
    if len(words) != len(names):
        takes = f"{prefix} takes {len(names)}: {','.join(names)}"
        raise UsageError(f"The aperture {shown} has {number(len(words), 'number')}; {takes}.", todo)
    numbers: list[float] = []
    for name, word in zip(names, words, strict=True):
        if name in _HOURS and (sexagesimal := _SEXAGESIMAL.fullmatch(word)) is not None:
            sign, *parts = sexagesimal.groups()
            whole, minutes, seconds = (float(part) for part in parts)
            value = _HOURS[name] * (whole + minutes / 60 + seconds / 3600)
            numbers.append(-value if sign == "-" else value)
            continue
        # float() also accepts nan, 1_000 and the digits of other scripts.
        if not re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", word, re.ASCII):
            raise UsageError(f"The aperture {shown} has {name} = '{clean_label(word)}', which is not a number.", todo)
        numbers.append(float(word))
    shape: Literal["circle", "ellipse"] = "circle" if prefix.startswith("circle") else "ellipse"
    return checked_aperture(shape, "pixel" if prefix.endswith(":") else "icrs", numbers, shown)


def to_pixels(spec: ApertureSpec, wcs: Any) -> PixelEllipse:
    """Convert an aperture to the pixels of a drizzled product.

    A sky ellipse is transformed by the local linear approximation of the WCS and stays an ellipse; its semi-axes are
    the singular values of (map x rotation x semi-axes).

    Parameters
    ----------
    spec : ApertureSpec
    wcs : astropy.wcs.WCS
        WCS of the drizzled product.

    Raises
    ------
    UsageError
        The position cannot be projected on this product.
    """
    if spec.frame == "pixel":
        return PixelEllipse(spec.x, spec.y, spec.a, spec.b, spec.angle_deg % 180, spec.label)
    from astropy import units  # noqa: PLC0415 - slow to load, and not needed for pixel apertures
    from astropy.coordinates import SkyCoord  # noqa: PLC0415
    from astropy.wcs.utils import skycoord_to_pixel  # noqa: PLC0415

    centre = SkyCoord(spec.x, spec.y, unit="deg", frame="icrs")
    step = 0.1  # arcsec: far above the rounding of a double at 360 degrees (1e-10), far below any curvature
    around = centre.directional_offset_by([180, 0, 270, 90] * units.deg, step * units.arcsec)
    x, y = skycoord_to_pixel(centre, wcs, origin=0)
    xs, ys = skycoord_to_pixel(around, wcs, origin=0)
    if not np.all(np.isfinite([x, y, *xs, *ys])):
        what = f"The aperture {spec.label} lies in a different part of the sky from this product."
        raise UsageError(what, "Check its ra and dec.")
    # Columns: pixels per arcsec towards the north and towards the east.
    local = np.array([[xs[1] - xs[0], xs[3] - xs[2]], [ys[1] - ys[0], ys[3] - ys[2]]]) / (2 * step)
    angle = math.radians(spec.angle_deg)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    axes, lengths, _ = np.linalg.svd(local @ rotation @ np.diag([spec.a, spec.b]))
    first = 0 if spec.a >= spec.b else 1  # the singular values are in descending order
    theta = 0.0 if spec.shape == "circle" else math.degrees(math.atan2(axes[1, first], axes[0, first])) % 180
    return PixelEllipse(float(x), float(y), float(lengths[first]), float(lengths[1 - first]), theta, spec.label)


def sky_position(ellipse: PixelEllipse, wcs: Any) -> tuple[float, float]:
    """Return the (ICRS right ascension, declination) of an ellipse's centre in degrees.

    The WCS is that of the drizzled product.
    """
    from astropy.wcs.utils import pixel_to_skycoord  # noqa: PLC0415 - slow to load

    sky = pixel_to_skycoord(ellipse.x, ellipse.y, wcs, origin=0).icrs
    return float(sky.ra.deg), float(sky.dec.deg)


def overlap(
    ellipse: PixelEllipse | PixelRing, shape: tuple[int, int]
) -> tuple[tuple[slice, slice], NDArray[np.float64]] | None:
    """Return the exact overlap of an ellipse or a ring with the pixels of an image.

    Parameters
    ----------
    ellipse : PixelEllipse or PixelRing
    shape : (ny, nx)
        Shape of the image.

    Returns
    -------
    (slice, slice), ndarray of float64, shape (ny', nx')
        Slices of the image, and the fraction of each pixel inside (0 to 1); None if there is no overlap.
    """
    from photutils.aperture import CircularAnnulus, EllipticalAperture  # noqa: PLC0415 - slow to load

    if isinstance(ellipse, PixelRing):
        # photutils needs an inner radius above 0.
        aperture = CircularAnnulus((ellipse.x, ellipse.y), max(ellipse.inner, 1e-6), ellipse.outer)
    else:
        angle = math.radians(ellipse.theta_deg)
        aperture = EllipticalAperture((ellipse.x, ellipse.y), a=ellipse.a, b=ellipse.b, theta=angle)
    mask = aperture.to_mask(method="exact")
    image, inside = mask.get_overlap_slices(shape)
    return None if image is None else (image, np.asarray(mask.data[inside], dtype=np.float64))


def aperture_sum(image: NDArray[Any], ellipse: PixelEllipse) -> ApertureSum:
    """Sum an image over an ellipse, with each pixel weighted by its exact fraction inside.

    Parameters
    ----------
    image : ndarray of float, shape (ny, nx)
        NaN pixels (no data) are left out.
    ellipse : PixelEllipse

    Returns
    -------
    ApertureSum
        `covered_pix` is below `area_pix` if pixels were left out.
    """
    area = math.pi * ellipse.a * ellipse.b
    shape = (image.shape[0], image.shape[1])
    found = overlap(ellipse, shape)
    if found is None:
        return ApertureSum(0.0, area, 0.0)
    where, weight = found
    values = np.asarray(image[where], dtype=np.float64)
    known = np.isfinite(values)
    return ApertureSum(float(np.sum(weight[known] * values[known])), area, float(np.sum(weight[known])))
