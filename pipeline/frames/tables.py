"""Records as astropy Tables with units, and tables as files."""

from __future__ import annotations

import os
import warnings
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.result_records import PhotometryRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from astropy.io.fits import BinTableHDU
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
    ("_arcsec", "arcsec"),
    ("_mag", "mag"),
    ("_mag_err", "mag"),
    ("_mag_limit", "mag"),
    ("_c", "deg_C"),
    ("_s", "s"),
)
"""Units by the ending of a field's name; longer endings first."""

_DESCRIPTIONS = {
    "rootname": "root name (IPPPSSOOT) of the exposure",
    "exposure": "root name (IPPPSSOOT) of the exposure",
    "kind": "dark or science",
    "program": "number of the program",
    "filter": "filter of the header",
    "target": "TARGNAME of the header",
    "association": "association of the exposure",
    "start_utc": "start of the exposure, UTC",
    "start_mjd": "start of the exposure, MJD (UTC)",
    "exptime_s": "exposure time",
    "temperature_start_c": "detector temperature at the start (MDECODT1)",
    "temperature_end_c": "detector temperature at the end (MDECODT2)",
    "temperature_mean_c": "mean of the two detector temperatures",
    "box_count": "counts in the box [650:850, 580:780] (y, x)",
    "box_rate_count_s_pix": "rate in the box",
    "box_rate_err_count_s_pix": "Poisson error of the rate in the box",
    "quiet_rate_count_s_pix": "base: rate in the quiet rows y < 128",
    "quiet_rate_err_count_s_pix": "Poisson error of the base",
    "contrast_count_s_pix": "size of the glow: box rate minus base",
    "contrast_err_count_s_pix": "error of the contrast",
    "hot_pixels": "pixels far above the frame's own level",
    "darks": "the darks, or how many",
    "science": "number of science exposures",
    "set_aside": "number of suspect, untested and retired ones",
    "temperature_min_c": "lowest mean temperature",
    "temperature_max_c": "highest mean temperature",
    "good_darks": "number of good darks",
    "hot_darks": "number of those above 25 C",
    "first_start_utc": "first start, UTC",
    "last_start_utc": "last start, UTC",
    "base_count_s_pix": "mean rate of the quiet rows in darks below 25 C",
    "base_scatter_count_s_pix": "its standard deviation from dark to dark",
    "glow_27c_count_s_pix": "contrast at 27 C",
    "glow_27c_low_count_s_pix": "lower end of the scatter of single darks",
    "glow_27c_high_count_s_pix": "upper end of the scatter of single darks",
    "hot_pixels_median": "median number of hot pixels",
    "hot_pixels_scatter": "standard deviation of their number from dark to dark",
    "method": "how the dark was made",
    "fit_base_count_s_pix": "fitted base",
    "fit_base_err_count_s_pix": "its error",
    "fit_amplitude_count_s_pix": "fitted amplitude of the glow",
    "fit_amplitude_err_count_s_pix": "its error",
    "fit_sky_count_s_pix": "fitted sky, uniform in front of the flat",
    "fit_sky_err_count_s_pix": "its error",
    "chi2_per_dof": "chi2 per degree of freedom of the fit",
    "warnings": "what to know before trusting the numbers",
    "quality": "good, suspect, untested or retired",
    "quality_reason": "reason of a quality other than good",
    "rank": "rank of the dark, 1 is best",
    "dark": "root name of the dark",
    "score": "expected distance of the exposure's own dark, in errors of the exposure",
    "weight": "share of the exposure time of all selected darks",
    "delta_sigma": "science minus dark in units of the combined error",
    "delta_box_rate_count_s_pix": "box rate, science minus dark",
    "delta_contrast_count_s_pix": "contrast, science minus dark",
    "delta_temperature_c": "mean temperature, science minus dark",
    "delta_days": "start, science minus dark",
    "uri": "place of the file",
    "check": "what is compared",
    "value": "its value; differences are science minus dark",
    "wanted": "the values that pass",
    "passed": "whether it passes; masked where nothing is asked",
    "frames": "the frames: warm, cold or all",
    "number": "number of frames",
    "sky_count_s_pix": "uniform sky",
    "rms": "root mean square of (predicted - true) / sqrt(expected counts); 1 is the photon limit",
    "rms_err": "its standard error",
    "bias_count": "mean of predicted minus true",
    "pull": "mean of (predicted - true) / error",
    "pull_err": "its standard error",
    "width": "width of the pulls; 1 if the errors hold",
    "width_err": "its standard error",
    "role": "why the templates include the dark: rule, cold or warm",
    "aperture": "label of the aperture",
    "shape": "shape and place of the aperture",
    "radius_pix": "radius or semi-major axis",
    "radius_arcsec": "radius or semi-major axis",
    "effective_radius_pix": "radius of the circle with the same area",
    "effective_radius_arcsec": "radius of the circle with the same area",
    "x_pix": "centre in the product, 0-based",
    "y_pix": "centre in the product, 0-based",
    "ra_deg": "right ascension of the centre",
    "dec_deg": "declination of the centre",
    "area_pix": "geometric area of the aperture",
    "coverage": "share of the area on good data",
    "science_count_s": "drizzled rate of the science product",
    "science_err_count_s": "its error, from native counts",
    "dark_count_s": "drizzled rate of the dark",
    "dark_err_count_s": "its error",
    "net_count_s": "science minus dark",
    "net_err_count_s": "its error",
    "sky_count_s": "drizzled rate of the sky",
    "sky_err_count_s": "its error",
    "source_count_s": "science minus dark minus sky",
    "source_err_count_s": "its error",
    "source_low_count_s": "lower limit of the 68 % interval of the source",
    "source_high_count_s": "upper limit of the 68 % interval of the source",
    "significance_sigma": "one-sided sigma of as many counts without a source",
    "dark_fraction": "dark divided by science",
    "flux_erg_s_cm2_a": "flux density of the source",
    "flux_err_erg_s_cm2_a": "its error",
    "flux_limit_erg_s_cm2_a": "3-sigma upper limit of the flux density",
    "ab_mag": "AB magnitude of the source",
    "ab_mag_err": "its error",
    "ab_mag_limit": "3-sigma upper limit as an AB magnitude",
    "st_mag": "ST magnitude of the source",
    "st_mag_err": "its error",
    "st_mag_limit": "3-sigma upper limit as an ST magnitude",
    "native_count": "counts on the detector",
    "native_background_count": "counts of dark and sky expected there",
    "native_background_err_count": "their error",
    "sky_method": "how the sky was found",
}
"""What the columns hold."""

