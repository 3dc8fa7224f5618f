"""Tables: units from the columns' names, absent values masked, and files that give back what was written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.queries import SORT_KEYS
from sbcdark.pipeline.frames.tables import PHOTOMETRY_KEYS, to_table, unit_of, write_table

if TYPE_CHECKING:
    from pathlib import Path

ROWS: list[dict[str, Any]] = [
    {
        "rootname": "jcrx01iiq",
        "program": 13961,
        "start_utc": datetime(2015, 3, 3, 2, 6, 52, 47_000, tzinfo=UTC),
        "start_mjd": 57084.0881024,
        "exptime_s": 1000.0,
        "temperature_mean_c": 18.1809,
        "box_count": 300.0,
        "contrast_count_s_pix": 1.0e-7,
        "association": "jcrx01010",
        "darks": ["a", "b"],
        "saved": True,
        "absent": None,
    },
    {
        "rootname": "jcmc11e6q",
        "program": None,
        "start_utc": datetime(2015, 4, 13, tzinfo=UTC),
        "start_mjd": 57125.3,
        "exptime_s": 1020,
        "temperature_mean_c": 25.995,
        "box_count": None,
        "contrast_count_s_pix": None,
        "association": None,
        "darks": [],
        "saved": False,
        "absent": None,
    },
]
COLUMNS = tuple(ROWS[0])

UNITS = {
    "exptime_s": u.s,
    "start_mjd": u.day,
    "temperature_mean_c": u.deg_C,
    "box_count": u.ct,
    "contrast_count_s_pix": u.ct / u.s / u.pix,
}


def test_units_and_masks_come_from_names_and_values() -> None:
    table = to_table(ROWS, COLUMNS)
    assert table.colnames == list(COLUMNS)
    assert {name: table[name].unit for name in COLUMNS if table[name].unit is not None} == UNITS
    assert table["program"].dtype == np.int64
    assert table["saved"].dtype == bool
    for name in COLUMNS:
        assert table[name].mask.tolist() == [row[name] is None for row in ROWS], name
    assert table["start_utc"][0] == "2015-03-03T02:06:52.047Z"
    assert json.loads(table["darks"][0]) == ["a", "b"]
    assert table["exptime_s"].tolist() == [1000.0, 1020.0]


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("box_rate_err_count_s_pix", "ct / (s pix)"),
        ("science_err_count_s", "ct / s"),
        ("flux_erg_s_cm2_a", "erg / (s cm2 Angstrom)"),
        ("ab_mag_err", "mag"),
        ("ra_deg", "deg"),
        ("x_pix", "pix"),
        ("delta_days", "d"),
        ("delta_temperature_c", "deg_C"),
        ("photplam_a", None),
        ("dark_fraction", None),
        ("delta_sigma", None),
        ("rank", None),
    ],
)
def test_unit_of_a_name(name: str, unit: str | None) -> None:
    assert unit_of(name) == unit


def test_every_unit_of_the_contract_is_one_to_astropy() -> None:
    with_unit = [unit for name in (*SORT_KEYS, *PHOTOMETRY_KEYS) if (unit := unit_of(name)) is not None]
    assert len(with_unit) > 20
    for unit in with_unit:
        u.Unit(unit)


@pytest.mark.parametrize("ending", [".ecsv", ".vot", ".xml", ".fits", ".FITS"])
def test_written_tables_are_read_back(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"table{ending}"
    write_table(ROWS, COLUMNS, path)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    kind = {".ecsv": "ascii.ecsv", ".fits": "fits"}.get(ending.lower(), "votable")
    table = Table.read(path, format=kind)
    ours = to_table(ROWS, COLUMNS)
    assert table.colnames == list(COLUMNS)
    for name in COLUMNS:
        column = table[name]
        masked = np.broadcast_to(getattr(column, "mask", False), len(ROWS))
        for number, row in enumerate(ROWS):
            if row[name] is None:
                # An empty text and an absent one are the same in FITS and VOTable.
                assert masked[number] or str(column[number]) == "", name
            else:
                value = column[number]
                assert (value.decode() if isinstance(value, bytes) else value) == ours[name][number], name
        if name == "temperature_mean_c" and kind == "votable":
            # VOUnit has no degree Celsius.
            assert column.unit is None
            assert column.description.endswith(", in deg C")
        elif name in UNITS:
            assert column.unit == UNITS[name], name


@pytest.mark.parametrize("ending", [".ecsv", ".vot", ".fits"])
def test_text_of_any_language_is_written(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"table{ending}"
    write_table([{"reason": "größer"}, {"reason": None}], ["reason"], path)
    kind = {".ecsv": "ascii.ecsv", ".fits": "fits"}.get(ending, "votable")
    # FITS holds ASCII alone.
    assert str(Table.read(path, format=kind)["reason"][0]) == (r"gr\xf6\xdfer" if ending == ".fits" else "größer")
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", [".ecsv", ".vot", ".fits"])
@pytest.mark.parametrize("columns", [SORT_KEYS, PHOTOMETRY_KEYS])
def test_empty_listing_has_its_columns(tmp_path: Path, ending: str, columns: tuple[str, ...]) -> None:
    path = tmp_path / f"table{ending}"
    write_table([], columns, path)
    kind = {".ecsv": "ascii.ecsv", ".fits": "fits"}.get(ending, "votable")
    table = Table.read(path, format=kind)
    assert len(table) == 0
    assert table.colnames == list(columns)


@pytest.mark.parametrize("name", ["table", "table.txt", "table.fits.gz", ".ecsv", "ecsv"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="gives no table format") as caught:
        write_table(ROWS, COLUMNS, tmp_path / name)
    assert "FILE.ecsv" in caught.value.todo
    assert list(tmp_path.iterdir()) == []


def test_older_file_stays_whole_until_the_new_one_is_there(tmp_path: Path) -> None:
    path = tmp_path / "table.ecsv"
    write_table(ROWS, COLUMNS, path)
    write_table(ROWS[:1], COLUMNS, path)
    assert len(Table.read(path)) == 1
    (tmp_path / "folder.ecsv").mkdir()
    for target in (tmp_path / "none" / "table.ecsv", tmp_path / "folder.ecsv"):
        with pytest.raises(SbcdarkError, match="Cannot write"):
            write_table(ROWS, COLUMNS, target)
    assert {one.name for one in tmp_path.iterdir()} == {"table.ecsv", "folder.ecsv"}
