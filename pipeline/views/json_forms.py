"""The JSON of the command line and of the server: keys with units, numbers as numbers, absent values null."""

from __future__ import annotations

import math
from dataclasses import asdict, fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbcdark.catalog.records import ScoredDark
from sbcdark.catalog.text import characters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sbcdark.catalog.records import Match

DARK_KEYS = tuple(one.name for one in fields(ScoredDark) if one.name not in {"file_id", "file", "role"})
"""The keys of a dark of a match, in order."""


def plain(record: Any) -> Any:
    """Return a record for JSON: numbers as numbers, times in ISO 8601, NaN and infinity as null."""
    if is_dataclass(record) and not isinstance(record, type):
        return plain(asdict(record))
    if isinstance(record, dict):
        return {str(key): plain(value) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [plain(value) for value in record]
    if isinstance(record, datetime):
        return record.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(record, float) and not math.isfinite(record):
        return None
    if isinstance(record, Path):
        return plain(str(record))
    if isinstance(record, str):
        return characters(record)
    return record


def match_form(match: Match) -> dict[str, Any]:
    """Return a match as its JSON object."""
    return {
        "exposure": match.exposure,
        "rule": match.rule,
        "tier": match.tier,
        "darks": dark_forms(match.darks),
        "nearest_rejected": [asdict(rejected) for rejected in match.nearest_rejected],
        "warnings": list(match.warnings),
        "templates": dark_forms(match.templates, "role"),
    }


def dark_forms(darks: Sequence[ScoredDark], *more: str) -> list[dict[str, Any]]:
    """Return darks of a match as JSON objects, with more keys if wanted."""
    return [{key: getattr(dark, key) for key in (*DARK_KEYS, *more)} for dark in darks]
