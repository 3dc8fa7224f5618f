"""What the archive has and the catalog has not: programs, updates, and the advice where no dark fits."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
import sqlalchemy as sa
from helpers import insert_darks, insert_science
from mast_content import Row
from mast_server import Fault

from sbcdark.catalog import archive_listings, models
from sbcdark.catalog.archive_listings import ArchivedExposure
from sbcdark.catalog.engine import reading, writing
from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.selection.suggestions import advice

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from commands import Done
    from mast_server import MastServer

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def listed(*darks: tuple[str, int, float]) -> list[ArchivedExposure]:
    return [ArchivedExposure(name, program, start, 1000.0) for name, program, start in darks]


def test_a_listing_keeps_when_each_dark_was_first_seen(empty_catalog: sa.Engine) -> None:
    with writing(empty_catalog) as session:
        first = listed(("jaaa01aaq", 9022, 52_400.0), ("jaaa01abq", 9022, 52_401.0))
        assert archive_listings.record_listing(session, first, NOW) == 2
    with writing(empty_catalog) as session:
        later = listed(("jaaa01aaq", 9023, 52_400.5), ("jaaa01acq", 9022, 52_402.0))
        assert archive_listings.record_listing(session, later, NOW + timedelta(days=7)) == 1
    with reading(empty_catalog) as session:
        assert archive_listings.first_seen(session) == {
            "jaaa01aaq": NOW,
            "jaaa01abq": NOW,
            "jaaa01acq": NOW + timedelta(days=7),
        }
        row = session.get(models.ArchiveExposure, "jaaa01aaq")
        assert row is not None
        assert (row.program, row.start_mjd) == (9023, 52_400.5), "what the archive says of it now"


def test_programs_are_counted_against_the_catalog(empty_catalog: sa.Engine) -> None:
    insert_darks(empty_catalog, np.zeros(3), np.full(3, 1000.0), np.full(3, 20.0), np.array([57_084.0] * 3))
    with writing(empty_catalog) as session:
        known = [("d0000001q", 13961, 57_084.0), ("d0000002q", 13961, 57_084.5), ("d0000003q", 13961, 57_085.0)]
        archive_listings.record_listing(
            session, listed(*known, ("jaaa01aaq", 9022, 52_400.0), ("jzzz01aaq", 15766, 59_000.0)), NOW
        )
        session.execute(sa.update(models.File).where(models.File.uri.contains("d0000003q")).values(state="missing"))
    with reading(empty_catalog) as session:
        found = [
            (one.program, one.frames, one.frames_in_catalog) for one in archive_listings.archived_programs(session)
        ]
        assert found == [(9022, 1, 0), (13961, 3, 2), (15766, 1, 0)]
        near = archive_listings.nearest_by_program(session, 57_084.1)
        assert [(one.program, one.dark, round(one.distance_days, 3)) for one in near] == [
            (13961, "d0000001q", 0.1),
            (15766, "jzzz01aaq", 1915.9),
            (9022, "jaaa01aaq", 4684.1),
        ]
        assert archive_listings.nearest_by_program(session, 57_084.1, absent=True)[0].dark == "d0000003q"


def test_advice_names_the_nearest_program_that_is_not_here(empty_catalog: sa.Engine) -> None:
    insert_science(empty_catalog, "jsci01aaq")
    insert_science(empty_catalog, "jsci01abq", start_mjd=53_000.0)
    insert_darks(empty_catalog, np.zeros(1), np.full(1, 1000.0), np.full(1, 20.0), np.array([57_125.0]))
    assert advice(empty_catalog, ["jsci01aaq"]).endswith("sbcdark programs --near jsci01aaq")
    with writing(empty_catalog) as session:
        archive_listings.record_listing(session, listed(("d0000001q", 13961, 57_125.0)), NOW)
    assert "every dark in the last archive listing is in the catalog" in advice(empty_catalog, ["jsci01aaq"])
    with writing(empty_catalog) as session:
        archive_listings.record_listing(
            session, listed(("jaaa01aaq", 14404, 57_200.0), ("jbbb01aaq", 9022, 52_400.0)), NOW
        )
    assert advice(empty_catalog, ["jsci01aaq"]).endswith(
        "(jaaa01aaq, 75.0 days away): sbcdark fetch --program 14404 --darks"
    )
    assert advice(empty_catalog, ["jsci01abq"]).endswith("sbcdark fetch --program 9022 --darks")
    assert advice(empty_catalog, ["jsci01abq", "jsci01aaq"]).endswith("sbcdark fetch --program 14404 --darks")


def test_match_without_a_dark_asks_no_archive(shared_data: Path, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'catalog.db'}"
    engine = open_catalog(database, create=True)
    ingest(engine, [shared_data / "science_13655_standin"])
    engine.dispose()
    script = (
        "import json, socket, sys\n"
        "from sbcdark.cli.main import run\n"
        "def refuse(*_): raise AssertionError('the network was asked')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        f"sys.argv = ['sbcdark', '--db', {database!r}, 'match', 'jcmc11e6q']\n"
        "code = run()\n"
        "print('\\n' + json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=100)
    code, loaded = json.loads(done.stdout.splitlines()[-1])
    assert code == 5
    assert "sbcdark programs --near jcmc11e6q" in done.stderr
    assert not set(loaded) & {"astroquery", "requests", "astropy"}


def test_programs_by_command(asking: Callable[..., Done], mast: MastServer, shared_data: Path) -> None:
    mast.add_real_darks(shared_data, 0, 2)
    for number, start in ((9022, 52_500.0), (15766, 58_900.0)):
        mast.add(Row(f"j{number:05d}aaq", "DARK", number, start))
        mast.add(Row(f"j{number:05d}abq", "DARK", number, start + 30.0, exptime_s=None))
    mast.add(Row("jwfc01aaq", "DARK", 9999, 55_000.0, detector="WFC"))
    mast.add(Row("jsky01aaq", "DARKCLOUD", 9998, 55_000.0))
    assert asking("fetch", "--program", "13961").code == 0
    assert asking("ingest", shared_data / "science_13655_standin" / "jcmc11e6q_flt.fits.gz").code == 0
    rows = asking("programs", "--json").json()
    assert [(row["program"], row["frames"], row["frames_in_catalog"]) for row in rows] == [
        (9022, 2, 0),
        (13961, 2, 2),
        (15766, 2, 0),
    ]
    assert rows[0]["first_start_utc"] == "2002-08-14T00:00:00.000Z"
    near = asking("programs", "--near", "JCMC11E6", "--json").json()
    assert [row["program"] for row in near] == [13961, 15766, 9022]
    assert near[1]["nearest_dark"] == "j15766aaq"
    assert near[1]["distance_days"] == pytest.approx(58_900.0 - 57_125.3825, abs=1e-3)
    done = asking("programs", "--near", "jcmc11e6q", "--csv")
    assert done.stdout.splitlines()[0] == ",".join(near[0])
    assert "sbcdark fetch --program 15766 --darks" in done.stderr
    hint = asking("match", "jcmc11e6q", "--max-days", "1")
    assert hint.code == 5
    assert "sbcdark fetch --program 15766 --darks" in hint.stderr
    assert asking("programs", "--near", "jnot01here").code == 2


def test_every_page_of_a_listing_is_read(asking_sqlite: Callable[..., Done], mast: MastServer) -> None:
    for number in range(5_001):
        mast.rows.append(Row(f"j{number:06d}aq", "DARK", 9000 + number % 7, 52_400.0 + number / 2))
    rows = asking_sqlite("programs", "--json").json()
    assert sum(row["frames"] for row in rows) == 5_001
    assert len(mast.of("search")) == 2
    mast.faults = [Fault("same page", route="search", times=99)]
    done = asking_sqlite("programs", "--json")
    assert done.code == 3, "what is not whole is no listing"
    assert len(mast.of("search")) == 4


def test_darks_listed_by_their_association_alone(
    asking_sqlite: Callable[..., Done], mast: MastServer, shared_data: Path
) -> None:
    names = mast.add_real_darks(shared_data, 0, 3)
    products = [product for row in mast.rows for product in row.products]
    mast.rows = [Row("jcrx01010", "DARK", 13961, 57_084.088, 3000.0, products=products)]
    assert [row["frames"] for row in asking_sqlite("programs", "--json").json()] == [3]
    report = asking_sqlite("fetch", "--update", "--since", "2015-01-01", "--json").json()
    assert [report[key] for key in ("wanted", "fetched", "added")] == [3, 3, 3]
    assert {entry.name for entry in mast.of("file")} == {f"{name}_raw.fits" for name in names}


def test_updates_from_week_to_week(
    asking: Callable[..., Done], mast: MastServer, shared_data: Path, tmp_path: Path
) -> None:
    names = mast.add_real_darks(shared_data, 0, 3)
    assert asking("fetch", "--program", "13961").code == 0
    mast.add(Row("jold01aaq", "DARK", 9022, 52_500.0, products=["jold01aaq_raw.fits"]))
    sent = len(mast.of("file"))

    first = asking("fetch", "--update", "--json")
    assert first.code == 0
    report = first.json()
    assert [report[key] for key in ("wanted", "fetched", "added")] == [0, 0, 0]
    assert report["update"]["is_baseline"]
    assert [report["update"][key] for key in ("darks_at_archive", "darks_in_catalog")] == [4, 3]
    assert "The archive has 4 SBC darks; 3 of them are in the catalog" in first.stderr
    assert "sbcdark fetch --program N --darks" in first.stderr
    assert "sbcdark fetch --update --since DATE" in first.stderr

    second = asking("fetch", "--update", "--json").json()
    assert second["wanted"] == 0
    assert not second["update"]["is_baseline"]
    assert second["update"]["baseline_utc"] == report["update"]["baseline_utc"]
    assert len(mast.of("file")) == sent, "the old dark is not news"

    news = mast.add_real_darks(shared_data, 3, 6)
    withheld = mast.files.pop(f"{news[1]}_raw.fits")
    third = asking("fetch", "--update", "--json")
    assert third.code == 6
    assert [third.json()[key] for key in ("wanted", "fetched", "failed", "added")] == [3, 2, 1, 2]
    folder = tmp_path / "data" / "sbcdark" / "archive" / "13961"
    assert sorted(path.name[:9] for path in folder.glob("*.fits")) == sorted([*names, news[0], news[2]])

    mast.files[withheld.name] = withheld
    fourth = asking("fetch", "--update", "--json").json()
    assert [fourth[key] for key in ("wanted", "fetched", "added")] == [1, 1, 1], "what failed is tried again"
    assert asking("fetch", "--update", "--json").json()["wanted"] == 0


def test_an_update_since_a_date_gets_older_darks_too(
    asking: Callable[..., Done], mast: MastServer, shared_data: Path, tmp_path: Path
) -> None:
    names = mast.add_real_darks(shared_data, 0, 4)
    dry = asking("fetch", "--update", "--since", "2015-03-03T02:20", "--dry-run", "--json", "-o", "mine")
    assert [file["file"][:9] for file in dry.json()["to_fetch"]] == names[1:]
    report = asking("fetch", "--update", "--since", "2015-03-03T02:20", "--json", "-o", "mine").json()
    assert [report[key] for key in ("wanted", "fetched", "added")] == [3, 3, 3]
    assert report["update"]["is_baseline"], "a dry run makes none"
    assert sorted(path.name[:9] for path in (tmp_path / "mine" / "13961").iterdir()) == names[1:]
    assert asking("fetch", "--update", "--since", "2015-03-03T02:20", "--json").json()["wanted"] == 0


def test_a_listing_before_the_first_update_makes_no_baseline(
    asking_sqlite: Callable[..., Done], mast: MastServer, shared_data: Path
) -> None:
    mast.add_real_darks(shared_data, 0, 1)
    assert asking_sqlite("programs").code == 0
    first = asking_sqlite("fetch", "--update", "--json").json()
    assert first["update"]["is_baseline"]
    mast.add_real_darks(shared_data, 1, 2)
    assert asking_sqlite("programs").code == 0, "which sees the new dark first"
    report = asking_sqlite("fetch", "--update", "--json").json()
    assert [report[key] for key in ("wanted", "fetched")] == [1, 1]
