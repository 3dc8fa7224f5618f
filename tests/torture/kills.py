"""Sudden death: kill -9 of an ingest, a migration and a run, then a plain re-run, then a look at everything."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import helpers
import sqlalchemy as sa
from helpers import raw_rows

from torture import canonical, moments, products
from torture.commands import DONE, REJECTED, Bench
from torture.databases import opened

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torture.commands import Ended
    from torture.data import Archive
    from torture.databases import Databases
    from torture.tally import Deadline, Tally

_MORE = 2000
"""Darks that the old catalog has beside those that it came with: there is something to do for a migration."""

_TRIES = 4
"""So often a kill may come too late (the command had ended) for each one that is asked for."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a subject has on one engine: where commands run, their catalogs, who counts, a seed, and until when."""

    bench: Bench
    databases: Databases
    tally: Tally
    seed: int
    end: Deadline

    def chance(self, what: str, *numbers: int) -> random.Random:
        """Return the generator of one case."""
        return moments.chance(what, self.databases.engine, self.seed, *numbers)

    def left(self, url: str) -> list[str]:
        """Return what a command may not leave."""
        return self.bench.survivors() + self.bench.remains() + self.databases.remains(url)


@dataclass(slots=True)
class Undisturbed:
    """A command that nobody killed: what it takes and what it comes to."""

    seconds: float
    start_s: float
    """How long the program takes before it does anything."""
    written_byte: int
    rows: canonical.Rows
    results: dict[str, canonical.Rows] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)


def undisturbed(
    stage: Stage, url: str, *command: str | Path, codes: Sequence[int] = (DONE,), folder: str = ""
) -> Undisturbed:
    """Run a command to its end; `folder` is cut out of the rows, see `canonical.canonical`."""
    start_s = stage.bench.run(stage.databases.fresh(), "--version").seconds
    with stage.databases.written(url) as written:
        ended = stage.bench.run(url, *command)
        total = written()
    blame_command(stage.tally, f"undisturbed {command[0]}", ended, codes)
    with opened(url) as engine:
        return Undisturbed(ended.seconds, start_s, total, canonical.canonical(engine, folder))


def ingests(stage: Stage, sets: Sequence[Sequence[Path]], kills: int) -> None:
    """Kill ingests. Of five, four are of the first set of folders and one of the last, which needs a pool."""
    bench, databases, tally = stage.bench, stage.databases, stage.tally
    wanted = []
    for folders in sets:
        url = databases.fresh()
        wanted.append(undisturbed(stage, url, "ingest", *folders, codes=(DONE, REJECTED)))
        databases.drop(url)
    done = 0
    for number in range(_TRIES * kills):
        if done >= kills or stage.end.passed():
            break
        which = -1 if number % 5 == 4 else 0
        rng = stage.chance("ingest", number)
        url = databases.fresh()
        where = f"ingest {number}"
        killed = 0
        # Several deaths in a row before the plain re-run: what the first one left must not mislead the next.
        for _ in range(rng.choice((1, 2, 3))):
            killed += _killed(stage, url, wanted[which], rng, ("ingest", *sets[which]))
            tally.blame("left over", where, bench.survivors())
        if killed:
            done += killed
            tally.count("kills", killed)
            again = bench.run(url, "ingest", *sets[which])
            blame_command(tally, where, again, (DONE, REJECTED))
            tally.blame("left over", where, stage.left(url))
            with opened(url) as engine:
                look(tally, where, engine, wanted[which].rows)
        databases.drop(url)


def _killed(
    stage: Stage,
    url: str,
    wanted: Undisturbed,
    rng: random.Random,
    arguments: Sequence[str | Path],
    sign: Callable[[], bool] | None = None,
) -> bool:
    with stage.databases.written(url) as written:
        if sign is not None:
            moment = moments.soon_after(sign, rng.uniform(0.0, 0.3))
        else:
            moment = moments.drawn(rng, wanted.seconds, wanted.start_s, written, wanted.written_byte)
        running = stage.bench.start(url, *arguments)
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


def old_catalog(databases: Databases, folder: Path) -> str:
    """Return the URL of the oldest catalog that was ever released, with rows in every table, and many more darks."""
    url = databases.fresh()
    engine = helpers.old_catalog(helpers.OLD_CATALOGS[0], url, folder)
    url = engine.url.render_as_string(hide_password=False)
    metadata = sa.MetaData()
    metadata.reflect(engine)
    exposures, files = metadata.tables["exposures"], metadata.tables["files"]
    with engine.begin() as connection:
        exposure = dict(connection.execute(sa.select(exposures)).mappings().first() or {})
        file = dict(
            connection.execute(sa.select(files).where(files.c.exposure_id.is_not(None))).mappings().first() or {}
        )
        numbers = range(1001, 1001 + _MORE)
        new = [exposure | {"id": number, "rootname": f"jt{number:06d}q"} for number in numbers]
        connection.execute(sa.insert(exposures), new)
        new = [file | {"id": number, "exposure_id": number, "uri": f"file:///{number}_raw.fits"} for number in numbers]
        connection.execute(sa.insert(files), new)
    engine.dispose()
    databases.settle(url)
    return url


