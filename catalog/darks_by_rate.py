"""Darks in the order of (rate - value)^2 + error^2, by two statements whose cost does not grow with the catalog.

An index orders the darks of each block of the rate by their error. The first statement looks at a few darks at the
beginning of each near block: the costs of those that pass the gates bound the cost of the best ones. The second ranks
all darks up to this bound, which are few: in a block they are those up to a certain error.
"""

from __future__ import annotations

import math
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from sbcdark.catalog.queries import values_query
from sbcdark.catalog.ranking_conditions import EXPOSURES, cost, gated, gated_columns, number, place, tolerated, whole
from sbcdark.catalog.rate_blocks import block_of, distance_to, farthest_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.orm import Session

    from sbcdark.catalog.criteria import Ranking
    from sbcdark.catalog.ranking_conditions import Form

BLOCK_COLUMNS = {"contrast_count_s_pix": "contrast_block", "box_rate_count_s_pix": "box_rate_block"}
"""Column with the block of a rate."""

_SAMPLED = 2
"""Number of blocks on each side whose first darks are looked at by one statement."""

_SAMPLES = 2
"""Number of such statements, further and further out; then the darks nearest by the rate alone are looked at."""

_NEAREST = (512, 16_384)
"""Numbers of darks nearest by the rate that are looked at on each side before every dark is ranked."""

_MOST_BLOCKS = 32
"""Up to this number of blocks, each is searched by itself; beyond it, they are read through."""

_NOWHERE = 2**62
_LARGE = 1e300
_MARGIN = 1e-9


class Reach:
    """The darks that cost no more than a bound, as conditions on the index of the blocks, nearest blocks first.

    Parameters
    ----------
    bound : float
        Largest cost; infinite for all darks.
    beyond : float or None
        Only darks with |z| above this are of interest.
    """

    def __init__(self, ranking: Ranking, bound: float, beyond: float | None = None) -> None:
        self._parts: list[tuple[int, int, float]] = []
        value, variance = ranking.value, ranking.z_variance
        first, last, reach = -_NOWHERE, _NOWHERE, _LARGE
        if not math.isinf(bound):
            # The cost includes the squared difference. The margin covers rounding; the cost itself decides.
            reach = math.sqrt(bound) * (1 + _MARGIN) + 4 * sys.float_info.epsilon * abs(value)
            first, last = block_of(value - reach) or 0, block_of(value + reach) or 0
        self.shape = Shape(1, wide=last - first >= _MOST_BLOCKS)
        if self.shape.wide:
            edges = outward(block_of(value) or 0, first, last + 1)
            self._parts = [(start, end - 1, reach) for start, end in edges]
        else:
            for block in sorted(range(first, last + 1), key=lambda block: distance_to(block, value)):
                most = reach**2 - distance_to(block, value) ** 2
                if beyond is not None:
                    # (rate - value)^2 is above beyond^2 (variance + error^2), and at most bound - error^2.
                    most = min(most, (farthest_in(block, value) / beyond) ** 2 * (1 + _MARGIN) - variance)
                    most = min(most, (reach**2 - beyond**2 * variance * (1 - _MARGIN)) / (1 + beyond**2))
                if most >= 0:
                    self._parts.append((block, block, math.sqrt(most) * (1 + _MARGIN)))
        self.shape = self.shape._replace(size=1 << max(len(self._parts) - 1, 0).bit_length())

    def values(self) -> dict[str, Any]:
        """Return the values of the parameters of the conditions."""
        parts = self._parts + [(_NOWHERE, -_NOWHERE, 0.0)] * (self.shape.size - len(self._parts))
        return {
            f"{name}_{index}": value
            for index, part in enumerate(parts)
            for name, value in zip(("first", "last", "error"), part, strict=True)
        }


class Shape(NamedTuple):
    """What the conditions of a reach depend on besides numbers.

    Attributes
    ----------
    size : int
        Number of parts, a power of 2, so that few statements are compiled.
    wide : bool
        Whether a part has many blocks. A search in one block ends where the error does.
    """

    size: int
    wide: bool


