"""`python -m torture` in tests/ (or `make torture`): tries to break catalogs, and prints what it tried and what broke.

The catalogs are real (SQLite files and a PostgreSQL server), the command line is the program's own, in processes of
their own, and the files are the real ones where they are at hand. Random moments come from the seed that is printed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from postgres import started_server

from torture import bad_files, data, faults, kills, memory, report, writers
from torture.commands import DONE, REJECTED, Bench
from torture.databases import ENGINES, KEPT, Databases
from torture.kills import Stage
from torture.tally import Deadline, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torture.data import Archive

SEED = 20150303
"""The day on which the real darks were taken."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is tried at most; each subject ends when its time is over, and says how much it did."""

    rounds: int
    """Of many writers."""
    kills: int
    """Of ingests and of migrations, on each engine."""
    run_kills: int
    """Of runs, on each engine."""
    faults: int
    """So often each fault befalls."""
    more_darks: int
    """Beside the real files: from 48 files on an ingest reads in several processes, and 128 are written at a time."""
    bad_files: int
    """On each engine."""
    many_files: int
    """Whose memory is compared with that of `FEW_FILES`."""
    seconds: dict[str, float]
    """For each subject."""


FULL = Effort(
    rounds=3,
    kills=50,
    run_kills=50,
    faults=8,
    more_darks=224,
    bad_files=2000,
    many_files=2000,
    seconds={"writers": 80, "ingest": 205, "migration": 140, "run": 430, "faults": 140, "bad input": 60},
)
SHORT = Effort(
    rounds=1,
    kills=4,
    run_kills=1,
    faults=1,
    more_darks=50,
    bad_files=100,
    many_files=400,
    seconds={"writers": 20, "ingest": 20, "migration": 12, "run": 30, "faults": 30, "bad input": 20},
)

FEW_FILES = 200
"""The memory that an ingest of so many files takes is what that of many is compared with."""


@dataclass(slots=True)
class Field:
    """What all subjects share."""

    folder: Path
    server: Any
    effort: Effort
    seed: int
    archive: Archive
    pool: Path


def on_engines(
    field: Field,
    subject: str,
    seconds: float,
    work: Callable[[Stage], None],
    *,
    engines: Sequence[str] = ENGINES,
    at_once: bool = True,
) -> list[Tally]:
    """Do a piece of work on some engines, at once or one after the other, each in a folder of its own."""

    def one(engine: str) -> Tally:
        tally = Tally(subject, engine)
        folder = field.folder / subject.replace(" ", "_") / engine
        with tally.timed():
            try:
                databases = Databases(engine, folder / "catalogs", field.server)
                end = Deadline.after(seconds if at_once else seconds / len(engines))
                work(Stage(Bench(folder / "bench"), databases, tally, field.seed, end))
            except Exception as error:  # noqa: BLE001  a catalog in a state that cannot be looked at is a finding too
                tally.blame("wrong", "the look at it", [f"{type(error).__name__}: {error}"[:600]])
        return tally

    with ThreadPoolExecutor(len(engines) if at_once else 1) as threads:
        return list(threads.map(one, engines))


def killed_ingests(field: Field, seconds: float) -> list[Tally]:
    """Kill ingests on both engines."""
    sets = ((field.archive.folder,), (field.archive.folder, field.pool))
    return on_engines(field, "kill an ingest", seconds, lambda stage: kills.ingests(stage, sets, field.effort.kills))


def killed_migrations(field: Field, seconds: float) -> list[Tally]:
    """Kill migrations on both engines."""
    return on_engines(field, "kill a migration", seconds, lambda stage: kills.migrations(stage, field.effort.kills))


def killed_runs(field: Field, seconds: float) -> list[Tally]:
    """Kill runs on both engines."""

    def work(stage: Stage) -> None:
        url = stage.databases.fresh()
        ended = stage.bench.run(url, "ingest", field.archive.folder)
        kills.blame_command(stage.tally, "catalog of all files", ended, (DONE, REJECTED))
        stage.databases.settle(url)
        kills.runs(stage, url, field.archive, field.effort.run_kills)

    return on_engines(field, "kill a run", seconds, work)


def many_writers(field: Field, seconds: float) -> list[Tally]:
    """Let many processes write at once, on each engine."""
    files = sorted(path for folder in (field.archive.folder, field.pool) for path in folder.rglob("*.fits*"))
    science, rounds = field.archive.science, field.effort.rounds
    return on_engines(field, "many writers", seconds, lambda stage: writers.writers(stage, files, science, rounds))


def every_fault(field: Field, seconds: float) -> list[Tally]:
    """Let every fault befall. The catalogs on SQLite do not mind that the server is killed meanwhile."""

    def work(stage: Stage) -> None:
        faults.torture_faults(faults.Faults(stage, field.archive, field.pool), field.effort.faults)

    return on_engines(field, "faults", seconds, work)


def bad_input(field: Field, seconds: float) -> list[Tally]:
    """Ingest bad files; in this process, so that one engine comes after the other."""
    shared, number = field.archive.shared, field.effort.bad_files
    return on_engines(
        field, "bad input", seconds, lambda stage: bad_files.bad_files(stage, shared, number), at_once=False
    )


def flat_memory(field: Field, seconds: float) -> list[Tally]:
    """Compare the memory of ingests of few and of many files, on SQLite."""

    def work(stage: Stage) -> None:
        folder = stage.bench.folder / "darks"
        paths = data.many_darks(field.archive.darks, folder, field.effort.many_files)
        memory.memory(stage, paths[:FEW_FILES], folder, len(paths))

    return on_engines(field, "memory", seconds, work, engines=("sqlite",))


SUBJECTS: dict[str, Callable[[Field, float], list[Tally]]] = {
    "writers": many_writers,
    "ingest": killed_ingests,
    "migration": killed_migrations,
    "run": killed_runs,
    "faults": every_fault,
    "bad input": bad_input,
    "memory": flat_memory,
}


def main() -> int:
    """Torture, report, and return the exit code: 1 where anything was found."""
    parser = argparse.ArgumentParser(prog="torture", description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few of each, within three minutes")
    parser.add_argument("--seed", type=int, default=SEED, help="from which the random moments come")
    parser.add_argument("--only", choices=SUBJECTS, action="append", help="one subject (may be given again)")
    arguments = parser.parse_args()
    # Ended from outside, it still takes down its server, its disks and its files.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    effort = SHORT if arguments.short else FULL
    print(f"torture, seed {arguments.seed}, {'short' if arguments.short else 'full'} form", flush=True)
    tallies: list[Tally] = []
    with (
        tempfile.TemporaryDirectory(prefix="sbcdark-torture-") as name,
        started_server(Path(name) / "postgres", off=KEPT) as server,
    ):
        folder = Path(name)
        archive = data.made_archive(folder)
        print(f"on {archive.origin}", flush=True)
        field = Field(folder, server, effort, arguments.seed, archive, folder / "pool")
        data.many_darks(archive.darks, field.pool, effort.more_darks)
        for subject in arguments.only or SUBJECTS:
            done = SUBJECTS[subject](field, effort.seconds.get(subject, 0.0))
            tallies += done
            print(report.lines(done, header=subject == (arguments.only or list(SUBJECTS))[0]), flush=True)
    print(report.verdict(tallies), flush=True)
    return 0 if all(tally.clean for tally in tallies) else 1


if __name__ == "__main__":
    sys.exit(main())
