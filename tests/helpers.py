"""What several tests of the catalog share: dumps, made-up darks in bulk, real files with other headers."""

from __future__ import annotations

import gzip
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sqlalchemy as sa

from sbcdark.catalog import models, schema
from sbcdark.catalog.engine import make_engine, sqlite_url, writing
from sbcdark.catalog.records import FileReading, Refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sbcdark.pipeline.ingest.report import IngestReport
    from sbcdark.pipeline.simulation.darks import SimulatedFile

CARD = 80
"""Bytes of a FITS header card."""

BLOCK = 2880
"""Bytes of a FITS block."""

SCI_HEADER = 5 * BLOCK
"""Where the SCI header of the real RAW darks begins: their primary header fills five blocks."""

BOX_PIXELS = 40_000

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For a test in which the engine makes no difference: `database_url` is that of a SQLite catalog alone."""

OLD_CATALOGS = sorted((Path(__file__).parent / "old_catalogs").glob("*.db.gz"))
"""Catalogs of earlier releases, one a revision."""

MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)


def dump(engine: sa.Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table of a catalog, in an order that is always the same."""
    with engine.connect() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(sa.select(table))), key=repr)
            for table in models.Base.metadata.sorted_tables
        }


def raw_rows(engine: sa.Engine) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table as it is stored, whatever the revision."""
    metadata = sa.MetaData()
    metadata.reflect(engine)
    with engine.connect() as connection:
        return {
            table.name: sorted(
                (dict(row) for row in connection.execute(sa.select(table)).mappings()),
                key=lambda row: [str(row[column.name]) for column in table.primary_key] or repr(row),
            )
            for table in metadata.sorted_tables
        }


def old_catalog(packed: Path, url: str, folder: Path) -> sa.Engine:
    """Return an old catalog as it was, in a database of its own on either engine."""
    plain = folder / "old.db"
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    if url.startswith("sqlite"):
        return make_engine(sqlite_url(plain))
    source, engine = make_engine(sqlite_url(plain)), make_engine(url)
    schema.upgrade(engine, packed.name[:4])
    metadata = sa.MetaData()
    metadata.reflect(engine)
    # Read through the types of the server, which knows booleans, times and JSON where SQLite has numbers and text.
    with source.connect() as reader, engine.begin() as writer:
        for table in metadata.sorted_tables:
            rows = [dict(row) for row in reader.execute(sa.select(table)).mappings()]
            if rows and table.name != "alembic_version":
                writer.execute(sa.insert(table), rows)
    source.dispose()
    return engine


def exposures_dump(engine: sa.Engine) -> list[dict[str, Any]]:
    """Return the exposures by root name, without the ids that the order of ingest gives them."""
    with engine.connect() as connection:
        rows = connection.execute(sa.select(models.Exposure.__table__).order_by(models.Exposure.rootname)).mappings()
        return [{key: value for key, value in row.items() if key != "id"} for row in rows]


def unpacked_raw(data: Path, rootname: str = "jcrx01iiq") -> bytes:
    """Return the bytes of a real RAW dark."""
    return gzip.decompress((data / "darks_13961" / f"{rootname}_raw.fits.gz").read_bytes())


def with_card(content: bytes, keyword: str, value: str | bytes | None, *, start: int = 0) -> bytes:
    """Return a FITS file with another value written over one card's bytes; None turns the card into a comment."""
    name = f"{keyword:8}= ".encode()
    at = content.index(name, start)
    assert (at - start) % CARD == 0
    card = b"COMMENT " if value is None else name + (value if isinstance(value, bytes) else value.encode())
    assert len(card) <= CARD
    return content[:at] + card.ljust(CARD) + content[at + CARD :]


def renamed(content: bytes, rootname: str) -> bytes:
    """Return a FITS file that says it is another exposure."""
    return with_card(content, "ROOTNAME", f"'{rootname}'")