_INTEGERS = {"program", "rank", "hot_pixels", "selection"}
"""Columns of integers, also where no row has a value."""

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
        kind: Any = np.int64 if name in _INTEGERS else str if unit_of(name) is None else np.float64
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
        column.description = _DESCRIPTIONS.get(name)
        table[name] = column
    return table


def to_qtable(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> QTable:
    """Return rows as a QTable: quantities with units, times as `Time` (UTC); columns with absent values are masked.

    Numbers are shown with six digits, dates and positions with what they need; the values are whole.

    Parameters
    ----------
    rows, columns
        As for `to_table`.
    """
    from astropy.table import QTable  # noqa: PLC0415  slow to import, needed only for tables
    from astropy.time import Time  # noqa: PLC0415

    table = QTable(
        [column if column.mask.any() else column.filled() for column in to_table(rows, columns).columns.values()]
    )
    for name in columns:
        if name.endswith("_utc") and not any(row.get(name) is None for row in rows):
            moments = [row[name].replace(tzinfo=None) for row in rows]
            table[name] = Time(moments, scale="utc") if moments else Time([], format="isot", scale="utc")
            table[name].format = "isot"
            table[name].info.description = _DESCRIPTIONS.get(name)
        elif getattr(table[name].dtype, "kind", "") == "f":
            table[name].info.format = _SHOWN.get(name.rpartition("_")[2], _SHOWN.get(name, ".6g"))
    return table


_SHOWN = {"mjd": ".5f", "ra_deg": ".6f", "dec_deg": ".6f"}
"""Formats of numbers that need more than six digits, by unit or name."""


def unit_of(name: str) -> str | None:
    """Return the unit given by the ending of a field's name, in astropy's notation."""
    return next((unit for ending, unit in _UNITS if name.endswith(ending)), None)


def description_of(name: str) -> str | None:
    """Return what a field is, with its unit, as far as its name does not say it."""
    text, unit = _DESCRIPTIONS.get(name), unit_of(name)
    return f"{text} ({unit})" if text and unit else text or unit


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


def write_table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], path: Path, meta: Mapping[str, Any] | None = None
) -> None:
    """Write rows as ECSV, VOTable or FITS, by the ending of the file; complete or not at all.

    Parameters
    ----------
    meta : mapping, optional
        What made the table, in plain values; only ECSV keeps it.

    Raises
    ------
    UsageError
        The ending is not .ecsv, .csv, .vot, .xml or .fits.
    SbcdarkError
        The file cannot be written.
    """
    table = to_table(rows, columns)
    table.meta |= dict(meta or {})
    _write(table, path)


