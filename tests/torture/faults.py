"""Faults of the machine: full and protected disks, lost connections, a server that dies. Each costs one message."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa
from postgres import administration, create_database

from torture import canonical, products
from torture.commands import DONE, FAILED, NOT_REACHED, REJECTED
from torture.databases import opened, sqlite_path
from torture.disks import small_disk
from torture.kills import blame_command, look, undisturbed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from torture.commands import Ended
    from torture.data import Archive
    from torture.disks import SmallDisk
    from torture.kills import Stage

KB, MB = 1024, 1024 * 1024


_ENDINGS = ("drz.fits", "dark.fits", "net.fits", "drizzle.log", "phot.ecsv", "products.png")
"""Of what a run makes."""


class Faults:
    """What the faults of one engine share: the files, the undisturbed catalog and where it is told."""

    def __init__(self, stage: Stage, archive: Archive, pool: Path) -> None:
        self.stage, self.archive, self.all = stage, archive, (archive.folder, pool)
        self.bench, self.databases, self.tally = stage.bench, stage.databases, stage.tally
        options = ("--flat", archive.flats, "--aperture", archive.aperture, "--combine", "nearest")
        self.command = ("run", archive.lone, *options, "-o")
        self.catalog = self.databases.fresh()
        self.wanted = undisturbed(stage, self.catalog, "ingest", *self.all, codes=(REJECTED,))
        self.databases.settle(self.catalog)

    def hit(self, fault: str, ended: Ended, codes: Sequence[int]) -> None:
        """Note a command that a fault befell: it has to fail, in one message."""
        blame_command(self.tally, fault, ended, codes)
        self.tally.count("faults", ended.code not in (DONE, REJECTED))
        self.tally.blame("left over", fault, self.bench.survivors() + self.bench.remains())

    def mended(self, fault: str, url: str, stored: canonical.Rows | None = None) -> None:
        """Run the ingest again, now that the fault is gone; `stored` is what may not have been lost by it."""
        if stored is not None:
            with opened(url) as engine:
                found = canonical.canonical(engine)
            lost = [f"{text}"[:200] for name, rows in stored.items() for text in rows - found[name]]
            self.tally.blame("lost", fault, lost)
        blame_command(self.tally, fault, self.bench.run(url, "ingest", *self.all), (DONE, REJECTED))
        with opened(url) as engine:
            look(self.tally, fault, engine, self.wanted.rows)

    def filled(self, url: str) -> canonical.Rows:
        """Fill a catalog with a part of the files and return what it holds."""
        ended = self.bench.run(url, "ingest", self.archive.darks)
        blame_command(self.tally, "a part of the files", ended, (DONE,))
        with opened(url) as engine:
            return canonical.canonical(engine)


def full_catalog_disk(faults: Faults, number: int) -> None:
    """Let the disk of a SQLite catalog run full at once, or a while later."""
    rng = faults.stage.chance("full disk", number)
    left = 0 if number == 0 else rng.randrange(500 * KB)
    fault = f"full disk {number}"
    if faults.databases.engine == "postgresql":
        _full_tablespace(faults, fault, left)
        return
    with small_disk(faults.bench.folder / f"disk{number}", 32 * MB) as disk:
        if disk is None:
            _too_large_a_file(faults, fault, left)
            return
        url = f"sqlite:///{disk.path / 'catalog.db'}"
        stored = faults.filled(url)
        disk.fill(left)
        faults.hit(fault, faults.bench.run(url, "ingest", *faults.all), (FAILED,))
        disk.free()
        faults.mended(fault, url, stored)


def _too_large_a_file(faults: Faults, fault: str, left: int) -> None:
    url = faults.databases.fresh()
    stored = faults.filled(url)
    faults.databases.settle(url)
    bound = sqlite_path(url).stat().st_size + left
    faults.hit(fault, faults.bench.run(url, "ingest", *faults.all, largest_file=bound), (FAILED,))
    faults.mended(fault, url, stored)
    faults.databases.drop(url)
    faults.tally.note("no disk could be mounted: full disks are files that may not grow (RLIMIT_FSIZE)")


def _full_tablespace(faults: Faults, fault: str, left: int) -> None:
    """Let the disk of a tablespace run full: the server goes on, and refuses what needs room."""
    server = faults.databases.server
    name = fault.replace(" ", "_")
    with small_disk(faults.bench.folder / name, 64 * MB) as disk:
        if disk is None:
            faults.tally.note("no disk could be mounted: no tablespace was filled")
            return
        _give_to_server(disk.path, server)
        with administration(server.get_uri()).connect() as connection:
            connection.execute(sa.text(f"CREATE TABLESPACE {name} LOCATION '{disk.path}'"))
        url = create_database(server.get_uri(), f"TABLESPACE {name}")
        try:
            stored = faults.filled(url)
            disk.fill(left)
            faults.hit(fault, faults.bench.run(url, "ingest", *faults.all), (FAILED,))
            disk.free()
            faults.mended(fault, url, stored)
        finally:
            faults.databases.drop(url)
            with administration(server.get_uri()).connect() as connection:
                connection.execute(sa.text(f"DROP TABLESPACE {name}"))


def _give_to_server(folder: Path, server: Any) -> None:
    """Let the server's own user (another one where this is root) into a folder."""
    owner = server.pgdata.stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    folder.chmod(0o700)
    for parent in folder.parents[:-1]:
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)


