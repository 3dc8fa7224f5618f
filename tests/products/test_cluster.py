"""Runs on a Dask cluster, and runs that continue where an earlier one ended."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from dask_cluster import kill_a_worker, local_cluster

from sbcdark.catalog import models
from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.apertures.apertures import parse_aperture
from sbcdark.pipeline.estimation.options import BuildOptions
from sbcdark.pipeline.products.job import Job
from sbcdark.pipeline.products.run import Outcome, make
from sbcdark.pipeline.selection.names import Selector
from sbcdark.pipeline.selection.rules import Combine

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

NAMES = ("jcmc11010", "jcmc11020")
EVERYTHING = Selector(everything=True)


def stored(engine: sa.Engine) -> list[tuple[Any, ...]]:
    """Return what is stored of products and photometry, but for the paths."""
    product, photometry = models.Product, models.Photometry
    with engine.connect() as connection:
        pixels = connection.execute(
            sa.select(product.name, product.kind, product.pixels_sha256).order_by(product.name, product.kind)
        ).all()
        rates = connection.execute(
            sa.select(photometry.association, photometry.source_count_s, photometry.source_err_count_s).order_by(
                photometry.association
            )
        ).all()
    return [tuple(row) for row in (*pixels, *rates)]


def made_files(folder: Path) -> dict[str, int]:
    # Not the table of all associations, which every run joins anew.
    products = (path for path in folder.glob("jcmc11*_sbcdark_*") if path.suffix in {".fits", ".ecsv"})
    return {path.name: path.stat().st_mtime_ns for path in products}


def test_killed_worker_costs_only_time_and_the_next_run_skips(
    real_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, shared = (open_catalog(shutil.copy(real_file, tmp_path / f"{name}.db")) for name in ("alone", "shared"))
    job = Job(
        tmp_path / "alone",
        BuildOptions(combine=Combine.NEAREST),
        (parse_aperture("ellipse:735,710,70,40,90"),),
    )
    expected = make(alone, NAMES, job, workers=1)
    assert [one.failure for one in expected] == [None, None]
    job = replace(job, folder=tmp_path / "shared")
    monkeypatch.setenv("SBCDARK_ROOTS", f"products={job.folder}")
    killed: list[int] = []
    with local_cluster(2) as cluster:

        def kill_once(line: str) -> None:
            if not killed and "failed" not in line:
                killed.append(kill_a_worker(cluster))

        outcomes = make(shared, EVERYTHING, job, scheduler=cluster.scheduler_address, talk=kill_once)
    assert killed
    assert {one.name for one in outcomes} > set(NAMES)
    assert [one.failure for one in outcomes] == [None] * len(outcomes)
    assert [row for row in stored(shared) if row[0] in NAMES] == stored(alone)
    with shared.connect() as connection:
        assert all(uri.startswith("root://products/") for uri in connection.scalars(sa.select(models.Product.uri)))
    before, rows = made_files(job.folder), stored(shared)
    # Nothing is made twice; the photometry comes from the catalog.
    again = make(shared, EVERYTHING, job, workers=1)
    assert all(one.reused for one in again)
    assert (made_files(job.folder), stored(shared)) == (before, rows)
    assert [measured(one) for one in again] == [measured(one) for one in outcomes]
    # What is missing, damaged or measured otherwise is made again, and only that.
    (job.folder / "jcmc11010_sbcdark_net.fits").unlink()
    third = make(shared, NAMES, job, workers=1)
    assert [one.reused for one in third] == [False, True]
    more = replace(job, apertures=(*job.apertures, parse_aperture("circle:500,500,20")))
    assert [one.reused for one in make(shared, NAMES, more, workers=1)] == [False, False]
    for engine in (alone, shared):
        engine.dispose()


def measured(outcome: Outcome) -> list[tuple[str, float, float]]:
    return [(one.aperture, one.source_count_s, one.source_err_count_s) for one in outcome.photometry]
