"""An ingest by the workers of a Dask cluster fills a catalog as one process does, whatever happens to a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dask_cluster import kill_a_worker, local_cluster
from helpers import counts, dump, renamed, rootname, unpacked_raw, with_card

from sbcdark.catalog.errors import UnreachableError, UsageError
from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.ingest.ingestion import ingest

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

NUMBER = 300


@pytest.fixture(scope="module")
def frames(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 300 RAW darks, one of them bad."""
    folder = tmp_path_factory.mktemp("frames")
    raw = unpacked_raw(shared_data)
    for number in range(1, NUMBER + 1):
        content = renamed(raw, rootname("j", number))
        if number == 7:
            content = with_card(content, "EXPTIME", "-1.0")
        (folder / f"{rootname('j', number)}_raw.fits").write_bytes(content)
    return folder


def rows_but_times(engine: sa.Engine) -> dict[str, list[tuple[object, ...]]]:
    return {name: rows for name, rows in dump(engine).items() if name not in {"ingest_runs", "quality_notes"}}


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_killed_worker_costs_only_time(database_url: str, frames: Path, tmp_path: Path) -> None:
    alone = open_catalog(tmp_path / "alone.db", create=True)
    here = ingest(alone, [frames], workers=1)
    catalog = open_catalog(database_url, create=True)
    killed: list[int] = []
    with local_cluster(2) as cluster:

        def kill_once(done: int, total: int) -> None:
            if 0 < done < total and not killed:
                killed.append(kill_a_worker(cluster))

        report = ingest(catalog, [frames], scheduler=cluster.scheduler_address, progress=kill_once)
        again = ingest(catalog, [frames], scheduler=cluster.scheduler_address)
    assert killed
    assert counts(report) == counts(here) == (NUMBER - 1, 0, 0, 1)
    assert report.rejections == here.rejections
    assert counts(again) == (0, 0, NUMBER - 1, 1)
    assert rows_but_times(catalog) == rows_but_times(alone)
    for engine in (alone, catalog):
        engine.dispose()


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("tcp://127.0.0.1:9", UnreachableError, "does not answer"),
        ("nonsense://x", UsageError, "is not the address of a scheduler"),
    ],
)
def test_scheduler_that_is_not_there_is_told(
    address: str, error: type[Exception], words: str, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sbcdark.pipeline.archive.cluster._TIMEOUT_S", 1)
    catalog = open_catalog(tmp_path / "catalog.db", create=True)
    with pytest.raises(error, match=words):
        ingest(catalog, [frames], scheduler=address)
    catalog.dispose()
