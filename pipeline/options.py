"""What a user can ask of a masterdark, of photometry and of a run. Light to import, so that help is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.matching import MIN_EXPTIME_S, Combine, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sbcdark.pipeline.apertures import ApertureSpec


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


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked for every target.

    Attributes
    ----------
    folder : Path
        Where the products go.
    apertures : tuple of ApertureSpec
        What is measured.
    pictures : bool
        Whether pictures are drawn.
    overwrite : bool
        Replace products of other inputs that are in the folder.
    """

    folder: Path
    options: BuildOptions = field(default_factory=BuildOptions)
    apertures: tuple[ApertureSpec, ...] = ()
    pictures: bool = False
    overwrite: bool = False


def apertures_of(specs: Sequence[str], regions: Path | None) -> tuple[ApertureSpec, ...]:
    """Return the apertures that a user gave as texts and as a file of DS9 regions.

    Raises
    ------
    UsageError
        One of them cannot be read; the message says which part.
    """
    from sbcdark.pipeline.apertures import parse_aperture  # noqa: PLC0415  only where apertures are given

    given = [parse_aperture(spec) for spec in specs]
    return tuple(given if regions is None else [*given, *read_regions(regions)])


def read_regions(path: Path) -> list[ApertureSpec]:
    """Return the circles and ellipses of a file of DS9 regions.

    Raises
    ------
    UsageError
        The file cannot be read, or holds no region or something else.
    """
    from sbcdark.pipeline.ds9 import read_ds9  # noqa: PLC0415  only where regions are given

    try:
        # Labels may be in any encoding; what is read of a region is ASCII.
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise UsageError(f"{path} cannot be read as DS9 regions: {error}.", "Give a text file of regions.") from error
    return read_ds9(text, str(path))
