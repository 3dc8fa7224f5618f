"""The options of masterdark, photometry and run. Light to import, so that --help is fast."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.selection.rules import MIN_EXPTIME_S, Combine, Rule, combine_of, rule_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sbcdark.pipeline.products.apertures import ApertureSpec


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


class BuildKeywords(TypedDict, total=False):
    """The keywords of `build_options`."""

    combine: str | Combine | None
    rule: str | Rule
    top: int | None
    max_sigma: float | None
    max_days: float | None
    min_exptime_s: float
    use: Mapping[str, str | Sequence[str]]
    flat: str | Path | None
    mask: str | Path | None
    mixed: bool


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

    Raises
    ------
    UsageError
        The options contradict each other, or a file is missing.
    """
    combine = keywords.get("combine")
    wanted = None if combine is None else combine_of(combine)
    forced = {
        exposure.strip().lower(): tuple(one.strip().lower() for one in ([darks] if isinstance(darks, str) else darks))
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
    flat, mask = keywords.get("flat"), keywords.get("mask")
    if flat is not None and not Path(flat).exists():
        raise UsageError(f"There is no flat at {flat}.", "Give a FITS file or a folder with --flat.")
    return BuildOptions(
        combine=wanted or (Combine.MEAN if several else Combine.NEAREST if forced else Combine.MODEL),
        rule=rule_of(keywords.get("rule", Rule.GLOW)),
        top=keywords.get("top"),
        max_sigma=keywords.get("max_sigma"),
        max_days=keywords.get("max_days"),
        min_exptime_s=keywords.get("min_exptime_s", MIN_EXPTIME_S),
        use=forced,
        flat=None if flat is None else Path(flat),
        mask=() if mask is None else tuple(read_regions(Path(mask))),
        mixed=keywords.get("mixed", False),
    )


def apertures_of(specs: Iterable[str | ApertureSpec], regions: Path | None) -> tuple[ApertureSpec, ...]:
    """Return the apertures given as texts and in a file of DS9 regions.

    Parameters
    ----------
    specs : iterable of str or ApertureSpec
        In the form of `apertures.parse_aperture`, or in DS9 syntax: ``circle(735,710,30)``,
        ``fk5; ellipse(11:02:14.1,+38:02:35,1.5",1",30)``.
    regions : Path or None
        A file of DS9 regions.

    Raises
    ------
    UsageError
        One of them is not valid; the message names it.
    """
    from sbcdark.pipeline.products.apertures import parse_aperture  # noqa: PLC0415  only where apertures are given

    given: list[ApertureSpec] = []
    for spec in specs:
        if not isinstance(spec, str):
            given.append(spec)
        elif "(" in spec:
            given += _ds9_text(spec)
        else:
            given.append(parse_aperture(spec))
    return tuple(given if regions is None else [*given, *read_regions(regions)])


def _ds9_text(text: str) -> list[ApertureSpec]:
    """Return the apertures of a text in DS9 syntax; without a coordinate system it is in image pixels, from 1."""
    from sbcdark.pipeline.products.ds9_regions import read_ds9  # noqa: PLC0415  only where regions are given

    first = text.strip().partition(";")[0]
    return read_ds9(f"image; {text}" if "(" in first else text, f"the aperture {text!r}")


def read_regions(path: Path) -> list[ApertureSpec]:
    """Return the circles and ellipses of a file of DS9 regions.

    Raises
    ------
    UsageError
        The file cannot be read, holds no region, or holds other shapes.
    """
    from sbcdark.pipeline.products.ds9_regions import read_ds9  # noqa: PLC0415  only where regions are given

    try:
        # Labels may be in any encoding; the rest of a region is ASCII.
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise UsageError(f"{path} cannot be read as DS9 regions: {error}.", "Give a text file of regions.") from error
    return read_ds9(text, str(path))
