"""What the methods of a catalog take: names, folders, apertures, and their keywords."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sbcdark.pipeline.products.apertures import ApertureSpec
    from sbcdark.pipeline.selection.names import Selector
    from sbcdark.pipeline.selection.rules import Requirements, Rule

    Names = str | Iterable[str]
    Several = list[str] | tuple[str, ...]
    Folder = str | Path
    Apertures = Any
    """str, ApertureSpec, photutils aperture, region, or iterable of these."""


class MatchKeywords(TypedDict, total=False):
    """Options of a match: see `Catalog.match`."""

    rule: str | Rule
    top: int | None
    max_sigma: float | None
    max_days: float | None
    min_exptime_s: float


class ExposureKeywords(TypedDict, total=False):
    """Options of a listing: see `Catalog.exposures`."""

    program: int | None
    filter: str | None
    hot: bool
    temperature_c: tuple[float | None, float | None]
    since: datetime | None
    until: datetime | None
    quality: str | Iterable[str]
    where: str | Iterable[str]
    sort: str
    descending: bool


def names_from(names: Names) -> list[str]:
    """Return names as a list.

    Raises
    ------
    TypeError
        One is not a str.
    """
    given = [names] if isinstance(names, str) else list(names)
    for name in given:
        if not isinstance(name, str):
            raise TypeError(f"names: expected root names as str, got {type(name).__name__}")
    return given


def qualities_from(quality: str | Iterable[str]) -> tuple[str, ...]:
    """Return qualities by their names.

    Raises
    ------
    UsageError
        There is no such quality.
    """
    from sbcdark.catalog.errors import UsageError  # noqa: PLC0415  each job loads what it needs
    from sbcdark.catalog.queries import QUALITIES  # noqa: PLC0415

    given = [quality] if isinstance(quality, str) else list(quality)
    names = tuple(name.strip().lower() for name in given)
    for name in names:
        if name not in QUALITIES:
            raise UsageError(f"There is no quality {name!r}.", f"Use one of: {', '.join(QUALITIES)}")
    return names


def selector_from(names: Names | Selector) -> Selector:
    """Return what is selected: names, or a selector as it is.

    Raises
    ------
    TypeError
        A name is not a str.
    """
    from sbcdark.pipeline.selection.names import Selector  # noqa: PLC0415  each job loads what it needs

    return names if isinstance(names, Selector) else Selector(tuple(names_from(names)))


def apertures_from(
    apertures: Apertures, regions: Folder | None, notes: list[str] | None = None
) -> tuple[ApertureSpec, ...]:
    """Return the apertures that are given one by one, and by a file of DS9 regions.

    Parameters
    ----------
    apertures : str, ApertureSpec, photutils aperture or region, or iterable of these
    notes : list of str, optional
        Receives a warning for each region that is skipped.

    Raises
    ------
    UsageError
        One of them cannot be read.
    TypeError
        One of them is something else.
    """
    from sbcdark.pipeline.products.apertures import ApertureSpec  # noqa: PLC0415  each job loads what it needs
    from sbcdark.pipeline.products.options import apertures_of  # noqa: PLC0415

    # photutils' apertures and regions convert themselves to pixels or to masks, and some of them are iterable.
    shape = hasattr(apertures, "to_mask") or hasattr(apertures, "to_pixel")
    one = shape or isinstance(apertures, str | ApertureSpec) or not hasattr(apertures, "__iter__")
    given = [apertures] if one else list(apertures)
    return apertures_of(given, None if regions is None else Path(regions), notes)


def requirements_from(wanted: MatchKeywords) -> tuple[Rule, Requirements]:
    """Return the rule and the requirements that the keywords of a match name.

    Raises
    ------
    UsageError
        There is no such rule.
    """
    from sbcdark.pipeline.selection.rules import Requirements, rule_of  # noqa: PLC0415  each job loads what it needs

    given: dict[str, Any] = dict(wanted)
    rule = rule_of(given.pop("rule", "glow"))
    if given.get("top") is None:
        given.pop("top", None)  # the default
    return rule, Requirements(**given)
