"""A catalog in a form that two catalogs can be compared in: no numbers of rows, no times of writing."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sbcdark.catalog.models import Base
from sbcdark.catalog.types import UtcDateTime

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Rows = dict[str, "Counter[str]"]
"""Rows by table, each as text, with how often it is there."""

RESULTS = ("selections", "selection_darks", "products", "product_selections", "photometry")
"""Tables that a new run adds to; the others say what the files hold."""

_RUNS = "ingest_runs"
"""How many runs it took to come to a catalog is not what the catalog says."""

_UNLIKE = {("products", "sha256")}
"""A product's header has the time at which it was made; its pixels are compared by `pixels_sha256`."""

_SHARED = {"selections", "selection_darks"}
"""What results of equal runs have in common."""

_WRITTEN_AT = {"created_utc", "first_seen_utc"}


def canonical(engine: sa.Engine, folder: str = "") -> Rows:
    """Return every row of every table but the runs, references by what the row that they lead to says.

    Parameters
    ----------
    folder : str
        Is cut out of every text, so that products of two folders can be compared.

    Raises
    ------
    KeyError
        A reference leads nowhere.
    """
    rows: Rows = {table.name: Counter() for table in Base.metadata.sorted_tables if table.name != _RUNS}
    for table, _, text in _rows(engine, folder):
        rows[table][text] += 1
    return rows


def results(engine: sa.Engine, folder: str = "") -> dict[str, Rows]:
    """Return the rows of results by the target that they are of; of selections without a product under no name."""
    found = [(table, row, text) for table, row, text in _rows(engine, folder) if table in RESULTS]
    product = {row["id"]: row["name"] for table, row, _ in found if table == "products"}
    selection = {
        row["selection_id"]: product[row["product_id"]] for table, row, _ in found if table == "product_selections"
    }
    by_target: dict[str, Rows] = {}
    for table, row, text in found:
        if table in {"selections", "selection_darks"}:
            target = selection.get(row["id" if table == "selections" else "selection_id"], "")
        elif table == "product_selections":
            target = product[row["product_id"]]
        else:
            target = row["name" if table == "products" else "association"]
        by_target.setdefault(target, {name: Counter() for name in RESULTS})[table][text] += 1
    return by_target


def _rows(engine: sa.Engine, folder: str) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    known: dict[str, dict[Any, str]] = {}
    with engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            if table.name == _RUNS:
                continue
            known[table.name] = {}
            for row in connection.execute(sa.select(table)).mappings():
                if table.name == "quality_notes" and not row["by_hand"]:
                    # What the outlier test said on the way depends on the order in which the files came.
                    continue
                text = _told(table, row, known)
                if folder:
                    text = text.replace(folder, "")
                known[table.name][row.get("id")] = hashlib.sha256(text.encode()).hexdigest()[:12]
                yield table.name, row, text


def _told(table: sa.Table, row: Mapping[str, Any], known: dict[str, dict[Any, str]]) -> str:
    told = []
    for column in table.columns:
        value = row[column.name]
        if column.name == "id" or (table.name, column.name) in _UNLIKE or column.name in _WRITTEN_AT:
            continue
        reference = next(iter(column.foreign_keys), None)
        if reference is not None:
            parent = reference.column.table.name
            if parent == _RUNS:
                continue
            value = None if value is None else f"{parent}:{known[parent][value]}"
        if isinstance(column.type, UtcDateTime) and value is not None:
            value = value.isoformat()
        told.append(f"{column.name}={value!r}")
    return " ".join(told)


def compared(found: Rows, wanted: Rows, tables: Iterable[str] | None = None) -> tuple[list[str], list[str]]:
    """Return what is lost and what is wrong (there too often, or not like that) in `found`, in words."""
    lost, wrong = [], []
    for table in tables if tables is not None else wanted:
        missing, surplus = wanted[table] - found[table], found[table] - wanted[table]
        # A row that is there in another form is wrong; one that is not there at all is lost.
        changed = min(missing.total(), surplus.total())
        lost += [f"{table} lacks {text[:200]}" for text in list(missing.elements())[changed:]]
        wrong += [f"{table} has {text[:400]}" for text in surplus.elements()]
    return lost, wrong


def facts_compared(found: Rows, wanted: Rows) -> tuple[list[str], list[str]]:
    """Compare what the catalogs say of files; results apart."""
    return compared(found, wanted, [table for table in wanted if table not in RESULTS])


def whole_results(found: dict[str, Rows], one_run: dict[str, Rows]) -> tuple[dict[str, int], list[str]]:
    """Return how often the results of one run are there, by target, and what is no whole set of them."""
    times: dict[str, int] = {}
    bad = [f"results of {target}, which was never asked for" for target in found if target not in one_run]
    for target, wanted in one_run.items():
        rows = found.get(target, {table: Counter() for table in RESULTS})
        number = round(max(rows[table].total() / max(wanted[table].total(), 1) for table in RESULTS))
        expected = {
            # Equal selections are stored once, however often they are used.
            table: Counter({text: n * (min(number, 1) if table in _SHARED else number) for text, n in found.items()})
            for table, found in wanted.items()
            if table in RESULTS
        }
        lost, wrong = compared(rows, expected, RESULTS)
        times[target] = number
        bad += lost + wrong
    return times, bad


def open_runs(engine: sa.Engine) -> list[str]:
    """Return the runs that never came to an end, in words."""
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text("SELECT id, action FROM ingest_runs WHERE finished_utc IS NULL ORDER BY id")
        ).all()
    return [f"run {row.id} ({row.action}) is unfinished" for row in rows]


def damaged(engine: sa.Engine) -> list[str]:
    """Return what SQLite finds broken in its file, references that lead nowhere among it; PostgreSQL holds its own."""
    if engine.dialect.name != "sqlite":
        return []
    with engine.connect() as connection:
        integrity = [row[0] for row in connection.exec_driver_sql("PRAGMA integrity_check")]
        dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return [text for text in integrity if text != "ok"] + [f"dangling reference {tuple(row)}" for row in dangling]


def ragged_selections(engine: sa.Engine) -> list[str]:
    """Return the selections whose darks are not ranked 1, 2, 3 and so on, or that have none."""
    ranks: dict[int, list[int]] = {}
    with engine.connect() as connection:
        for selection in connection.scalars(sa.text("SELECT id FROM selections")):
            ranks[selection] = []
        for selection, rank in connection.execute(sa.text("SELECT selection_id, rank FROM selection_darks")):
            ranks[selection].append(rank)
    return [
        f"selection {selection} has darks of ranks {sorted(found)}"
        for selection, found in ranks.items()
        if not found or sorted(found) != list(range(1, len(found) + 1))
    ]
