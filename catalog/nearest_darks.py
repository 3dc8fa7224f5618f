"""The darks nearest to an exposure: in ranking order, or outward along one column, a few rows at a time."""

from __future__ import annotations

import heapq
import math
import sys
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from sbcdark.catalog import models
from sbcdark.catalog.chunks import chunks
from sbcdark.catalog.criteria import USABLE
from sbcdark.catalog.queries import best_file, values_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.orm import Session

    from sbcdark.catalog.criteria import Gates, Ranking
    from sbcdark.catalog.records import MatchValues

_PAGE = 64
"""Page size of a walk outward from a value."""

_FIRST_PAGE, _LARGEST_PAGE = 16, 8192
"""First and largest page of a ranking; each page is twice the previous one."""


_NEIGHBOURS = 8
"""Neighbours read on each side, as a multiple of the page, to bound the cost of the last dark of the page."""

_FEW = 20_000
"""Up to this number, all darks are ranked without a bound."""


def ranked_darks(
    session: Session, ranking: Ranking, gates: Gates, *, within: float = math.inf, beyond: float | None = None
) -> Iterator[MatchValues]:
    """Return the darks that pass the gates in ranking order, best first.

    The database ranks. For each page, the nearest neighbours by index on both sides bound the cost of the last dark,
    and one index scan within that bound returns the page.

    Parameters
    ----------
    within : float
        Include only darks with |z| up to this.
    beyond : float or None
        Include only darks with |z| above this.
    """
    conditions = [*_passing(gates, ranking.start_mjd), *_tolerance(ranking, within, beyond)]
    bounded = not _few_in_time(session, gates, ranking.start_mjd)
    seen: set[int] = set()
    page = _FIRST_PAGE
    while True:
        ids = session.scalars(
            ranked_page(session, ranking, conditions, limit=page, offset=len(seen), bounded=bounded)
        ).all()
        # Another process may commit between two pages.
        yield from _in_order(session, [identity for identity in ids if identity not in seen])
        seen.update(ids)
        if len(ids) < page:
            return
        page = min(2 * page, _LARGEST_PAGE)


def ranked_page(
    session: Session,
    ranking: Ranking,
    conditions: Sequence[sa.ColumnElement[bool]],
    *,
    limit: int,
    offset: int,
    bounded: bool = True,
) -> sa.Select[int]:
    """Return the query for the ids of one page of a ranking.

    Parameters
    ----------
    bounded : bool
        Whether nearby darks bound the cost first, so that only a range of the index is read.
    """
    table = models.Exposure
    query = sa.select(table.id).where(*conditions).order_by(*_place(ranking, table)).limit(limit).offset(offset)
    worst = _worst_cost(session, ranking, conditions, limit + offset) if bounded else None
    return query if worst is None else query.where(*_up_to(ranking, worst))


def neighbours(
    ranking: Ranking, conditions: Sequence[sa.ColumnElement[bool]], number: int, *, upward: bool
) -> sa.Select[float]:
    """Return the query for the ranking costs of the nearest darks, by the compared column, on one side."""
    table = models.Exposure
    column = getattr(table, ranking.column)
    side = column >= ranking.value if upward else column < ranking.value
    order = (column.asc(), table.id.asc()) if upward else (column.desc(), table.id.desc())
    return sa.select(_cost(ranking, table)).where(*conditions, side).order_by(*order).limit(number)


def _worst_cost(
    session: Session, ranking: Ranking, conditions: Sequence[sa.ColumnElement[bool]], number: int
) -> float | None:
    """Return an upper bound on the cost of the `number` best darks; None if there are fewer darks.

    The n-th best of any subset costs at least as much as the n-th best of all. More neighbours tighten the bound.
    """
    costs = sorted(
        cost
        for upward in (True, False)
        for cost in session.scalars(neighbours(ranking, conditions, _NEIGHBOURS * number, upward=upward))
    )
    return costs[number - 1] if len(costs) >= number else None


def _few_in_time(session: Session, gates: Gates, near_mjd: float) -> bool:
    """Return whether the limit in time leaves so few darks that ranking all of them is faster than bounding."""
    if gates.max_days is None:
        return False
    table = models.Exposure
    window = table.start_mjd.between(near_mjd - gates.max_days, near_mjd + gates.max_days)
    some = sa.select(table.id).where(table.kind == "dark", window).limit(_FEW + 1).subquery()
    return (session.scalar(sa.select(sa.func.count()).select_from(some)) or 0) <= _FEW


def count_better(session: Session, ranking: Ranking, gates: Gates, rootname: str, *, within: float, most: int) -> int:
    """Return the number of darks that pass the gates and rank before the dark `rootname`.

    Parameters
    ----------
    within : float
        Count only darks with |z| up to this.
    most : int
        Stop counting here.
    """
    table, one = models.Exposure, aliased(models.Exposure)
    cost = session.scalar(sa.select(_cost(ranking, one)).where(one.rootname == rootname))
    if cost is None:
        return 0
    better = (
        sa.select(table.id)
        .join(one, one.rootname == rootname)
        .where(
            *_passing(gates, ranking.start_mjd),
            *_tolerance(ranking, within, None),
            *_up_to(ranking, cost),
            # The same engine computes both sides, so a dark never ranks before itself.
            sa.tuple_(*_place(ranking, table)) < sa.tuple_(*_place(ranking, one)),
        )
        .limit(most)
        .subquery()
    )
    return session.scalar(sa.select(sa.func.count()).select_from(better)) or 0


def _place(ranking: Ranking, table: Any) -> tuple[Any, ...]:
    """Return the sort key of darks."""
    return (
        _cost(ranking, table),
        sa.func.abs(table.temperature_mean_c - ranking.temperature_c),
        sa.func.abs(table.start_mjd - ranking.start_mjd),
        table.rootname,
    )


