"""Catalogs of earlier releases, kept as files: each comes up to this program with every row, on both engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from helpers import OLD_CATALOGS, dump, old_catalog, raw_rows

from sbcdark.catalog import schema
from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.selection.changes import changes
from sbcdark.pipeline.views.listings import exposures, show

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import sqlalchemy as sa

ROWS = {
    "associations": 4,
    "association_members": 12,
    "exposures": 28,
    "files": 32,
    "ingest_runs": 3,
    "measurements": 112,
    "photometry": 1,
    "product_selections": 6,
    "products": 3,
    "quality_notes": 2,
    "regions": 4,
    "rejected_files": 1,
    "selection_darks": 35,
    "selections": 3,
}
"""What a release put into its catalog; every table of the first one holds rows."""

REVISIONS = [f"{one:04d}" for one in range(1, 8)]
ROWS_SINCE_0002 = {"quality_notes": 2, "archive_exposures": 2}
"""What is more in later ones."""


@pytest.fixture(params=OLD_CATALOGS, ids=lambda path: path.name[:4])
def old(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Iterator[sa.Engine]:
    engine = old_catalog(request.param, database_url, tmp_path)
    assert schema.status(engine) == (schema.State.OLDER, request.param.name[:4])
    yield engine
    engine.dispose()


def test_every_revision_that_was_released_is_kept() -> None:
    assert [path.name[:4] for path in OLD_CATALOGS] == REVISIONS


def test_old_catalog_is_refused_until_it_is_upgraded(old: sa.Engine) -> None:
    url = old.url.render_as_string(hide_password=False)
    before = raw_rows(old)
    with pytest.raises(schema.SchemaError, match="older") as caught:
        open_catalog(url, create=True)
    assert "sbcdark db upgrade" in caught.value.todo
    assert raw_rows(old) == before


def test_old_catalog_comes_up_with_every_row_and_goes_down_again(old: sa.Engine) -> None:
    before = raw_rows(old)
    revision = before["alembic_version"][0]["version_num"]
    expected = ROWS if revision == "0001" else ROWS | ROWS_SINCE_0002
    assert {name: len(rows) for name, rows in before.items() if name != "alembic_version"} == expected
    schema.upgrade(old)
    assert schema.differences(old) == []
    after = raw_rows(old)
    for name, rows in before.items():
        if name == "alembic_version":
            continue
        kept = [{key: row[key] for key in rows[0]} for row in after[name]]
        assert kept == rows, name
    # Up, every file that is alone has the facts of its exposure.
    facts = [row["exposure_facts"] for row in after["files"]]
    assert sum(fact is not None for fact in facts) == 28
    # What an earlier program did not look for is not known.
    if revision < "0003":
        for name in ("observation_quality", "guide_star_lock", "hot_pixels"):
            assert {row[name] for row in after["exposures"]} == {None}
    assert {row["source_count_s"] for row in after["photometry"]} == {None}
    # A RAW counts while it is present.
    present = {row["exposure_id"] for row in after["files"] if (row["kind"], row["state"]) == ("RAW", "present")}
    assert {row["id"] for row in after["exposures"] if row["has_raw"]} == present
    assert len(present) == 20
    schema.downgrade(old, revision)
    assert raw_rows(old) == before


def test_upgraded_catalog_does_all_that_a_new_one_does(old: sa.Engine) -> None:
    schema.upgrade(old)
    engine = open_catalog(old.url.render_as_string(hide_password=False))
    assert len(exposures(engine)) == 28
    known = show(engine, "jcmc11e6q")
    assert len(known["selections"]) == 2
    assert known["start_utc"].isoformat().startswith("2015-")
    # Each is made again by its own rule and parameters.
    assert isinstance(changes(engine), list)
    assert len(dump(engine)["files"]) == 32
    engine.dispose()
