"""Files that contradict the catalog: the same name used for a dark, a science exposure or an association."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbcdark.catalog.queries import present_files
from sbcdark.catalog.records import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import FileReading


_PHRASES = {"dark": "a dark", "science": "a science exposure", "association": "an association"}


def contradictions(session: Session | None, readings: Sequence[FileReading]) -> dict[str, Refusal]:
    """Return, by URI, a refusal for each reading whose kind conflicts with another file of the same name.

    Present files in the catalog win, then the first of the new files. A conflicting file could turn a dark into a
    science exposure, or hide an exposure behind an association. New content in the only file of a name conflicts with
    nothing. Without a session, the readings are compared only with each other.
    """
    known = _kinds(session, [_claim(reading)[0] for reading in readings]) if session is not None else {}
    against: dict[str, Refusal] = {}
    for reading in readings:
        name, kind = _claim(reading)
        kinds = known.setdefault(name, {})
        others = {uri: other for uri, other in kinds.items() if uri != reading.uri}
        if others and kind not in others.values():
            uri = min(others)
            reason = (
                f"lists {name} as {_PHRASES[kind]}; conflicts with {uri.rpartition('/')[2]}, "
                f"which lists it as {_PHRASES[others[uri]]}"
            )
            against[reading.uri] = Refusal(
                reading.uri, reason, ignored=False, size_byte=reading.size_byte, mtime_ns=reading.mtime_ns
            )
        else:
            kinds[reading.uri] = kind
    return against


def _claim(reading: FileReading) -> tuple[str, str]:
    """Return the name that a file describes and the kind it gives that name."""
    if reading.exposure is not None:
        return reading.exposure.rootname, reading.exposure.kind
    return (reading.association.name if reading.association is not None else ""), "association"


def _kinds(session: Session, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the kinds of each name, by the URIs of its present files."""
    known: dict[str, dict[str, str]] = {}
    for name, kind, _, uri, *_ in present_files(session, names):
        known.setdefault(name, {})[uri] = kind
    return known