def outward(center: Any, low: Any, high: Any) -> list[tuple[Any, Any]]:
    """Split a half-open range at its center and at 1/64 and 1/8 of the way to its ends; the nearest parts come first.

    A count of darks that stops at some number begins with those that are most likely to pass the gates.
    """
    integers = isinstance(center, int)
    up, down = [center], [center]
    for part in (64, 8, 1):
        up.append(center + ((high - center) // part if integers else (high - center) / part))
        down.append(center - ((center - low) // part if integers else (center - low) / part))
    up[-1], down[-1] = high, low
    pairs = [((up[i], up[i + 1]), (down[i + 1], down[i])) for i in range(3)]
    return [part for pair in pairs for part in pair]


def within_reach(form: Form, shape: Shape) -> sa.Select[Any]:
    """Return the query for the darks within reach, without columns, for conditions of its own.

    The parts are rows of a table that is joined, so that the conditions stand once in the statement.
    """
    rows = [
        sa.select(
            whole(f"first_{index}").label("first"), whole(f"last_{index}").label("last"),
            number(f"error_{index}").label("error"),
        )
        for index in range(shape.size)
    ]  # fmt: skip
    part = sa.union_all(*rows).subquery("part")
    block, error = EXPOSURES.c[BLOCK_COLUMNS[form.column]], EXPOSURES.c[form.error_column or ""]
    there = block.between(part.c.first, part.c.last) if shape.wide else block == part.c.first
    reached = sa.and_(EXPOSURES.c.kind == "dark", there, error <= part.c.error)
    return sa.select().select_from(part.join(EXPOSURES, reached))


def darks_by_rate(
    session: Session, form: Form, ranking: Ranking, values: dict[str, Any], beyond: float | None, first: int
) -> Iterator[list[Any]]:
    """Yield the rows of the best darks (see `queries.values_query`), page by page, in any order within a page.

    Parameters
    ----------
    values : dict
        The values of the parameters of the form.
    beyond : float or None
        Only darks with |z| above this are included, if it is finite.
    first : int
        Number of darks on the first page; with each page there are four times as many in all.
    """
    least = None if beyond is None or math.isinf(beyond) else beyond
    size = first
    seen: set[int] = set()
    while True:
        for bound in _bounds(session, form, ranking, values | {"size": size}, least):
            reach = Reach(ranking, bound, least)
            given = values | reach.values() | {"size": size, "bound": min(bound, _LARGE)}
            rows = session.execute(_ranked(form, reach.shape), given).all()
            if len(rows) == size:
                break
        yield [row for row in rows if row[-1] not in seen]
        if len(rows) < size:
            return
        seen.update(row[-1] for row in rows)
        size *= 4


@lru_cache
def _ranked(form: Form, shape: Shape) -> sa.Select[Any]:
    conditions = cost(form, EXPOSURES.c) <= number("bound"), gated(form.gates), tolerated(form)
    best = within_reach(form, shape).add_columns(EXPOSURES.c.id).where(*conditions)
    ids = best.order_by(*place(form, EXPOSURES.c)).limit(whole("size")).subquery()
    return values_query("RAW").add_columns(EXPOSURES.c.id).where(EXPOSURES.c.id.in_(sa.select(ids.c.id)))


def _bounds(
    session: Session, form: Form, ranking: Ranking, values: dict[str, Any], beyond: float | None
) -> Iterator[float]:
    """Yield costs to try: at last one that as many darks as asked for do not exceed, infinite if there may be fewer."""
    # A dark may be found twice, once of its block and once of its rate.
    costs = sorted({name: float(spent) for spent, name in _sampled(session, form, ranking, values, beyond)}.values())
    if costs and costs[0] == costs[1]:  # there may be many of the best
        yield costs[0]
    yield costs[values["size"] - 1] if costs else math.inf


def _sampled(
    session: Session, form: Form, ranking: Ranking, values: dict[str, Any], beyond: float | None
) -> Sequence[Any]:
    """Return the costs and root names of the best of some darks, some twice; empty if there may be fewer in all."""
    least = (beyond or 0.0) * math.sqrt(ranking.z_variance) * (1 - _MARGIN)
    low, high = block_of(ranking.value - least) or 0, block_of(ranking.value + least) or 0
    # A dark may be found twice, once of its block and once of its rate.
    size = 2 * values["size"]
    sides = {"below": ranking.value - least, "above": ranking.value + least, "sampled": size}
    near = values | sides | {"looked": 2 * size, "nearby": 4 * size}
    for sample in range(_SAMPLES):
        steps = range(sample * _SAMPLED, (sample + 1) * _SAMPLED)
        blocks = sorted({low - step for step in steps} | {high + step for step in steps})
        blocks += [_NOWHERE] * (2 * _SAMPLED - len(blocks))
        given = near | {f"block_{index}": block for index, block in enumerate(blocks)}
        if len(found := session.execute(_cost_in_blocks(form), given).all()) == size:
            return found
    for nearby in _NEAREST:
        found = session.execute(_cost_nearby(form), values | sides | {"nearby": nearby}).all()
        if len(found) == size:
            return found
    return ()


def _cost_of_passing(form: Form, parts: list[sa.Select[Any]]) -> sa.Select[Any]:
    """Return the query for the costs and root names of the best darks among some that pass the gates."""
    some = sa.union_all(*(sa.select(part.subquery()) for part in parts)).subquery("some")
    spent = cost(form, some.c).label("cost")
    query = sa.select(spent, some.c.rootname)
    return query.where(gated(form.gates, some.c), tolerated(form, some.c)).order_by(spent).limit(whole("sampled"))


@lru_cache
def _cost_in_blocks(form: Form) -> sa.Select[Any]:
    block, error = EXPOSURES.c[BLOCK_COLUMNS[form.column]], EXPOSURES.c[form.error_column or ""]
    first = gated_columns(form).order_by(error, EXPOSURES.c[form.column]).limit(whole("looked"))
    blocks = [first.where(block == whole(f"block_{one}")) for one in range(2 * _SAMPLED)]
    return _cost_of_passing(form, [*blocks, *_nearby(form)])


@lru_cache
def _cost_nearby(form: Form) -> sa.Select[Any]:
    return _cost_of_passing(form, _nearby(form))


def _nearby(form: Form) -> list[sa.Select[Any]]:
    """Return the queries for the darks nearest by the rate alone, above and below."""
    rate, identity = EXPOSURES.c[form.column], EXPOSURES.c.id
    above = gated_columns(form).where(rate >= number("above")).order_by(rate, identity)
    below = gated_columns(form).where(rate < number("below")).order_by(rate.desc(), identity.desc())
    return [above.limit(whole("nearby")), below.limit(whole("nearby"))]
