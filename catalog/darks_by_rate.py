"""Darks in the order of (rate - value)^2 + error^2: few rows of an index are read, however large the catalog is.

Counts are integers, so that many darks share a rate and an error: they are one point. The index orders the points of
each block of the rate by their error. Points are read block by block, outward, until those that are left cost more than
those that are known. The darks of a point follow in the order that breaks ties.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from sbcdark.catalog.darks_by_column import Tie, outward
from sbcdark.catalog.ranking_conditions import EXPOSURES, cost, number, tolerated, whole
from sbcdark.catalog.rate_blocks import block_of, distance_to, farthest_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from sbcdark.catalog.criteria import Ranking
    from sbcdark.catalog.darks_by_column import Candidate
    from sbcdark.catalog.ranking_conditions import Form

BLOCK_COLUMNS = {"contrast_count_s_pix": "contrast_block", "box_rate_count_s_pix": "box_rate_block"}
"""Column with the block of a rate."""

_FIRST, _MOST = 32, 4096
"""First and largest number of points of one block read at a time."""

_STEPS = 16
"""Number of steps outward by one block on each side; what is beyond is then ranked by one statement."""

_TOGETHER = 8
"""Number of points whose darks are read by one statement."""

_FEW_TIES = 64
"""Points with more darks are read a page at a time."""

_NOWHERE = 2**62
_LARGE = 1e300
_MARGIN = 1e-9


class _Point(NamedTuple):
    """A rate and an error that darks share; points order by what they cost."""

    cost: float
    block: int
    rate: float
    error: float


@dataclass(slots=True)
class _Block:
    """A block whose points are read up to `last` in order of error; `reach` is the least cost of the others."""

    last: _Point
    reach: float
    size: int


class Points:
    """The points of a ranking in order of cost, within (or beyond) a tolerance."""

    def __init__(
        self,
        session: Session,
        form: Form,
        ranking: Ranking,
        within: float,
        beyond: float | None,
        values: dict[str, Any],
    ) -> None:
        self._session, self._form, self._ranking, self._values = session, form, ranking, values
        self._within, self._beyond = within, 0.0 if beyond is None or math.isinf(beyond) else beyond
        self._known: list[_Point] = []
        self._blocks: dict[int, _Block] = {}
        # Within the least distance there are no darks beyond the tolerance.
        least = self._beyond * math.sqrt(ranking.z_variance) * (1 - _MARGIN)
        low, high = block_of(ranking.value - least) or 0, block_of(ranking.value + least) or 0
        self._first = sorted({low - 2, low - 1, low, high, high + 1, high + 2})
        self._down: int | None = low - 3
        self._up: int | None = high + 3
        self._rest = 0.0
        """Cost up to which all points are known, if they are no longer read block by block."""

    def in_order(self) -> Iterator[_Point]:
        """Yield the points in order of cost."""
        self._read_first()
        steps = 0
        while True:
            outside = self._outside()
            unread = min((block.reach for block in self._blocks.values()), default=math.inf)
            bound = min(outside, unread)
            while self._known and self._known[0].cost < bound:
                yield heapq.heappop(self._known)
            if math.isinf(bound):
                return
            if unread <= outside:
                self._read_on(min(self._blocks, key=lambda block: self._blocks[block].reach))
            elif steps < _STEPS:
                self._step()
                steps += 1
            else:
                self._read_rest()

    def _outside(self) -> float:
        """Return a lower bound on the cost of the points in blocks that are not read."""
        distances = [distance_to(block, self._ranking.value) for block in (self._down, self._up) if block is not None]
        return max(min(distances) ** 2, self._rest) if distances else math.inf

    def _take(self, rows: list[Any], size: int) -> None:
        """Add the points of some blocks, each in order of error, at most `size` of a block."""
        value, variance = self._ranking.value, self._ranking.z_variance
        pages: dict[int, list[_Point]] = {}
        for block, rate, error in rows:
            delta = rate - value
            # The same expressions as in SQL.
            point = _Point(delta * delta + error * error, block, rate, error)
            pages.setdefault(block, []).append(point)
            limit = error * error + variance
            near = math.isinf(self._within) or delta * delta <= self._within * self._within * limit
            far = not self._beyond or delta * delta > self._beyond * self._beyond * limit
            if near and far:
                heapq.heappush(self._known, point)
        for block, points in pages.items():
            self._blocks.pop(block, None)
            last, (smallest, largest) = points[-1], self._errors(block)
            if len(points) < size or last.error > largest:
                continue
            if last.error < smallest:
                last = last._replace(error=smallest, rate=-_LARGE)
            least = max(distance_to(block, value) ** 2, self._beyond**2 * (variance + last.error**2) * (1 - _MARGIN))
            self._blocks[block] = _Block(last, least + last.error**2, size)

    def _errors(self, block: int) -> tuple[float, float]:
        """Return the range of errors with which darks of a block can be within, or beyond, the tolerance."""
        value, variance = self._ranking.value, self._ranking.z_variance
        least, most = 0.0, math.inf
        if 0 < self._within < math.inf:
            excess = (distance_to(block, value) / self._within) ** 2 - variance
            least = math.sqrt(max(excess, 0.0)) * (1 - _MARGIN)
        if self._beyond:
            excess = (farthest_in(block, value) / self._beyond) ** 2 - variance
            most = math.sqrt(max(excess, 0.0)) * (1 + _MARGIN)
        return least, most

    def _read_first(self) -> None:
        values = {f"block_{place}": block for place, block in enumerate(self._first)} | {"size": _FIRST}
        self._take(list(self._session.execute(_points_of_blocks(self._form, len(self._first)), values)), _FIRST)

    def _read_on(self, block: int) -> None:
        here = self._blocks[block]
        size = min(4 * here.size, _MOST)
        values = {"block": block, "last_rate": here.last.rate, "last_error": here.last.error, "size": size}
        rows = list(self._session.execute(_points_after(self._form), values))
        if not rows:
            del self._blocks[block]
        self._take(rows, size)

    def _step(self) -> None:
        """Read the next block that holds darks, on each side."""
        up = _NOWHERE if self._up is None else self._up
        down = -_NOWHERE if self._down is None else self._down
        values = {"from_up": up, "from_down": down, "size": _FIRST}
        rows = list(self._session.execute(_points_of_next_blocks(self._form), values))
        self._take(rows, _FIRST)
        self._up = next((row[0] + 1 for row in rows if row[0] >= up), None)
        self._down = next((row[0] - 1 for row in rows if row[0] <= down), None)

    def _read_rest(self) -> None:
        """Rank the points of the blocks that are not read, by one statement."""
        values = self._values | {
            "from_up": _NOWHERE if self._up is None else self._up,
            "from_down": -_NOWHERE if self._down is None else self._down,
            "last_cost": self._rest,
            "size": _MOST,
        }
        rows = list(self._session.execute(_points_of_the_rest(self._form), values))
        points = [_Point(spent, block, rate, error) for block, rate, error, spent in rows]
        if len(points) < _MOST:
            self._up = self._down = None
        else:
            # Others may cost what the last one costs: they are read with the next page.
            self._rest = points[-1].cost
            points = [point for point in points if point.cost < self._rest]
        for point in points:
            heapq.heappush(self._known, point)


def darks_by_rate(
    session: Session, form: Form, ranking: Ranking, within: float, beyond: float | None, values: dict[str, Any]
) -> Iterator[Candidate]:
    """Return the darks in order of cost, then of the difference in temperature, then in time.

    Parameters
    ----------
    values : dict
        The values of the parameters of the form.
    """
    points = Points(session, form, ranking, within, beyond, values).in_order()
    tie = Tie(ranking.temperature_c, ranking.start_mjd)
    following = next(points, None)
    together = 1
    while following is not None:
        page = [following]
        following = next(points, None)
        # Points of one cost tie: their darks are sorted together.
        while following is not None and (len(page) < together or following.cost == page[-1].cost):
            page.append(following)
            following = next(points, None)
        together = _TOGETHER
        streams = []
        for start in range(0, len(page), _TOGETHER):
            streams += _darks_of(session, form, page[start : start + _TOGETHER], tie)
        yield from heapq.merge(*streams)


def _darks_of(session: Session, form: Form, points: list[_Point], tie: Tie) -> list[Iterator[Candidate]]:
    """Return the darks of each point, in order."""
    values: dict[str, Any] = {}
    for place in range(_TOGETHER):
        point = points[place] if place < len(points) else _Point(0.0, _NOWHERE, 0.0, 0.0)
        values |= {f"block_{place}": point.block, f"rate_{place}": point.rate, f"error_{place}": point.error}
    found: dict[int, list[Any]] = {}
    for place, identity, temperature, start in session.execute(_ties(form), values):
        key = (points[place].cost, abs(temperature - tie.temperature_c), abs(start - tie.start_mjd))
        found.setdefault(place, []).append((key, identity))
    return [
        iter(sorted(darks)) if len(darks) <= _FEW_TIES else _darks_of_one(session, form, points[place], tie)
        for place, darks in found.items()
    ]


def _darks_of_one(session: Session, form: Form, point: _Point, tie: Tie) -> Iterator[Candidate]:
    columns = (BLOCK_COLUMNS[form.column], form.error_column or "", form.column)
    for key, identity in outward(session, columns, (point.block, point.error, point.rate), tie):
        yield (point.cost, *key), identity


# The statements ------------------------------------------------------------------------------------------------------


def _size() -> sa.BindParameter[int]:
    return sa.bindparam("size", type_=sa.Integer())


def _place(form: Form, table: Any) -> tuple[Any, Any, Any]:
    """Return the columns of a table or alias that the index orders: the block, the error, the rate."""
    return table.c[BLOCK_COLUMNS[form.column]], table.c[form.error_column or ""], table.c[form.column]


def _first_of(form: Form, table: Any, *conditions: Any) -> Any:
    """Return a subquery for the id of the first dark in the index that meets conditions."""
    _, error, rate = _place(form, table)
    query = sa.select(table.c.id).where(table.c.kind == "dark", *conditions).order_by(error, rate)
    return query.limit(1).scalar_subquery()


def _chain(form: Form, *first: Any) -> sa.Select[Any]:
    """Return the query for some darks and the points that follow them in their blocks; each takes one search."""
    block, error, rate = _place(form, EXPOSURES)
    start = sa.select(block, error, rate, sa.literal(1).label("place")).where(EXPOSURES.c.id.in_(first))
    points = start.cte("points", recursive=True)
    block, error, rate, place = points.c
    beside, above, following = (EXPOSURES.alias(name) for name in ("beside", "above", "following"))
    its_block, its_error, its_rate = _place(form, beside)
    same_error = _first_of(form, beside, its_block == block, its_error == error, its_rate > rate)
    its_block, its_error, _ = _place(form, above)
    more = _first_of(form, above, its_block == block, its_error > error)
    step = (
        sa.select(*_place(form, following), place + 1)
        .select_from(points.join(following, following.c.id == sa.func.coalesce(same_error, more)))
        .where(place < _size())
    )
    block, error, rate, place = points.union_all(step).c
    return sa.select(block, rate, error).order_by(block, place)


@lru_cache
def _points_of_blocks(form: Form, blocks: int) -> sa.Select[Any]:
    first = []
    for index in range(blocks):
        table = EXPOSURES.alias()
        first.append(_first_of(form, table, _place(form, table)[0] == whole(f"block_{index}")))
    return _chain(form, *first)


@lru_cache
def _points_after(form: Form) -> sa.Select[Any]:
    beside, above = EXPOSURES.alias(), EXPOSURES.alias()
    block, error, rate = _place(form, beside)
    last = block == whole("block"), error == number("last_error"), rate > number("last_rate")
    same_error = _first_of(form, beside, *last)
    block, error, _ = _place(form, above)
    more = _first_of(form, above, block == whole("block"), error > number("last_error"))
    return _chain(form, sa.func.coalesce(same_error, more))


@lru_cache
def _points_of_next_blocks(form: Form) -> sa.Select[Any]:
    first = []
    for side in ("up", "down"):
        table, other = EXPOSURES.alias(), EXPOSURES.alias()
        block = _place(form, other)[0]
        there = block >= whole("from_up") if side == "up" else block <= whole("from_down")
        order = block.asc() if side == "up" else block.desc()
        next_block = sa.select(block).where(other.c.kind == "dark", there).order_by(order).limit(1).scalar_subquery()
        first.append(_first_of(form, table, _place(form, table)[0] == next_block))
    return _chain(form, *first)


@lru_cache
def _points_of_the_rest(form: Form) -> sa.Select[Any]:
    block, error, rate = _place(form, EXPOSURES)
    spent = cost(form, EXPOSURES.c)
    left = (block >= whole("from_up")) | (block <= whole("from_down"))
    return (
        sa.select(block, rate, error, spent)
        .where(EXPOSURES.c.kind == "dark", left, tolerated(form), spent >= number("last_cost"))
        .group_by(block, error, rate, spent)
        .order_by(spent)
        .limit(_size())
    )


@lru_cache
def _ties(form: Form) -> sa.Select[Any]:
    pages = []
    for place in range(_TOGETHER):
        block, error, rate = _place(form, EXPOSURES)
        query = sa.select(
            sa.literal_column(str(place)).label("place"),
            EXPOSURES.c.id,
            EXPOSURES.c.temperature_mean_c,
            EXPOSURES.c.start_mjd,
        ).where(
            EXPOSURES.c.kind == "dark",
            block == whole(f"block_{place}"),
            error == number(f"error_{place}"),
            rate == number(f"rate_{place}"),
        )
        pages.append(sa.select(query.limit(_FEW_TIES + 1).subquery()))
    return sa.select(sa.union_all(*pages).subquery())