def _write(table: Table, path: Path) -> None:
    written_as = table_format(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    try:
        with warnings.catch_warnings():
            # VOTable deprecates erg and Angstrom, the units of PHOTFLAM.
            warnings.filterwarnings("ignore", message=".*'(erg|Angstrom)' has been deprecated.*")
            _fitting(table, written_as).write(temporary, format=written_as, overwrite=True)
        temporary.replace(path)
    except OSError as error:
        raise SbcdarkError(f"Cannot write {path}: {error.strerror or error}.", "Give another path with -o.") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_joined(paths: Sequence[Path], joined: Path, meta: Mapping[str, Any]) -> None:
    """Join photometry tables in the order of the paths; `meta` gets the meta of each as ``tables``.

    Files that are not tables of this program are left out.

    Raises
    ------
    SbcdarkError
        The file cannot be written.
    """
    from astropy.table import vstack  # noqa: PLC0415  slow to import, needed only for tables

    tables = [table for path in paths if (table := read_photometry(path)) is not None]
    whole = vstack(tables, metadata_conflicts="silent")
    whole.meta = dict(meta) | {"tables": [dict(table.meta) for table in tables]}
    _write(whole, joined)


def read_photometry(path: Path) -> Table | None:
    """Return a photometry table of this program with its meta; None if the file is missing or something else."""
    from astropy.table import Table  # noqa: PLC0415  slow to import, needed only for tables

    try:
        table = Table.read(path, format="ascii.ecsv")
    except (OSError, ValueError, TypeError, KeyError, UnicodeError):
        return None
    ours = str(table.meta.get("software", "")).startswith("sbcdark ")
    return table if ours and "aperture" in table.colnames else None


def photometry_records(table: Table) -> list[PhotometryRecord] | None:
    """Return the records of a photometry table; None if it is of another version.

    Floats are written in full, so the records are those that were written.
    """
    import json  # noqa: PLC0415

    if tuple(table.colnames) != PHOTOMETRY_KEYS:
        return None
    columns = [table[name].tolist() for name in PHOTOMETRY_KEYS]  # masked values are None
    records = []
    for row in zip(*columns, strict=True):
        values = dict(zip(PHOTOMETRY_KEYS, row, strict=True))
        values |= {"start_utc": datetime.fromisoformat(values["start_utc"])}
        records.append(PhotometryRecord(**values | {"warnings": tuple(json.loads(values["warnings"]))}))
    return records


def table_hdu(name: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> BinTableHDU:
    """Return rows as a FITS binary table with units; absent numbers are NaN, absent texts empty.

    Parameters
    ----------
    name : str
        EXTNAME.
    rows, columns
        As for `to_table`.
    """
    from astropy.io import fits  # noqa: PLC0415  slow to import, needed only for tables

    table = _fitting(to_table(rows, columns), "fits")
    return fits.table_to_hdu(table, name=name)


def _fitting(table: Table, written_as: str) -> Table:
    """Return the table with columns that the file format can hold."""
    from astropy.table import MaskedColumn  # noqa: PLC0415  slow to import, needed only for tables

    for column in list(table.columns.values()):
        if written_as == "votable" and column.unit == "deg_C":
            # VOUnit has no degree Celsius; an unknown unit would make every reader warn.
            column.unit, column.description = None, f"{column.description or column.name}, in deg C"
        elif written_as == "fits" and column.dtype.kind == "U":
            letters = [str(text).encode("ascii", "backslashreplace").decode() for text in column.data.data]
            table.replace_column(column.name, MaskedColumn(letters, dtype=str, mask=column.mask))
    return table
