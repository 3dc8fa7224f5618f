"""Sequences of values in chunks that fit one SQL statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LARGEST_IN = 500
"""Values in one IN (...): SQLite accepts 32,766 parameters, older builds 999."""


def chunks(values: Sequence[Any], size: int = LARGEST_IN) -> Iterable[Sequence[Any]]:
    """Split values into chunks, by default of a size that fits one IN (...)."""
    return (values[start : start + size] for start in range(0, len(values), size))
