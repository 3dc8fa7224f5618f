"""Apertures: read from text or DS9 regions, put on a product's pixels, summed. Pixels are 0-based, arrays (ny, nx)."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sbcdark.catalog.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

FORMS = {
    "ellipse:": ("x", "y", "a", "b", "theta_deg"),
    "circle:": ("x", "y", "r"),
    "ellipse@": ("ra", "dec", "a_arcsec", "b_arcsec", "pa_deg"),
    "circle@": ("ra", "dec", "r_arcsec"),
}
"""What each form of a specification takes: ':' is in pixels of the drizzled product, '@' on the sky (ICRS)."""

EXAMPLES = {
    "ellipse:": "ellipse:700,680,60,40,30",
    "circle:": "circle:700,680,40",
    "ellipse@": "ellipse@165.5585,38.0431,1.5,1,30",
    "circle@": "circle@165.5585,38.0431,1",
}

SIZES = {"pixel": (0.1, 2048.0, "pixels"), "icrs": (0.0025, 51.2, "arcsec")}
"""Smallest and largest semi-axis. The largest is beyond the whole drizzled frame (1400 pixels of 0.025 arcsec a side):
there the pen, or the unit, has slipped."""

FARTHEST_PIX = 100_000.0
LONGEST_LABEL = 80


@dataclass(frozen=True, slots=True)
class ApertureSpec:
    """A circle or an ellipse, as the user gave it.

    Attributes
    ----------
    shape, frame : str
        "circle" or "ellipse"; "pixel" (0-based pixels of the drizzled product) or "icrs" (the sky).
    x, y : float
        The centre: pixels, or right ascension and declination in degrees.
    a, b : float
        The two semi-axes: pixels, or arc seconds. Equal in a circle.
    angle_deg : float
        Of axis `a`: counter-clockwise from +x for pixels, east of north for the sky; 0 in a circle.
    label : str
        A region's own text, else the canonical text.
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
        """The canonical text, from which `parse_aperture` makes the same aperture again."""
        return _canonical(self.shape, self.frame, (self.x, self.y, self.a, self.b, self.angle_deg))


@dataclass(frozen=True, slots=True)
class PixelEllipse:
    """An ellipse (or circle) on the pixels of a drizzled product.

    Attributes
    ----------
    x, y, a, b : float
        The centre (0-based) and the two semi-axes, pixels.
    theta_deg : float
        Of axis `a`, degrees counter-clockwise from +x, 0 <= theta < 180.
    label : str
        What to call it.
    """

    x: float
    y: float
    a: float
    b: float
    theta_deg: float
    label: str


@dataclass(frozen=True, slots=True)
class ApertureSum:
    """The sum over an aperture.

    Attributes
    ----------
    total : float
        In the image's unit; 0.0 where nothing is covered.
    area_pix : float
        The ellipse's whole area, pixels.
    covered_pix : float
        The area that lies on the image and not on NaN, pixels.
    """

    total: float
    area_pix: float
    covered_pix: float


def _canonical(shape: str, frame: str, values: tuple[float, ...]) -> str:
    """Write the shortest text that gives the same numbers back."""
    kept = values[:3] if shape == "circle" else values
    # repr is the shortest text that reads back as the same float; a trailing .0 says nothing.
    numbers = ",".join(repr(value).removesuffix(".0") for value in kept)
    return f"{shape}{':' if frame == 'pixel' else '@'}{numbers}"


def clean_label(text: str) -> str:
    """Make a label from untrusted text: no control or invisible format characters, one line, of a bounded length.

    The result may be empty; it has at most `LONGEST_LABEL` characters.
    """
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    return " ".join(visible.split())[:LONGEST_LABEL].rstrip()


