"""The options of masterdark, photometry and run. Light to import, so that --help is fast."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.drizzling.grid import Grid, grid_of
from sbcdark.pipeline.selection.names import as_root_name
from sbcdark.pipeline.selection.rules import MIN_EXPTIME_S, Combine, Rule, combine_of, rule_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sbcdark.pipeline.apertures.apertures import ApertureSpec
    from sbcdark.pipeline.estimation.build_keywords import BuildKeywords


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How masterdarks are made.

    Attributes
    ----------
    top : int or None
        Darks to combine; None: 1 for nearest, 3 for mean, 8 plus the cold and warm ones for the model.
    use : dict of str to tuple of str
        Darks given by the user, by exposure.
    flat : Path or None
        A flat, or a folder of flats; by default the folder of the environment variable `jref`.
    mask : tuple of ApertureSpec
        Regions with sources, in addition to the detected ones; excluded from the fit of the model.
    mixed : bool
        Combine exposures of different filters, or farther apart than any mosaic; gives no flux.
    notes : tuple of str
        Warnings of the regions of `mask` that are skipped.
    grid : Grid
        The grid of the product and the drizzle kernel.
    """

    combine: Combine = Combine.MODEL
    rule: Rule = Rule.GLOW
    top: int | None = None
    max_sigma: float | None = None
    max_days: float | None = None
    min_exptime_s: float = MIN_EXPTIME_S
    use: dict[str, tuple[str, ...]] = field(default_factory=dict)
    flat: Path | None = None
    mask: tuple[ApertureSpec, ...] = ()
    mixed: bool = False
    notes: tuple[str, ...] = ()
    grid: Grid = field(default_factory=Grid)


def flat_path(given: str | Path | None) -> Path | None:
    """Return the path of the user's flat or folder of flats.

    Raises
    ------
    UsageError
        There is nothing at that path.
    """
    if given is None:
        return None
    if not Path(given).exists():
        raise UsageError(f"There is no flat at {given}.", "Give a FITS file or a folder with --flat.")
    return Path(given)


def build_options(**keywords: Unpack[BuildKeywords]) -> BuildOptions:
    """Return the options of a build from the user's input.

    Parameters
    ----------
    combine : {"model", "mean", "nearest"}, optional
        How darks are combined; by default the model, or with `use` the nearest (one dark) or the mean (several).
    rule : {"glow", "box", "temperature", "notebook"}
        Rule that ranks the darks.
    top : int, optional
        How many darks are combined.
    max_sigma, max_days : float, optional
        Maximum distance of a dark, in sigma and in days.
    min_exptime_s : float
        Minimum exposure time of a dark, s.
    use : mapping of str to str or sequence of str
        Darks that are forced, by exposure.
    flat : str or Path, optional
        A flat or a folder of flats; by default the folder of the environment variable ``jref``.
    mask : str or Path, optional
        A file of DS9 regions that hold sources.
    mixed : bool
        Combine exposures of different filters or fields; gives no flux.
    final_scale, final_rot : float, optional
        Side of a product pixel (arcsec; default 0.025) and position angle of its y axis (degrees).
    final_pixfrac : float, optional
        Side of the drop of a native pixel over that of the pixel; 1 by default.
    final_kernel : {"square", "turbo", "point"}, optional
        AstroDrizzle's kernel.
    final_refimage : str or Path, optional
        A drizzled product whose grid is used.

    Raises
    ------
    UsageError
        The options contradict each other, or a file is missing.
    """
    combine = keywords.get("combine")
    wanted = None if combine is None else combine_of(combine)
    forced = {
        as_root_name(exposure): tuple(as_root_name(one) for one in ([darks] if isinstance(darks, str) else darks))
        for exposure, darks in keywords.get("use", {}).items()
    }
    if forced and wanted is Combine.MODEL:
        raise UsageError(
            "--use forces a dark frame, but --combine model fits the dark from many.",
            "Add --combine nearest or --combine mean.",
        )
    several = any(len(darks) > 1 for darks in forced.values())
    if several and wanted is Combine.NEAREST:
        raise UsageError(
            "--combine nearest takes one dark per exposure.", "Name one with --use, or give --combine mean."
        )
    flat, mask = flat_path(keywords.get("flat")), keywords.get("mask")
    notes: list[str] = []
    return BuildOptions(
        combine=wanted or (Combine.MEAN if several else Combine.NEAREST if forced else Combine.MODEL),
        rule=rule_of(keywords.get("rule", Rule.GLOW)),
        top=keywords.get("top"),
        max_sigma=keywords.get("max_sigma"),
        max_days=keywords.get("max_days"),
        min_exptime_s=keywords.get("min_exptime_s", MIN_EXPTIME_S),
        use=forced,
        flat=flat,
        mask=() if mask is None else tuple(read_regions(Path(mask), notes)),
        mixed=keywords.get("mixed", False),
        notes=tuple(notes),
        grid=grid_of(
            final_scale=keywords.get("final_scale"),
            final_rot=keywords.get("final_rot"),
            final_pixfrac=keywords.get("final_pixfrac"),
            final_kernel=keywords.get("final_kernel"),
            final_refimage=keywords.get("final_refimage"),
        ),
    )


