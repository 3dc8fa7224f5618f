"""Listings of the catalog."""

from __future__ import annotations

import operator
import re
from dataclasses import asdict, fields, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from sbcdark.catalog import quality_marks, queries, result_listings, results
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.opening import as_engine
from sbcdark.catalog.records import AssociationRecord, ExposureRecord
from sbcdark.catalog.times import utc_time
from sbcdark.pipeline.selection.names import as_root_name, names_of, resolve_exposure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import sqlalchemy as sa
    from sqlalchemy.orm import Session

    from sbcdark.catalog.result_records import ListedProduct
    from sbcdark.pipeline.selection.names import Selector


HOT_ABOVE_C = queries.HOT_ABOVE_C

HEADINGS = {
    "rootname": "exposure",
    "kind": "kind",
    "program": "program",
    "target": "target",
    "filter": "filter",
    "start_utc": "start (UTC)",
    "exptime_s": "time (s)",
    "temperature_mean_c": "T mean (C)",
    "box_count": "box (counts)",
    "box_rate_count_s_pix": "box rate",
    "quiet_rate_count_s_pix": "base",
    "contrast_count_s_pix": "contrast",
    "hot_pixels": "hot pixels",
    "association": "association",
    "quality": "quality",
    "quality_reason": "reason",
}
"""The headings of a listing by its columns; as `sort` and `where` take them, without the unit."""

RATE_UNIT = 1e-6
"""The unit of rates under a heading, count/s/pixel."""

_OTHER_NAMES = {
    "t": "temperature_mean_c",
    "temp": "temperature_mean_c",
    "temperature": "temperature_mean_c",
    "date": "start_utc",
    "mjd": "start_mjd",
    "exptime": "exptime_s",
    "quiet": "quiet_rate_count_s_pix",
    "quiet rate": "quiet_rate_count_s_pix",
    "glow": "contrast_count_s_pix",
    "name": "rootname",
    "dark": "rootname",
}
"""Other words that people use for columns."""

_COMPARISON = r"(<=|>=|!=|==|=|<|>)"
_CONDITION = re.compile(rf"\s*(.+?)\s*{_COMPARISON}\s*(.+?)\s*")
_AND = re.compile(rf"\s+(?:and|&&?)\s+(?=[^<>=!]+{_COMPARISON})|\s*&&?\s*(?=[^<>=!]+{_COMPARISON})", re.IGNORECASE)
_NUMBERS = {column.name for column in fields(ExposureRecord) if str(column.type).partition(" ")[0] in {"int", "float"}}
_OPERATORS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}


def column_of(name: str) -> str:
    """Return the column that a user names by its key or by its heading, with or without the unit.

    Raises
    ------
    UsageError
        There is no such column.
    """
    wanted = _plain(name)
    for key in queries.SORT_KEYS:
        if wanted in {key, _plain(HEADINGS.get(key, key))}:
            return key
    if wanted in _OTHER_NAMES:
        return _OTHER_NAMES[wanted]
    headings = [heading.partition(" (")[0] for heading in HEADINGS.values()]
    near = get_close_matches(wanted, [*(heading.lower() for heading in headings), *_OTHER_NAMES], 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"There is no column {name!r}.{hint}", f"Use one of: {', '.join(headings)}; or a key of the JSON.")


def _plain(name: str) -> str:
    """Return a heading in lower case and without its unit."""
    return " ".join(name.partition("(")[0].split()).lower()


def exposures(
    catalog: sa.Engine | str | Path,
    wanted: queries.ExposureFilter | None = None,
    *,
    selector: Selector | None = None,
    where: Sequence[str] = (),
    sort: str = "start_mjd",
    descending: bool = False,
) -> list[ExposureRecord]:
    """Return all exposures of a catalog that pass a filter, sorted by a column.

    Parameters
    ----------
    selector : Selector, optional
        Only these exposures.
    where : sequence of str
        Conditions such as ``contrast > 10``. Rates are in 1e-6 count/s/pixel if the column is named by its heading,
        in count/s/pixel if by its key.
    sort : str
        A column, by its key or its heading.

    Raises
    ------
    UsageError
        There is no such column, or a condition cannot be read.
    """
    key = column_of(sort)
    conditions = [_condition(text) for several in where for text in _apart(several)]
    known = wanted or queries.ExposureFilter()
    with reading(as_engine(catalog)) as session:
        if (named := names_of(session, selector)) is not None:
            known = replace(known, names=named)
        found = queries.list_exposures(session, known, sort=key, descending=descending)
    return [record for record in found if all(_holds(record, *condition) for condition in conditions)]


def _apart(text: str) -> list[str]:
    """Return the conditions of a text that joins several by ``and`` or ``&``."""
    places = [match.span() for match in _AND.finditer(text)]
    starts, ends = [0, *(end for _, end in places)], [*(start for start, _ in places), len(text)]
    return [text[start:end] for start, end in zip(starts, ends, strict=True)]


