"""The darks nearest to an exposure: in ranking order, nearest in time, or excluded by a gate."""

from __future__ import annotations

import heapq
import math
import sys
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sbcdark.catalog.chunks import chunks
from sbcdark.catalog.darks_by_column import darks_by_column
from sbcdark.catalog.darks_by_rate import BLOCK_COLUMNS, Reach, darks_by_rate, outward, within_reach
from sbcdark.catalog.queries import MATCH_COLUMNS, values_of, values_query
from sbcdark.catalog.ranking_conditions import (
    EXPOSURES,
    form_of,
    gate_form,
    gate_values,
    gated,
    gated_columns,
    number,
    parameters,
    place,
    tolerated,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from sqlalchemy.orm import Session

    from sbcdark.catalog.criteria import Gates, Ranking
    from sbcdark.catalog.darks_by_column import Candidate
    from sbcdark.catalog.darks_by_rate import Shape
    from sbcdark.catalog.ranking_conditions import Form, GateForm
    from sbcdark.catalog.records import MatchValues

_PAGE = 16
"""First page of a walk in time; each page is twice the previous one."""

_FIRST_PAGE, _LARGEST_PAGE = 8, 8192
"""First and largest page of a ranking; each page is twice the previous one."""

_TIE_COLUMNS = {"temperature_mean_c": ("start_mjd",), "box_count": ("temperature_mean_c", "start_mjd")}
"""What follows a column in its index."""

_PARTS = 6
"""Number of parts of `outward`."""

_FEW = 20_000
"""Up to this number, the darks that a limit in time leaves are all ranked."""

_TRIED = 4096
"""If of this many candidates fewer than one in 16 passes the gates, the database ranks the darks that do."""


def ranked_darks(
    session: Session, ranking: Ranking, gates: Gates, *, within: float = math.inf, beyond: float | None = None
) -> Iterator[MatchValues]:
    """Return the darks that pass the gates in ranking order, best first.

    The candidates come from the index of the ranking, in order. The gates are applied to one page of them at a time.

    Parameters
    ----------
    within : float
        Include only darks with |z| up to this.
    beyond : float or None
        Include only darks with |z| above this.
    """
    form, values = form_of(ranking, gates, within, beyond), parameters(ranking, gates, within, beyond)
    seen: set[int] = set()
    key = _sort_key(ranking)
    if _few_in_time(session, gates, ranking.start_mjd):
        yield from _all_ranked(session, form, values, seen)
        return
    if form.error_column is not None:
        for page in darks_by_rate(session, form, ranking, values, beyond, _FIRST_PAGE):
            yield from (values_of(row) for row in sorted(page, key=key))
        return
    passed = 0
    for ids in _pages(darks_by_column(session, form, ranking, within, beyond)):
        # Another process may commit between two pages.
        new = [identity for identity in ids if identity not in seen]
        rows = [
            row for chunk in chunks(new) for row in session.execute(_passing_of(form), values | {"ids": list(chunk)})
        ]
        passed += len(rows)
        yield from (values_of(row) for row in sorted(rows, key=key))
        seen.update(new)
        if len(seen) > _TRIED and 16 * passed < len(seen):
            yield from _all_ranked(session, form, values, seen)
            return


def _pages(found: Iterator[Candidate]) -> Iterator[list[int]]:
    """Split candidates into pages that do not split ties; each page is twice as large as the one before."""
    page: list[int] = []
    size = _FIRST_PAGE
    for _, tied in groupby(found, key=itemgetter(0)):
        page += [identity for _, identity in tied]
        if len(page) >= size:
            yield page
            page, size = [], min(2 * size, _LARGEST_PAGE)
    if page:
        yield page


def _sort_key(ranking: Ranking) -> Callable[[Any], tuple[Any, ...]]:
    names = (ranking.column, ranking.error_column, "temperature_mean_c", "start_mjd", "rootname")
    column, error, temperature, start, name = (None if one is None else MATCH_COLUMNS.index(one) for one in names)

    def key(row: Any) -> tuple[Any, ...]:
        delta = row[column] - ranking.value
        spent = delta * delta if error is None else delta * delta + row[error] * row[error]
        return (
            spent, abs(row[temperature] - ranking.temperature_c), abs(row[start] - ranking.start_mjd), row[name]
        )  # fmt: skip

    return key


@lru_cache
def _passing_of(form: Form) -> sa.Select[Any]:
    """Return the query for those of some darks that pass the gates and the tolerance."""
    ids = sa.bindparam("ids", expanding=True, type_=sa.BigInteger())
    return values_query("RAW").where(EXPOSURES.c.id.in_(ids), gated(form.gates), tolerated(form))


def _all_ranked(session: Session, form: Form, values: dict[str, Any], seen: set[int]) -> Iterator[MatchValues]:
    """Rank every dark that passes the gates, except those seen before, by one statement."""
    ids = session.scalars(_ranking(form), values).all()
    new = [identity for identity in ids if identity not in seen]
    size = _FIRST_PAGE
    while new:
        page, new = new[:size], new[size:]
        found: dict[int, MatchValues] = {}
        for chunk in chunks(page):
            rows = session.execute(_rows_of(), {"ids": list(chunk)})
            found |= {row[-1]: values_of(row) for row in rows}
        yield from (found[identity] for identity in page if identity in found)
        size = min(2 * size, _LARGEST_PAGE)


@lru_cache
def _ranking(form: Form) -> sa.Select[Any]:
    query = sa.select(EXPOSURES.c.id).where(EXPOSURES.c.kind == "dark", gated(form.gates), tolerated(form))
    return query.order_by(*place(form, EXPOSURES.c))


@lru_cache
def _rows_of() -> sa.Select[Any]:
    ids = sa.bindparam("ids", expanding=True, type_=sa.BigInteger())
    return values_query("RAW").add_columns(EXPOSURES.c.id).where(EXPOSURES.c.id.in_(ids))


def _few_in_time(session: Session, gates: Gates, near_mjd: float) -> bool:
    """Return whether the limit in time leaves so few darks that ranking all of them is faster."""
    if gates.max_days is None:
        return False
    values = {"after": near_mjd - gates.max_days, "before": near_mjd + gates.max_days}
    return (session.scalar(_in_window(), values) or 0) <= _FEW


@lru_cache
def _in_window() -> sa.Select[int]:
    table = EXPOSURES.c
    window = table.start_mjd.between(number("after"), number("before"))
    some = sa.select(table.id).where(table.kind == "dark", window).limit(_FEW + 1).subquery()
    return sa.select(sa.func.count()).select_from(some)


def count_better(session: Session, ranking: Ranking, gates: Gates, rootname: str, *, within: float, most: int) -> int:
    """Return the number of darks that pass the gates and rank before the dark `rootname`.

    Parameters
    ----------
    within : float
        Count only darks with |z| up to this.
    most : int
        Stop counting here.
    """
    form, values = form_of(ranking, gates, within, None), parameters(ranking, gates, within, None)
    # The same engine computes both sides, so a dark never ranks before itself.
    one = session.execute(_place_of(form), values | {"rootname": rootname}).one_or_none()
    if one is None or one[0] is None:
        return 0
    values |= dict(zip(("its_cost", "its_temperature", "its_start", "its_name"), one, strict=True)) | {"most": most}
    if form.column in BLOCK_COLUMNS:
        reach = Reach(ranking, one[0])
        return session.scalar(_count_within_reach(form, reach.shape), values | reach.values()) or 0
    # The margin covers rounding; the cost itself decides.
    distance = math.sqrt(one[0]) * (1 + 1e-9) + 4 * sys.float_info.epsilon * abs(ranking.value)
    lowest, highest = ranking.value - distance, math.nextafter(ranking.value + distance, math.inf)
    for index, (start, end) in enumerate(outward(ranking.value, lowest, highest)):
        values |= {f"from_{index}": start, f"to_{index}": end}
    return session.scalar(_count_in_range(form), values) or 0


@lru_cache
def _place_of(form: Form) -> sa.Select[Any]:
    name = sa.bindparam("rootname", type_=sa.String())
    return sa.select(*place(form, EXPOSURES.c)).where(EXPOSURES.c.rootname == name)


def _before(form: Form) -> sa.ColumnElement[bool]:
    """Return the condition that a dark passes the gates and ranks before another one."""
    limits = (number("its_cost"), number("its_temperature"), number("its_start"))
    its_name = sa.bindparam("its_name", type_=sa.String())
    before = sa.tuple_(*place(form, EXPOSURES.c)) < sa.tuple_(*limits, its_name)
    return sa.and_(before, gated(form.gates), tolerated(form))


def _count(ids: sa.Select[Any]) -> sa.Select[int]:
    return sa.select(sa.func.count()).select_from(ids.limit(whole("most")).subquery())


@lru_cache
def _count_in_range(form: Form) -> sa.Select[int]:
    column = EXPOSURES.c[form.column]
    darks = sa.select(EXPOSURES.c.id).where(EXPOSURES.c.kind == "dark", _before(form))
    parts = [darks.where(column >= number(f"from_{one}"), column < number(f"to_{one}")) for one in range(_PARTS)]
    return _count(sa.select(sa.union_all(*parts).subquery()))


@lru_cache
def _count_within_reach(form: Form, shape: Shape) -> sa.Select[int]:
    return _count(within_reach(form, shape).add_columns(EXPOSURES.c.id).where(_before(form)))


def excluded_darks(
    session: Session, ranking: Ranking, gates: Gates, *, nearest: int, also: Collection[str] = ()
) -> list[MatchValues]:
    """Return those of the darks nearest by the compared column that a gate excludes, and those named, in any order.

    Parameters
    ----------
    nearest : int
        Number of nearest darks in which they are searched.
    also : collection of str
        Root names to include although they pass the gates.
    """
    form, values = form_of(ranking, gates, math.inf, None), parameters(ranking, gates, math.inf, None)
    rows = session.execute(_excluded(form), values | {"nearest": nearest, "also": list(also)})
    return [values_of(row) for row in rows]


@lru_cache
def _excluded(form: Form) -> sa.Select[Any]:
    column = EXPOSURES.c[form.column]
    distance = sa.func.abs(column - number("value")).label("distance")
    ties = (*_TIE_COLUMNS.get(form.column, ()), "id")
    sides = []
    for upward in (True, False):
        side = column >= number("value") if upward else column < number("value")
        order = [EXPOSURES.c[name].asc() if upward else EXPOSURES.c[name].desc() for name in (form.column, *ties)]
        query = gated_columns(form).add_columns(EXPOSURES.c.id, distance).where(side)
        sides.append(sa.select(query.order_by(*order).limit(whole("nearest")).subquery()))
    both = sa.union_all(*sides).subquery()
    near = sa.select(both).order_by(both.c.distance, both.c.id).limit(whole("nearest")).subquery()
    named = near.c.rootname.in_(sa.bindparam("also", expanding=True, type_=sa.String()))
    ids = sa.select(near.c.id).where(sa.not_(gated(form.gates, near.c)) | named)
    return values_query("RAW").where(EXPOSURES.c.id.in_(ids))


def nearest_in_time(session: Session, start_mjd: float, gates: Gates) -> Iterator[MatchValues]:
    """Walk through the darks that pass the gates by the difference in time, nearest first.

    Two index scans, upward and downward, one page at a time. Nothing beyond what the caller consumes is read.
    """
    sides = [_walk(session, start_mjd, gates, upward=upward) for upward in (True, False)]
    return heapq.merge(*sides, key=lambda dark: (abs(dark.start_mjd - start_mjd), dark.rootname))


@lru_cache
def time_page(form: GateForm, *, upward: bool, first: bool) -> sa.Select[Any]:
    """Return the query for one page of a walk in time: the next darks beyond (start, id) in one direction."""
    table = EXPOSURES.c
    if first:
        side = table.start_mjd >= number("from_start") if upward else table.start_mjd < number("from_start")
    else:
        here, last = sa.tuple_(table.start_mjd, table.id), sa.tuple_(number("from_start"), whole("from_id"))
        side = here > last if upward else here < last
    order = (table.start_mjd.asc(), table.id.asc()) if upward else (table.start_mjd.desc(), table.id.desc())
    dark = table.kind == "dark"
    query = values_query("RAW").add_columns(table.id).where(dark, gated(form), side)
    return query.order_by(*order).limit(whole("size"))


def _walk(session: Session, start_mjd: float, gates: Gates, *, upward: bool) -> Iterator[MatchValues]:
    form, values = gate_form(gates), gate_values(gates, start_mjd) | {"from_start": start_mjd, "from_id": 0}
    first, size = True, _PAGE
    while True:
        values["size"] = size
        page = session.execute(time_page(form, upward=upward, first=first), values).all()
        yield from (values_of(row) for row in page)
        if len(page) < size:
            return
        first, size = False, min(2 * size, _LARGEST_PAGE)
        values |= {"from_start": page[-1][MATCH_COLUMNS.index("start_mjd")], "from_id": page[-1][-1]}
