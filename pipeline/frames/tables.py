"""Records as astropy Tables with units, and tables as files."""

from __future__ import annotations

import os
import warnings
from dataclasses import asdict, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.result_records import PhotometryRecord

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
"""Units by the ending of a field's name; longer endings first."""

PHOTOMETRY_KEYS = tuple(column.name for column in fields(PhotometryRecord))
"""The columns of a photometry table, in order."""

_FORMATS = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv", ".vot": "votable", ".xml": "votable", ".fits": "fits"}


def to_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Table:
    """Return rows as an astropy Table; absent values are masked, units come from the column names.

    Parameters
    ----------
    rows : sequence of mapping
        One mapping per row. Lists in cells are written as JSON.
    columns : sequence of str
        The columns, in order; present even without rows.
    """
    import numpy as np  # noqa: PLC0415  slow to import, needed only for tables
    from astropy.table import MaskedColumn, Table  # noqa: PLC0415

    table = Table()
    for name in columns:
        values = [flat_value(row.get(name)) for row in rows]
        there = [value for value in values if value is not None]
        # A column with a unit is numeric even if all values are absent, so that tables of several runs can be stacked.
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
        There are no records, so the columns are unknown.
    """
    if not records:
        raise UsageError("There are no records to make a table of.")
    return to_table([asdict(record) for record in records], [column.name for column in fields(records[0])])


def unit_of(name: str) -> str | None:
    """Return the unit given by the ending of a field's name, in astropy's notation."""
    return next((unit for ending, unit in _UNITS if name.endswith(ending)), None)


def flat_value(value: Any) -> Any:
    """Return a value for one cell: times in ISO 8601, lists and records as JSON."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, list | tuple | dict):
        import json  # noqa: PLC0415

        return json.dumps(value, default=flat_value)
    return value


def table_format(path: Path) -> str:
    """Return astropy's name of a table format, from the ending of a file name.

    Raises
    ------
    UsageError
        The ending is not .ecsv, .csv, .vot, .xml or .fits.
    """
    written_as = _FORMATS.get(path.suffix.lower())
    if written_as is None:
        raise UsageError(
            f"The ending of {path.name!r} gives no table format.", "Use -o FILE.ecsv, FILE.csv, FILE.vot or FILE.fits."
        )
    return written_as


def write_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], path: Path) -> None:
    """Write rows as ECSV, VOTable or FITS, by the ending of the file; complete or not at all.

    Raises
    ------
    UsageError
        The ending is not .ecsv, .csv, .vot, .xml or .fits.
    SbcdarkError
        The file cannot be written.
    """
    written_as = table_format(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    try:
        with warnings.catch_warnings():
            # VOTable deprecates erg and Angstrom, the units of PHOTFLAM.
            warnings.filterwarnings("ignore", message=".*'(erg|Angstrom)' has been deprecated.*")
            _fitting(to_table(rows, columns), written_as).write(temporary, format=written_as, overwrite=True)
        temporary.replace(path)
    except OSError as error:
        raise SbcdarkError(f"Cannot write {path}: {error.strerror or error}.", "Give another path with -o.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _fitting(table: Table, written_as: str) -> Table:
    """Return the table with columns that the file format can hold."""
    from astropy.table import MaskedColumn  # noqa: PLC0415  slow to import, needed only for tables

    for column in list(table.columns.values()):
        if written_as == "votable" and column.unit == "deg_C":
            # VOUnit has no degree Celsius; an unknown unit would make every reader warn.
            column.unit, column.description = None, "deg C"
        elif written_as == "fits" and column.dtype.kind == "U":
            letters = [str(text).encode("ascii", "backslashreplace").decode() for text in column.data.data]
            table.replace_column(column.name, MaskedColumn(letters, dtype=str, mask=column.mask))
    return table