def _condition(text: str) -> tuple[str, str, Any]:
    """Return the column, the comparison and the value of a condition: a number, a text, or a span of time."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text!r} is not a condition.", "Write it in quotes: --where 'contrast > 10', --where 'hot pixels < 500'."
        )
    name, comparison, written = match.groups()
    key = column_of(name)
    if key == "start_utc":
        return key, comparison, (utc_time(written), utc_time(written, end_of_day=True))
    if key not in _NUMBERS:
        return key, comparison, written.strip("'\"").lower()
    try:
        value = float(written)
    except ValueError:
        raise UsageError(
            f"{written!r} is not a number, and {name!r} holds numbers.",
            "Write e.g. --where 'contrast > 10'; several conditions: --where 'contrast > 10 and T mean < 28'.",
        ) from None
    return key, comparison, value * (RATE_UNIT if key.endswith("_count_s_pix") and name.strip().lower() != key else 1)


def _holds(record: ExposureRecord, key: str, comparison: str, value: Any) -> bool:
    """Return whether a condition holds; not where a value was not measured."""
    ours = getattr(record, key)
    if ours is None:
        return False
    if key == "start_utc":
        # A day is after another one if it begins after its end.
        first, last = value
        if comparison in {"=", "==", "!="}:
            within: bool = first <= ours <= last
            return within == (comparison != "!=")
        value = last if comparison in {">", "<="} else first
    elif key not in _NUMBERS:
        ours = str(ours).lower()
    holds: bool = _OPERATORS[comparison](ours, value)
    return holds


def is_hot(record: ExposureRecord) -> bool:
    """Return whether the mean temperature of an exposure was above 25 C."""
    return record.temperature_mean_c > HOT_ABOVE_C


def show(catalog: sa.Engine | str | Path, name: str) -> dict[str, Any]:
    """Return everything in the catalog about an exposure (files, measurements, selections) or an association (members).

    Raises
    ------
    UsageError
        The name is not in the catalog.
    """
    with reading(as_engine(catalog)) as session:
        return known_of(session, name)


def known_of(session: Session, name: str) -> dict[str, Any]:
    """Return the same within a session."""
    lowered = as_root_name(name)
    association = queries.find_association(session, lowered) if lowered.isalnum() else None
    if association is None and (members := queries.association_members(session, lowered)):
        # The archive ships no table of an association of darks.
        first = queries.find_exposure(session, members[0])
        association = AssociationRecord(lowered, None if first is None else first.program, None, tuple(members), ())
    if association is not None:
        present = [queries.find_exposure(session, member) for member in association.present]
        return {
            "association": association.name,
            "program": association.program,
            "target": association.target,
            "members": list(association.members),
            "absent": list(association.absent),
            "exposures": [asdict(record) for record in present if record is not None],
            "products": _products_of(session, association.name),
        }
    rootname = resolve_exposure(session, name)
    record = queries.find_exposure(session, rootname)
    values = queries.match_values(session, rootname)
    if record is None or values is None:  # resolve_exposure found it: only a concurrent delete removes it
        message = f"{rootname} was removed during the read"
        raise LookupError(message)
    files = queries.files_of(session, rootname)
    measured = [
        {"file": file.uri, **asdict(measurement)}
        for file in files
        if file.state != "changed"
        for measurement in queries.measurements_of(session, file.id)
    ]
    return asdict(record) | {
        "exposure_flag": values.exposure_flag,
        "observation_quality": values.observation_quality,
        "guide_star_lock": values.guide_star_lock,
        "files": [asdict(file) for file in files],
        "measurements": measured,
        "quality_notes": quality_marks.quality_notes(session, rootname),
        "selections": result_listings.selections_of(session, rootname),
        "products": _products_of(session, rootname),
    }


def _products_of(session: Session, name: str) -> list[dict[str, Any]]:
    """Return the last stored product of each kind of an association, or of an exposure alone."""
    return [
        _product(one, results.selections_of_product(session, one.id))
        for one in result_listings.latest_products(session, name)
    ]


def _product(one: ListedProduct, selections: Sequence[int]) -> dict[str, Any]:
    return {
        "product": one.name,
        "kind": one.kind,
        "created_utc": one.created_utc,
        "catalog_revision": one.catalog_revision,
        "software_version": one.software_version,
        "selections": list(selections),
        "uri": one.uri,
    }


def show_selection(catalog: sa.Engine | str | Path, selection: int) -> dict[str, Any]:
    """Return everything about a stored selection: its darks with every term, and the products that use it.

    Raises
    ------
    UsageError
        The catalog has no such selection.
    """
    with reading(as_engine(catalog)) as session:
        found = results.stored_selections(session, [selection])
        if not found:
            raise UsageError(
                f"The catalog has no selection {selection}.", "`sbcdark show NAME` lists those of an exposure."
            )
        (stored,) = found
        chosen = zip(stored.darks, stored.file_states, strict=True)
        return {
            "selection": stored.id,
            "exposure": stored.exposure,
            "rule": stored.rule,
            "tier": stored.tier,
            "created_utc": stored.created_utc,
            "catalog_revision": stored.catalog_revision,
            "software_version": stored.software_version,
            "parameters": stored.parameters,
            "warnings": list(stored.warnings),
            "darks": [
                {key: value for key, value in asdict(dark).items() if key not in {"file", "file_id"}}
                | {"file_state": state}
                for dark, state in chosen
            ],
            "products": [_product(one, one.selection_ids) for one in results.products_of_selection(session, selection)],
        }