def _checked(
    shape: Literal["circle", "ellipse"],
    frame: Literal["pixel", "icrs"],
    numbers: Sequence[float],
    source: str,
    label: str = "",
) -> ApertureSpec:
    """Make a specification of numbers that have been counted; refuse those that cannot be meant."""
    prefix = f"{shape}{':' if frame == 'pixel' else '@'}"
    names, todo = FORMS[prefix], f"Write for example '{EXAMPLES[prefix]}'."
    for name, value in zip(names, numbers, strict=True):
        if not math.isfinite(value):
            raise UsageError(f"The aperture {source} has {name} = {value}, which is no finite number.", todo)
    x, y = numbers[:2]
    sizes = numbers[2:3] if shape == "circle" else numbers[2:4]
    smallest, largest, unit = SIZES[frame]
    for name, size in zip(names[2:], sizes, strict=False):
        if not smallest <= size <= largest:
            meant = f"a size from {smallest:g} to {largest:g} {unit} is meant"
            raise UsageError(f"The aperture {source} has {name} = {size:g}; {meant}.", todo)
    if frame == "pixel" and max(abs(x), abs(y)) > FARTHEST_PIX:
        raise UsageError(f"The aperture {source} has its centre at x = {x:g}, y = {y:g}, far from any product.", todo)
    if frame == "icrs" and not (0 <= x <= 360 and -90 <= y <= 90):
        meant = "ra from 0 to 360 and dec from -90 to 90 degrees are meant"
        raise UsageError(f"The aperture {source} has ra = {x:g}, dec = {y:g}; {meant}.", todo)
    a, b, angle = (sizes[0], sizes[0], 0.0) if shape == "circle" else (sizes[0], sizes[1], numbers[4])
    return ApertureSpec(shape, frame, x, y, a, b, angle, label or _canonical(shape, frame, (x, y, a, b, angle)))


def parse_aperture(spec: str) -> ApertureSpec:
    """Read an aperture as it is typed.

    Parameters
    ----------
    spec : str
        ``ellipse:x,y,a,b,theta_deg`` or ``circle:x,y,r`` in 0-based pixels of the drizzled product (theta
        counter-clockwise from +x), or ``ellipse@ra,dec,a_arcsec,b_arcsec,pa_deg`` or ``circle@ra,dec,r_arcsec`` in
        ICRS degrees (the position angle of axis a, east of north).

    Raises
    ------
    UsageError
        The shape is unknown, or the numbers are too few, too many, not finite or cannot be meant.
    """
    shown = f"'{clean_label(spec)}'"
    match = re.fullmatch(r"\s*([a-zA-Z]+)\s*([:@])(.*)", spec, flags=re.DOTALL)
    prefix = f"{match[1].lower()}{match[2]}" if match else ""
    if match is None or prefix not in FORMS:
        named = f"has the shape '{match[1]}'" if match else "names no shape"
        raise UsageError(
            f"The aperture {shown} {named}; a circle or an ellipse is meant.",
            f"Write for example '{EXAMPLES['ellipse:']}' (pixels) or '{EXAMPLES['circle@']}' (sky).",
        )
    names, todo = FORMS[prefix], f"Write for example '{EXAMPLES[prefix]}'."
    words = match[3].split(",")
    if len(words) != len(names):
        takes = f"{prefix} takes {len(names)}: {','.join(names)}"
        raise UsageError(f"The aperture {shown} has {len(words)} numbers; {takes}.", todo)
    numbers: list[float] = []
    for name, word in zip(names, words, strict=True):
        # float() alone would also take nan, 1_000 and the digits of other scripts.
        if not re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", word, re.ASCII):
            raise UsageError(f"The aperture {shown} has {name} = '{clean_label(word)}', which is no number.", todo)
        numbers.append(float(word))
    shape: Literal["circle", "ellipse"] = "circle" if prefix.startswith("circle") else "ellipse"
    return _checked(shape, "pixel" if prefix.endswith(":") else "icrs", numbers, shown)