def full_product_disk(faults: Faults, number: int) -> None:
    """Let the disk of a run's products run full: before the first, between them, and while they are measured."""
    fault = f"full disk for products {number}"
    # A product has 15.6 MB, and three of them are made; their inputs are copied there too.
    size = (2, 24, 60, 40)[number % 4] * MB
    url = faults.databases.copy(faults.catalog)
    with small_disk(faults.bench.folder / f"products{number}", size) as disk:
        if disk is None:
            folder = faults.bench.folder / f"products{number}"
            faults.hit(
                fault, faults.bench.run(url, *faults.command, folder, largest_file=min(size, 12 * MB)), (FAILED,)
            )
        else:
            folder = disk.path / "products"
            faults.hit(fault, faults.bench.run(url, *faults.command, folder), (FAILED,))
            disk.resize(256 * MB)
        _run_again(faults, fault, url, folder, DONE)
    faults.databases.drop(url)


def _run_again(faults: Faults, fault: str, url: str, folder: Path, code: int) -> None:
    """Run a job again where the fault left it; before it and after it nothing but whole products may be there."""
    lone = faults.archive.lone
    names = {f"{lone}_sbcdark_{ending}" for ending in (*_ENDINGS, f"{lone}.png")}
    if folder.is_dir():
        faults.tally.blame("left over", fault, products.surplus(folder, names))
    blame_command(faults.tally, fault, faults.bench.run(url, *faults.command, folder), (code,))
    faults.tally.blame("left over", fault, faults.bench.survivors() + products.surplus(folder, names))
    faults.tally.blame("lost", fault, products.missing(folder, names))
    faults.tally.blame("wrong", fault, products.half_written(folder, products.pixel_sums(folder)))
    with opened(url) as engine:
        faults.tally.blame("wrong", fault, products.dangling(engine) + canonical.damaged(engine))


def protected_places(faults: Faults) -> None:
    """Try to write to a folder and to a SQLite file that may not be written to."""
    with small_disk(faults.bench.folder / "protected", 256 * MB) as disk:
        place = faults.bench.folder / "protected"
        if disk is None and os.geteuid() == 0:
            faults.tally.note("no disk could be mounted, and everything may be written by root: nothing was protected")
            return
        url = faults.databases.copy(faults.catalog)
        _protected_folder(faults, disk, place, url)
        faults.databases.drop(url)
        if faults.databases.engine == "sqlite":
            _protected_catalog(faults, disk, place)


def _protected_folder(faults: Faults, disk: SmallDisk | None, place: Path, url: str) -> None:
    (place / "there").mkdir()
    _protect(disk, place / "there", writable=False)
    for name in ("there", "there/new"):
        faults.hit("read-only folder", faults.bench.run(url, *faults.command, place / name), (FAILED,))
    _protect(disk, place / "there", writable=True)
    _run_again(faults, "read-only folder", url, place / "there", DONE)


def _protected_catalog(faults: Faults, disk: SmallDisk | None, place: Path) -> None:
    folder = place / "catalogs"
    folder.mkdir()
    url = f"sqlite:///{folder / 'catalog.db'}"
    stored = faults.filled(url)
    path = sqlite_path(url)
    if disk is None:
        path.chmod(0o400)
    _protect(disk, folder, writable=False)
    fault = "read-only catalog"
    faults.hit(fault, faults.bench.run(url, "ingest", *faults.all), (FAILED,))
    # Reading needs no permission to write.
    blame_command(faults.tally, fault, faults.bench.run(url, "darks", "--json"), (DONE,))
    new = f"sqlite:///{folder / 'new' / 'catalog.db'}"
    faults.hit("read-only place for a catalog", faults.bench.run(new, "ingest", faults.archive.folder), (NOT_REACHED,))
    _protect(disk, folder, writable=True)
    if disk is None:
        path.chmod(0o600)
    faults.mended(fault, url, stored)


