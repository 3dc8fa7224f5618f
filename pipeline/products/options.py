"""What a user can ask of a masterdark, of photometry and of a run. Light to import, so that help is quick."""

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
        Darks to combine; None: 1 for nearest, 3 for mean, 8 beside the cold and warm ones for the model.
    use : dict of str to tuple of str
        Darks that the user named, by exposure.
    flat : Path or None
        A flat, or a folder of flats; else the folder of the environment variable `jref`.
    mask : tuple of ApertureSpec
        Where sources are, beside those that are found: left out of the model's fit.
    mixed : bool
        Combine exposures of different filters, or farther apart than any mosaic; no flux is given then.
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
    """Return the options of a build from what a user gives.

    Parameters
    ----------
    combine : {"model", "mean", "nearest"}, optional
        How darks are combined; by default the model, with `use` the nearest or, of several, the mean.
    rule : {"glow", "box", "temperature", "notebook"}
        What darks are ranked by.
    top : int, optional
        How many darks are combined.
    max_sigma, max_days : float, optional
        Largest distance of a dark, in sigma and in days.
    min_exptime_s : float
        Shortest dark, s.
    use : mapping of str to str or sequence of str
        Darks that are forced, by exposure.
    flat : str or Path, optional
        A flat or a folder of flats; by default the folder of the environment variable ``jref``.
    mask : str or Path, optional
        A file of DS9 regions that hold sources.
    mixed : bool
        Combine exposures of different filters or fields all the same; no flux is given then.

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
            "--use forces a dark frame, and the model fits the dark from many.",
            "Give --combine nearest or mean with it.",
        )
    several = any(len(darks) > 1 for darks in forced.values())
    if several and wanted is Combine.NEAREST:
        raise UsageError(
            "--combine nearest takes one dark an exposure.", "Name one with --use, or give --combine mean."
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
    """Return the apertures that a user gave as texts and as a file of DS9 regions.

    Parameters
    ----------
    specs : iterable of str or ApertureSpec
        As `apertures.parse_aperture` reads them, or DS9's own text: ``circle(735,710,30)``,
        ``fk5; ellipse(11:02:14.1,+38:02:35,1.5",1",30)``.
    regions : Path or None
        A file of DS9 regions.

    Raises
    ------
    UsageError
        One of them cannot be read; the message says which part.
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
    """Return the apertures of DS9's own text; without a coordinate system it is in pixels of the image, from 1."""
    from sbcdark.pipeline.products.ds9_regions import read_ds9  # noqa: PLC0415  only where regions are given

    first = text.strip().partition(";")[0]
    return read_ds9(f"image; {text}" if "(" in first else text, f"the aperture {text!r}")


def read_regions(path: Path) -> list[ApertureSpec]:
    """Return the circles and ellipses of a file of DS9 regions.

    Raises
    ------
    UsageError
        The file cannot be read, or holds no region or something else.
    """
    from sbcdark.pipeline.products.ds9_regions import read_ds9  # noqa: PLC0415  only where regions are given

    try:
        # Labels may be in any encoding; what is read of a region is ASCII.
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise UsageError(f"{path} cannot be read as DS9 regions: {error}.", "Give a text file of regions.") from error
    return read_ds9(text, str(path))
