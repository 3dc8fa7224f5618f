"""Apertures from DS9 region files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.products.apertures import checked_aperture, clean_label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sbcdark.pipeline.products.apertures import ApertureSpec

_TEXT = re.compile(r"\btext\s*=\s*(?:\{([^}]*)\}|\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_QUOTED = re.compile(r"\{[^}]*\}|\"[^\"]*\"|'[^']*'")
_INCLUDE = re.compile(r"\binclude\s*=\s*(\d)", re.IGNORECASE)
_BEHIND = re.compile(r"\s*(text|composite|vector|ruler|compass|projection|segment|[be]?panda)\s*\(", re.IGNORECASE)
_FRAMES = {"image": "image", "icrs": "icrs", "fk5": "fk5", "j2000": "fk5"}
_OTHER_FRAMES = {"physical", "detector", "amplifier", "linear", "fk4", "b1950", "galactic", "ecliptic", "wcs"}
_SIZES_OF = {"circle": 1, "ellipse": 3}
"""Maximum count of numbers after the centre: the radius, or two semi-axes and an angle."""

_DS9 = "Save circles and ellipses from DS9 in the coordinate system image, fk5 or icrs."


def _commands(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line number, command, its comment): DS9 separates commands by newlines and semicolons."""
    for number, line in enumerate(text.splitlines(), start=1):
        # A semicolon inside a label does not separate commands.
        labels = [match.span() for match in _TEXT.finditer(line)]
        cuts = [i for i, char in enumerate(line) if char == ";" and not any(s <= i < e for s, e in labels)]
        for start, end in zip([0, *(cut + 1 for cut in cuts)], [*cuts, len(line)], strict=True):
            command, _, comment = line[start:end].partition("#")
            if command.strip():
                yield number, command.strip(), comment
            elif _BEHIND.match(comment):
                # DS9 writes shapes unknown to older programs (text, composite, vector...) after a '#'.
                yield number, comment.strip(), ""


def read_ds9(text: str, name: str = "the region file") -> list[ApertureSpec]:
    """Read the circles and ellipses of a DS9 region file.

    DS9 counts pixels from 1, gives semi-axes, and measures the angle of a sky ellipse from west (its first axis points
    west at angle 0) towards north, so the position angle east of north is DS9's angle minus 90 degrees.

    Parameters
    ----------
    text : str
        The file's content, in the coordinate system image, fk5 (j2000) or icrs, given on a separate line or on the
        `global` line. Text that DS9 draws (`# text(...)`) is skipped.
    name : str
        Name of the file in messages.

    Returns
    -------
    list of ApertureSpec
        At least one, in the order of the file; the label is the region's own text, cleaned (`clean_label`).

    Raises
    ------
    UsageError
        The file has another shape or coordinate system, an excluded region, an unreadable line or no region; the
        message names the line.
    """
    frame, included = "", True
    specs: list[ApertureSpec] = []
    for number, command, comment in _commands(text):
        match = re.match(r"[a-zA-Z0-9]+", command)
        word = match[0].lower() if match else ""
        if word == "text":
            continue
        named = _named_frame(command) if word == "global" else word
        if named in _OTHER_FRAMES:
            where = f"Line {number} of {name}"
            raise UsageError(f"{where} has the coordinate system '{named}', which is not supported.", _DS9)
        frame = _FRAMES.get(named, frame)
        if word == "global":
            included = _included(command, otherwise=included)
        elif word not in _FRAMES:
            specs.append(_region(command, comment, frame, f"line {number} of {name}", included=included))
    if not specs:
        raise UsageError(f"There is no region in {name}.", _DS9)
    return specs


def _region(command: str, comment: str, frame: str, place: str, *, included: bool) -> ApertureSpec:
    """Read one region; reject any that is not an included circle or ellipse, and name it."""
    match = re.match(r"([-+!]?)\s*([a-zA-Z0-9]+)", command)
    word = match[2].lower() if match else clean_label(command)
    where = f"{place[0].upper()}{place[1:]}"
    if match is None or word not in _SIZES_OF:
        raise UsageError(f"{where} has '{word}', which is not a circle or an ellipse.", _DS9)
    if match[1] in {"-", "!"} or not (match[1] == "+" or _included(comment, otherwise=included)):
        raise UsageError(f"{where} excludes its {word}; excluded regions are not supported.", _DS9)
    if not frame:
        raise UsageError(f"{where} has no coordinate system before it.", _DS9)
    sizes = len(re.findall(r"[^\s,()]+", command[match.end() :])) - 2
    if sizes > _SIZES_OF[word]:
        raise UsageError(f"{where} has {word} with {sizes} sizes, an annulus; annuli are not supported.", _DS9)
    label = _TEXT.search(comment)
    text = clean_label("".join(group or "" for group in label.groups())) if label else ""
    return _ds9_region(frame, command, text, place)


def _named_frame(command: str) -> str:
    """Return the coordinate system given as a separate word on a `global` line, or ""."""
    words = _QUOTED.sub("", command).lower().split()
    return next((word for word in words if word in _FRAMES or word in _OTHER_FRAMES), "")


def _included(properties: str, *, otherwise: bool) -> bool:
    """Return the value of `include=` outside labels, or `otherwise`."""
    found = _INCLUDE.search(_QUOTED.sub("", properties))
    return otherwise if found is None else found[1] != "0"


def _ds9_region(frame: str, command: str, label: str, place: str) -> ApertureSpec:
    """Read one DS9 circle or ellipse with the `regions` package."""
    import warnings  # noqa: PLC0415 - imported with regions, which is slow to load

    import regions  # noqa: PLC0415

    with warnings.catch_warnings():
        # regions warns of regions it cannot read and skips them; the count below detects that.
        warnings.simplefilter("ignore")
        try:
            found: list[Any] = list(regions.Regions.parse(f"{frame}\n{command}", format="ds9"))
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            found = []
    known = (regions.CirclePixelRegion, regions.EllipsePixelRegion, regions.CircleSkyRegion, regions.EllipseSkyRegion)
    if len(found) != 1 or not isinstance(found[0], known):
        what = f"{place[0].upper()}{place[1:]} is not a valid circle or ellipse"
        raise UsageError(f"{what}: {clean_label(command)}.", _DS9)
    region = found[0]
    on_sky = isinstance(region, regions.SkyRegion)
    if on_sky:
        sky = region.center.icrs
        numbers = [float(sky.ra.deg), float(sky.dec.deg)]
    else:
        numbers = [float(region.center.x), float(region.center.y)]  # regions converts them to 0-based
    is_circle = isinstance(region, (regions.CirclePixelRegion, regions.CircleSkyRegion))
    # regions gives the full width and height of an ellipse; DS9 and this module use semi-axes.
    sizes = [region.radius] if is_circle else [region.width / 2, region.height / 2]
    numbers += [float(size.to_value("arcsec") if on_sky else size) for size in sizes]
    if not is_circle:
        numbers.append(float(region.angle.to_value("deg")) - (90.0 if on_sky else 0.0))
    source = f"of {place}"
    return checked_aperture("circle" if is_circle else "ellipse", "icrs" if on_sky else "pixel", numbers, source, label)
