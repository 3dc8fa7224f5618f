"""The darks nearest to an exposure: in the order of a ranking, or outward along one column, a few rows at a time."""

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
"""How many darks are read at a time while walking outward from a value."""

_FIRST_PAGE, _LARGEST_PAGE = 16, 8192
"""How many darks of a ranking are read at first, and at most at a time: each page is twice the one before."""


_NEIGHBOURS = 8
"""So many times as many near darks are looked at, on either side, to know what the last of a page costs at most."""

_FEW = 20_000
"""So few darks are ranked one and all."""


def ranked_darks(
    session: Session, ranking: Ranking, gates: Gates, *, within: float = math.inf, beyond: float | None = None
) -> Iterator[MatchValues]:
    """Return the darks that pass some gates in the order of a ranking, best first.

    The database ranks. For each page, the nearest neighbours by index on either side say what the last dark of the page
    costs at most, and one scan of the index as far as that can be gives the page.

    Parameters
    ----------
    within : float
        Only darks with |z| up to this.
    beyond : float or None
        Only darks with |z| over this.
    """
    conditions = [*_passing(gates, ranking.start_mjd), *_tolerance(ranking, within, beyond)]
    bounded = not _few_in_time(session, gates, ranking.start_mjd)
    seen: set[int] = set()
    page = _FIRST_PAGE
    while True:
        ids = session.scalars(
            ranked_page(session, ranking, conditions, limit=page, offset=len(seen), bounded=bounded)
        ).all()
        # Another process may have committed between two pages.
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
        Whether the costs of near darks are looked at first, so that no more than a range of the index is read.
    """
    table = models.Exposure
    query = sa.select(table.id).where(*conditions).order_by(*_place(ranking, table)).limit(limit).offset(offset)
    worst = _worst_cost(session, ranking, conditions, limit + offset) if bounded else None
    return query if worst is None else query.where(*_up_to(ranking, worst))


def neighbours(
    ranking: Ranking, conditions: Sequence[sa.ColumnElement[bool]], number: int, *, upward: bool
) -> sa.Select[float]:
    """Return the query for what the nearest darks by the compared column alone, on one side, cost in the ranking."""
    table = models.Exposure
    column = getattr(table, ranking.column)
    side = column >= ranking.value if upward else column < ranking.value
    order = (column.asc(), table.id.asc()) if upward else (column.desc(), table.id.desc())
    return sa.select(_cost(ranking, table)).where(*conditions, side).order_by(*order).limit(number)


def _worst_cost(
    session: Session, ranking: Ranking, conditions: Sequence[sa.ColumnElement[bool]], number: int
) -> float | None:
    """Return what the last of the `number` best darks costs at most; None where there are not so many.

    None of the best costs more than the same place among others. The more neighbours are looked at, the closer that is.
    """
    costs = sorted(
        cost
        for upward in (True, False)
        for cost in session.scalars(neighbours(ranking, conditions, _NEIGHBOURS * number, upward=upward))
    )
    return costs[number - 1] if len(costs) >= number else None


def _few_in_time(session: Session, gates: Gates, near_mjd: float) -> bool:
    """Tell whether so few darks lie within the limit in time that it takes less to rank them than to look for more."""
    if gates.max_days is None:
        return False
    table = models.Exposure
    window = table.start_mjd.between(near_mjd - gates.max_days, near_mjd + gates.max_days)
    some = sa.select(table.id).where(table.kind == "dark", window).limit(_FEW + 1).subquery()
    return (session.scalar(sa.select(sa.func.count()).select_from(some)) or 0) <= _FEW


def count_better(session: Session, ranking: Ranking, gates: Gates, rootname: str, *, within: float, most: int) -> int:
    """Return how many darks that pass some gates stand before one of them in a ranking.

    Parameters
    ----------
    within : float
        Only darks with |z| up to this.
    most : int
        Counting ends at so many.
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
            # Both sides are computed by the same engine, so that a dark is never before itself.
            sa.tuple_(*_place(ranking, table)) < sa.tuple_(*_place(ranking, one)),
        )
        .limit(most)
        .subquery()
    )
    return session.scalar(sa.select(sa.func.count()).select_from(better)) or 0


def _place(ranking: Ranking, table: Any) -> tuple[Any, ...]:
    """Return what darks are ordered by."""
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
    """Return what every dark fulfils that costs no more than this: a range of the index, and the cost itself."""
    table = models.Exposure
    # The square of its distance is a part of its cost; the last digits are left to the cost.
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
    """Return what a dark must be, its file apart from the order in which copies are preferred."""
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
    """Walk through the darks by the distance of one column from a value, nearest first.

    Two index scans, one upward and one downward, a page at a time; nothing farther than what the caller consumes
    is read.

    Parameters
    ----------
    column : str
        One of the indexed columns of `exposures`.
    gates : Gates or None
        What to leave out in SQL; None walks through every dark.
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