def _protect(disk: SmallDisk | None, folder: Path, *, writable: bool) -> None:
    if disk is not None:
        disk.protect(writable=writable)
    else:
        folder.chmod(0o700 if writable else 0o500)


def lost_connections(faults: Faults, number: int) -> None:
    """End the server's side of an ingest's connection at a random moment."""
    fault = f"lost connection {number}"
    rng = faults.stage.chance("lost connection", number)
    url = faults.databases.fresh()
    threshold = rng.uniform(0.0, faults.wanted.written_byte)
    with faults.databases.written(url) as written, _terminating(faults, url) as terminate:
        running = faults.bench.start(url, "ingest", *faults.all)
        running.until(lambda: written() >= threshold and terminate())
        ended = running.end()
    # The connection may be one that had nothing to do any more.
    faults.hit(fault, ended, (NOT_REACHED, REJECTED))
    faults.mended(fault, url)
    faults.databases.drop(url)


def lost_connections_of_runs(faults: Faults, number: int) -> None:
    """End every connection of a run from a random moment on, until it fails: then it has to be done again."""
    fault = f"lost connection of a run {number}"
    rng = faults.stage.chance("lost connection of a run", number)
    url = faults.databases.copy(faults.catalog)
    folder = faults.bench.folder / f"products_of_lost{number}"
    start = time.monotonic() + rng.uniform(0.0, 4.0)
    with _terminating(faults, url) as terminate:
        running = faults.bench.start(url, *faults.command, folder)
        running.until(lambda: time.monotonic() > start and terminate() and False)
        ended = running.end()
    faults.hit(fault, ended, (NOT_REACHED, DONE))
    _run_again(faults, fault, url, folder, DONE)
    faults.databases.drop(url)


@contextmanager
def _terminating(faults: Faults, url: str) -> Iterator[Callable[[], bool]]:
    """Give a function that ends the server's side of all connections of the program, and tells if there was one."""
    query = sa.text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = :name AND application_name = 'sbcdark'"
    )
    name = sa.make_url(url).database
    with administration(faults.databases.server.get_uri()).connect() as connection:
        yield lambda: bool(connection.scalar(query, {"name": name}))


def killed_server(faults: Faults, number: int) -> None:
    """Kill -9 the server at a random moment of an ingest, and start it again."""
    fault = f"killed server {number}"
    rng = faults.stage.chance("killed server", number)
    url = faults.databases.fresh()
    threshold = rng.uniform(0.0, faults.wanted.written_byte)
    with faults.databases.written(url) as written:
        running = faults.bench.start(url, "ingest", *faults.all)
        running.until(lambda: written() >= threshold)
    kill_server(faults.databases.server)
    faults.hit(fault, running.end(), (NOT_REACHED, REJECTED))
    while_down = faults.bench.run(url, "ingest", *faults.all)
    faults.hit(f"{fault}, while it is down", while_down, (NOT_REACHED,))
    start_server(faults.databases.server)
    faults.mended(fault, url)
    faults.databases.drop(url)


def kill_server(server: Any) -> None:
    """Kill -9 a PostgreSQL server with all its processes."""
    process = server.get_postmaster_info().process
    processes = [process, *process.children(recursive=True)]
    for one in processes:
        os.kill(one.pid, signal.SIGKILL)
    for one in processes:
        one.wait(10)


def start_server(server: Any) -> None:
    """Start it again and wait until it has recovered."""
    server.ensure_postgres_running()
    while True:
        try:
            psycopg.connect(server.get_uri()).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return


def torture_faults(faults: Faults, times: int) -> None:
    """Let every fault befall as often as is asked for and as there is time for.

    What befalls products alone is tried with the catalog on SQLite. What needs whole runs is tried half as often.
    """
    if faults.databases.engine == "sqlite":
        protected_places(faults)
        tries = ((full_catalog_disk, times), (full_product_disk, (times + 1) // 2))
    else:
        tries = (
            (full_catalog_disk, times),
            (lost_connections, 2 * times),
            (killed_server, (times + 1) // 2),
            (lost_connections_of_runs, times // 2),
        )
    for number in range(2 * times):
        for befall, limit in tries:
            if number < limit and (number == 0 or not faults.stage.end.passed()):
                befall(faults, number)
