"""Sequences of values in chunks that fit one SQL statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_CHUNK = 500
"""Values in one IN (...): SQLite accepts 32,766 parameters, older builds 999."""


def chunks(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    """Split values into chunks that fit one IN (...)."""
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
