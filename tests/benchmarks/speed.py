"""Speed, side by side in one run: `python tests/benchmarks/speed.py FOLDER`, a folder of RAW darks, plain or gzipped.

Prints medians over several rounds, the two ways in turn, so that a machine whose speed drifts favours neither:

- the start-up of `sbcdark match` against the import of sqlalchemy, typer, numpy and astropy.io.fits;
- an ingest with one worker, with and without sha256, against reading the same keywords with `fits.getval` and the box
  with `fits.getdata`, a file at a time.
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from astropy.io import fits

from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.ingest.ingestion import ingest

if TYPE_CHECKING:
    from collections.abc import Callable

PRIMARY = (
    "ROOTNAME", "PROPOSID", "TARGNAME", "IMAGETYP", "OBSTYPE", "OBSMODE", "DETECTOR", "INSTRUME", "FILTER1", "ASN_ID",
    "EXPSTART", "EXPTIME", "EXPFLAG", "PROCTIME", "CAL_VER", "DARKCORR", "PFLTFILE",
)  # fmt: skip
SCIENCE = ("MDECODT1", "MDECODT2", "MEANDARK", "PHOTFLAM", "PHOTPLAM")
ROUNDS = 7


def timed(work: Callable[[], object]) -> float:
    """Return how long a piece of work takes, in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def by_hand(paths: list[Path]) -> None:
    """Read what an ingest reads the obvious way."""
    for path in paths:
        for keyword in PRIMARY:
            fits.getval(path, keyword, 0)
        for keyword in SCIENCE:
            fits.getval(path, keyword, 1)
        fits.getdata(path, 1)[650:850, 580:780].sum()


def ingest_rounds(paths: list[Path], folder: Path) -> None:
    """Compare ingests with reading by hand."""
    names = ("with sha256", "without sha256", "by hand")
    times: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(ROUNDS + 1):
        catalogs = [open_catalog(f"sqlite:///{folder / f'{round_}_{number}.db'}", create=True) for number in (0, 1)]
        work = (
            partial(ingest, catalogs[0], paths, workers=1),
            partial(ingest, catalogs[1], paths, workers=1, checksum=False),
            partial(by_hand, paths),
        )
        measured = dict(zip(names, map(timed, work), strict=True))
        if round_ > 0:  # the first one warms the caches
            for name, seconds in measured.items():
                times[name].append(seconds)
    print(f"reading {len(paths)} darks, median of {ROUNDS} rounds")
    for name in names:
        print(f"  {name:15} {1e3 * statistics.median(times[name]) / len(paths):8.2f} ms a file")
    for name in names[:2]:
        ratios = [hand / ours for hand, ours in zip(times["by hand"], times[name], strict=True)]
        print(f"  by hand / ingest {name}: {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")


def start_up(catalog: str, rootname: str) -> None:
    """Compare the start-up of match with the bare imports."""
    ours = [str(Path(sys.executable).with_name("sbcdark")), "--db", catalog, "match", rootname]
    bare = [sys.executable, "-c", "import sqlalchemy, typer, numpy, astropy.io.fits"]
    ratios, seconds = [], []
    for round_ in range(ROUNDS + 1):
        pair = [timed(partial(subprocess.run, command, check=True, capture_output=True)) for command in (ours, bare)]
        if round_ > 0:
            ratios.append(pair[0] / pair[1])
            seconds.append(pair)
    print(f"start-up, median of {ROUNDS} rounds")
    print(f"  sbcdark match   {statistics.median(pair[0] for pair in seconds):8.2f} s")
    print(f"  bare imports    {statistics.median(pair[1] for pair in seconds):8.2f} s")
    print(f"  ratio           {statistics.median(ratios):8.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def main() -> None:
    """Run both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder of RAW darks")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpacked = folder / "darks"
        unpacked.mkdir()
        for path in sorted(arguments.folder.glob("*_raw.fits*")):
            content = path.read_bytes()
            plain = gzip.decompress(content) if path.suffix == ".gz" else content
            (unpacked / path.name.removesuffix(".gz")).write_bytes(plain)
        paths = sorted(unpacked.iterdir())
        ingest_rounds(paths, folder)
        catalog = f"sqlite:///{folder / 'match.db'}"
        ingest(open_catalog(catalog, create=True), paths, workers=1)
        start_up(catalog, paths[0].name.partition("_")[0])


if __name__ == "__main__":
    main()
