"""One Dask worker against two, in turn: `python -m benchmarks.dask_workers DATA [--visits 2] [--rounds 3]`, in tests/.

Each worker is a process with one thread on this machine, which needs two idle cores. Each time the folder of
`whole_job.unpack` is ingested into a new catalog and its associations are run into a new folder, without kept
templates; workers have imported their libraries before. Prints the times and their ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.whole_job import ELLIPSE, unpack
from dask_cluster import local_cluster

from sbcdark import Catalog
from sbcdark.pipeline.selection.names import Selector


def timed(data: Path, folder: Path, workers: int) -> tuple[float, float]:
    """Return how long an ingest and a run take with that many workers, in seconds."""
    os.environ["SBCDARK_CACHE"] = str(folder / "cache")
    catalog = Catalog(f"sqlite:///{folder / 'catalog.db'}")
    with local_cluster(workers) as cluster:
        address = cluster.scheduler_address
        client = cluster.get_client()
        client.run(__import__, "sbcdark.pipeline.products.worker_imports")
        start = time.perf_counter()
        catalog.ingest(data, scheduler=address)
        ingested = time.perf_counter()
        made = catalog.run(
            Selector(everything=True), folder / "products", apertures=f"ellipse:{ELLIPSE}", scheduler=address
        )
        end = time.perf_counter()
        client.close()
    failures = [one.outcome.failure for one in made if one.outcome.failure is not None]
    if failures:
        raise SystemExit(str(failures[0]))
    return ingested - start, end - ingested


def main() -> None:
    """Print the times and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder of darks, associations and FLTs")
    parser.add_argument("--visits", type=int, default=2, help="how many times four associations")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpack(arguments.data, folder / "data", arguments.visits)
        os.environ |= {"jref": str(folder / "data")}
        times: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
        for number in range(arguments.rounds):
            for workers, found in times.items():
                place = folder / f"{number}-{workers}"
                place.mkdir()
                found.append(timed(folder / "data", place, workers))
    for step, what in enumerate(("ingest", "run")):
        one, two = ([each[step] for each in times[workers]] for workers in (1, 2))
        ratio = statistics.median(alone / both for alone, both in zip(one, two, strict=True))
        print(f"{what:7} one {statistics.median(one):7.2f} s, two {statistics.median(two):7.2f} s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
