"""Ingest against reading by hand: `cd tests && python -m benchmarks.ingest_speed FOLDER`, a folder of RAW darks.

Copies the darks under other root names, plain and gzipped, and reads each set in turn by hand and by `ingest`:

- *arrays*: what the published notebook does for each file: `fits.getdata`, both headers, the sum of the box;
- *keywords*: `fits.getval` for each keyword that an ingest stores, and the sum of the box;
- *ingest*: facts, four regions, hot pixels, sha256, and all of it in a new catalog;
- *again*: the same ingest, with nothing changed.

Prints files per second, the time of the processor per file, medians of several rounds, and the ratios within each.
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from astropy.io import fits
from helpers import renamed, rootname

from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.ingest.ingestion import ingest

if TYPE_CHECKING:
    from collections.abc import Callable

PRIMARY = (
    "ROOTNAME", "PROPOSID", "TARGNAME", "IMAGETYP", "OBSTYPE", "OBSMODE", "DETECTOR", "INSTRUME", "FILTER1", "ASN_ID",
    "EXPSTART", "EXPTIME", "EXPFLAG", "PROCTIME", "CAL_VER", "DARKCORR", "PFLTFILE",
)  # fmt: skip
SCIENCE = ("MDECODT1", "MDECODT2", "MEANDARK", "PHOTFLAM", "PHOTPLAM")
BOX = slice(650, 850), slice(580, 780)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the time that a call takes, and the time of the processor, also of its processes; in seconds."""
    start, before = time.perf_counter(), sum(os.times()[:4])
    work()
    return time.perf_counter() - start, sum(os.times()[:4]) - before


def arrays(paths: list[Path]) -> None:
    """Read each file as the notebook does."""
    for path in paths:
        pixels = fits.getdata(path, 1)
        primary, science = fits.getheader(path, 0), fits.getheader(path, 1)
        _ = primary["EXPTIME"], science["MDECODT1"], pixels[BOX].sum()


def keywords(paths: list[Path]) -> None:
    """Read the keywords of each file one by one."""
    for path in paths:
        for keyword in PRIMARY:
            fits.getval(path, keyword, 0)
        for keyword in SCIENCE:
            fits.getval(path, keyword, 1)
        fits.getdata(path, 1)[BOX].sum()


def copies(sources: list[Path], folder: Path, number: int, *, packed: bool) -> list[Path]:
    """Write copies of darks under other root names, plain or gzipped."""
    folder.mkdir()
    contents = [gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in sources]
    paths = []
    for index in range(number):
        name = rootname("j", index + 1)
        content = renamed(contents[index % len(contents)], name)
        paths.append(folder / f"{name}_raw.fits{'.gz' if packed else ''}")
        paths[-1].write_bytes(gzip.compress(content, 6) if packed else content)
    return paths


def compare(paths: list[Path], folder: Path, rounds: int, workers: int | None) -> None:
    """Print the table of one set of files."""
    times: dict[str, list[tuple[float, float]]] = {}
    for round_ in range(rounds + 1):
        database = folder / f"{paths[0].suffix}_{round_}.db"
        catalog = open_catalog(database, create=True)
        work = {
            "arrays": partial(arrays, paths),
            "keywords": partial(keywords, paths[: len(paths) // 4]),
            "ingest": partial(ingest, catalog, paths, workers=workers),
            "again": partial(ingest, catalog, paths, workers=workers),
        }
        for name, do in work.items():
            wall, cpu = timed(do)
            part = 4 if name == "keywords" else 1
            if round_ > 0:  # the first one warms the caches
                times.setdefault(name, []).append((part * wall, part * cpu))
        catalog.dispose()
    for name, seconds in times.items():
        wall, cpu = (statistics.median(column) for column in zip(*seconds, strict=True))
        line = f"  {name:10}{len(paths) / wall:10.0f} files/s {1e3 * cpu / len(paths):6.2f} ms"
        if name == "ingest":
            for hand in ("arrays", "keywords"):
                ratios = [slow[0] / ours[0] for slow, ours in zip(times[hand], seconds, strict=True)]
                line += f"   {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}) x {hand}"
        print(line)


def main() -> None:
    """Compare on plain and on gzipped files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder of RAW darks, plain or gzipped")
    parser.add_argument("--number", type=int, default=1000, help="files in each set")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, help="files read at once; by default one per core")
    arguments = parser.parse_args()
    sources = sorted(arguments.folder.glob("*_raw.fits*"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for packed in (False, True):
            print(f"{arguments.number} {'gzipped' if packed else 'plain'} darks, median of {arguments.rounds} rounds")
            kind = "packed" if packed else "plain"
            compare(
                copies(sources, folder / kind, arguments.number, packed=packed),
                folder,
                arguments.rounds,
                arguments.workers,
            )


if __name__ == "__main__":
    main()