_TEXT = re.compile(r"\btext\s*=\s*(?:\{([^}]*)\}|\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_BEHIND = re.compile(r"\s*(text|composite|vector|ruler|compass|projection|segment|[be]?panda)\s*\(", re.IGNORECASE)
_FRAMES = {"image": "image", "icrs": "icrs", "fk5": "fk5", "j2000": "fk5"}
_DS9 = "Save circles and ellipses from DS9 in the coordinate system image, fk5 or icrs."


def _commands(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line number, command, its comment): DS9 separates commands by line ends and semicolons."""
    for number, line in enumerate(text.splitlines(), start=1):
        # A semicolon within the text of a label separates nothing.
        labels = [match.span() for match in _TEXT.finditer(line)]
        cuts = [i for i, char in enumerate(line) if char == ";" and not any(s <= i < e for s, e in labels)]
        for start, end in zip([0, *(cut + 1 for cut in cuts)], [*cuts, len(line)], strict=True):
            command, _, comment = line[start:end].partition("#")
            if command.strip():
                yield number, command.strip(), comment
            elif _BEHIND.match(comment):
                # DS9 writes what older programs do not know (text, composite, vector...) behind a '#'.
                yield number, comment.strip(), ""


def read_ds9(text: str) -> list[ApertureSpec]:
    """Read the circles and ellipses of a DS9 region file.

    DS9 counts pixels from 1, gives semi-axes, and turns a sky ellipse from the west (its first axis points west at
    angle 0) towards the north, so that the position angle east of north is DS9's angle less 90 degrees.

    Parameters
    ----------
    text : str
        The file's content, in the coordinate system image, fk5 (j2000) or icrs.

    Returns
    -------
    list of ApertureSpec
        In the file's order; a region's own text is its label, cleaned (`clean_label`).

    Raises
    ------
    UsageError
        Another shape or coordinate system, an excluded region, or what cannot be read; the message names the line.
    """
    frame = ""
    specs: list[ApertureSpec] = []
    for number, command, comment in _commands(text):
        match = re.match(r"([-+!]?)\s*([a-zA-Z0-9]+)", command)
        word = match[2].lower() if match else clean_label(command)
        if word == "global":
            continue
        if word in _FRAMES:
            frame = _FRAMES[word]
            continue
        if match is None or word not in {"circle", "ellipse"}:
            raise UsageError(f"Line {number} of the region file has '{word}', which is no aperture here.", _DS9)
        if match[1] in {"-", "!"}:
            raise UsageError(f"Line {number} of the region file excludes its {word}; apertures only add.", _DS9)
        if not frame:
            raise UsageError(f"Line {number} of the region file has no coordinate system before it.", _DS9)
        label = _TEXT.search(comment)
        name = clean_label("".join(group or "" for group in label.groups())) if label else ""
        specs.append(_ds9_region(frame, command, name, number))
    return specs


def _ds9_region(frame: str, command: str, label: str, number: int) -> ApertureSpec:
    """Read one DS9 circle or ellipse by the `regions` package."""
    import warnings  # noqa: PLC0415 - with regions, which is slow to load, at the one place that needs them

    import regions  # noqa: PLC0415

    with warnings.catch_warnings():
        # regions warns of what it cannot read and leaves it out; the count below finds that.
        warnings.simplefilter("ignore")
        try:
            found: list[Any] = list(regions.Regions.parse(f"{frame}\n{command}", format="ds9"))
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            found = []
    known = (regions.CirclePixelRegion, regions.EllipsePixelRegion, regions.CircleSkyRegion, regions.EllipseSkyRegion)
    if len(found) != 1 or not isinstance(found[0], known):
        what = f"Line {number} of the region file is no circle or ellipse that can be read"
        raise UsageError(f"{what}: {clean_label(command)}.", _DS9)
    region = found[0]
    on_sky = isinstance(region, regions.SkyRegion)
    if on_sky:
        sky = region.center.icrs
        numbers = [float(sky.ra.deg), float(sky.dec.deg)]
    else:
        numbers = [float(region.center.x), float(region.center.y)]  # regions has made them 0-based
    is_circle = isinstance(region, (regions.CirclePixelRegion, regions.CircleSkyRegion))
    # regions gives the full width and height of an ellipse where DS9 and we give semi-axes.
    sizes = [region.radius] if is_circle else [region.width / 2, region.height / 2]
    numbers += [float(size.to_value("arcsec") if on_sky else size) for size in sizes]
    if not is_circle:
        numbers.append(float(region.angle.to_value("deg")) - (90.0 if on_sky else 0.0))
    source = f"of line {number} of the region file"
    return _checked("circle" if is_circle else "ellipse", "icrs" if on_sky else "pixel", numbers, source, label)


def to_pixels(spec: ApertureSpec, wcs: Any) -> PixelEllipse:
    """Put an aperture on the pixels of a drizzled product.

    A sky ellipse goes through the local linear map of the WCS, in which an ellipse stays one; its semi-axes are the
    singular values of (map x rotation x semi-axes).

    Parameters
    ----------
    spec : ApertureSpec
    wcs : astropy.wcs.WCS
        Of the drizzled product.

    Raises
    ------
    UsageError
        The position cannot be projected on this product.
    """
    if spec.frame == "pixel":
        return PixelEllipse(spec.x, spec.y, spec.a, spec.b, spec.angle_deg % 180, spec.label)
    from astropy import units  # noqa: PLC0415 - slow to load, and pixel apertures do without
    from astropy.coordinates import SkyCoord  # noqa: PLC0415
    from astropy.wcs.utils import skycoord_to_pixel  # noqa: PLC0415

    centre = SkyCoord(spec.x, spec.y, unit="deg", frame="icrs")
    step = 0.1  # arcsec: far above the rounding of a double at 360 degrees (1e-10), far below any curvature
    around = centre.directional_offset_by([180, 0, 270, 90] * units.deg, step * units.arcsec)
    x, y = skycoord_to_pixel(centre, wcs, origin=0)
    xs, ys = skycoord_to_pixel(around, wcs, origin=0)
    if not np.all(np.isfinite([x, y, *xs, *ys])):
        what = f"The aperture {spec.label} lies on another part of the sky than this product."
        raise UsageError(what, "Check its ra and dec.")
    # Columns: pixels per arcsec towards the north and towards the east.
    local = np.array([[xs[1] - xs[0], xs[3] - xs[2]], [ys[1] - ys[0], ys[3] - ys[2]]]) / (2 * step)
    angle = math.radians(spec.angle_deg)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    axes, lengths, _ = np.linalg.svd(local @ rotation @ np.diag([spec.a, spec.b]))
    first = 0 if spec.a >= spec.b else 1  # the singular values come in falling order
    theta = 0.0 if spec.shape == "circle" else math.degrees(math.atan2(axes[1, first], axes[0, first])) % 180
    return PixelEllipse(float(x), float(y), float(lengths[first]), float(lengths[1 - first]), theta, spec.label)


def sky_position(ellipse: PixelEllipse, wcs: Any) -> tuple[float, float]:
    """Return the (ICRS right ascension, declination) of an ellipse's centre in degrees.

    The WCS is that of the drizzled product.
    """
    from astropy.wcs.utils import pixel_to_skycoord  # noqa: PLC0415 - slow to load

    sky = pixel_to_skycoord(ellipse.x, ellipse.y, wcs, origin=0).icrs
    return float(sky.ra.deg), float(sky.dec.deg)


def overlap(ellipse: PixelEllipse, shape: tuple[int, int]) -> tuple[tuple[slice, slice], NDArray[np.float64]] | None:
    """Return the exact overlap of an ellipse with the pixels of an image.

    Parameters
    ----------
    ellipse : PixelEllipse
    shape : (ny, nx)
        Of the image.

    Returns
    -------
    (slice, slice), ndarray of float64, shape (ny', nx')
        Where in the image, and each pixel's fraction inside (0 to 1); None where the ellipse misses the image.
    """
    from photutils.aperture import EllipticalAperture  # noqa: PLC0415 - slow to load

    angle = math.radians(ellipse.theta_deg)
    aperture = EllipticalAperture((ellipse.x, ellipse.y), a=ellipse.a, b=ellipse.b, theta=angle)
    mask = aperture.to_mask(method="exact")
    image, inside = mask.get_overlap_slices(shape)
    return None if image is None else (image, np.asarray(mask.data[inside], dtype=np.float64))


def aperture_sum(image: NDArray[Any], ellipse: PixelEllipse) -> ApertureSum:
    """Sum an image over an ellipse, each pixel by the exact fraction of it that lies inside.

    Parameters
    ----------
    image : ndarray of float, shape (ny, nx)
        NaN (AstroDrizzle's mark of no data) is left out.
    ellipse : PixelEllipse

    Returns
    -------
    ApertureSum
        `covered_pix` below `area_pix` says how much was left out.
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