def apertures_of(
    given: Iterable[Any], regions: Path | None, notes: list[str] | None = None
) -> tuple[ApertureSpec, ...]:
    """Return the apertures given one by one and in a file of DS9 regions.

    Parameters
    ----------
    given : iterable of str, ApertureSpec, photutils aperture or region
        Texts have the form of `apertures.parse_aperture`, or DS9's: ``circle(735,710,30)``, ``circle 735 710 30``,
        ``fk5; ellipse(11:02:14.1,+38:02:35,1.5",1",30)``; or they name a file of DS9 regions, ``jet.reg``.
    regions : Path or None
        A file of DS9 regions.
    notes : list of str, optional
        Receives a warning for each region that is skipped.

    Raises
    ------
    UsageError
        One of them is not valid; the message names it.
    TypeError
        One of them is something else.
    """
    from sbcdark.pipeline.apertures.apertures import ApertureSpec, parse_aperture  # noqa: PLC0415  light commands
    from sbcdark.pipeline.apertures.ds9_regions import apertures_of_object  # noqa: PLC0415

    found: list[ApertureSpec] = []
    for one in given:
        if isinstance(one, ApertureSpec):
            found.append(one)
        elif not isinstance(one, str):
            found += apertures_of_object(one)
        elif one.strip().lower().endswith(".reg"):
            found += read_regions(Path(one.strip()), notes)
        elif "(" in one or _BARE.match(one) is not None:
            found += _ds9_text(one, notes)
        else:
            found.append(parse_aperture(one))
    return tuple(found if regions is None else [*found, *read_regions(regions, notes)])


_SKY_MARKS = re.compile(r"\d:\d|\d[\"'hd]")
_BARE = re.compile(r"(\s*(?:\w+\s*;\s*)?(?:circle|ellipse|box|polygon|annulus))\s+([-+.\d][^#;]*)", re.IGNORECASE)
"""DS9 reads a region without parentheses, too."""


def _ds9_text(text: str, notes: list[str] | None) -> list[ApertureSpec]:
    """Return the apertures of a text in DS9 syntax.

    Without a coordinate system it is in image pixels, from 1, or on the sky if it has ``:`` or marks of arcsec in it.
    """
    from sbcdark.pipeline.apertures.apertures import clean_label  # noqa: PLC0415  light commands
    from sbcdark.pipeline.apertures.ds9_regions import read_ds9  # noqa: PLC0415  only where regions are given

    closed = text if "(" in text else _BARE.sub(lambda match: f"{match[1]}({match[2].strip()})", text, count=1)
    first = closed.strip().partition(";")[0]
    frame = "icrs" if _SKY_MARKS.search(first) else "image"
    name = f"the aperture '{clean_label(text)}'"
    return read_ds9(f"{frame}; {closed}" if "(" in first else closed, name, notes, one_line=True)


def read_regions(path: Path, notes: list[str] | None = None) -> list[ApertureSpec]:
    """Return the apertures of a file of DS9 regions.

    Parameters
    ----------
    notes : list of str, optional
        Receives a warning for each region that is skipped.

    Raises
    ------
    UsageError
        The file cannot be read, or holds no region that is supported.
    """
    from sbcdark.pipeline.apertures.ds9_regions import read_ds9  # noqa: PLC0415  only where regions are given

    try:
        # Labels may be in any encoding; the rest of a region is ASCII.
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise UsageError(f"{path} cannot be read as DS9 regions: {error}.", "Give a text file of regions.") from error
    return read_ds9(text, str(path), notes)
