"""Apertures as the user gives them: shapes, their text, their limits. Pixels are 0-based."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.text import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Shape = Literal["circle", "ellipse", "box", "polygon", "annulus", "ellipse_annulus", "box_annulus"]
Frame = Literal["pixel", "icrs"]

SIZES: dict[Shape, tuple[str, ...]] = {
    "circle": ("r",),
    "ellipse": ("a", "b"),
    "box": ("width", "height"),
    "annulus": ("r_in", "r_out"),
    "ellipse_annulus": ("a_in", "b_in", "a_out", "b_out"),
    "box_annulus": ("width_in", "height_in", "width_out", "height_out"),
    "polygon": (),
}
"""The sizes of each shape: radii, semi-axes, or full width and height."""

_ROUND = ("circle", "annulus", "polygon")  # shapes without an angle

_EXAMPLES: dict[str, str] = {
    "circle:": "circle:700,680,40",
    "circle@": "circle@165.5585,38.0431,1",
    "ellipse:": "ellipse:700,680,60,40,30",
    "ellipse@": "ellipse@165.5585,38.0431,1.5,1,30",
    "box:": "box:700,680,80,40,30",
    "box@": "box@165.5585,38.0431,2,1,30",
    "polygon:": "polygon:650,600,750,620,700,700",
    "polygon@": "polygon@165.558,38.043,165.559,38.043,165.5585,38.044",
    "annulus:": "annulus:700,680,60,90",
    "annulus@": "annulus@165.5585,38.0431,1.5,2.25",
    "ellipse_annulus:": "ellipse_annulus:700,680,60,40,90,60,30",
    "ellipse_annulus@": "ellipse_annulus@165.5585,38.0431,1.5,1,2.25,1.5,30",
    "box_annulus:": "box_annulus:700,680,60,40,90,60,30",
    "box_annulus@": "box_annulus@165.5585,38.0431,1.5,1,2.25,1.5,30",
}

LIMITS: dict[Frame, tuple[float, float, str]] = {"pixel": (0.1, 2048.0, "pixels"), "icrs": (0.0025, 51.2, "arcsec")}
"""Smallest and largest radius, semi-axis, width or height. The largest exceeds the whole drizzled frame (1400 pixels
of 0.025 arcsec on a side): a larger value is a typing error or has the wrong unit."""

FARTHEST_PIX = 100_000.0
LONGEST_LABEL = 80
MOST_CORNERS = 200


@dataclass(frozen=True, slots=True)
class ApertureSpec:
    """An aperture as given by the user.

    Attributes
    ----------
    shape, frame : str
        One of `SIZES`; "pixel" (0-based pixels of the drizzled product) or "icrs" (the sky).
    numbers : tuple of float
        The centre (pixels, or right ascension and declination in degrees), the sizes (`SIZES`; pixels or arcsec) and,
        for ellipses and boxes, the angle of the first size in degrees: counter-clockwise from +x for pixels, east of
        north for the sky. For a polygon the positions of its corners.
    label : str
        The region's own text, or else the canonical text with fewer digits.
    background : ApertureSpec or None
        The region that gives the sky of this aperture.
    """

    shape: Shape
    frame: Frame
    numbers: tuple[float, ...]
    label: str
    background: ApertureSpec | None = None

    @property
    def text(self) -> str:
        """The canonical text, which `parse_aperture` reads back as the same aperture."""
        return self.own_text if self.background is None else f"{self.own_text} {_BACKGROUND} {self.background.text}"

    @property
    def own_text(self) -> str:
        """The canonical text without that of the background."""
        return canonical_text(self.shape, self.frame, self.numbers)

    @property
    def centre(self) -> tuple[float, float]:
        """The centre: pixels, or degrees; of a polygon the mean of its corners."""
        if self.shape != "polygon":
            return self.numbers[0], self.numbers[1]
        if self.frame == "pixel":
            return float(np.mean(self.numbers[::2])), float(np.mean(self.numbers[1::2]))
        # Not the mean of the numbers: corners may lie on both sides of ra = 0, or around a pole.
        x, y, z = _directions(np.reshape(self.numbers, (-1, 2))).mean(axis=0).tolist()
        return math.degrees(math.atan2(y, x)) % 360, math.degrees(math.atan2(z, math.hypot(x, y)))

    def distance(self, other: ApertureSpec) -> float:
        """Return the distance of two centres in one frame: pixels, or on the sky the chord in radians."""
        places = np.array([self.centre, other.centre])
        first, second = places if self.frame == "pixel" else _directions(places)
        return float(np.linalg.norm(first - second))

    @property
    def sizes(self) -> tuple[float, ...]:
        """The sizes, in the order of `SIZES`: pixels or arcsec."""
        return self.numbers[2 : 2 + len(SIZES[self.shape])]

    @property
    def angle_deg(self) -> float:
        """The angle of the first size; 0 for circles and polygons."""
        return 0.0 if self.shape in _ROUND else self.numbers[-1]

    def grown(self, radius: float) -> ApertureSpec:
        """Return the aperture of a curve of growth at a radius, in the unit of this aperture.

        It is a circle about the centre; around an ellipse, an ellipse with this semi-major axis and the same ratio.
        """
        shape: Shape = "circle"
        numbers: tuple[float, ...] = (*self.centre, radius)
        if self.shape == "ellipse":
            shape = "ellipse"
            a, b = (size * radius / max(self.sizes) for size in self.sizes)
            numbers = (*self.centre, a, b, self.angle_deg)
        checked = checked_aperture(shape, self.frame, numbers, f"of --growth {radius:g}")
        return ApertureSpec(shape, self.frame, numbers, checked.label, self.background)


_BACKGROUND = "background"


def number_names(shape: Shape, frame: Frame) -> tuple[str, ...]:
    """Return the names of the numbers of a shape; of a polygon those of one corner."""
    sky = frame == "icrs"
    sizes = tuple(f"{name}_arcsec" if sky else name for name in SIZES[shape])
    angle = () if shape in _ROUND else ("pa_deg" if sky else "theta_deg",)
    return ("ra", "dec", *sizes, *angle) if sky else ("x", "y", *sizes, *angle)


def canonical_text(shape: Shape, frame: Frame, numbers: Sequence[float]) -> str:
    """Return the shortest text that reads back as the same numbers."""
    # repr is the shortest text that reads back as the same float; a trailing .0 is redundant.
    values = ",".join(repr(value).removesuffix(".0") for value in numbers)
    return f"{shape}{':' if frame == 'pixel' else '@'}{values}"


def clean_label(text: str) -> str:
    """Make a label from untrusted text: one line of bounded length, without control or invisible format characters.

    The result may be empty; it has at most `LONGEST_LABEL` characters.
    """
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    return " ".join(visible.split())[:LONGEST_LABEL].rstrip()


def checked_aperture(
    shape: Shape, frame: Frame, numbers: Sequence[float], source: str, label: str = ""
) -> ApertureSpec:
    """Return a specification from the right number of numbers; reject impossible values.

    Raises
    ------
    UsageError
    """
    names = number_names(shape, frame)
    todo = f"Write for example '{_EXAMPLES[f'{shape}{_mark(frame)}']}'."
    values = tuple(float(value) for value in numbers)
    for index, value in enumerate(values):
        if not math.isfinite(value):
            name = names[index % len(names)]
            raise UsageError(f"The aperture {source} has {name} = {value}, which is not a finite number.", todo)
    smallest, largest, unit = LIMITS[frame]
    sizes = values[2 : 2 + len(SIZES[shape])]
    for name, size in zip(names[2:], sizes, strict=False):
        if not smallest <= size <= largest:
            limits = f"{smallest:g}-{largest:g} {unit}"
            raise UsageError(
                f"The aperture {source} has {name.removesuffix('_arcsec')} = {size:g}, outside {limits}.", todo
            )
    half = len(sizes) // 2
    if shape.endswith("annulus") and not all(one < other for one, other in zip(sizes, sizes[half:], strict=False)):
        raise UsageError(f"The aperture {source} has an inner edge that is not inside its outer edge.", todo)
    corners = list(zip(values[::2], values[1::2], strict=True)) if shape == "polygon" else [(values[0], values[1])]
    for x, y in corners:
        if frame == "pixel" and max(abs(x), abs(y)) > FARTHEST_PIX:
            raise UsageError(f"The aperture {source} lies at x = {x:g}, y = {y:g}, far from any product.", todo)
        if frame == "icrs" and not (0 <= x <= 360 and -90 <= y <= 90):
            limits = "ra must be 0 to 360 degrees and dec -90 to 90 degrees"
            raise UsageError(f"The aperture {source} has ra = {x:g}, dec = {y:g}; {limits}.", todo)
    if shape == "polygon":
        _check_polygon(corners, frame, source, todo)
    return ApertureSpec(shape, frame, values, label or _own_label(shape, frame, values))


def _mark(frame: Frame) -> str:
    return ":" if frame == "pixel" else "@"


def _own_label(shape: Shape, frame: Frame, values: tuple[float, ...]) -> str:
    # 0.4 mas, and a thousandth of a pixel: the digits of a position from hours and minutes would fill the screen.
    places = 2 * [7 if frame == "icrs" else 3] + [4] * len(values) if shape != "polygon" else [7] * len(values)
    text = canonical_text(shape, frame, [round(value, digits) for value, digits in zip(values, places, strict=False)])
    if shape != "polygon" or len(text) <= LONGEST_LABEL:
        return text
    return f"{canonical_text(shape, frame, values[:2])} and {number(len(values) // 2 - 1, 'other corner')}"


def _check_polygon(corners: Sequence[tuple[float, float]], frame: Frame, source: str, todo: str) -> None:
    """Reject polygons that are too small or large, or whose sides cross."""
    if not 3 <= len(corners) <= MOST_CORNERS:
        count = number(len(corners), "corner")
        raise UsageError(f"The aperture {source} has {count}, not 3 to {MOST_CORNERS}.", todo)
    smallest, largest, unit = LIMITS[frame]
    places = np.array(corners)
    beyond = 0.0
    if frame == "icrs":
        places, depth = _flat_arcsec(places)
        beyond = float(np.ptp(depth))  # corners on opposite sides of the sky fall on one place of a plane
    extent = np.array([*np.ptp(places, axis=0), beyond])
    if not (extent[:2].min() >= smallest and extent.max() <= largest):
        limits = f"{smallest:g}-{largest:g} {unit}"
        raise UsageError(f"The aperture {source} extends over {extent.max():g} {unit}, outside {limits}.", todo)
    if _sides_cross(places):
        raise UsageError(f"The sides of the aperture {source} cross.", f"Give the corners in order. {todo}")
    x, y = (places - places[0]).T
    if not abs(float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))) > smallest**2:
        raise UsageError(f"The corners of the aperture {source} lie on a line.", todo)


def _directions(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit vectors (n, 3) of positions on the sky (n, 2) in degrees."""
    ra, dec = np.radians(places).T
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def _flat_arcsec(places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Project positions (n, 2) in degrees onto the plane that touches the sky at the first.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        Arcsec to the east and to the north.
    ndarray of float64, shape (n,)
        Arcsec along the line of sight.
    """
    ra, dec = np.radians(places[0])
    east = [-math.sin(ra), math.cos(ra), 0.0]
    north = [-math.sin(dec) * math.cos(ra), -math.sin(dec) * math.sin(ra), math.cos(dec)]
    offsets = (_directions(places) - _directions(places[:1])) * math.degrees(1) * 3600
    return offsets @ np.array([east, north]).T, offsets @ _directions(places[:1])[0]


def _sides_cross(places: NDArray[np.float64]) -> bool:
    """Return whether two sides of a polygon cross, or two corners coincide. `places` has the shape (n, 2)."""
    starts, ends = places, np.roll(places, -1, axis=0)

    def side_of(points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return on which side of each line (rows) each point lies."""
        along, offset = ends - starts, points[None] - starts[:, None]
        sides: NDArray[np.float64] = np.sign(along[:, None, 0] * offset[..., 1] - along[:, None, 1] * offset[..., 0])
        return sides

    first, second = side_of(starts), side_of(ends)
    separated = first * second <= 0
    near = np.subtract.outer(np.arange(len(places)), np.arange(len(places))) % len(places)
    neighbours = (near == 0) | (near == 1) | (near == len(places) - 1)
    coincide = len(np.unique(places, axis=0)) < len(places)
    return bool(coincide or np.any(separated & separated.T & ~neighbours))


_SEXAGESIMAL = re.compile(
    r"([-+]?)(\d{1,3})(?:[:hd]|\s+)([0-5]?\d)(?:[:m']|\s+)([0-5]?\d(?:\.\d*)?)[s\"]?", re.ASCII | re.IGNORECASE
)
_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([\"']?)", re.ASCII)
_HOURS = {"ra": 15.0, "dec": 1.0}
"""Degrees per unit of the first sexagesimal field: right ascension is in hours."""


def parse_aperture(spec: str) -> ApertureSpec:
    """Parse the text of an aperture.

    Parameters
    ----------
    spec : str
        ``SHAPE:NUMBERS`` in 0-based pixels of the drizzled product, or ``SHAPE@NUMBERS`` on the sky (ICRS): positions
        in degrees or as ``hh:mm:ss.s,dd:mm:ss.s``, sizes in arcsec. The numbers are separated by commas or blanks:
        ``circle:x,y,r``, ``ellipse:x,y,a,b,theta``, ``box:x,y,width,height,theta``, ``polygon:x1,y1,x2,y2,x3,y3,...``,
        ``annulus:x,y,r_in,r_out``, ``ellipse_annulus:x,y,a_in,b_in,a_out,b_out,theta`` and ``box_annulus``. An angle
        is that of a or width: counter-clockwise from +x, or east of north on the sky. ``APERTURE background APERTURE``
        takes the sky of the first from the second.

    Raises
    ------
    UsageError
        The shape is unknown, or the numbers are too few, too many, not finite or out of range.
    """
    text, _, background = spec.partition(f" {_BACKGROUND} ")
    found = _parse_one(text)
    if not background:
        return found
    sky = _parse_one(background)
    return ApertureSpec(found.shape, found.frame, found.numbers, found.label, sky)


def _parse_one(spec: str) -> ApertureSpec:
    shown = f"'{clean_label(spec)}'"
    match = re.fullmatch(r"\s*([a-zA-Z_]+)\s*([:@])(.*)", spec, flags=re.DOTALL)
    prefix = f"{match[1].lower()}{match[2]}" if match else ""
    if match is None or prefix not in _EXAMPLES:
        named = f"has the shape '{match[1]}'" if match else "has no shape"
        raise UsageError(
            f"The aperture {shown} {named}; the shapes are {', '.join(SIZES)}.",
            f"Write for example '{_EXAMPLES['ellipse:']}' (pixels) or '{_EXAMPLES['circle@']}' (sky).",
        )
    # The examples hold every shape in both frames.
    shape = cast("Shape", prefix[:-1])
    frame: Frame = "pixel" if prefix.endswith(":") else "icrs"
    names, todo = number_names(shape, frame), f"Write for example '{_EXAMPLES[prefix]}'."
    words = [word.strip() for word in match[3].split(",")] if "," in match[3] else match[3].split()
    if shape == "polygon":
        if len(words) % 2:
            takes = f"{prefix} takes the x and y of each corner"
            raise UsageError(f"The aperture {shown} has {number(len(words), 'number')}; {takes}.", todo)
        names *= len(words) // 2
    if len(words) != len(names):
        takes = f"{prefix} takes {len(names)}: {','.join(names)}"
        raise UsageError(f"The aperture {shown} has {number(len(words), 'number')}; {takes}.", todo)
    values = [_value(name, word, shown, todo) for name, word in zip(names, words, strict=True)]
    return checked_aperture(shape, frame, values, shown)


def _value(name: str, word: str, shown: str, todo: str) -> float:
    """Read one number: a position may be sexagesimal, and a size on the sky may have a mark of its unit."""
    if name in _HOURS and (sexagesimal := _SEXAGESIMAL.fullmatch(word)) is not None:
        sign, *parts = sexagesimal.groups()
        whole, minutes, seconds = (float(part) for part in parts)
        value = _HOURS[name] * (whole + minutes / 60 + seconds / 3600)
        return -value if sign == "-" else value
    # float() also accepts nan, 1_000 and the digits of other scripts.
    plain = _NUMBER.fullmatch(word)
    if plain is None or (plain[2] and not name.endswith("_arcsec")):
        raise UsageError(f"The aperture {shown} has {name} = '{clean_label(word)}', which is not a number.", todo)
    return float(plain[1]) * (60.0 if plain[2] == "'" else 1.0)
