"""Sequences of values in chunks that fit one SQL statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import sqlalchemy as sa
    from sqlalchemy.orm import Session

_Columns = TypeVarTuple("_Columns")

LARGEST_IN = 500
"""Values in one IN (...): SQLite accepts 32,766 parameters, older builds 999."""


def chunks(values: Sequence[Any], size: int = LARGEST_IN) -> Iterable[Sequence[Any]]:
    """Split values into chunks, by default of a size that fits one IN (...)."""
    return (values[start : start + size] for start in range(0, len(values), size))


def rows_among(
    session: Session, query: sa.Select[*_Columns], column: Any, values: Iterable[Any]
) -> Iterator[sa.Row[*_Columns]]:
    """Yield the rows of a query in which a column has one of some values, however many these are."""
    for chunk in chunks(list(dict.fromkeys(values))):
        yield from session.execute(query.where(column.in_(chunk)))
