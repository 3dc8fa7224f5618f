"""Apertures from DS9 region files, from objects of the regions package and from photutils apertures."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.apertures.apertures import checked_aperture, clean_label

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sbcdark.pipeline.apertures.apertures import ApertureSpec, Frame, Shape

_TEXT = re.compile(r"\btext\s*=\s*(?:\{([^}]*)\}|\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_QUOTED = re.compile(r"\{[^}]*\}|\"[^\"]*\"|'[^']*'")
_INCLUDE = re.compile(r"\binclude\s*=\s*(\d)", re.IGNORECASE)
_BACKGROUND = re.compile(r"\bbackground\b(?!\s*=\s*0)", re.IGNORECASE)
_OTHER_SHAPES = {
    "text", "composite", "vector", "ruler", "compass", "projection", "segment", "panda", "epanda", "bpanda", "point",
    "line", "rotbox",
}  # fmt: skip
_BEHIND = re.compile(r"\s*(text|composite|vector|ruler|compass|projection|segment|[be]?panda)\s*\(", re.IGNORECASE)
_FRAMES = {"image": "image", "icrs": "icrs", "fk5": "fk5", "j2000": "fk5"}
_OTHER_FRAMES = {"physical", "detector", "amplifier", "linear", "fk4", "b1950", "galactic", "ecliptic", "wcs"}
_TAKES = {
    "circle": "x,y,r",
    "ellipse": "x,y,a,b,angle",
    "box": "x,y,width,height,angle",
    "polygon": "x1,y1,x2,y2,x3,y3,…",
    "annulus": "x,y,r_in,r_out",
}
_SHAPES = tuple(_TAKES)

_DS9 = f"Save {', '.join(_SHAPES)} regions from DS9 in the coordinate system image, fk5 or icrs."


def _commands(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line number, command, its comment): DS9 separates commands by newlines and semicolons."""
    for line_number, line in enumerate(text.splitlines(), start=1):
        # A semicolon inside a label does not separate commands.
        labels = [match.span() for match in _TEXT.finditer(line)]
        cuts = [i for i, char in enumerate(line) if char == ";" and not any(s <= i < e for s, e in labels)]
        for start, end in zip([0, *(cut + 1 for cut in cuts)], [*cuts, len(line)], strict=True):
            command, _, comment = line[start:end].partition("#")
            if command.strip():
                yield line_number, command.strip(), comment
            elif _BEHIND.match(comment):
                # DS9 writes shapes unknown to older programs (text, composite, vector...) after a '#'.
                yield line_number, comment.strip(), ""


def read_ds9(
    text: str, name: str = "the region file", notes: list[str] | None = None, *, one_line: bool = False
) -> list[ApertureSpec]:
    """Read the regions of a DS9 region file.

    DS9 counts pixels from 1, gives semi-axes of ellipses and full sizes of boxes, and measures the angle on the sky
    from west (the first axis points west at angle 0) towards north, so the position angle east of north is DS9's angle
    minus 90 degrees. A region with DS9's property ``background`` is not measured: it gives the sky of the nearest ones.

    Parameters
    ----------
    text : str
        The file's content, in the coordinate system image, fk5 (j2000) or icrs, given on a separate line or on the
        `global` line. Text that DS9 draws (`# text(...)`) is skipped.
    name : str
        Name of the file in messages.
    notes : list of str, optional
        Receives a warning for each region that is skipped: another shape or coordinate system, or an excluded region.
    one_line : bool
        Whether the text is one line, so that messages need not name it.

    Returns
    -------
    list of ApertureSpec
        At least one, in the order of the file; the label is the region's own text, cleaned (`clean_label`).

    Raises
    ------
    UsageError
        A region cannot be read, or none is left; the message names the line.
    """
    skipped: list[str] = []
    frame, included = "", True
    sources: list[ApertureSpec] = []
    backgrounds: list[ApertureSpec] = []
    for line, command, comment in _commands(text):
        match = re.match(r"([-+!]?)\s*([a-zA-Z0-9]+)", command)
        word = match[2].lower() if match else ""
        named = _named_frame(command) if word == "global" else word
        if named in _FRAMES or named in _OTHER_FRAMES:
            frame = named
        if word == "global":
            included = _included(command, otherwise=included)
        if word in {"text", "global", *_FRAMES, *_OTHER_FRAMES}:
            continue
        place = name if one_line else f"line {line} of {name}"
        reason = _unsupported(command, comment, word, frame, included=included)
        if reason is not None:
            skipped.append(f"{_capital(place)} is skipped: {reason}")
            continue
        regions = _regions(command, comment, word, frame, place)
        (backgrounds if _BACKGROUND.search(_QUOTED.sub("", comment)) else sources).extend(regions)
    if not sources:
        if one_line and len(skipped) == 1:
            raise UsageError(f"{skipped[0]}.", _DS9)
        why = f": {'; '.join(skipped)}" if skipped else ""
        if backgrounds:
            raise UsageError(
                f"There are only background regions in {name}{why}.",
                "Give the source, too, or take away DS9's property background.",
            )
        raise UsageError(f"There is no region in {name}{why}.", _DS9)
    if notes is not None:
        notes += skipped
    return [_with_background(source, backgrounds) for source in sources]


