"""The points of the pictures of a catalog, read once for every kind of file that they are drawn in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.catalog import archive_listings
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.queries import ExposureFilter, list_exposures
from sbcdark.pipeline.selection.choice import match_exposure, tier_of_exposure
from sbcdark.pipeline.selection.names import names_of, resolve_exposure
from sbcdark.pipeline.selection.rules import Requirements
from sbcdark.pipeline.views.drawing import GREY, PALETTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa
    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import ExposureRecord, Match
    from sbcdark.pipeline.selection.names import Selector
    from sbcdark.pipeline.selection.rules import Rule

_COLOURS = PALETTE[:-1]
_NEAR = ("2 sigma", "5 sigma")
_MATCHED = 12  # darks in the picture of a match
_FAR = 1e6  # sigma: the nearest darks are drawn, whether they fit or not


@dataclass(frozen=True, slots=True)
class Group:
    """Darks that are drawn alike: those of one program, or of all programs beyond the palette."""

    label: str
    colour: str
    darks: tuple[ExposureRecord, ...]


@dataclass(frozen=True, slots=True)
class Covered:
    """A science exposure, the tier of its darks, and, in a hole, the missing program that is nearest in time."""

    exposure: ExposureRecord
    tier: str
    program: int | None = None

    @property
    def in_hole(self) -> bool:
        """Whether no dark of the catalog is within 5 sigma."""
        return self.tier not in _NEAR

    @property
    def note(self) -> str:
        """What to know about an exposure in a hole."""
        filled = "" if self.program is None else f"; nearest darks to fetch: program {self.program}"
        return f"{self.exposure.rootname}: no dark within 5 sigma{filled}"


@dataclass(frozen=True, slots=True)
class Coverage:
    """The darks and the science exposures of a catalog, without those whose regions are not measured."""

    groups: tuple[Group, ...]
    science: tuple[Covered, ...]

    @property
    def holes(self) -> tuple[Covered, ...]:
        """The science exposures that no dark fits."""
        return tuple(one for one in self.science if one.in_hole)


@dataclass(frozen=True, slots=True)
class MatchPoints:
    """The darks nearest to an exposure, whether they fit or not, and the tier of those that do."""

    match: Match
    tier: str

    @property
    def tolerance(self) -> float | None:
        """The tolerance of the tier in sigma; None if it has none."""
        word = self.tier.partition(" ")[0]
        return float(word) if word.replace(".", "", 1).isdigit() else None


def coverage_of(engine: sa.Engine, selector: Selector | None = None) -> Coverage:
    """Return the darks and science exposures on the plane of temperature and glow.

    Where science exposures are selected, only these; where darks are selected, only these.

    Raises
    ------
    UsageError
        There is nothing to draw.
    """
    with reading(engine) as session:
        darks, exposures = (_of_kind(session, kind, names_of(session, selector)) for kind in ("dark", "science"))
        groups = by_program(darks)
        science = [covered(session, one) for one in exposures]
    require(groups or science)
    return Coverage(groups, tuple(science))


def _of_kind(session: Session, kind: str, names: frozenset[str] | None) -> list[ExposureRecord]:
    selected = [] if names is None else list_exposures(session, ExposureFilter(kind, names=names))
    return measured(selected or list_exposures(session, ExposureFilter(kind)))


def covered(session: Session, exposure: ExposureRecord) -> Covered:
    """Return how well the darks of the catalog cover a science exposure."""
    tier = tier_of_exposure(session, exposure.rootname)
    found = Covered(exposure, tier)
    if not found.in_hole:
        return found
    missing = archive_listings.nearest_by_program(session, exposure.start_mjd, absent=True)
    return Covered(exposure, tier, missing[0].program if missing else None)


def match_points(engine: sa.Engine, exposure: str, rule: Rule) -> MatchPoints:
    """Return the darks nearest to an exposure.

    Raises
    ------
    UsageError
        The exposure is unknown, or no dark is near.
    """
    with reading(engine) as session:
        name = resolve_exposure(session, exposure)
        tier = match_exposure(session, name, rule, Requirements()).tier
        near = match_exposure(session, name, rule, Requirements(_MATCHED, max_sigma=_FAR))
    if not near.darks:
        raise UsageError(f"No dark fits {near.exposure}, so there is nothing to draw.", "Relax the match.")
    return MatchPoints(near, tier)


def by_program(darks: Sequence[ExposureRecord]) -> tuple[Group, ...]:
    """Group darks by program, the largest first; what is beyond the palette is one group."""
    groups: dict[int | None, list[ExposureRecord]] = {}
    for dark in darks:
        groups.setdefault(dark.program, []).append(dark)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    found = [
        Group(f"darks {program}", colour, tuple(members))
        for (program, members), colour in zip(ordered, _COLOURS, strict=False)
    ]
    rest = tuple(dark for _, members in ordered[len(_COLOURS) :] for dark in members)
    return (*found, Group("other darks", GREY, rest)) if rest else tuple(found)


def measured(exposures: Sequence[ExposureRecord]) -> list[ExposureRecord]:
    """Return the exposures whose regions are measured."""
    return [one for one in exposures if one.contrast_count_s_pix is not None]


def require(points: object) -> None:
    """Raise a `UsageError` if there is nothing to draw."""
    if not points:
        raise UsageError("The catalog has no darks to draw.", "Ingest some: sbcdark ingest PATH")


def numbers_of(exposures: Sequence[ExposureRecord], name: str) -> NDArray[np.float64]:
    """Return one column of some exposures; NaN where it was not measured."""
    values = [getattr(one, name) for one in exposures]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
