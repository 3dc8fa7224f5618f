"""Start-up of `sbcdark match` against bare imports: `python tests/benchmarks/start_up.py FOLDER`, of RAW darks.

Prints the median over several rounds against the import of sqlalchemy, typer, numpy and astropy.io.fits, in turn.
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.ingest.ingestion import ingest

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 7


def timed(work: Callable[[], object]) -> float:
    """Return how long a piece of work takes, in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def start_up(catalog: str, rootname: str) -> None:
    """Compare the start-up of match with the bare imports."""
    ours = [str(Path(sys.executable).with_name("sbcdark")), "--db", catalog, "match", rootname]
    installed = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}  # an installed package has bytecode
    bare = [sys.executable, "-c", "import sqlalchemy, typer, numpy, astropy.io.fits"]
    ratios, seconds = [], []
    for round_ in range(ROUNDS + 1):
        pair = [
            timed(partial(subprocess.run, command, check=True, capture_output=True, env=installed))
            for command in (ours, bare)
        ]
        if round_ > 0:
            ratios.append(pair[0] / pair[1])
            seconds.append(pair)
    print(f"start-up, median of {ROUNDS} rounds")
    print(f"  sbcdark match   {statistics.median(pair[0] for pair in seconds):8.2f} s")
    print(f"  bare imports    {statistics.median(pair[1] for pair in seconds):8.2f} s")
    print(f"  ratio           {statistics.median(ratios):8.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def main() -> None:
    """Run the comparison."""
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
        catalog = f"sqlite:///{folder / 'match.db'}"
        ingest(open_catalog(catalog, create=True), paths, workers=1)
        start_up(catalog, paths[0].name.partition("_")[0])


if __name__ == "__main__":
    main()