def _unsupported(command: str, comment: str, word: str, frame: str, *, included: bool) -> str | None:
    """Return why a region is not supported, or None."""
    if word in _OTHER_SHAPES:
        return f"the shape '{word}' is not supported"
    if frame in _OTHER_FRAMES:
        return f"the coordinate system '{frame}' is not supported"
    excluded = command[0] in "-!" or not (command[0] == "+" or _included(comment, otherwise=included))
    return f"it excludes a {word}, which is not supported" if excluded else None


def _capital(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _with_background(source: ApertureSpec, backgrounds: Sequence[ApertureSpec]) -> ApertureSpec:
    """Return a source with the nearest background in its coordinate system, if there is one."""
    alike = [one for one in backgrounds if one.frame == source.frame]
    if not alike:
        return source
    return replace(source, background=min(alike, key=source.distance))


def _named_frame(command: str) -> str:
    """Return the coordinate system given as a separate word on a `global` line, or ""."""
    words = _QUOTED.sub("", command).lower().split()
    return next((word for word in words if word in _FRAMES or word in _OTHER_FRAMES), "")


def _included(properties: str, *, otherwise: bool) -> bool:
    """Return the value of `include=` outside labels, or `otherwise`."""
    found = _INCLUDE.search(_QUOTED.sub("", properties))
    return otherwise if found is None else found[1] != "0"


def _regions(command: str, comment: str, word: str, frame: str, place: str) -> list[ApertureSpec]:
    """Read one DS9 region with the `regions` package; an annulus with several radii gives several."""
    if word not in _SHAPES:
        what = word or clean_label(command)
        raise UsageError(f"{_capital(place)} has '{what}', which is not a region of DS9.", _DS9)
    if not frame:
        raise UsageError(f"{_capital(place)} has no coordinate system before it.", _DS9)
    import warnings  # noqa: PLC0415 - imported with regions, which is slow to load

    import regions  # noqa: PLC0415

    with warnings.catch_warnings():
        # regions warns of regions it cannot read and skips them; the empty list below detects that.
        warnings.simplefilter("ignore")
        try:
            found: list[Any] = list(regions.Regions.parse(f"{_FRAMES[frame]}\n{command}", format="ds9"))
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            found = []
    sizes = len(re.findall(r"[^\s,()]+", re.sub(r"^[-+!]?\s*[a-zA-Z]+", "", command))) - 2
    if not found or (word == "circle" and sizes != 1):
        shown = "" if clean_label(command) in place else f": {clean_label(command)}"
        takes = f"It takes {_TAKES[word]}, with sizes above 0."
        raise UsageError(f"{_capital(place)} is not a valid {word}{shown}.", f"{takes} {_DS9}")
    label = _TEXT.search(comment)
    text = clean_label("".join(group or "" for group in label.groups())) if label else ""
    labels = [text] if len(found) == 1 or not text else [f"{text} {part}" for part in range(1, len(found) + 1)]
    if len(labels) < len(found):
        labels *= len(found)
    source = place.removeprefix("the aperture ") if place.startswith("the aperture ") else f"of {place}"
    try:
        return [aperture_of_region(one, source, own) for one, own in zip(found, labels, strict=True)]
    except UsageError as error:
        if frame == "image" or re.search(r"\d[\"'dp]", command):
            raise
        raise UsageError(error.what, 'A size without a mark is in degrees in DS9; 1.2" is in arcsec.') from None


def aperture_of_region(region: Any, source: str = "", label: str = "") -> ApertureSpec:
    """Return the aperture of a region object.

    Parameters
    ----------
    region : regions.Region
        A circle, ellipse, rectangle, polygon or annulus, in pixels (0-based) or on the sky.
    source : str
        Where it comes from, for messages.
    label : str
        Its label; by default the text of its `meta`.

    Raises
    ------
    UsageError
        It has another shape, or impossible values.
    """
    import regions  # noqa: PLC0415  slow to load

    kind = type(region).__name__.removesuffix("Region")
    on_sky = isinstance(region, regions.SkyRegion)
    shape, names = _KINDS.get(kind.removesuffix("Sky" if on_sky else "Pixel"), (None, ()))
    if shape is None:
        known = "circles, ellipses, rectangles, polygons and annuli"
        raise UsageError(f"A {type(region).__name__} is not an aperture.", f"Give {known}.")
    frame: Frame = "icrs" if on_sky else "pixel"
    places = region.vertices if shape == "polygon" else region.center
    if on_sky:
        sky = places.icrs
        first, second = sky.ra.deg, sky.dec.deg
    else:
        first, second = places.x, places.y
    if shape == "polygon":
        numbers = [float(value) for corner in zip(first, second, strict=True) for value in corner]
    else:
        # regions gives the full sizes of an ellipse; DS9, photutils and this package its semi-axes.
        share = 0.5 if shape.startswith("ellipse") else 1.0
        sizes = [getattr(region, size) for size in names]
        numbers = [float(first), float(second)]
        numbers += [share * float(size.to_value("arcsec") if on_sky else size) for size in sizes]
        if hasattr(region, "angle"):
            numbers.append(float(region.angle.to_value("deg")) - (90.0 if on_sky else 0.0))
    text = label or clean_label(str(region.meta.get("text") or region.meta.get("label") or ""))
    return checked_aperture(shape, frame, numbers, source or f"'{clean_label(str(region))}'", text)


_KINDS: dict[str, tuple[Shape, tuple[str, ...]]] = {
    "Circle": ("circle", ("radius",)),
    "Ellipse": ("ellipse", ("width", "height")),
    "Rectangle": ("box", ("width", "height")),
    "Polygon": ("polygon", ()),
    "CircleAnnulus": ("annulus", ("inner_radius", "outer_radius")),
    "EllipseAnnulus": ("ellipse_annulus", ("inner_width", "inner_height", "outer_width", "outer_height")),
    "RectangleAnnulus": ("box_annulus", ("inner_width", "inner_height", "outer_width", "outer_height")),
}
"""Shape and sizes of each class of regions, without ``PixelRegion`` or ``SkyRegion``."""


def apertures_of_object(given: Any) -> list[ApertureSpec]:
    """Return the apertures of a region, a `regions.Regions` or a photutils aperture with one or several positions.

    Raises
    ------
    UsageError
        A shape is not supported.
    TypeError
        It is none of these.
    """
    from photutils.aperture import Aperture, aperture_to_region  # noqa: PLC0415  slow to load
    from regions import Region, Regions  # noqa: PLC0415

    found = aperture_to_region(given) if isinstance(given, Aperture) else given
    if isinstance(found, Region):
        return [aperture_of_region(found)]
    if isinstance(found, Regions):
        return [aperture_of_region(one) for one in found]
    kinds = "a str, an ApertureSpec, a photutils aperture or a region"
    raise TypeError(f"apertures: expected {kinds}, got {type(given).__name__}")
