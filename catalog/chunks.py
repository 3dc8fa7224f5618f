"""Values in pieces that one statement takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_CHUNK = 500
"""How many values go into one IN (...): SQLite takes 32,766 parameters, older builds 999."""


def chunks(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    """Cut values into pieces that fit into one IN (...)."""
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
