"""Time of match and why against the size of the catalog: `cd tests && python -m benchmarks.selection_speed`.

Makes catalogs of 1e3, 1e5 and 1e6 darks on SQLite and on PostgreSQL (4 minutes; `--sizes` for others, `--folder` keeps
the SQLite ones) and calls `match` and `why` in this process for each of the science exposures, the sizes in turn. `why`
is asked for the best dark and for any dark; `Catalog.match` also gives the darks of the templates of `run`. Connections
to PostgreSQL stay open, as those of a `Catalog` do. Prints medians in ms and their ratio to the smallest catalog.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.large_catalog import SCIENCES, make_catalog
from helpers import rootname
from postgres import create_database, started_server

from sbcdark import Catalog
from sbcdark.pipeline.selection.choice import match
from sbcdark.pipeline.selection.reasons import why
from sbcdark.pipeline.selection.rules import Rule

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 1
CALLS = ("match", "why best", "why any", "Catalog.match")


def timed(work: Callable[[], object]) -> float:
    """Return the time that a call takes, in ms."""
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def measure(engine_name: str, catalogs: dict[int, Catalog]) -> None:
    """Print the table of one engine."""
    times: dict[tuple[int, str, Rule], list[float]] = {}
    for round_ in range(ROUNDS + 1):
        for number in range(1, SCIENCES + 1):
            name = rootname("s", number)
            for size, catalog in catalogs.items():
                engine = catalog.engine
                any_dark = rootname("d", 1 + 7919 * number % size)
                for rule in Rule:
                    best = match(engine, [name], rule=rule)[0].darks
                    calls = {
                        "match": partial(match, engine, [name], rule=rule),
                        "why best": partial(why, engine, name, best[0].dark if best else any_dark, rule=rule),
                        "why any": partial(why, engine, name, any_dark, rule=rule),
                        "Catalog.match": partial(catalog.match, name, rule=rule.value),
                    }
                    for what, call in calls.items():
                        milliseconds = timed(call)
                        if round_ > 0:  # the first one warms the caches
                            times.setdefault((size, what, rule), []).append(milliseconds)
    smallest = min(catalogs)
    print(f"{engine_name}: median (90th percentile) in ms; ratio of the medians to {smallest} darks")
    print(f"{'':27}" + "".join(f"{f'{size:.0e} darks':>26}" for size in catalogs))
    for what in CALLS:
        for rule in Rule:
            base = statistics.median(times[smallest, what, rule])
            line = f"  {what:13} {rule.value:11}"
            for size in catalogs:
                values = times[size, what, rule]
                median, high = statistics.median(values), statistics.quantiles(values, n=10)[-1]
                line += f"{median:9.1f} ({high:6.1f}) {median / base:5.1f} x"
            print(line)


def main() -> None:
    """Make or open the catalogs and measure both engines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=float, nargs="+", default=[1e3, 1e5, 1e6])
    parser.add_argument("--folder", type=Path, help="keep the SQLite catalogs here and use those that are there")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes]
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        paths = {size: folder / f"{size}.db" for size in sizes}
        for size, path in paths.items():
            if not path.exists():
                make_catalog(f"sqlite:///{path}", size).dispose()
        measure("SQLite", {size: Catalog(path) for size, path in paths.items()})
        with started_server(Path(name) / "server") as server:
            urls = {size: create_database(server.get_uri()) for size in sizes}
            for size, url in urls.items():
                make_catalog(url, size).dispose()
            measure("PostgreSQL", {size: Catalog(url) for size, url in urls.items()})


if __name__ == "__main__":
    main()
