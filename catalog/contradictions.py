"""Files that contradict what the catalog holds: one name for a dark, a science exposure and an association."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from sbcdark.catalog import models
from sbcdark.catalog.chunks import chunks
from sbcdark.catalog.records import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import FileReading


_TOLD = {"dark": "a dark", "science": "a science exposure", "association": "an association"}


def contradictions(session: Session | None, readings: Sequence[FileReading]) -> dict[str, Refusal]:
    """Return, by URI, the refusal of each reading that takes for something else what another file of that name is.

    What the catalog knows from a file that is present stands, and among new files the first: one that says otherwise
    would turn a dark into an exposure that darks are subtracted from, or hide an exposure behind an association. New
    content in place of the only file of a name contradicts nothing. Without a session the readings are compared with
    each other alone.
    """
    known = _kinds(session, [_claim(reading)[0] for reading in readings]) if session is not None else {}
    against: dict[str, Refusal] = {}
    for reading in readings:
        name, kind = _claim(reading)
        kinds = known.setdefault(name, {})
        others = {other for uri, other in kinds.items() if uri != reading.uri}
        if others and kind not in others:
            reason = f"it calls {name} {_TOLD[kind]}, which another file denies"
            against[reading.uri] = Refusal(
                reading.uri, reason, ignored=False, size_byte=reading.size_byte, mtime_ns=reading.mtime_ns
            )
        else:
            kinds[reading.uri] = kind
    return against


def _claim(reading: FileReading) -> tuple[str, str]:
    """Return the name of what a file is of, and what it says that is."""
    if reading.exposure is not None:
        return reading.exposure.rootname, reading.exposure.kind
    return (reading.association.name if reading.association is not None else ""), "association"


def _kinds(session: Session, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return what each name stands for, at the URIs of its files that are present."""
    known: dict[str, dict[str, str]] = {}
    for chunk in chunks(sorted(set(names))):
        exposures = (
            sa.select(models.Exposure.rootname, models.File.uri, models.Exposure.kind)
            .join(models.File, models.File.exposure_id == models.Exposure.id)
            .where(models.Exposure.rootname.in_(chunk), models.File.state == "present")
        )
        associations = (
            sa.select(models.Association.name, models.File.uri, sa.literal("association"))
            .join(models.File, models.File.association_id == models.Association.id)
            .where(models.Association.name.in_(chunk), models.File.state == "present")
        )
        for query in (exposures, associations):
            for name, uri, kind in session.execute(query):
                known.setdefault(name, {})[uri] = kind
    return known
