"""The schema: migrations make what the models say, on both engines, and every other database is refused in words."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory
from helpers import dump, raw_rows

from sbcdark.catalog import schema
from sbcdark.catalog.engine import make_engine, reading, redacted, writing
from sbcdark.catalog.errors import SbcdarkError, SchemaError, UnreachableError, UsageError
from sbcdark.catalog.models import Base
from sbcdark.catalog.opening import open_catalog
from sbcdark.catalog.types import UtcDateTime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TABLES = Base.metadata.sorted_tables

ALLOWED = re.compile(r"(\w+) IN \('(\w+)'")
"""A CHECK constraint on a column, with the first value that it allows."""

EXCLUDED = {("files", "association_id")}
"""A file is an exposure's or an association's, never both."""


@pytest.fixture
def empty_engine(database_url: str) -> Iterator[sa.Engine]:
    engine = make_engine(database_url, create=True)
    yield engine
    engine.dispose()


def value_for(column: sa.Column[Any]) -> Any:
    for constraint in column.table.constraints:
        if isinstance(constraint, sa.CheckConstraint) and (found := ALLOWED.match(str(constraint.sqltext))):
            name, value = found.groups()
            if name == column.name:
                return value
    kind = column.type
    if isinstance(kind, UtcDateTime):
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    if isinstance(kind, sa.JSON):
        return {"a": [1, None, "é"]}
    return {int: 1, float: 1.5, str: "text", bool: True}[kind.python_type]


def fill_every_table(engine: sa.Engine) -> None:
    """Put one row, every column filled, into each table that the models know."""
    with writing(engine) as session:
        for table in TABLES:
            values = {
                column.name: value_for(column) for column in table.columns if (table.name, column.name) not in EXCLUDED
            }
            session.execute(sa.insert(table).values(**values))


def tables_of(engine: sa.Engine) -> set[str]:
    return set(sa.inspect(engine).get_table_names())


def test_program_and_migrations_agree_on_the_head() -> None:
    script = ScriptDirectory.from_config(schema._configuration())
    assert script.get_heads() == [schema.HEAD]
    # The refusal of newer catalogs compares revisions as text.
    revisions = [revision.revision for revision in script.walk_revisions()]
    assert revisions == sorted(revisions, reverse=True)
    assert all(len(revision) == 4 and revision.isdigit() for revision in revisions)


def test_migrations_make_what_the_models_say(empty_engine: sa.Engine) -> None:
    schema.upgrade(empty_engine)
    assert schema.status(empty_engine) == (schema.State.CURRENT, schema.HEAD)
    assert schema.differences(empty_engine) == []
    assert tables_of(empty_engine) == {table.name for table in TABLES} | {"alembic_version"}
    with empty_engine.begin() as connection:
        connection.execute(sa.text("DROP INDEX ix_exposures_kind_contrast"))
        connection.execute(sa.text("ALTER TABLE exposures ADD COLUMN nobodys INTEGER"))
    assert len(schema.differences(empty_engine)) == 2


def test_foreign_keys_lead_with_an_index() -> None:
    # Deletes and joins along a foreign key would scan the table otherwise.
    for table in TABLES:
        leading = {next(iter(index.columns)).name for index in table.indexes}
        leading.add(next(iter(table.primary_key.columns)).name)
        for column in table.columns:
            if column.foreign_keys:
                assert column.name in leading, f"{table.name}.{column.name}"


def test_down_to_nothing_and_up_again_with_rows_in_every_table(empty_engine: sa.Engine) -> None:
    schema.upgrade(empty_engine)
    fill_every_table(empty_engine)
    before = dump(empty_engine)
    assert all(len(rows) == 1 for rows in before.values())
    schema.upgrade(empty_engine)
    assert dump(empty_engine) == before
    schema.downgrade(empty_engine, "base")
    assert tables_of(empty_engine) == {"alembic_version"}
    assert schema.status(empty_engine)[0] is schema.State.EMPTY
    schema.upgrade(empty_engine)
    assert schema.differences(empty_engine) == []
    fill_every_table(empty_engine)
    assert dump(empty_engine) == before


def test_down_from_untested_darks_and_up_again(empty_engine: sa.Engine) -> None:
    """Rows in every table, and in none fewer after the tables that hold them were built anew."""
    schema.upgrade(empty_engine)
    fill_every_table(empty_engine)
    exposure, note = Base.metadata.tables["exposures"], Base.metadata.tables["quality_notes"]
    with empty_engine.begin() as connection:
        connection.execute(
            sa.update(exposure).values(
                quality="untested", temperature_start_c=0.0, temperature_end_c=18.5, temperature_mean_c=18.5
            )
        )
        connection.execute(sa.update(note).values(quality="untested"))
    before = raw_rows(empty_engine)
    schema.downgrade(empty_engine, "0002")
    assert {name: len(rows) for name, rows in raw_rows(empty_engine).items()} == dict.fromkeys(before, 1)
    (row,) = raw_rows(empty_engine)["exposures"]
    assert (row["quality"], row["quality_reason"], row["temperature_mean_c"]) == ("good", None, 9.25)
    since = {"observation_quality", "guide_star_lock", "hot_pixels", "contrast_block", "box_rate_block", "has_raw"}
    assert row.keys() == before["exposures"][0].keys() - since
    assert raw_rows(empty_engine)["quality_notes"][0]["quality"] == "good"
    for table in ("exposures", "quality_notes"):
        with pytest.raises(sa.exc.IntegrityError), empty_engine.begin() as connection:
            connection.execute(sa.update(sa.table(table, sa.column("quality"))).values(quality="untested"))
    schema.upgrade(empty_engine)
    assert schema.differences(empty_engine) == []
    (row,) = raw_rows(empty_engine)["exposures"]
    assert (row["temperature_mean_c"], row["hot_pixels"]) == (18.5, None)
    for table in ("exposures", "quality_notes"):
        for quality, refused in (("untested", False), ("nonsense", True)):
            statement = sa.update(sa.table(table, sa.column("quality"))).values(quality=quality)
            with pytest.raises(sa.exc.IntegrityError) if refused else nullcontext(), empty_engine.begin() as connection:
                connection.execute(statement)
    # What was a CHECK or a foreign key of a table that was built anew is one still.
    for text in ("UPDATE exposures SET kind = 'light'", "UPDATE exposures SET exptime_s = 0", "DELETE FROM exposures"):
        with pytest.raises(sa.exc.IntegrityError), empty_engine.begin() as connection:
            connection.execute(sa.text(text))


def test_what_is_written_is_what_is_read(empty_engine: sa.Engine) -> None:
    schema.upgrade(empty_engine)
    fill_every_table(empty_engine)
    exposure = dump(empty_engine)["exposures"][0]
    times = [value for value in exposure if isinstance(value, datetime)]
    assert times == [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)]
    assert times[0].tzinfo is not None
    with pytest.raises(sa.exc.StatementError, match="without a zone"), empty_engine.begin() as connection:
        connection.execute(sa.update(Base.metadata.tables["exposures"]).values(start_utc=datetime(2026, 1, 1)))  # noqa: DTZ001  a time without a zone is what has to be refused


def test_empty_database_is_refused(empty_engine: sa.Engine) -> None:
    with pytest.raises(SchemaError, match="no catalog yet") as caught:
        schema.require_current(empty_engine)
    assert "sbcdark ingest PATH" in caught.value.todo
    assert tables_of(empty_engine) == set()


@pytest.mark.parametrize("with_version", [False, True])
@pytest.mark.parametrize("create", [False, True])
def test_somebody_elses_database_is_refused_and_left_alone(
    database_url: str, empty_engine: sa.Engine, *, with_version: bool, create: bool
) -> None:
    with empty_engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE exposures (name TEXT)"))
        connection.execute(sa.text("INSERT INTO exposures VALUES ('theirs')"))
        if with_version:
            connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
            connection.execute(sa.text("INSERT INTO alembic_version VALUES ('0001')"))
    before = tables_of(empty_engine)
    with pytest.raises(SchemaError, match="not a sbcdark catalog") as caught:
        open_catalog(database_url, create=create)
    assert "--db" in caught.value.todo
    for move in (schema.upgrade, lambda engine: schema.downgrade(engine, "base")):
        with pytest.raises(SchemaError, match="not a sbcdark catalog"):
            move(empty_engine)
    assert tables_of(empty_engine) == before
    with empty_engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT name FROM exposures")) == "theirs"


@pytest.mark.parametrize(
    ("revision", "state", "word", "todo"),
    [
        ("9999", schema.State.NEWER, "newer", "pip install --upgrade sbcdark"),
        ("0000", schema.State.OLDER, "older", "sbcdark db upgrade"),
    ],
)
def test_other_revisions_are_refused_with_the_command_to_run(
    database_url: str, empty_catalog: sa.Engine, revision: str, state: schema.State, word: str, todo: str
) -> None:
    with empty_catalog.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    assert schema.status(empty_catalog) == (state, revision)
    with pytest.raises(SchemaError, match=f"{word} .revision {revision}.") as caught:
        open_catalog(database_url, create=True)
    assert todo in caught.value.todo
    # No way up leads from either: one is another program's, the other no revision of ours.
    for move in (schema.upgrade, lambda engine: schema.downgrade(engine, "base")):
        with pytest.raises(SbcdarkError):
            move(empty_catalog)
    assert schema.status(empty_catalog) == (state, revision)


def test_downgrade_to_an_unknown_revision_says_so(empty_catalog: sa.Engine) -> None:
    with pytest.raises(SbcdarkError, match="no revision 'nonsense'"):
        schema.downgrade(empty_catalog, "nonsense")
    assert schema.status(empty_catalog)[0] is schema.State.CURRENT


def test_failing_migration_leaves_nothing_behind(empty_engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate = command.upgrade

    def migrate_and_fail(*arguments: Any) -> None:
        migrate(*arguments)
        message = "the last statement of the migration failed"
        raise RuntimeError(message)

    monkeypatch.setattr(command, "upgrade", migrate_and_fail)
    with pytest.raises(RuntimeError, match="the last statement"):
        schema.upgrade(empty_engine)
    assert tables_of(empty_engine) == set()
    monkeypatch.undo()
    schema.upgrade(empty_engine)
    fill_every_table(empty_engine)
    before = dump(empty_engine)

    back = command.downgrade

    def go_back_and_fail(*arguments: Any) -> None:
        back(*arguments)
        raise RuntimeError

    monkeypatch.setattr(command, "downgrade", go_back_and_fail)
    with pytest.raises(RuntimeError):
        schema.downgrade(empty_engine, "base")
    assert dump(empty_engine) == before
    assert schema.status(empty_engine) == (schema.State.CURRENT, schema.HEAD)


def test_broken_reference_stops_a_migration(empty_engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    if empty_engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL checks foreign keys itself while it migrates")
    schema.upgrade(empty_engine)
    fill_every_table(empty_engine)
    with empty_engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0000'"))

    def lose_the_parents(configuration: Any, _revision: str) -> None:
        configuration.attributes["connection"].execute(sa.text("DELETE FROM regions"))

    monkeypatch.setattr(command, "upgrade", lose_the_parents)
    with pytest.raises(SbcdarkError, match="would break 1 reference; nothing was changed"):
        schema.upgrade(empty_engine)
    assert len(dump(empty_engine)["regions"]) == 1


def test_constraints_hold_on_both_engines(empty_catalog: sa.Engine) -> None:
    fill_every_table(empty_catalog)
    for statement in (
        "DELETE FROM exposures",
        "DELETE FROM files",
        "DELETE FROM ingest_runs",
        "UPDATE exposures SET kind = 'light'",
        "UPDATE exposures SET exptime_s = 0",
        "UPDATE files SET association_id = 1",
        "UPDATE files SET state = 'lost'",
        "UPDATE measurements SET region_id = 99",
    ):
        with pytest.raises(sa.exc.IntegrityError), empty_catalog.begin() as connection:
            connection.execute(sa.text(statement))
        with pytest.raises(SbcdarkError, match="refused a statement") as caught, writing(empty_catalog) as session:
            session.execute(sa.text(statement))
        assert statement not in str(caught.value)


def test_sqlite_connections_keep_foreign_keys_and_wal(empty_catalog: sa.Engine) -> None:
    if empty_catalog.dialect.name != "sqlite":
        pytest.skip("pragmas are SQLite's")
    schema.downgrade(empty_catalog, "base")
    schema.upgrade(empty_catalog)
    with empty_catalog.connect() as one, empty_catalog.connect() as other:
        for connection in (one, other):
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000


def test_failed_write_leaves_nothing_and_the_next_one_works(empty_catalog: sa.Engine) -> None:
    region = Base.metadata.tables["regions"]
    row = {"name": "box", "version": 1, "y0": 0, "y1": 1, "x0": 0, "x1": 1, "masked": False}
    # The second row repeats the first one's name and version.
    with pytest.raises(SbcdarkError, match="refused"), writing(empty_catalog) as session:
        session.execute(sa.insert(region), [row, row])
    with reading(empty_catalog) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(region)) == 0
    with writing(empty_catalog) as session:
        session.execute(sa.insert(region).values(**row))
    assert len(dump(empty_catalog)["regions"]) == 1


SECRET_URLS = [
    "postgresql://user:secret@127.0.0.1:1/x",
    "postgresql://user@127.0.0.1:1/x?password=secret",
    "postgresql://user:secret@no.such.host.invalid/x",
    "postgresql://user:secret@127.0.0.1:port/x",
    "mysql://user:secret@127.0.0.1/x",
    "nothing://user:secret@127.0.0.1/x",
    "user:secret@127.0.0.1",
    "sqlite://user:secret@host/x",
]


@pytest.mark.parametrize("url", SECRET_URLS)
def test_passwords_are_never_told(url: str) -> None:
    assert "secret" not in redacted(url)
    with pytest.raises(SbcdarkError) as caught:
        open_catalog(url)
    assert "secret" not in f"{caught.value}{caught.value.what}{caught.value.todo}{caught.value!r}"
    assert caught.value.todo
    cause = caught.value.__cause__
    while cause is not None:
        assert "secret" not in str(cause)
        cause = cause.__cause__


def test_server_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(UnreachableError, match="cannot be reached"):
        open_catalog(SECRET_URLS[0])


def test_catalogs_that_cannot_be_opened_are_told(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="There is no catalog") as caught:
        open_catalog(tmp_path / "none.db")
    assert "sbcdark ingest PATH" in caught.value.todo
    assert not (tmp_path / "none.db").exists()
    text = tmp_path / "text.db"
    text.write_text("no database at all " * 100)
    with pytest.raises(UnreachableError, match="not a SQLite database"):
        open_catalog(text, create=True)
    assert text.read_text().startswith("no database at all")
    with pytest.raises(UsageError, match="is a folder"):
        open_catalog(tmp_path)
    with pytest.raises(UsageError, match="takes no options"):
        open_catalog(f"sqlite:///{tmp_path / 'catalog.db'}?mode=ro")
    with pytest.raises(UnreachableError, match="Cannot create"):
        open_catalog(text / "below" / "catalog.db", create=True)
    for url in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(UsageError, match="needs a file"):
            open_catalog(url, create=True)


@pytest.mark.parametrize("name", ["catalog.db", "with a blank.db", "2015:01.db", "who?.db", "100%.db", "#1.db", "é.db"])
def test_any_path_can_hold_a_catalog(tmp_path: Path, name: str) -> None:
    engine = open_catalog(tmp_path / name, create=True)
    engine.dispose()
    assert (tmp_path / name).is_file()
    assert {path.name for path in tmp_path.iterdir()} == {name}


def test_settings_of_a_database_change_no_value(postgres_url: str) -> None:
    """An administrator may set how dates and numbers are written as text, which is how they arrive."""
    name = sa.make_url(postgres_url).database
    engine = make_engine(postgres_url)
    settings = {
        "datestyle": "'German, DMY'",
        "extra_float_digits": "-5",
        "timezone": "'Asia/Kolkata'",
        "client_encoding": "latin1",
        "standard_conforming_strings": "off",
    }
    with engine.begin() as connection:
        for setting, value in settings.items():
            connection.execute(sa.text(f"ALTER DATABASE {name} SET {setting} = {value}"))
    moment, number, text = datetime(2015, 3, 3, 2, 6, 52, 47360, UTC), 0.1 + 0.2, "\u03b1 Cen \\"
    query = sa.select(
        sa.cast(sa.literal(moment, UtcDateTime()), UtcDateTime()),
        sa.cast(sa.literal(number), sa.Double()),
        sa.literal(text),
        sa.literal_column("'a\\b'"),
    )
    with engine.connect() as connection:
        assert tuple(connection.execute(query).one()) == (moment, number, text, "a\\b")


def test_connections_to_a_server_stay_open_if_asked_and_are_not_shared_with_a_forked_process(postgres_url: str) -> None:
    script = (
        "import os, sys, sqlalchemy as sa\n"
        "from sbcdark.catalog.engine import make_engine, reading\n"
        "def ask():\n"
        "    with reading(engine) as session:\n"
        "        print(session.scalar(sa.text('SELECT pg_backend_pid()')), flush=True)\n"
        "for pooled in (False, True):\n"
        "    engine = make_engine(sys.argv[1], pooled=pooled)\n"
        "    ask(), ask()\n"
        "if os.fork() == 0:\n"
        "    ask()\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "ask()\n"
        "engine.dispose()\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script, postgres_url], capture_output=True, check=True)
    first, second, kept, again, forked, later = done.stdout.split()
    assert first != second
    assert kept == again == later != forked