def migrations(stage: Stage, kills: int) -> None:
    """Kill migrations of a catalog that is older than the program."""
    bench, databases, tally = stage.bench, stage.databases, stage.tally
    old = old_catalog(databases, bench.folder)
    with opened(old) as engine:
        tally.blame(
            "wrong", "old catalog", [f"no row in {name}" for name, rows in raw_rows(engine).items() if not rows]
        )
    url = databases.copy(old)
    upgrade = undisturbed(stage, url, "db", "upgrade")
    with opened(url) as engine:
        wanted = _counted(engine)
    databases.drop(url)
    done = 0
    for number in range(_TRIES * kills):
        if done >= kills or stage.end.passed():
            break
        rng = stage.chance("migration", number)
        where = f"migration {number}"
        url = databases.copy(old)
        killed = 0
        for _ in range(rng.choice((1, 2))):
            killed += _killed(stage, url, upgrade, rng, ("db", "upgrade"))
            tally.blame("left over", where, bench.survivors())
        if killed:
            done += killed
            tally.count("kills", killed)
            blame_command(tally, where, bench.run(url, "db", "upgrade"), (DONE,))
            tally.blame("left over", where, stage.left(url))
            with opened(url) as engine:
                lost, wrong = canonical.compared(_counted(engine), wanted)
                tally.blame("lost", where, lost)
                tally.blame("wrong", where, wrong + canonical.damaged(engine))
        databases.drop(url)


def _counted(engine: sa.Engine) -> canonical.Rows:
    """Return every row as it is stored: a migration numbers none anew."""
    return {name: Counter(map(repr, rows)) for name, rows in raw_rows(engine).items()}


SIGNS = (
    (".sbcdark-*",),
    (".sbcdark-*/*_flt.fits",),
    (".sbcdark-*/corners*.npy",),
    (".sbcdark-*/drizzled*.npy",),
    ("*_drz.fits", "*_dark.fits", "*_net.fits"),
    ("*.ecsv", ".*.ecsv*"),
    ("*.png", ".*.png*"),
)
"""What is seen of a run from outside, in the order in which it comes."""


def runs(stage: Stage, filled: str, archive: Archive, kills: int) -> None:
    """Kill runs, up to three on the same folder before each plain re-run.

    Of five jobs, one is of two associations at once: their processes are grandchildren of the command.
    """
    bench, databases, tally = stage.bench, stage.databases, stage.tally
    jobs = ((archive.lone,), (*archive.associations, "--workers", "2"))
    folder = bench.folder / "products"
    known: dict[int, Undisturbed] = {}
    done = number = 0
    while done < kills and not stage.end.passed() and number < _TRIES * kills:
        which = 1 if number % 5 == 1 else 0
        command = ("run", *jobs[which], "-o", folder, "--flat", archive.flats, "--aperture", archive.aperture)
        if which not in known:
            known[which] = _undisturbed_run(stage, filled, folder, command)
        wanted = known[which]
        rng = stage.chance("run", number)
        url = databases.copy(filled)
        folder.mkdir()
        where = f"run {number}"
        killed = 0
        for _ in range(rng.choice((1, 2, 3))):
            sign = moments.appears(folder, rng.choice(SIGNS)) if rng.random() < 0.6 else None
            killed += _killed(stage, url, wanted, rng, command, sign)
            tally.blame("left over", where, bench.survivors())
            tally.blame("wrong", where, products.half_written(folder, wanted.sums))
            with opened(url) as engine:
                tally.blame(
                    "wrong", where, canonical.whole_results(canonical.results(engine, str(folder)), wanted.results)[1]
                )
            if stage.end.passed():
                break
        done += killed
        tally.count("kills", killed)
        blame_command(tally, where, bench.run(url, *command), (DONE,))
        tally.blame("left over", where, stage.left(url) + products.surplus(folder, wanted.names))
        tally.blame("lost", where, products.missing(folder, wanted.names))
        tally.blame("wrong", where, products.half_written(folder, wanted.sums))
        with opened(url) as engine:
            times, wrong = canonical.whole_results(canonical.results(engine, str(folder)), wanted.results)
            tally.blame("lost", where, [f"results of {target}" for target, number in times.items() if number < 1])
            tally.blame("wrong", where, wrong + products.dangling(engine))
            look(tally, where, engine, wanted.rows)
        databases.drop(url)
        shutil.rmtree(folder)
        number += 1


def _undisturbed_run(stage: Stage, filled: str, folder: Path, command: Sequence[str | Path]) -> Undisturbed:
    url = stage.databases.copy(filled)
    made = undisturbed(stage, url, *command, folder=str(folder))
    with opened(url) as engine:
        made.results = canonical.results(engine, str(folder))
    made.sums, made.names = products.pixel_sums(folder), {path.name for path in folder.iterdir()}
    stage.databases.drop(url)
    shutil.rmtree(folder)
    return made
