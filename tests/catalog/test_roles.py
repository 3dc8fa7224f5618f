"""The roles of docs/operations.md, made with the very statements that stand there, on a real PostgreSQL server."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy as sa
from helpers import dump
from serving import serving
from twin_archive import REAL_FOLDERS

from sbcdark.catalog.opening import open_catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from commands import Commands, Done

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
ROLES = ("owner", "ingest", "reader")


def statements() -> tuple[list[str], list[str]]:
    """Return what the page tells a superuser and then the owner to type."""
    first, second = re.findall(r"^```sql\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [line for line in first.splitlines() if line], [line for line in second.splitlines() if line]


@pytest.fixture
def urls(postgres_server: str) -> Iterator[dict[str, str]]:
    """Return the URL of one catalog for each role."""
    mark = uuid.uuid4().hex[:12]

    def own(text: str) -> str:
        # Roles belong to the whole server, which other tests use at the same time.
        text = re.sub(r"sbcdark_(owner|ingest|reader)", rf"sbcdark_\1_{mark}", text)
        return text.replace("DATABASE sbcdark ", f"DATABASE sbcdark_{mark} ")

    def url_of(role: str, number: int) -> str:
        url = sa.make_url(postgres_server).set(
            drivername="postgresql",
            database=f"sbcdark_{mark}",
            username=f"sbcdark_{role}_{mark}",
            password=f"change-me-{number}",
        )
        return url.render_as_string(hide_password=False)

    urls = {role: url_of(role, number) for number, role in enumerate(ROLES, 1)}
    superuser, owner = statements()
    server = sa.make_url(postgres_server).render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        for statement in superuser:
            connection.execute(own(statement).encode())
    open_catalog(urls["owner"], create=True).dispose()
    with psycopg.connect(urls["owner"], autocommit=True) as connection:
        for statement in owner:
            connection.execute(own(statement).encode())
    yield urls
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE sbcdark_{mark} WITH (FORCE)".encode())
        for role in ROLES:
            connection.execute(f"DROP ROLE sbcdark_{role}_{mark}".encode())


@pytest.fixture
def sbcdark(commands: Commands, urls: dict[str, str], tmp_path: Path) -> Callable[..., Done]:
    """Return a function that runs the program as one of the roles."""

    def run(role: str, *arguments: str | Path) -> Done:
        done = commands.run(tmp_path, urls[role], *arguments)
        assert "change-me" not in done.stdout + done.stderr
        return done

    return run


@pytest.mark.slow
def test_reader_reads_ingest_fills_and_neither_can_more(
    sbcdark: Callable[..., Done],
    urls: dict[str, str],
    shared_data: Path,
    tmp_path: Path,
) -> None:
    folders = [shared_data / folder for folder in REAL_FOLDERS]
    refused = sbcdark("reader", "ingest", *folders)
    assert refused.code == 1
    assert "No permission to write" in refused.stderr
    assert sbcdark("ingest", "ingest", *folders).code == 0
    rejected = tmp_path / "x_raw.fits"
    for content in ("no FITS", "still none"):
        rejected.write_text(content)
        assert sbcdark("ingest", "ingest", rejected).code == 6
    assert sbcdark("ingest", "retire", "jcrx01iiq", "--reason", "a try").code == 0
    assert sbcdark("ingest", "match", "jcmc11e6q", "--save").code == 0
    done = sbcdark("ingest", "run", "jcmc11010", "-o", tmp_path / "products", "--aperture", "circle:735,710,40")
    assert done.code == 0, done.stderr
    assert sbcdark("ingest", "verify").code == 0
    engine = open_catalog(urls["owner"])
    before = dump(engine)
    for reading in (
        ("exposures", "--json"),
        ("show", "jcmc11e6q"),
        ("match", "jcmc11e6q"),
        ("why", "jcmc11e6q", "jcrx01iyq"),
        ("changes",),
        ("db", "status"),
        ("db", "export", tmp_path / "export.db"),
        ("replay", "2", "-o", tmp_path / "again"),
    ):
        done = sbcdark("reader", *reading)
        assert done.code == 0, done.stderr
    with serving(urls["reader"]) as server:
        for page in ("/", "/exposures/jcmc11e6q.html", "/associations/jcmc11010.html", "/tables/jcmc11010.ecsv"):
            assert server.get(page)[0] == 200
        assert len(server.json("/api/photometry?association=jcmc11010")) == 1
        assert server.json("/api/match?name=jcmc11e6q")[0]["darks"]
    for writing in (
        ("match", "jcmc11e6q", "--save", "--top", "1"),
        ("restore", "jcrx01iiq", "--reason", "a try"),
        ("run", "jcmc11010", "-o", tmp_path / "no"),
    ):
        done = sbcdark("reader", *writing)
        assert done.code == 1, writing
        assert "No permission to write" in done.stderr
    for role in ("reader", "ingest"):
        done = sbcdark(role, "db", "downgrade", "base", "--yes")
        assert done.code == 1
        assert "No permission to write" in done.stderr
    for statement in ("DELETE FROM files", "DROP TABLE files", "UPDATE alembic_version SET version_num = '9999'"):
        for role in ("reader", "ingest"):
            with (
                psycopg.connect(urls[role]) as connection,
                pytest.raises(psycopg.errors.InsufficientPrivilege),
            ):
                connection.execute(statement.encode())
    assert dump(engine) == before
    engine.dispose()
    # The password is nowhere in what was made.
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"change-me" not in path.read_bytes(), path
