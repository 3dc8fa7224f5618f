"""The whole job against the published procedure by hand, side by side in one run.

`python tests/benchmarks/whole_job.py DATA [--visits 1 10] [--rounds 3]`; DATA has the layout of the real data: folders
of darks, associations and FLTs, plain or gzipped. Each visit is four associations of two exposures; more visits are
copies under other names. Both sides start cold, in turn: `by_hand.py` (eight AstroDrizzle calls a visit; with and
without its figures) against `sbcdark ingest` and `sbcdark run` (with errors, model, pictures and records), and once
more `sbcdark run` into another folder. Prints medians and ratios, and the peak memory of a process.
"""

from __future__ import annotations

import argparse
import ctypes
import gzip
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ELLIPSE = "735,710,70,40,90"
PROGRAM = "jcmc"
VISIT = f"{PROGRAM}11"


def unpack(data: Path, folder: Path, visits: int) -> None:
    """Put the darks, the flat and the associations of that many visits into a folder, as plain FITS."""
    folder.mkdir()
    for path in sorted(data.glob("*/*.fits*")):
        name = path.name.removesuffix(".gz")
        if not name.endswith(("_raw.fits", "_flt.fits", "_asn.fits", "_pfl.fits")):
            continue
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if not name.startswith(VISIT):
            (folder / name).write_bytes(content)
            continue
        for visit in range(11, 11 + visits):
            own = f"{PROGRAM}{visit}"
            renamed = content.replace(VISIT.encode(), own.encode())
            renamed = renamed.replace(VISIT.upper().encode(), own.upper().encode())
            (folder / name.replace(VISIT, own)).write_bytes(renamed)


def timed(commands: Sequence[Sequence[str]], environment: dict[str, str]) -> tuple[float, float]:
    """Return how long commands take one after the other, and the CPU time of all their processes, in seconds.

    Raises
    ------
    SystemExit
        One fails.
    """
    start, before = time.perf_counter(), cpu_time()
    for command in commands:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    took = time.perf_counter() - start
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    return took, cpu_time() - before


def adopt_orphans() -> None:
    """Become the parent of processes whose own parent has ended, so that their CPU time and memory are counted."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1)


def cpu_time() -> float:
    """Return the CPU time of all ended children and theirs, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compare(data: Path, folder: Path, visits: int, rounds: int) -> None:
    """Print how long both sides take."""
    unpack(data, folder / "data", visits)
    program = str(Path(sys.executable).with_name("sbcdark"))
    names = ("by hand", "by hand, no pictures", "ingest and run", "a second run")
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for number in range(rounds):
        place = folder / str(number)
        place.mkdir()
        environment = os.environ | {
            "jref": str(folder / "data"), "SBCDARK_DB": f"sqlite:///{place / 'catalog.db'}",
            "SBCDARK_CACHE": str(place / "cache"), "MPLBACKEND": "Agg",
            "PYTHONDONTWRITEBYTECODE": "",  # an installed package has bytecode
        }  # fmt: skip
        run = [program, "run", "--program", "13655", "--aperture", f"ellipse:{ELLIPSE}", "-o"]
        hand = [sys.executable, str(Path(__file__).with_name("by_hand.py")), str(folder / "data"), str(place / "hand")]
        times[names[0]].append(timed([[*hand, ELLIPSE]], environment))
        shutil.rmtree(place / "hand")
        ingest = [program, "ingest", str(folder / "data")]
        times[names[2]].append(timed([ingest, [*run, str(place / "first")]], environment))
        times[names[1]].append(timed([[*hand, ELLIPSE, "--no-pictures"]], environment))
        times[names[3]].append(timed([[*run, str(place / "second")]], environment))
        shutil.rmtree(place)
    print(f"{4 * visits} associations of two exposures, {rounds} rounds")
    for name in names:
        wall, cpu = (statistics.median(each) for each in zip(*times[name], strict=True))
        print(f"  {name:22} {wall:8.2f} s, CPU time {cpu:8.2f} s")
    for name in names[:2]:
        ratios = [hand[0] / ours[0] for hand, ours in zip(times[name], times[names[2]], strict=True)]
        middle = statistics.median(ratios)
        print(f"  ({name}) / (ingest and run): {middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def main() -> None:
    """Compare for each number of visits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder of darks, associations and FLTs")
    parser.add_argument("--visits", type=int, nargs="+", default=[1, 10], help="how many times four associations")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    adopt_orphans()
    for visits in arguments.visits:
        with tempfile.TemporaryDirectory() as name:
            compare(arguments.data, Path(name), visits, arguments.rounds)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"  largest memory of a process, either side: {peak:.0f} MB")


if __name__ == "__main__":
    main()
