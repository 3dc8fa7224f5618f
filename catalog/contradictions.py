"""Files that contradict what the catalog holds: a dark that another file calls a science exposure, or the reverse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from sbcdark.catalog import models
from sbcdark.catalog.preferred import chunks
from sbcdark.catalog.records import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import FileReading


def contradictions(session: Session | None, readings: Sequence[FileReading]) -> dict[str, Refusal]:
    """Return, by URI, the refusal of each reading whose kind of exposure is not that of another file of it.

    What the catalog knows from a file that is present stands, and among new files the first: one that says otherwise
    would turn a dark into an exposure that darks are subtracted from, or the reverse. New content in place of an
    exposure's only file contradicts nothing. Without a session the readings are compared with each other alone.
    """
    names = [reading.exposure.rootname for reading in readings if reading.exposure is not None]
    known = _kinds(session, names) if session is not None else {}
    against: dict[str, Refusal] = {}
    for reading in readings:
        if reading.exposure is None:
            continue
        kinds = known.setdefault(reading.exposure.rootname, {})
        others = {kind for uri, kind in kinds.items() if uri != reading.uri}
        if others and reading.exposure.kind not in others:
            told = {"dark": "a dark", "science": "a science exposure"}
            reason = f"it calls {reading.exposure.rootname} {told[reading.exposure.kind]}, which another file denies"
            against[reading.uri] = Refusal(
                reading.uri, reason, ignored=False, size_byte=reading.size_byte, mtime_ns=reading.mtime_ns
            )
        else:
            kinds[reading.uri] = reading.exposure.kind
    return against


def _kinds(session: Session, rootnames: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return what kind each exposure has, at the URIs of its files that are present."""
    known: dict[str, dict[str, str]] = {}
    for chunk in chunks(sorted(set(rootnames))):
        query = (
            sa.select(models.Exposure.rootname, models.File.uri, models.Exposure.kind)
            .join(models.File, models.File.exposure_id == models.Exposure.id)
            .where(models.Exposure.rootname.in_(chunk), models.File.state == "present")
        )
        for rootname, uri, kind in session.execute(query):
            known.setdefault(rootname, {})[uri] = kind
    return known
