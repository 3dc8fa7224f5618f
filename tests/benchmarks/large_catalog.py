"""A catalog of many made-up darks: `cd tests && python -m benchmarks.large_catalog URL [NUMBER]`, 1e6 by default.

The counts of the box and of the quiet rows are Poisson draws, so that equal counts tie as they do in real darks. Half
of the darks are warm and glow; one in 50 is retired, one in 50 has a missing file. Science exposures are beside them.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa
from helpers import MJD_EPOCH, rootname

from sbcdark.catalog import models
from sbcdark.catalog.chunks import chunks
from sbcdark.catalog.engine import writing
from sbcdark.catalog.opening import open_catalog
from sbcdark.catalog.rate_blocks import block_of
from sbcdark.pipeline.detector.rates import EXACT_BELOW, count_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

BOX_PIXELS, QUIET_PIXELS = 39_936, 131_072
BASE = 7.5e-6
"""Rate of a cold dark, count/s/pixel."""

SCIENCES = 8
_ROWS = 20_000


def make_catalog(url: str, number: int) -> sa.Engine:
    """Fill a new catalog with `number` darks and `SCIENCES` science exposures; return its engine."""
    engine = open_catalog(url, create=True)
    rng = np.random.default_rng(13961)
    with writing(engine) as session:
        run = models.IngestRun(action="benchmark", software_version="0", started_utc=datetime(2026, 1, 1, tzinfo=UTC))
        session.add(run)
        session.flush()
        connection = session.connection()
        darks, sciences = _exposures(rng, "d", "dark", number), _exposures(rng, "s", "science", SCIENCES)
        for exposures in (darks, sciences):
            while rows := list(islice(exposures, _ROWS)):
                _insert(connection, models.Exposure.__table__, rows)
        query = sa.select(models.Exposure.id, models.Exposure.rootname, models.Exposure.kind).order_by(
            models.Exposure.id
        )
        for found in chunks(connection.execute(query).all(), _ROWS):
            _insert(connection, models.File.__table__, [_file(*row, run.id) for row in found])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE" if engine.dialect.name == "sqlite" else "VACUUM ANALYZE")
    return engine


def _exposures(rng: np.random.Generator, prefix: str, kind: str, number: int) -> Iterator[dict[str, Any]]:
    temperature = np.round(rng.uniform(16.0, 30.0, number), 2)
    exptime = rng.choice([500.0, 1000.0, 1000.0, 1000.0, 1000.0, 1300.0, 1800.0, 2000.0], number)
    start = np.round(rng.uniform(52_400, 61_000, number), 6)
    glow = np.where(temperature < 24.0, 0.0, rng.gamma(1.5, 1e-5, number) * np.maximum(temperature - 24.0, 0.0))
    base = BASE * rng.normal(1.0, 0.08, number)
    box = rng.poisson(BOX_PIXELS * exptime * (base + glow))
    quiet = rng.poisson(QUIET_PIXELS * exptime * base)
    box_rate, box_error = _rates(box, BOX_PIXELS * exptime)
    quiet_rate, quiet_error = _rates(quiet, QUIET_PIXELS * exptime)
    state = rng.random(number)
    contrast = box_rate - quiet_rate
    for i in range(number):
        yield {
            "rootname": rootname(prefix, i + 1),
            "kind": kind,
            "program": 13961 if kind == "dark" else 13655,
            "start_utc": MJD_EPOCH + timedelta(days=float(start[i])),
            "start_mjd": float(start[i]),
            "exptime_s": float(exptime[i]),
            "temperature_start_c": float(temperature[i]),
            "temperature_end_c": float(temperature[i]),
            "temperature_mean_c": float(temperature[i]),
            "quality": "retired" if state[i] < 0.02 else "good",
            "has_raw": kind == "dark" and not _is_missing(i + 1),
            "quality_by_hand": False,
            "box_count": float(box[i]),
            "box_rate_count_s_pix": float(box_rate[i]),
            "box_rate_err_count_s_pix": float(box_error[i]),
            "quiet_rate_count_s_pix": float(quiet_rate[i]),
            "quiet_rate_err_count_s_pix": float(quiet_error[i]),
            "contrast_count_s_pix": float(contrast[i]),
            "contrast_err_count_s_pix": float(np.hypot(box_error[i], quiet_error[i])),
            "contrast_block": block_of(contrast[i]),
            "box_rate_block": block_of(box_rate[i]),
        }


def _rates(counts: NDArray[Any], exposure: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    exact = np.array([count_error(few) for few in range(int(EXACT_BELOW))])
    error = np.where(counts < EXACT_BELOW, exact[np.minimum(counts, len(exact) - 1)], np.sqrt(counts))
    return counts / exposure, error / exposure


def _is_missing(identity: int) -> bool:
    """Return whether the file of a dark is missing; ids count from 1 in a new catalog."""
    return identity % 50 == 0


def _file(identity: int, name: str, kind: str, run: int) -> dict[str, Any]:
    content = "RAW" if kind == "dark" else "FLT"
    return {
        "exposure_id": identity,
        "ingest_run_id": run,
        "kind": content,
        # No file of this machine, so that nobody looks for it.
        "uri": f"https://archive.invalid/{name}_{content.lower()}.fits",
        "size_byte": 2_134_080,
        "mtime_ns": 0,
        "sha256": name,
        "state": "missing" if _is_missing(identity) and kind == "dark" else "present",
    }


def _insert(connection: sa.Connection, table: Any, rows: list[dict[str, Any]]) -> None:
    """Insert rows; on PostgreSQL by COPY, which is several times as fast as INSERT."""
    if connection.dialect.name == "sqlite":
        connection.execute(sa.insert(table), rows)
        return
    columns = list(rows[0])
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} ({', '.join(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(list(row.values()))


def main() -> None:
    """Make the catalog that the command line names."""
    url, number = sys.argv[1], int(float(sys.argv[2])) if len(sys.argv) > 2 else 1_000_000
    start = time.perf_counter()
    make_catalog(url, number).dispose()
    print(f"{number} darks in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
