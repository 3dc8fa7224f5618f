"""Fixtures: the real data or their twin, and a throw-away catalog on each engine."""

from __future__ import annotations

import fcntl
import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from postgres import create_database, drop_database, refill_database, started_server
from range_server import range_server
from twin_archive import REAL_FOLDERS, real_data_folder, write_twin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from commands import Commands, Done
    from mast_server import MastServer
    from range_server import RangeServer

    from sbcdark.pipeline.drizzling.drizzle import Drizzler
    from sbcdark.pipeline.model.templates import DarkFrame


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the products, whose files take longest, so that no process waits for one of them at the end."""
    items.sort(key=lambda item: item.path.parent.name != "products")


MadeOnce = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """Return a function that fills a folder once for all processes of this run of the tests, and returns it."""
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent

    def made(name: str, make: Callable[[Path], None]) -> Path:
        folder = common / name
        with (common / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                unfinished = folder.with_name(f"{name}.unfinished")
                make(unfinished)
                unfinished.rename(folder)
        return folder

    return made


@pytest.fixture(scope="session")
def shared_data(made_once: MadeOnce) -> Path:
    """Return the folder of real darks, associations and stand-in science frames, else of their twins."""
    real = real_data_folder()
    return real if real.is_dir() else made_once("twin", write_twin)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real data, for what is compared with published numbers; without it the test is skipped."""
    real = real_data_folder()
    if not real.is_dir():
        pytest.skip(f"no real data: {real} is missing; set SBCDARK_SHARED to the folder that holds data/")
    return real


@pytest.fixture(scope="session")
def flats(shared_data: Path, made_once: MadeOnce) -> Path:
    """Return a folder that holds the stand-ins' flat, unpacked, as `jref` would."""

    def unpack(folder: Path) -> None:
        folder.mkdir()
        packed = shared_data / "science_13655_standin" / "sbc_standin_pfl.fits.gz"
        (folder / "sbc_standin_pfl.fits").write_bytes(gzip.decompress(packed.read_bytes()))

    return made_once("jref", unpack)


@pytest.fixture(scope="session")
def darks(shared_data: Path) -> list[DarkFrame]:
    """Return the 20 darks of program 13961."""
    from dark_frames import load_darks  # noqa: PLC0415  most tests need no scipy

    frames = load_darks(shared_data / "darks_13961")
    assert len(frames) == 20
    return frames


@pytest.fixture(scope="module")
def drizzler() -> Iterator[Drizzler]:
    """Return the process that drizzles."""
    from sbcdark.pipeline.drizzling.drizzle import Drizzler  # noqa: PLC0415  most tests drizzle nothing

    with Drizzler() as running:
        yield running


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a PostgreSQL server: `SBCDARK_TEST_POSTGRES`, else one from a wheel, started here."""
    named = os.environ.get("SBCDARK_TEST_POSTGRES")
    if named:
        yield named
        return
    with started_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server.get_uri()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """Return the URL of an empty PostgreSQL database that lives for one test."""
    yield from _throw_away_database(postgres_server)


@pytest.fixture
def other_postgres_url(postgres_server: str) -> Iterator[str]:
    """Return the URL of one more empty PostgreSQL database."""
    yield from _throw_away_database(postgres_server)


def _throw_away_database(postgres_server: str) -> Iterator[str]:
    url = create_database(postgres_server)
    yield url
    drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database, on each engine in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalog.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(scope="session")
def migrated_file(made_once: MadeOnce) -> Path:
    """Return a SQLite catalog without rows, to be copied: that takes less time than to migrate one."""
    return _catalog_file(made_once, "migrated", ())


@pytest.fixture(scope="session")
def real_file(made_once: MadeOnce, shared_data: Path) -> Path:
    """Return a SQLite catalog of the real files or their twins, to be copied."""
    return _catalog_file(made_once, "real", [shared_data / folder for folder in REAL_FOLDERS])


@pytest.fixture(scope="session")
def migrated_database(postgres_server: str) -> str:
    """Return the name of a PostgreSQL catalog without rows, to be copied; it ends with the server."""
    return _catalog_database(postgres_server, ())


@pytest.fixture(scope="session")
def real_database(postgres_server: str, shared_data: Path) -> str:
    """Return the name of a PostgreSQL catalog of the real files, to be copied; it ends with the server."""
    return _catalog_database(postgres_server, [shared_data / folder for folder in REAL_FOLDERS])


def _catalog_file(made_once: MadeOnce, name: str, ingested: Sequence[Path]) -> Path:
    def make(folder: Path) -> None:
        folder.mkdir()
        _make_catalog(f"sqlite:///{folder / 'catalog.db'}", ingested)

    return made_once(name, make) / "catalog.db"


def _catalog_database(server: str, ingested: Sequence[Path]) -> str:
    url = create_database(server)
    _make_catalog(url, ingested)
    return str(sa.make_url(url).database)


def _make_catalog(url: str, ingested: Sequence[Path]) -> None:
    from sbcdark.catalog.opening import open_catalog  # noqa: PLC0415  other tests need not wait for it
    from sbcdark.pipeline.ingest.ingestion import ingest  # noqa: PLC0415

    engine = open_catalog(url, create=True)
    if ingested:
        ingest(engine, ingested, workers=1)
    engine.dispose()


@pytest.fixture
def empty_catalog(request: pytest.FixtureRequest, database_url: str) -> Iterator[sa.Engine]:
    """Return the engine of a catalog without rows, on each engine in turn."""
    yield from _copied_catalog(request, database_url, "migrated")


@pytest.fixture
def sqlite_catalog(real_file: Path, tmp_path: Path) -> Iterator[sa.Engine]:
    """Return a catalog of the real files, on SQLite alone: for what has nothing to do with the engine."""
    from sbcdark.catalog.opening import open_catalog  # noqa: PLC0415  other tests need not wait for it

    (tmp_path / "catalog.db").write_bytes(real_file.read_bytes())
    engine = open_catalog(tmp_path / "catalog.db")
    yield engine
    engine.dispose()


@pytest.fixture
def real_catalog(request: pytest.FixtureRequest, database_url: str) -> Iterator[sa.Engine]:
    """Return the engine of a catalog that the real files were ingested into, on each engine in turn."""
    yield from _copied_catalog(request, database_url, "real")


def _copied_catalog(request: pytest.FixtureRequest, url: str, kind: str) -> Iterator[sa.Engine]:
    from sbcdark.catalog.opening import open_catalog  # noqa: PLC0415  other tests need not wait for it

    if url.startswith("sqlite:"):
        shutil.copyfile(request.getfixturevalue(f"{kind}_file"), str(sa.make_url(url).database))
    else:
        refill_database(url, request.getfixturevalue(f"{kind}_database"))
    engine = open_catalog(url)
    yield engine
    engine.dispose()


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Let requests to loopback go without a proxy, and wait little; give what sets more."""
    from sbcdark.pipeline.archive import http  # noqa: PLC0415  other tests need not wait for it

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(http, "BACK_OFF_S", 0.01)
    monkeypatch.setattr(http, "SILENCE_S", 0.5)
    http.session.cache_clear()
    yield monkeypatch
    http.session.cache_clear()


