"""Records as astropy Tables with units, and tables as files."""

from __future__ import annotations

import os
import warnings
from dataclasses import asdict, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.records import PhotometryRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from astropy.table import QTable, Table

_UNITS = (
    ("_count_s_pix", "ct / (s pix)"),
    ("_erg_s_cm2_a", "erg / (s cm2 Angstrom)"),
    ("_count_s", "ct / s"),
    ("_count", "ct"),
    ("_deg", "deg"),
    ("_days", "d"),
    ("_mjd", "d"),
    ("_pix", "pix"),
    ("_mag", "mag"),
    ("_mag_err", "mag"),
    ("_c", "deg_C"),
    ("_s", "s"),
)
"""The unit that a field's name ends in; longer endings first."""

PHOTOMETRY_KEYS = tuple(column.name for column in fields(PhotometryRecord))
"""The columns of a photometry table, in order."""

_FORMATS = {".ecsv": "ascii.ecsv", ".vot": "votable", ".xml": "votable", ".fits": "fits"}


def to_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Table:
    """Return rows as an astropy Table; absent values are masked, units come from the columns' names.

    Parameters
    ----------
    rows : sequence of mapping
        One a row. Lists inside are written as JSON.
    columns : sequence of str
        The columns, in order; there even when there is no row.
    """
    import numpy as np  # noqa: PLC0415  slow to import, needed only for tables
    from astropy.table import MaskedColumn, Table  # noqa: PLC0415

    table = Table()
    for name in columns:
        values = [flat_value(row.get(name)) for row in rows]
        there = [value for value in values if value is not None]
        # What has a unit is a number, also where every value is absent: tables of several runs can then be stacked.
        kind: Any = str if unit_of(name) is None else np.float64
        if there and all(isinstance(value, bool) for value in there):
            kind = bool
        elif there and all(isinstance(value, int) and not isinstance(value, bool) for value in there):
            kind = np.int64
        elif there and all(isinstance(value, int | float) for value in there):
            kind = np.float64
        elif there:
            kind = str
        filled = [kind() if value is None else kind(value) for value in values]
        column = MaskedColumn(filled, name=name, dtype=kind, mask=[value is None for value in values])
        if kind is not str and (unit := unit_of(name)) is not None:
            column.unit = unit
        table[name] = column
    return table


def to_qtable(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> QTable:
    """Return rows as a QTable: quantities with units, times as `Time` (UTC), absent values masked.

    Parameters
    ----------
    rows, columns
        As for `to_table`.
    """
    from astropy.table import QTable  # noqa: PLC0415  slow to import, needed only for tables
    from astropy.time import Time  # noqa: PLC0415

    table = QTable(to_table(rows, columns))
    for name in columns:
        if name.endswith("_utc") and not any(row.get(name) is None for row in rows):
            moments = [row[name].replace(tzinfo=None) for row in rows]
            table[name] = Time(moments, scale="utc") if moments else Time([], format="isot", scale="utc")
    return table


def records_table(records: Sequence[Any]) -> Table:
    """Return records of one kind (frozen dataclasses) as an astropy Table with units.

    Raises
    ------
    UsageError
        There is no record, so that the columns are not known.
    """
    if not records:
        raise UsageError("There is no record to make a table of.")
    return to_table([asdict(record) for record in records], [column.name for column in fields(records[0])])


def unit_of(name: str) -> str | None:
    """Return the unit that a field's name ends in, as astropy writes it."""
    return next((unit for ending, unit in _UNITS if name.endswith(ending)), None)


def flat_value(value: Any) -> Any:
    """Return a value as one cell holds it: times in ISO 8601, lists and records as JSON."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, list | tuple | dict):
        import json  # noqa: PLC0415

        return json.dumps(value, default=flat_value)
    return value


def table_format(path: Path) -> str:
    """Return the format of a table, as astropy calls it, by its file's ending.

    Raises
    ------
    UsageError
        The ending is none of .ecsv, .vot, .xml, .fits.
    """
    written_as = _FORMATS.get(path.suffix.lower())
    if written_as is None:
        raise UsageError(
            f"{path.name!r} has no ending that says how to write a table.", "Use -o FILE.ecsv, FILE.vot or FILE.fits."
        )
    return written_as


def write_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], path: Path) -> None:
    """Write rows as ECSV, VOTable or FITS, by the file's ending; whole or not at all.

    Raises
    ------
    UsageError
        The ending is none of .ecsv, .vot, .xml, .fits.
    SbcdarkError
        The file could not be written.
    """
    written_as = table_format(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    try:
        with warnings.catch_warnings():
            # VOTable would rather not have erg and Angstrom, which PHOTFLAM is in.
            warnings.filterwarnings("ignore", message=".*'(erg|Angstrom)' has been deprecated.*")
            _fitting(to_table(rows, columns), written_as).write(temporary, format=written_as, overwrite=True)
        temporary.replace(path)
    except OSError as error:
        raise SbcdarkError(
            f"{path} could not be written: {error.strerror or error}.", "Give -o another place."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _fitting(table: Table, written_as: str) -> Table:
    """Return the table with what its file's format cannot hold put otherwise."""
    from astropy.table import MaskedColumn  # noqa: PLC0415  slow to import, needed only for tables

    for column in list(table.columns.values()):
        if written_as == "votable" and column.unit == "deg_C":
            # VOUnit knows no degree Celsius; a unit that is none would be warned of by every reader.
            column.unit, column.description = None, "deg C"
        elif written_as == "fits" and column.dtype.kind == "U":
            letters = [str(text).encode("ascii", "backslashreplace").decode() for text in column.data.data]
            table.replace_column(column.name, MaskedColumn(letters, dtype=str, mask=column.mask))
    return table
