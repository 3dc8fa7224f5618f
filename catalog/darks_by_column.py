"""Darks in the order of the difference of one column; those that tie follow by temperature, then by time.

An index on the column, the temperature and the start is walked outward from the exposure's own values. However many
darks tie, no more of them are read than are asked for.
"""

from __future__ import annotations

import heapq
import math
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from sbcdark.catalog.ranking_conditions import EXPOSURES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.orm import Session

    from sbcdark.catalog.criteria import Ranking
    from sbcdark.catalog.ranking_conditions import Form

_PAGE = 64

_LARGE = 1e300
"""Above any value; a number, since SQLite has no infinity."""

_MARGIN = 1e-9

Candidate = tuple[tuple[float, ...], int]
"""Sort key and id of a dark; equal keys are ties that only the root name breaks."""


class _Walk(NamedTuple):
    """An outward walk: the columns, those fixed first, and the targets of the others."""

    session: Session
    columns: tuple[str, ...]
    targets: tuple[float, ...]
    fixed: tuple[Any, ...]


def darks_by_column(
    session: Session, form: Form, ranking: Ranking, within: float, beyond: float | None
) -> Iterator[Candidate]:
    """Return the darks by the difference of a column that has no error, ties by temperature, then by time.

    The tolerance is observed if z compares the same column; otherwise it is left to the caller.
    """
    tie = (ranking.temperature_c, ranking.start_mjd)
    if form.column == "temperature_mean_c":
        walk = _Walk(session, ("temperature_mean_c", "start_mjd"), tie, ())
    else:
        columns = (form.column, "temperature_mean_c", "start_mjd")
        walk = _Walk(session, columns, (ranking.value, *tie), ())
    if form.z_column != form.column:
        return _both_ways(walk)
    sigma = math.sqrt(ranking.z_variance)
    least = 0.0 if beyond is None or math.isinf(beyond) else beyond * sigma * (1 - _MARGIN)
    most = min(within * sigma * (1 + _MARGIN), _LARGE)

    def allowed(value: float) -> bool:
        # The same expressions as in SQL.
        delta = value - ranking.value
        near = math.isinf(within) or delta * delta <= within * within * ranking.z_variance
        return near and (least == 0.0 or delta * delta > (beyond or 0.0) * (beyond or 0.0) * ranking.z_variance)

    return _both_ways(walk, (least, most), allowed)


def _anything(_value: float) -> bool:
    return True


def _both_ways(
    walk: _Walk, distances: tuple[float, float] = (0.0, _LARGE), allowed: Callable[[float], bool] = _anything
) -> Iterator[Candidate]:
    """Walk outward from the target of the first column that is not fixed, between two distances."""
    return heapq.merge(*(_one_way(walk, distances, allowed, upward=upward) for upward in (True, False)))


def _one_way(
    walk: _Walk, distances: tuple[float, float], allowed: Callable[[float], bool], *, upward: bool
) -> Iterator[Candidate]:
    level = len(walk.fixed)
    deepest = level + 1 == len(walk.columns)
    target = walk.targets[level]
    sign = 1.0 if upward else -1.0
    # The target itself belongs to the upward side.
    after, inclusive = target + sign * distances[0], upward or distances[0] > 0
    values = {f"fixed_{place}": value for place, value in enumerate(walk.fixed)}
    values |= {"end": target + sign * distances[1], "size": _PAGE}
    while True:
        query = _side(walk.columns, level, upward=upward, inclusive=inclusive)
        page = walk.session.execute(query, values | {"after": after}).all()
        full = len(page) == _PAGE
        groups: list[tuple[float, list[Any]]]
        groups = [(value, list(rows)) for value, rows in groupby(page, key=itemgetter(level))]
        last = groups[-1][0] if full else target
        if full:
            # It may go on after the page.
            del groups[-1]
        if full and deepest:
            same = walk.session.scalars(_all_of(walk.columns), values | {"after": last})
            groups.append((last, [(*walk.fixed, last, identity) for identity in same]))
        for value, rows in groups:
            if allowed(value):
                yield from sorted((_key(row, walk, level), row[-1]) for row in rows)
        if not full:
            return
        if not deepest and allowed(last):
            for key, identity in _both_ways(walk._replace(fixed=(*walk.fixed, last))):
                yield (abs(last - target), *key), identity
        after, inclusive = last, False


def _key(row: Any, walk: _Walk, level: int) -> tuple[float, ...]:
    return tuple(abs(row[place] - walk.targets[place]) for place in range(level, len(walk.columns)))


def _fixed(columns: tuple[str, ...]) -> list[sa.ColumnElement[bool]]:
    table = EXPOSURES.c
    values = (sa.bindparam(f"fixed_{place}", type_=table[name].type) for place, name in enumerate(columns))
    return [table.kind == "dark", *(table[name] == value for name, value in zip(columns, values, strict=True))]


@lru_cache
def _side(columns: tuple[str, ...], level: int, *, upward: bool, inclusive: bool) -> sa.Select[Any]:
    table = EXPOSURES.c
    walked = table[columns[level]]
    after, end = (sa.bindparam(name, type_=walked.type) for name in ("after", "end"))
    query = sa.select(*(table[name] for name in columns), table.id).where(*_fixed(columns[:level]))
    if upward:
        query = query.where(walked >= after if inclusive else walked > after, walked <= end)
    else:
        query = query.where(walked <= after if inclusive else walked < after, walked >= end)
    ordered = [table[name] for name in (*columns[level:], "id")]
    order = ordered if upward else [column.desc() for column in ordered]
    return query.order_by(*order).limit(sa.bindparam("size", type_=sa.Integer()))


@lru_cache
def _all_of(columns: tuple[str, ...]) -> sa.Select[Any]:
    """Return the query for the darks that are equal in every column, but for the root name."""
    last = EXPOSURES.c[columns[-1]]
    return sa.select(EXPOSURES.c.id).where(*_fixed(columns[:-1]), last == sa.bindparam("after", type_=last.type))
