"""What the stand-in for MAST holds, and how it answers searches: data sets, products, files."""

from __future__ import annotations

import fnmatch
import gzip
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from twin_archive import ASSOCIATIONS, DARKS, SCIENCE, real_darks, real_science

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mast_server import MastServer

MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)

COLUMNS = {
    "sci_data_set_name": ("string", "VARCHAR(9)"),
    "sci_targname": ("string", "VARCHAR(31)"),
    "sci_instrume": ("string", "CHAR"),
    "sci_instrument_config": ("string", "VARCHAR(20)"),
    "sci_aper_1234": ("string", "VARCHAR(20)"),
    "sci_spec_1234": ("string", "VARCHAR(31)"),
    "sci_actual_duration": ("float", "FLOAT"),
    "sci_start_time": ("datetime", "DATETIME"),
    "sci_pep_id": ("integer", "INTEGER"),
    "sci_asn_id": ("string", "VARCHAR(9)"),
    "sci_expflag": ("string", "VARCHAR(13)"),
    "sci_status": ("string", "VARCHAR(10)"),
    "sci_archive_date": ("datetime", "DATETIME"),
}
"""Column: its type in the column list, and in the answer of a search."""


@dataclass
class Served:
    """A file that is given; `path` may be gzipped, the file is given unpacked."""

    name: str
    path: Path | None = None
    content: bytes | None = None

    @cached_property
    def body(self) -> bytes:
        """The bytes that are given."""
        if self.content is not None:
            return self.content
        assert self.path is not None
        packed = self.path.read_bytes()
        return gzip.decompress(packed) if self.path.suffix == ".gz" else packed

    @cached_property
    def size(self) -> int:
        """How many these are."""
        if self.path is not None and self.path.suffix == ".gz":
            with self.path.open("rb") as file:
                file.seek(-4, 2)  # gzip's own note of the size
                return int(struct.unpack("<I", file.read(4))[0])
        return len(self.body)


@dataclass
class Row:
    """A data set of the archive's search, with the names of its products."""

    name: str
    target: str
    program: int
    start_mjd: float
    exptime_s: float | None = 1000.0
    detector: str = "SBC"
    products: list[str] = field(default_factory=list)
    status: str = "PUBLIC"
    archived: str | None = "2019-06-01T12:00:00"

    def cells(self) -> dict[str, Any]:
        """Return the row as the search gives it."""
        return {
            "sci_data_set_name": self.name.upper(),
            "sci_targname": self.target,
            "sci_instrume": "ACS   ",
            "sci_instrument_config": f"ACS/{self.detector}",
            "sci_aper_1234": self.detector,
            "sci_spec_1234": "BLOCK1" if self.target == "DARK" else "F165LP",
            "sci_actual_duration": self.exptime_s,
            "sci_start_time": f"{(MJD_EPOCH + timedelta(days=self.start_mjd)).replace(tzinfo=None).isoformat()}",
            "sci_pep_id": self.program,
            "sci_asn_id": "NONE",
            "sci_expflag": "NORMAL",
            "sci_status": self.status,
            "sci_archive_date": self.archived,
        }


def darks(data: Path, first: int, last: int) -> Iterator[tuple[Row, list[Served]]]:
    """Give some of the 20 darks of program 13961, with names of products that nobody shall ask for."""
    for real in real_darks()[first:last]:
        name = real.rootname
        noise = [f"{name}_spt.fits", f"{name}_jit.fits", f"{name}_flt.fits"]
        row = Row(name, "DARK", 13961, real.start_mjd, real.exptime_s, products=noise)
        yield row, [Served(f"{name}_raw.fits", data / DARKS / f"{name}_raw.fits.gz")]


def visit(data: Path) -> Iterator[tuple[Row, list[Served]]]:
    """Give visit 11 of program 13655: associations, FLTs, HAP duplicates, a frame of the WFC."""
    science = real_science()
    for name in sorted({real.association for real in science}):
        members = [real for real in science if real.association == name]
        exposures = [real.rootname for real in members]
        files = [Served(f"{name}_asn.fits", data / ASSOCIATIONS / f"{name}_asn.fits")]
        files += [Served(f"{one}_flt.fits", data / SCIENCE / f"{one}_flt.fits.gz") for one in exposures]
        noise = [f"{name}_drz.fits", *(f"{one}_raw.fits" for one in exposures)]
        noise += [f"hst_13655_11_acs_sbc_f165lp_{one[:8]}_flt.fits" for one in exposures]
        yield Row(name, "NGC-7469", 13655, members[0].start_mjd, 2000.0, products=noise), files
    yield Row("jcmc11zzq", "NGC-7469", 13655, 57125.3, 30.0, detector="WFC", products=["jcmc11zzq_flt.fits"]), []
    yield Row("jcmc12010", "NGC-7469", 13655, 57130.3, 30.0, products=["jcmc12010_asn.fits"]), []


def search_answer(published: Sequence[Row], asked: Mapping[str, Any], fault: str | None) -> dict[str, Any]:
    """Return one page of a search."""
    conditions = {key: str(value) for one in asked.get("conditions", []) for key, value in one.items()}
    rows = [row.cells() for row in published]
    found = [cells for cells in rows if all(_fits(cells[key], value) for key, value in conditions.items())]
    for key in asked.get("sort_by") or ["sci_data_set_name"]:
        found.sort(key=lambda cells, key=key: cells[key])  # type: ignore[misc]
    start = 0 if fault == "same page" else asked.get("offset", 0)
    page = found[start : start + asked["limit"]]
    if fault in {"duplicate", "empty"}:
        page = page * 2 if fault == "duplicate" else []
    columns = [*(asked.get("select_cols") or COLUMNS), "search_pos", "ang_sep"]
    return {
        "messages": [],
        "info": [{"name": name, "type": COLUMNS.get(name, ("", "VARCHAR(9)"))[1]} for name in columns],
        "search_params": asked,
        "totalResults": len(found),
        "results": [{name: cells.get(name) for name in columns} for cells in page],
    }


def _fits(cell: Any, wanted: str) -> bool:
    return any(fnmatch.fnmatchcase(str(cell).strip(), one.strip()) for one in wanted.split(","))


def products_answer(mast: MastServer, asked: Mapping[str, Any], fault: str | None) -> dict[str, Any]:
    """Return the products of some data sets."""
    rows = {row.name.upper(): row for row in mast.rows}
    products = [
        {
            "product_key": f"{name}_{product}",
            "access": mast.access,
            "dataset": name,
            "instrument_name": "ACS   ",
            "filters": "F165LP",
            "filename": product,
            "uri": f"{name}/{product}",
            "authz_primary_identifier": product[:9].upper(),
            "authz_secondary_identifier": "CAL",
            "file_suffix": product.rpartition("_")[2].partition(".")[0].upper(),
            "category": "UNCALIBRATED",
            "size": mast.files[product].size if product in mast.files else 31_680,
            "type": "science",
        }
        for name in asked["dataset_ids"]
        if name in rows
        for product in rows[name].products
    ]
    if fault is not None:
        products = products * 2 if fault == "duplicate" else []
    return {"products": products}