@pytest.fixture
def web(short_waits: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RangeServer]:
    """Return a real HTTP server on loopback; waits are short, and the cache folder is one of the test's own."""
    short_waits.setenv("SBCDARK_CACHE", str(tmp_path / "cache"))
    with range_server() as server:
        yield server


@pytest.fixture(scope="session")
def archive_server() -> Iterator[MastServer]:
    """Return a stand-in for MAST, a real server on loopback; tests take `mast`."""
    from mast_server import MastServer  # noqa: PLC0415  other tests need not wait for it

    with MastServer() as server:
        yield server


@pytest.fixture
def mast(archive_server: MastServer) -> MastServer:
    """Return a stand-in for MAST that serves nothing yet."""
    archive_server.clear()
    return archive_server


@pytest.fixture(scope="session")
def archive_commands(archive_server: MastServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Return a process that runs commands and whose astroquery asks the stand-in."""
    from commands import Commands  # noqa: PLC0415  other tests need not wait for it

    with Commands(archive_server.configure(tmp_path_factory.mktemp("config"), timeout_s=4)) as running:
        yield running


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    """Return one process that runs many commands: starting one takes longer than most commands do."""
    from commands import Commands  # noqa: PLC0415  other tests need not wait for it

    with Commands({}) as running:
        yield running


@pytest.fixture
def sbcdark(commands: Commands, database_url: str, tmp_path: Path) -> Callable[..., Done]:
    """Return a function that runs the program on an empty catalog, on each engine in turn."""

    def run(*arguments: str | Path, columns: int | None = None) -> Done:
        return commands.run(tmp_path, database_url, *arguments, columns=columns)

    return run


@pytest.fixture
def filled(sbcdark: Callable[..., Done], real_catalog: sa.Engine) -> Callable[..., Done]:
    """Return the same function on a catalog that holds the real files."""
    real_catalog.dispose()
    return sbcdark


@pytest.fixture
def asking(archive_commands: Commands, tmp_path: Path, database_url: str) -> Callable[..., Done]:
    """Return a function that runs a command which asks the stand-in, on an empty database, on each engine in turn."""
    return lambda *arguments: archive_commands.run(tmp_path, database_url, *arguments)


@pytest.fixture
def asking_sqlite(archive_commands: Commands, tmp_path: Path) -> Callable[..., Done]:
    """Return the same on SQLite alone, for what has nothing to do with the engine."""
    return lambda *arguments: archive_commands.run(tmp_path, f"sqlite:///{tmp_path / 'catalog.db'}", *arguments)
