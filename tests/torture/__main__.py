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
from torture.tally import Deadline, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

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


def on_both_engines(
    field: Field, subject: str, work: Callable[[Bench, Databases, Tally], None], *, at_once: bool = True
) -> list[Tally]:
    """Do a piece of work on both engines, at once or one after the other, each in a folder of its own."""

    def one(engine: str) -> Tally:
        tally = Tally(subject, engine)
        folder = field.folder / subject.replace(" ", "_") / engine
        with tally.timed():
            try:
                work(Bench(folder / "bench"), Databases(engine, folder / "catalogs", field.server), tally)
            except Exception as error:  # noqa: BLE001  a catalog in a state that cannot be looked at is a finding too
                tally.blame("wrong", "the look at it", [f"{type(error).__name__}: {error}"[:600]])
        return tally

    with ThreadPoolExecutor(len(ENGINES) if at_once else 1) as threads:
        return list(threads.map(one, ENGINES))


def filled_catalog(field: Field, bench: Bench, databases: Databases, tally: Tally) -> str:
    """Return the URL of a catalog of all files."""
    url = databases.fresh()
    kills.blame_command(tally, "catalog of all files", bench.run(url, "ingest", field.archive.folder), (DONE, REJECTED))
    databases.settle(url)
    return url


def killed_ingests(field: Field) -> list[Tally]:
    """Kill ingests on both engines."""
    end = Deadline.after(field.effort.seconds["ingest"])

    def work(bench: Bench, databases: Databases, tally: Tally) -> None:
        sets = ((field.archive.folder,), (field.archive.folder, field.pool))
        kills.ingests(bench, databases, sets, tally, field.effort.kills, field.seed, end)

    return on_both_engines(field, "kill an ingest", work)


def killed_migrations(field: Field) -> list[Tally]:
    """Kill migrations on both engines."""
    end = Deadline.after(field.effort.seconds["migration"])

    def work(bench: Bench, databases: Databases, tally: Tally) -> None:
        old = kills.old_catalog(databases, bench.folder)
        kills.migrations(bench, databases, old, tally, field.effort.kills, field.seed, end)

    return on_both_engines(field, "kill a migration", work)


def killed_runs(field: Field) -> list[Tally]:
    """Kill runs on both engines."""
    end = Deadline.after(field.effort.seconds["run"])

    def work(bench: Bench, databases: Databases, tally: Tally) -> None:
        filled = filled_catalog(field, bench, databases, tally)
        kills.runs(bench, databases, filled, field.archive, tally, field.effort.run_kills, field.seed, end)

    return on_both_engines(field, "kill a run", work)


def many_writers(field: Field) -> list[Tally]:
    """Let many processes write at once, on each engine."""
    end = Deadline.after(field.effort.seconds["writers"])
    files = sorted(path for folder in (field.archive.folder, field.pool) for path in folder.rglob("*.fits*"))

    def work(bench: Bench, databases: Databases, tally: Tally) -> None:
        writers.writers(bench, databases, files, field.archive.science, tally, field.effort.rounds, field.seed, end)

    return on_both_engines(field, "many writers", work)


def every_fault(field: Field) -> list[Tally]:
    """Let every fault befall. The catalogs on SQLite do not mind that the server is killed meanwhile."""
    end = Deadline.after(field.effort.seconds["faults"])

    def work(bench: Bench, databases: Databases, tally: Tally) -> None:
        shared = faults.Faults(bench, databases, field.archive, field.pool, tally, field.seed)
        faults.torture_faults(shared, field.effort.faults, end)

    return on_both_engines(field, "faults", work)


def bad_input(field: Field) -> list[Tally]:
    """Ingest bad files; in this process, so that one engine comes after the other."""

    def work(bench: Bench, databases: Databases, tally: Tally) -> None:
        end = Deadline.after(field.effort.seconds["bad input"] / len(ENGINES))
        number = field.effort.bad_files
        bad_files.bad_files(field.archive.shared, databases, bench.folder, tally, number, field.seed, end)

    return on_both_engines(field, "bad input", work, at_once=False)


def flat_memory(field: Field) -> list[Tally]:
    """Compare the memory of ingests of few and of many files, on SQLite."""
    tally = Tally("memory", "sqlite")
    folder = field.folder / "memory"
    with tally.timed():
        paths = data.many_darks(field.archive.darks, folder / "darks", field.effort.many_files)
        databases = Databases("sqlite", folder / "catalogs", field.server)
        memory.memory(Bench(folder / "bench"), databases, paths[:FEW_FILES], folder / "darks", len(paths), tally)
    return [tally]


SUBJECTS: dict[str, Callable[[Field], list[Tally]]] = {
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
            done = SUBJECTS[subject](field)
            tallies += done
            print(report.lines(done, header=subject == (arguments.only or list(SUBJECTS))[0]), flush=True)
    print(report.verdict(tallies), flush=True)
    return 0 if all(tally.clean for tally in tallies) else 1


if __name__ == "__main__":
    sys.exit(main())