def insert_darks(
    engine: sa.Engine,
    contrast: NDArray[np.floating[Any]],
    exptime_s: NDArray[np.floating[Any]],
    temperature_c: NDArray[np.floating[Any]],
    start_mjd: NDArray[np.floating[Any]],
    prefix: str = "d",
) -> None:
    """Put made-up darks with a RAW each into a catalog: Poisson errors of a base of 7.5e-6 count/s/pixel and a glow."""
    quiet = 7.5e-6
    box = contrast + quiet
    box_error = np.sqrt(box / (BOX_PIXELS * exptime_s))
    quiet_error = np.sqrt(quiet / (131_072 * exptime_s))
    numbers = range(1, len(contrast) + 1)
    exposures = [
        {
            "rootname": rootname(prefix, number),
            "kind": "dark",
            "program": 13961,
            "start_utc": MJD_EPOCH + timedelta(days=float(mjd)),
            "start_mjd": float(mjd),
            "exptime_s": float(seconds),
            "temperature_start_c": float(celsius),
            "temperature_end_c": float(celsius),
            "temperature_mean_c": float(celsius),
            "quality": "good",
            "has_raw": True,
            "box_count": float(np.round(box_rate * BOX_PIXELS * seconds)),
            "box_rate_count_s_pix": float(box_rate),
            "box_rate_err_count_s_pix": float(error),
            "quiet_rate_count_s_pix": quiet,
            "quiet_rate_err_count_s_pix": float(other_error),
            "contrast_count_s_pix": float(glow),
            "contrast_err_count_s_pix": float(np.hypot(error, other_error)),
        }
        for number, glow, seconds, celsius, mjd, box_rate, error, other_error in zip(
            numbers, contrast, exptime_s, temperature_c, start_mjd, box, box_error, quiet_error, strict=True
        )
    ]
    with writing(engine) as session:
        run = models.IngestRun(action="test", software_version="0", started_utc=datetime(2026, 1, 1, tzinfo=UTC))
        session.add(run)
        session.flush()
        session.execute(sa.insert(models.Exposure), exposures)
        names = [rootname(prefix, number) for number in numbers]
        found = session.execute(
            sa.select(models.Exposure.id, models.Exposure.rootname).where(
                models.Exposure.rootname.between(min(names), max(names))
            )
        )
        session.execute(
            sa.insert(models.File),
            [
                {
                    "exposure_id": identity,
                    "ingest_run_id": run.id,
                    "kind": "RAW",
                    # No file of this machine, so that nobody looks for it.
                    "uri": f"https://archive.invalid/darks/{name}_raw.fits",
                    "size_byte": 2_134_080,
                    "mtime_ns": 0,
                    "sha256": name,
                    "state": "present",
                }
                for identity, name in found
            ],
        )


def rootname(prefix: str, number: int) -> str:
    """Return a root name of nine characters."""
    return f"{prefix}{number:0{8 - len(prefix)}d}q"


def insert_science(engine: sa.Engine, name: str, **values: Any) -> None:
    """Put a science exposure of 1000 s into a catalog, with an error of its contrast and box rate of 5e-7."""
    fields: dict[str, Any] = {
        "kind": "science",
        "program": 13655,
        "start_utc": datetime(2015, 4, 13, tzinfo=UTC),
        "start_mjd": 57125.0,
        "exptime_s": 1000.0,
        "temperature_start_c": 25.0,
        "temperature_end_c": 25.0,
        "temperature_mean_c": 25.0,
        "quality": "good",
        "box_count": 300.0,
        "box_rate_count_s_pix": 7.5e-6,
        "box_rate_err_count_s_pix": 5e-7,
        "quiet_rate_count_s_pix": 7.5e-6,
        "quiet_rate_err_count_s_pix": 2.4e-7,
        "contrast_count_s_pix": 0.0,
        "contrast_err_count_s_pix": 5e-7,
    }
    with writing(engine) as session:
        session.add(models.Exposure(rootname=name, **fields | values))


def every_dark_row(engine: sa.Engine) -> list[Any]:
    """Return the row of every dark."""
    with engine.connect() as connection:
        return list(connection.execute(sa.select(models.Exposure.__table__).where(models.Exposure.kind == "dark")))


def copied(data: Path, folder: Path, *names: str) -> list[Path]:
    """Copy real files, by the beginnings of their names, into a folder."""
    folder.mkdir(exist_ok=True)
    found = []
    for name in names:
        source = next(data.glob(f"*/{name}*"))
        found.append(Path(shutil.copyfile(source, folder / source.name)))
    return found


def counts(report: IngestReport) -> tuple[int, int, int, int]:
    """Return how many files were added, updated, unchanged and rejected."""
    return report.added, report.updated, report.unchanged, report.rejected


def files_told(report: IngestReport) -> tuple[Any, ...]:
    """Return what a report says of files; a dry run does not judge darks."""
    lists = report.rejections, report.ignored_files, report.superseded
    return (report.added, report.updated, report.unchanged, report.ignored, report.rejected, *lists)


def refused(found: FileReading | Refusal | None) -> str:
    """Return the reason of a file that must not be taken."""
    assert isinstance(found, Refusal)
    assert not found.ignored
    return found.reason


def taken(found: FileReading | Refusal | None) -> FileReading:
    """Return the reading of a file that must be taken."""
    assert isinstance(found, FileReading)
    return found


def with_background(file: SimulatedFile, counts: float) -> SimulatedFile:
    """Return a simulated frame with so many more counts in each pixel, on average."""
    science = file.extensions[0]
    assert science.data is not None
    generator = np.random.default_rng(5)
    data = (science.data + generator.poisson(counts, science.data.shape)).astype(science.data.dtype)
    return replace(file, extensions=(replace(science, data=data), *file.extensions[1:]))
