"""The quality of exposures: set by the outlier test of an ingest, or by hand with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbcdark.catalog import quality_marks, writes
from sbcdark.catalog.engine import reading, writing
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.opening import as_engine
from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.pipeline.frames.untrusted_fits import clean
from sbcdark.pipeline.ingest.outliers import judge
from sbcdark.pipeline.selection.names import NAME_THEM, selected_exposures, selector_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import sqlalchemy as sa
    from sqlalchemy.orm import Session

    from sbcdark.pipeline.selection.names import Selector

_LONGEST_REASON = 500


def flag_outliers(engine: sa.Engine, run_id: int | None) -> int | None:
    """Update the quality of all darks to good, suspect or untested; quality set by hand is kept.

    Returns
    -------
    int or None
        The ingest run with the changes: the given one, else a new one, or None if nothing changed.
    """
    with reading(engine) as session:
        if not _changes(session):
            return run_id
    with writing(engine) as session:
        # Repeat the test under the lock: another process may have added or judged darks meanwhile.
        changes = _changes(session)
        if not changes:
            return run_id
        run = run_id if run_id is not None else writes.start_run(session, "flag outliers", SOFTWARE_VERSION)
        for rootname, quality, reason in changes:
            quality_marks.set_quality(session, rootname, quality, reason, by_hand=False, run_id=run)
    return run


def _changes(session: Session) -> list[tuple[str, str, str]]:
    """Return the darks whose quality changes: root name, quality and reason."""
    darks = quality_marks.darks_of_runs(session)
    verdicts = judge([dark for dark in darks if dark.quality != "retired"])
    changes = []
    for dark in darks:
        name = dark.rootname
        if dark.by_hand:
            continue
        if name in verdicts.suspect:
            quality, reason = "suspect", verdicts.suspect[name]
        elif name in verdicts.untested:
            quality, reason = "untested", verdicts.untested[name]
        else:
            quality, reason = "good", "fits the darks that it can now be compared with"
        if quality != dark.quality:
            changes.append((name, quality, reason))
    return changes


def retire(catalog: sa.Engine | str | Path, names: Selector | str | Sequence[str], reason: str) -> list[str]:
    """Exclude exposures from all future selections, with a reason. Stored selections stay as they are.

    Returns
    -------
    list of str
        The root names.

    Raises
    ------
    UsageError
        An exposure is not in the catalog, and none is changed; or the reason is empty.
    """
    return _set(catalog, names, "retired", reason)


def restore(catalog: sa.Engine | str | Path, names: Selector | str | Sequence[str], reason: str) -> list[str]:
    """Allow retired or flagged exposures to be selected again; the outlier test then leaves them alone.

    Returns
    -------
    list of str
        The root names.

    Raises
    ------
    UsageError
        An exposure is not in the catalog, and none is changed; or the reason is empty.
    """
    return _set(catalog, names, "good", reason)


def _set(
    catalog: sa.Engine | str | Path, names: Selector | str | Sequence[str], quality: str, reason: str
) -> list[str]:
    engine = as_engine(catalog)
    said = clean(reason)[:_LONGEST_REASON]
    if not said:
        raise UsageError("The reason is empty.", 'Give e.g. --reason "edge of the SAA".')
    with writing(engine) as session:
        rootnames = selected_exposures(session, selector_of(names))
        if not rootnames:
            raise UsageError("No exposure is given.", NAME_THEM)
        run = writes.start_run(session, "retire" if quality == "retired" else "restore", SOFTWARE_VERSION)
        for rootname in rootnames:
            quality_marks.set_quality(session, rootname, quality, said, by_hand=True, run_id=run)
    return rootnames