def _cost(ranking: Ranking, table: Any) -> sa.ColumnElement[float]:
    delta: sa.ColumnElement[float] = getattr(table, ranking.column) - ranking.value
    if ranking.error_column is None:
        return delta * delta
    error: sa.ColumnElement[float] = getattr(table, ranking.error_column)
    return delta * delta + error * error


def _up_to(ranking: Ranking, cost: float) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions of all darks that cost at most `cost`: a range of the index, and the cost itself."""
    table = models.Exposure
    # The cost includes the squared difference. The margin covers rounding; the cost condition decides.
    reach = math.sqrt(cost) * (1 + 1e-9) + 4 * sys.float_info.epsilon * abs(ranking.value)
    column = getattr(table, ranking.column)
    return column.between(ranking.value - reach, ranking.value + reach), _cost(ranking, table) <= cost


def _tolerance(ranking: Ranking, within: float, beyond: float | None) -> list[sa.ColumnElement[bool]]:
    table = models.Exposure
    delta = getattr(table, ranking.z_column) - ranking.z_value
    variance: Any = ranking.z_variance
    if ranking.z_error_column is not None:
        error = getattr(table, ranking.z_error_column)
        variance = error * error + ranking.z_variance
    conditions = []
    if not math.isinf(within):
        conditions.append(delta * delta <= within * within * variance)
    if beyond is not None and not math.isinf(beyond):
        conditions.append(delta * delta > beyond * beyond * variance)
    return conditions


def _passing(gates: Gates, near_mjd: float) -> list[sa.ColumnElement[bool]]:
    """Return the gate conditions; any present RAW counts, whichever copy is preferred."""
    table, file = models.Exposure, aliased(models.File)
    there = sa.select(file.id).where(file.exposure_id == table.id, file.kind == "RAW", file.state == "present")
    conditions = [
        table.kind == "dark",
        table.quality.in_(USABLE),
        table.exptime_s >= gates.min_exptime_s,
        table.contrast_count_s_pix.is_not(None),
        there.exists(),
    ]
    low, high = gates.temperature_c
    if low is not None:
        conditions.append(table.temperature_mean_c >= low)
    if high is not None:
        conditions.append(table.temperature_mean_c <= high)
    if gates.max_days is not None:
        conditions.append(table.start_mjd.between(near_mjd - gates.max_days, near_mjd + gates.max_days))
    if gates.other_than is not None:
        conditions.append(table.rootname != gates.other_than)
    for ceiling in gates.ceilings:
        column, error = getattr(table, ceiling.column), getattr(table, ceiling.error_column)
        delta = column - ceiling.value
        base = sa.case(
            (table.quiet_rate_count_s_pix < ceiling.quiet, table.quiet_rate_count_s_pix), else_=ceiling.quiet
        )
        variance = error * error + ceiling.base_share**2 * base * base + ceiling.variance
        conditions.append((delta <= 0) | (delta * delta <= ceiling.sigma**2 * variance))
    return conditions


def _in_order(session: Session, ids: Sequence[int]) -> Iterator[MatchValues]:
    found: dict[int, MatchValues] = {}
    for chunk in chunks(ids):
        query = (
            sa.select(models.Exposure, models.File)
            .outerjoin(models.File, models.File.id == best_file("RAW"))
            .where(models.Exposure.id.in_(chunk))
        )
        found |= {row.id: values_of(row, file) for row, file in session.execute(query)}
    return (found[identity] for identity in ids if identity in found)


def darks_outward(
    session: Session, column: str, value: float, near_mjd: float, gates: Gates | None
) -> Iterator[MatchValues]:
    """Walk through the darks by the difference of one column from a value, nearest first.

    Two index scans, upward and downward, one page at a time. Nothing beyond what the caller consumes is read.

    Parameters
    ----------
    column : str
        An indexed column of `exposures`.
    gates : Gates or None
        Gates applied in SQL; None walks through every dark.
    """
    up = _walk(session, column, value, near_mjd, gates, upward=True)
    down = _walk(session, column, value, near_mjd, gates, upward=False)
    return heapq.merge(up, down, key=lambda dark: (abs(getattr(dark, column) - value), dark.rootname))


def outward_page(
    column: str, value: float, near_mjd: float, gates: Gates | None, *, upward: bool, after: int | None
) -> sa.Select[models.Exposure, models.File]:
    """Return the query for one page of a walk: the next darks beyond (value, id) in one direction."""
    table = models.Exposure
    compared = getattr(table, column)
    conditions = [table.kind == "dark"] if gates is None else _passing(gates, near_mjd)
    if after is None:
        side = compared >= value if upward else compared < value
    else:
        here, last = sa.tuple_(compared, table.id), sa.tuple_(sa.literal(value), sa.literal(after))
        side = here > last if upward else here < last
    order = (compared.asc(), table.id.asc()) if upward else (compared.desc(), table.id.desc())
    return (
        sa.select(table, models.File)
        .outerjoin(models.File, models.File.id == best_file("RAW"))
        .where(*conditions, side)
        .order_by(*order)
        .limit(_PAGE)
    )


def _walk(
    session: Session, column: str, value: float, near_mjd: float, gates: Gates | None, *, upward: bool
) -> Iterator[MatchValues]:
    after: int | None = None
    start = value
    while True:
        page = session.execute(outward_page(column, start, near_mjd, gates, upward=upward, after=after)).all()
        for row, file in page:
            yield values_of(row, file)
        if len(page) < _PAGE:
            return
        last = page[-1][0]
        start, after = getattr(last, column), last.id
