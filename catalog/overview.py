"""The catalog at a glance: its programs, the last changes, and what is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from sbcdark.catalog import models

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class ProgramOverview:
    """The exposures of one program; temperatures are mean temperatures of exposures, C."""

    program: int | None
    darks: int
    hot_darks: int
    science: int
    set_aside: int
    """Number of suspect, untested and retired ones."""
    first_start_utc: datetime
    last_start_utc: datetime
    temperature_min_c: float
    temperature_max_c: float


@dataclass(frozen=True, slots=True)
class RunOverview:
    """A change of the catalog: an ingest, a verification, a change of quality."""

    id: int
    action: str
    started_utc: datetime
    added: int
    updated: int
    rejected: int
    marked: tuple[str, ...]
    """The exposures that were retired or restored by hand."""
    reason: str | None
    """Why they were."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The catalog at a glance."""

    programs: tuple[ProgramOverview, ...]
    last_runs: tuple[RunOverview, ...]
    revision: int
    files: dict[str, int]
    """Number of files by state: present, missing, changed."""
    rejected_files: int
    associations: int
    selections: int
    products: int
    photometry: int


def overview(session: Session, *, hot_above_c: float, runs: int = 5) -> Overview:
    """Return the catalog at a glance.

    Parameters
    ----------
    hot_above_c : float
        Mean temperature above which a dark counts as hot, C.
    runs : int
        Number of last changes.
    """
    table = models.Exposure
    dark = table.kind == "dark"

    def number(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)

    programs = session.execute(
        sa.select(
            table.program,
            number(dark),
            number(dark & (table.temperature_mean_c > hot_above_c)),
            number(table.kind == "science"),
            number(table.quality != "good"),
            sa.func.min(table.start_utc),
            sa.func.max(table.start_utc),
            sa.func.min(table.temperature_mean_c),
            sa.func.max(table.temperature_mean_c),
        )
        .group_by(table.program)
        .order_by(sa.func.min(table.start_mjd))
    )
    found = _last_runs(session, runs)
    states = session.execute(sa.select(models.File.state, sa.func.count()).group_by(models.File.state))

    def rows(model: type[models.Base]) -> int:
        return session.scalar(sa.select(sa.func.count()).select_from(model)) or 0

    return Overview(
        tuple(ProgramOverview(*row) for row in programs),
        tuple(found),
        found[0].id if found else 0,
        dict(sorted(states.all())),
        rows(models.RejectedFile),
        rows(models.Association),
        rows(models.Selection),
        rows(models.Product),
        rows(models.Photometry),
    )


def _last_runs(session: Session, count: int) -> list[RunOverview]:
    table = models.QualityNote
    last = session.scalars(sa.select(models.IngestRun).order_by(models.IngestRun.id.desc()).limit(count)).all()
    query = (
        sa.select(table.ingest_run_id, table.reason, models.Exposure.rootname)
        .join(models.Exposure, models.Exposure.id == table.exposure_id)
        .where(table.ingest_run_id.in_([run.id for run in last]), table.by_hand)
        .order_by(table.id)
    )
    marked: dict[int, list[str]] = {}
    reasons: dict[int, str] = {}
    for run_id, reason, rootname in session.execute(query):
        marked.setdefault(run_id, []).append(rootname)
        reasons[run_id] = reason
    return [
        RunOverview(
            run.id, run.action, run.started_utc, run.added, run.updated, run.rejected,
            tuple(marked.get(run.id, ())), reasons.get(run.id),
        )
        for run in last
    ]  # fmt: skip
