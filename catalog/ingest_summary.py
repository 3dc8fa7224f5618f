"""What an ingest brought: by program, judged darks, and what is new against the catalog before it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from sbcdark.catalog import models
from sbcdark.catalog.preferred_files import mean_temperature_c
from sbcdark.catalog.queries import exposure_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import ExposureFacts


@dataclass(frozen=True, slots=True)
class IngestedProgram:
    """The exposures of one program that an ingest added or updated; temperatures are mean temperatures, C.

    Attributes
    ----------
    is_new : bool
        Whether the catalog had no exposure of the program before.
    darks, science, updated : int
        Numbers of new darks, of new science exposures, and of exposures that were there before.
    suspect, untested : int
        Numbers of darks with that quality after the test.
    rejected : int
        Number of rejected files whose names begin as those of the program do.
    """

    program: int | None
    is_new: bool
    darks: int
    science: int
    updated: int
    first_start_utc: datetime
    last_start_utc: datetime
    temperature_min_c: float
    temperature_max_c: float
    suspect: int = 0
    untested: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class JudgedDark:
    """A dark that the test of an ingest found suspect, or whose quality changed."""

    rootname: str
    program: int | None
    quality: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class DarkSpan:
    """The range of some darks: number, first and last start, smallest and largest mean temperature (C)."""

    darks: int
    first_start_utc: datetime
    last_start_utc: datetime
    temperature_min_c: float
    temperature_max_c: float


@dataclass(frozen=True, slots=True)
class TouchedExposure:
    """An exposure that an ingest added (`is_new`) or updated."""

    rootname: str
    kind: str
    program: int | None
    start_utc: datetime
    temperature_mean_c: float
    quality: str
    quality_reason: str | None
    is_new: bool


def _first_runs() -> sa.Select[int | None, int]:
    """Return the select of the first ingest run of each exposure, from the runs of its files."""
    file = models.File
    return (
        sa.select(file.exposure_id, sa.func.min(file.ingest_run_id).label("run"))
        .where(file.exposure_id.is_not(None))
        .group_by(file.exposure_id)
    )


def _added_before(run_id: int | None) -> sa.ColumnElement[bool]:
    """Return the condition that an exposure was in the catalog before a run; without a run, any was."""
    if run_id is None:
        return sa.true()
    new = _first_runs().having(sa.func.min(models.File.ingest_run_id) == run_id).subquery()
    return models.Exposure.id.not_in(sa.select(new.c.exposure_id))


def touched_exposures(session: Session, run_id: int) -> list[TouchedExposure]:
    """Return the exposures with a file of one ingest run, in order of time."""
    file, table = models.File, models.Exposure
    ids = sa.select(file.exposure_id).where(file.ingest_run_id == run_id, file.exposure_id.is_not(None))
    runs = _first_runs().where(file.exposure_id.in_(ids)).subquery()
    query = (
        sa.select(
            table.rootname,
            table.kind,
            table.program,
            table.start_utc,
            table.temperature_mean_c,
            table.quality,
            table.quality_reason,
            runs.c.run == run_id,
        )
        .join(runs, runs.c.exposure_id == table.id)
        .order_by(table.start_mjd, table.rootname)
    )
    return [TouchedExposure(*row) for row in session.execute(query)]


def with_several_contents(session: Session, run_id: int) -> list[str]:
    """Return the exposures of an ingest run with present files of one kind and PROCTIME, but several checksums."""
    file = models.File
    ids = sa.select(file.exposure_id).where(file.ingest_run_id == run_id, file.exposure_id.is_not(None))
    query = (
        sa.select(models.Exposure.rootname)
        .join(file, file.exposure_id == models.Exposure.id)
        .where(file.exposure_id.in_(ids), file.state == "present")
        .group_by(models.Exposure.rootname, file.kind, file.processed_mjd)
        .having(sa.func.count(file.sha256.distinct()) > 1)
    )
    return sorted(set(session.scalars(query)))


def would_touch(session: Session | None, facts: Sequence[ExposureFacts]) -> list[TouchedExposure]:
    """Return the exposures that files would add or update, in order of time; the catalog is None if there is none."""
    by_name = {one.rootname: one for one in sorted(facts, key=lambda one: (one.start_mjd, one.rootname))}
    known = {} if session is None else exposure_ids(session, by_name)
    return [
        TouchedExposure(
            rootname=one.rootname,
            kind=one.kind,
            program=one.program,
            start_utc=one.start_utc,
            temperature_mean_c=mean_temperature_c(one.temperature_start_c, one.temperature_end_c),
            quality="good",
            quality_reason=None,
            is_new=one.rootname not in known,
        )
        for one in by_name.values()
    ]


def by_program(
    session: Session | None,
    run_id: int | None,
    touched: Iterable[TouchedExposure],
    rejected_names: Iterable[str] = (),
) -> list[IngestedProgram]:
    """Count touched exposures by program, in order of time.

    Parameters
    ----------
    session : Session or None
        The catalog; None if there is none yet.
    run_id : int or None
        The ingest run; None if nothing was written.
    rejected_names : iterable of str
        The names of rejected files.
    """
    groups: dict[int | None, list[TouchedExposure]] = defaultdict(list)
    for one in touched:
        groups[one.program].append(one)
    known: set[int | None] = set()
    if session is not None:
        program = models.Exposure.program
        known = set(session.scalars(sa.select(program).where(_added_before(run_id)).distinct()))
    # The first four characters of a root name stand for the program.
    starts = [name[:4].lower() for name in rejected_names]
    found = []
    for number, members in groups.items():
        theirs = {one.rootname[:4] for one in members}
        darks = [one for one in members if one.kind == "dark"]
        found.append(
            IngestedProgram(
                program=number,
                is_new=number not in known,
                darks=sum(one.is_new for one in darks),
                science=sum(one.is_new and one.kind == "science" for one in members),
                updated=sum(not one.is_new for one in members),
                first_start_utc=min(one.start_utc for one in members),
                last_start_utc=max(one.start_utc for one in members),
                temperature_min_c=min(one.temperature_mean_c for one in members),
                temperature_max_c=max(one.temperature_mean_c for one in members),
                suspect=sum(one.quality == "suspect" for one in darks),
                untested=sum(one.quality == "untested" for one in darks),
                rejected=sum(start in theirs for start in starts),
            )
        )
    return found


def judged_darks(session: Session, run_id: int, touched: Iterable[TouchedExposure]) -> list[JudgedDark]:
    """Return the suspect darks of an ingest, and the other darks whose quality it changed, except new untested ones."""
    found = {
        one.rootname: JudgedDark(one.rootname, one.program, one.quality, one.quality_reason)
        for one in touched
        if one.kind == "dark" and one.quality == "suspect"
    }
    new = {one.rootname for one in touched if one.is_new}
    query = (
        sa.select(
            models.Exposure.rootname, models.Exposure.program, models.QualityNote.quality, models.QualityNote.reason
        )
        .join(models.QualityNote, models.QualityNote.exposure_id == models.Exposure.id)
        .where(models.QualityNote.ingest_run_id == run_id)
        .order_by(models.Exposure.start_mjd, models.QualityNote.id)
    )
    for row in session.execute(query):
        if row.rootname not in new:
            found[row.rootname] = JudgedDark(*row)
    return list(found.values())


def darks_before(session: Session, run_id: int | None) -> DarkSpan | None:
    """Return the range of the darks before an ingest run (without one: of all darks); None if there were none."""
    table = models.Exposure
    query = sa.select(
        sa.func.count(),
        sa.func.min(table.start_utc),
        sa.func.max(table.start_utc),
        sa.func.min(table.temperature_mean_c),
        sa.func.max(table.temperature_mean_c),
    ).where(table.kind == "dark", _added_before(run_id))
    row = session.execute(query).one()
    return DarkSpan(*row) if row[0] else None
