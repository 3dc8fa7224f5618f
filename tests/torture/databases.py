"""Catalogs to be tortured: fresh ones and copies, on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from postgres import administration, create_database, drop_database

from sbcdark.catalog.engine import make_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENGINES = ("sqlite", "postgresql")

KEPT = ("fsync", "full_page_writes")
"""Settings that may be off: they matter when the machine dies, not when a process does."""


class Databases:
    """Makes databases on one engine."""

    def __init__(self, engine: str, folder: Path, server: Any) -> None:
        self.engine = engine
        self.server = server
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)

    def fresh(self) -> str:
        """Return the URL of a database that is not there yet (SQLite) or empty."""
        if self.engine == "sqlite":
            return f"sqlite:///{self._folder / uuid.uuid4().hex}.db"
        return create_database(self.server.get_uri())

    def copy(self, url: str) -> str:
        """Return the URL of a copy of a database that nobody is connected to."""
        if self.engine == "sqlite":
            new = self.fresh()
            shutil.copyfile(sqlite_path(url), sqlite_path(new))
            return new
        return create_database(self.server.get_uri(), f"TEMPLATE {sa.make_url(url).database}")

    def settle(self, url: str) -> None:
        """Bring everything of a SQLite catalog into its one file, to be copied."""
        if self.engine == "sqlite":
            connection = sqlite3.connect(sqlite_path(url))
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()

    def drop(self, url: str) -> None:
        """Remove a database."""
        if self.engine == "sqlite":
            path = sqlite_path(url)
            for ending in ("", "-wal", "-shm", "-journal"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
        else:
            drop_database(url)

    def remains(self, url: str) -> list[str]:
        """Return the journals of SQLite that lie beside a catalog that nobody has open."""
        if self.engine != "sqlite":
            return []
        path = sqlite_path(url)
        return [f"journal {left.name}" for left in path.parent.glob(f"{path.name}-*")]

    @contextmanager
    def written(self, url: str) -> Iterator[Callable[[], int]]:
        """Give a function that tells how many bytes were written since now: of the files, or of the server's log."""
        if self.engine == "sqlite":
            path = sqlite_path(url)
            files = [path.with_name(path.name + ending) for ending in ("", "-wal", "-journal")]
            before = _sizes(files)
            yield lambda: _sizes(files) - before
            return
        query = sa.text("SELECT CAST(pg_current_wal_insert_lsn() - '0/0' AS bigint)")
        with administration(self.server.get_uri()).connect() as connection:
            start = int(connection.scalar(query) or 0)
            yield lambda: int(connection.scalar(query) or 0) - start


def _sizes(files: list[Path]) -> int:
    total = 0
    for file in files:
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            continue
    return total


def sqlite_path(url: str) -> Path:
    """Return the file of a SQLite URL."""
    return Path(str(sa.make_url(url).database))


@contextmanager
def opened(url: str) -> Iterator[sa.Engine]:
    """Open a catalog to look at it."""
    engine = make_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()
