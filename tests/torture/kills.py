"""Sudden death: kill -9 of an ingest, a migration and a run, then a plain re-run, then a look at everything."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from helpers import dump, insert_darks

from sbcdark.catalog import schema
from torture import canonical, moments, products
from torture.commands import DONE, REJECTED, Bench
from torture.data import APERTURE
from torture.databases import opened

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from torture.commands import Ended
    from torture.databases import Databases
    from torture.tally import Deadline, Tally

OLDEST = "0001"
"""The revision from which catalogs are migrated."""

_TRIES = 4
"""So often a kill may come too late (the command had ended) for each one that is asked for."""


@dataclass(slots=True)
class Undisturbed:
    """A command that nobody killed: what it takes and what it comes to."""

    seconds: float
    start_s: float
    written_byte: int
    rows: canonical.Rows
    sums: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)


def start_up(bench: Bench, databases: Databases) -> float:
    """Return how long the program takes before it does anything, in seconds."""
    return bench.run(databases.fresh(), "--version").seconds


def ingests(
    bench: Bench,
    databases: Databases,
    sets: Sequence[Sequence[Path]],
    tally: Tally,
    kills: int,
    seed: int,
    end: Deadline,
) -> None:
    """Kill ingests. Of five, four are of the first set of folders and one of the last, which needs a pool."""
    undisturbed = []
    started = start_up(bench, databases)
    for folders in sets:
        url = databases.fresh()
        with databases.written(url) as written:
            ended = bench.run(url, "ingest", *folders)
            total = written()
        blame_command(tally, "undisturbed ingest", ended, (DONE, REJECTED))
        with opened(url) as engine:
            undisturbed.append(Undisturbed(ended.seconds, started, total, canonical.canonical(engine)))
        databases.drop(url)
    done = 0
    for number in range(_TRIES * kills):
        if done == kills or end.passed():
            break
        which = -1 if number % 5 == 4 else 0
        rng = moments.chance("ingest", databases.engine, seed, number)
        url = databases.fresh()
        where = f"ingest {number}"
        killed = 0
        for _ in range(rng.choice((1, 1, 2))):
            killed += _killed(bench, databases, url, undisturbed[which], rng, ("ingest", *sets[which]))
            tally.blame("left over", where, bench.survivors())
        if killed:
            done += killed
            tally.count("kills", killed)
            again = bench.run(url, "ingest", *sets[which])
            blame_command(tally, where, again, (DONE, REJECTED))
            tally.blame("left over", where, bench.survivors() + bench.remains())
            with opened(url) as engine:
                look(tally, where, engine, undisturbed[which].rows)
        databases.drop(url)


def _killed(
    bench: Bench,
    databases: Databases,
    url: str,
    undisturbed: Undisturbed,
    rng: random.Random,
    arguments: Sequence[str | Path],
    sign: Callable[[], bool] | None = None,
) -> bool:
    with databases.written(url) as written:
        if sign is not None:
            moment = moments.soon_after(sign, rng.uniform(0.0, 0.3))
        else:
            moment = moments.drawn(rng, undisturbed.seconds, undisturbed.start_s, written, undisturbed.written_byte)
        running = bench.start(url, *arguments)
        killed = running.kill_when(moment)
    running.end()
    return killed


def look(tally: Tally, where: str, engine: sa.Engine, wanted: canonical.Rows) -> None:
    """Compare what a catalog says of files with the undisturbed one, and look for damage and for open runs."""
    lost, wrong = canonical.facts_compared(canonical.canonical(engine), wanted)
    tally.blame("lost", where, lost)
    tally.blame("wrong", where, wrong + canonical.damaged(engine))
    tally.blame("left over", where, canonical.open_runs(engine))


def blame_command(tally: Tally, where: str, ended: Ended, codes: Sequence[int]) -> None:
    """Note what a command did that it should not."""
    tally.blame("tracebacks", where, ended.tracebacks())
    tally.blame("wrong", where, ended.misbehaviour(codes))


def old_catalog(bench: Bench, databases: Databases, real: str, tally: Tally) -> str:
    """Return the URL of a catalog of the oldest revision with rows in every table, as an older program left it."""
    url = databases.copy(real)
    for arguments in (
        ("run", "jcmc11e6q", "-o", bench.folder / "old", "--aperture", APERTURE, "--combine", "nearest"),
        ("retire", "jcrx01iiq", "--reason", "torture"),
    ):
        blame_command(tally, "old catalog", bench.run(url, *arguments), (DONE,))
    rng = np.random.default_rng(1)
    number = 2000
    with opened(url) as engine:
        insert_darks(
            engine,
            rng.uniform(0.0, 5e-5, number),
            np.full(number, 1000.0),
            rng.uniform(18.0, 28.0, number),
            rng.uniform(53_000.0, 57_000.0, number),
        )
    if schema.HEAD != OLDEST:
        blame_command(tally, "old catalog", bench.run(url, "db", "downgrade", OLDEST, "--yes"), (DONE,))
    databases.settle(url)
    return url


def migrations(
    bench: Bench, databases: Databases, old: str, tally: Tally, kills: int, seed: int, end: Deadline
) -> None:
    """Kill migrations of a catalog that is older than the program."""
    if schema.HEAD == OLDEST:
        tally.note(f"{databases.engine}: there is no revision but {OLDEST}: nothing to migrate")
        return
    url = databases.copy(old)
    started = start_up(bench, databases)
    with databases.written(url) as written:
        ended = bench.run(url, "db", "upgrade")
        total = written()
    blame_command(tally, "undisturbed migration", ended, (DONE,))
    with opened(url) as engine:
        wanted = dump(engine)
    undisturbed = Undisturbed(ended.seconds, started, total, {})
    tally.blame("wrong", "old catalog", [f"no row in {name}" for name, rows in wanted.items() if not rows])
    databases.drop(url)
    done = 0
    for number in range(_TRIES * kills):
        if done == kills or end.passed():
            break
        rng = moments.chance("migration", databases.engine, seed, number)
        where = f"migration {number}"
        url = databases.copy(old)
        killed = _killed(bench, databases, url, undisturbed, rng, ("db", "upgrade"))
        tally.blame("left over", where, bench.survivors())
        if killed:
            done += 1
            tally.count("kills")
            blame_command(tally, where, bench.run(url, "db", "upgrade"), (DONE,))
            with opened(url) as engine:
                found = dump(engine)
                tally.blame("wrong", where, canonical.damaged(engine))
            for name, rows in wanted.items():
                tally.blame(
                    "lost",
                    where,
                    [f"{name}: {row}"[:200] for row in set(map(repr, rows)) - set(map(repr, found[name]))],
                )
                tally.blame(
                    "wrong",
                    where,
                    [f"{name}: {row}"[:200] for row in set(map(repr, found[name])) - set(map(repr, rows))],
                )
        databases.drop(url)


SIGNS = (
    (".sbcdark-*",),
    (".sbcdark-*/drizzle_*",),
    (".sbcdark-*/*_drz.fits",),
    (".sbcdark-*/*_masterdark.fits",),
    ("*_drz.fits", "*_masterdark.fits"),
    ("*_masterdark_err.fits",),
    ("*.ecsv", ".*.ecsv*"),
    ("*.png", ".*.png*"),
)
"""What is seen of a run from outside, in the order in which it comes."""

JOBS = (("jcmc11e6q",), ("jcmc11010", "jcmc11040", "--workers", "2"))
"""A lone exposure, and two associations at once: their processes are grandchildren of the command."""


def runs(
    bench: Bench, databases: Databases, real: str, flats: Path, tally: Tally, kills: int, seed: int, end: Deadline
) -> None:
    """Kill runs, up to three on the same folder before each plain re-run. Of five jobs, one is of two associations."""
    started = start_up(bench, databases)
    folder = bench.folder / "products"
    undisturbed: dict[int, Undisturbed] = {}
    done = number = 0
    while done < kills and not end.passed() and number < _TRIES * kills:
        which = 1 if number % 5 == 3 else 0
        command = ("run", *JOBS[which], "-o", folder, "--flat", flats, "--aperture", APERTURE)
        if which not in undisturbed:
            undisturbed[which] = _undisturbed_run(bench, databases, real, folder, command, started, tally)
        wanted = undisturbed[which]
        rng = moments.chance("run", databases.engine, seed, number)
        url = databases.copy(real)
        folder.mkdir()
        where = f"run {number}"
        killed = 0
        for _ in range(rng.choice((1, 2, 3))):
            sign = moments.appears(folder, rng.choice(SIGNS)) if rng.random() < 0.6 else None
            killed += _killed(bench, databases, url, wanted, rng, command, sign)
            tally.blame("left over", where, bench.survivors())
            tally.blame("wrong", where, products.half_written(folder, wanted.sums))
            with opened(url) as engine:
                tally.blame(
                    "wrong", where, canonical.whole_results(canonical.canonical(engine, str(folder)), wanted.rows)[1]
                )
            if end.passed():
                break
        done += killed
        tally.count("kills", killed)
        blame_command(tally, where, bench.run(url, *command), (DONE,))
        tally.blame("left over", where, bench.survivors() + bench.remains() + products.surplus(folder, wanted.names))
        tally.blame("lost", where, products.missing(folder, wanted.names))
        tally.blame("wrong", where, products.half_written(folder, wanted.sums))
        with opened(url) as engine:
            rows = canonical.canonical(engine, str(folder))
            number_of_sets, wrong = canonical.whole_results(rows, wanted.rows)
            tally.blame("lost", where, ["the results of the re-run"] if number_of_sets < 1 else [])
            tally.blame("wrong", where, wrong + products.dangling(engine))
            look(tally, where, engine, wanted.rows)
        databases.drop(url)
        shutil.rmtree(folder)
        number += 1


def _undisturbed_run(
    bench: Bench,
    databases: Databases,
    real: str,
    folder: Path,
    command: Sequence[str | Path],
    started: float,
    tally: Tally,
) -> Undisturbed:
    url = databases.copy(real)
    with databases.written(url) as written:
        ended = bench.run(url, *command)
        total = written()
    blame_command(tally, "undisturbed run", ended, (DONE,))
    with opened(url) as engine:
        rows = canonical.canonical(engine, str(folder))
    made = Undisturbed(
        ended.seconds, started, total, rows, products.pixel_sums(folder), {path.name for path in folder.iterdir()}
    )
    databases.drop(url)
    shutil.rmtree(folder)
    return made
