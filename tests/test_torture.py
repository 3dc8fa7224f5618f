"""The torture sees what it looks for: a look that finds nothing has to be able to find something."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from helpers import copied
from torture import canonical, moments, products, report
from torture.commands import DONE, FAILED, Bench, Ended
from torture.data import many_darks
from torture.tally import Tally

from sbcdark.catalog import results
from sbcdark.catalog.engine import writing
from sbcdark.catalog.result_records import NewProduct
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.selection.choice import match
from sbcdark.pipeline.selection.rules import Requirements

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def few(empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path) -> sa.Engine:
    """Return a catalog of four real darks, an FLT and an association."""
    names = ("jcrx01iiq", "jcrx01ijq", "jcrx01ikq", "jcrx01ixq", "jcmc11e6q", "jcmc11010")
    ingest(empty_catalog, copied(shared_data, tmp_path / "files", *names), workers=1)
    return empty_catalog


def changed(engine: sa.Engine, *statements: str) -> tuple[list[str], list[str]]:
    """Return what a comparison says is lost and what is wrong after some statements."""
    wanted = canonical.canonical(engine)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    return canonical.facts_compared(canonical.canonical(engine), wanted)


def test_order_and_numbers_of_rows_do_not_count(few: sa.Engine) -> None:
    wanted = canonical.canonical(few)
    assert wanted["exposures"].total() == 5
    assert wanted["measurements"].total() == 20
    assert wanted["association_members"].total() == 3
    assert changed(few, "UPDATE ingest_runs SET added = 77, finished_utc = started_utc") == ([], [])


def test_lost_wrong_and_double_rows_are_seen(few: sa.Engine) -> None:
    lost, wrong = changed(few, "DELETE FROM measurements WHERE file_id = (SELECT min(id) FROM files)")
    assert len(lost) == 4
    assert wrong == []
    lost, wrong = changed(few, "UPDATE exposures SET exptime_s = exptime_s + 1 WHERE rootname = 'jcrx01iiq'")
    # What leads to it reads otherwise too.
    assert lost == []
    assert any("exposures has" in text and "jcrx01iiq" in text for text in wrong)
    double = "INSERT INTO rejected_files SELECT {}, '{}', 1, 1, 'broken', min(id) FROM ingest_runs"
    lost, wrong = changed(few, double.format(1, "file:///a"), double.format(2, "file:///b"))
    assert lost == []
    assert len(wrong) == 2


def test_results_are_whole_sets_or_told(few: sa.Engine) -> None:
    match(few, ["jcmc11e6q"], wanted=Requirements(top=2), save=True)
    one = canonical.results(few)
    assert canonical.whole_results(one, one) == ({"": 1}, [])
    match(few, ["jcmc11e6q"], wanted=Requirements(top=2), save=True)
    assert canonical.whole_results(canonical.results(few), one) == ({"": 1}, [])
    assert canonical.ragged_selections(few) == []
    with few.begin() as connection:
        connection.execute(sa.text("DELETE FROM selection_darks WHERE selection_id = 1 AND rank = 1"))
    assert canonical.whole_results(canonical.results(few), one)[1]
    assert canonical.ragged_selections(few) == ["selection 1 has darks of ranks []"]


def test_results_are_told_apart_by_target(few: sa.Engine) -> None:
    match(few, ["jcmc11e6q"], wanted=Requirements(top=2), save=True)
    target = "jcmc11010"
    with writing(few) as session:
        pixels = (f"{target}_drz.fits", "0" * 64, "1" * 64)
        identity = results.write_product(session, NewProduct(target, "science", *pixels, {}, {1: {}}), "0", revision=1)
        assert identity == 1
    found = canonical.results(few)
    assert list(found) == [target]
    assert {name: rows.total() for name, rows in found[target].items() if rows} == {
        "selections": 1,
        "selection_darks": 1,
        "products": 1,
        "product_selections": 1,
    }
    assert canonical.whole_results({}, found) == ({target: 0}, [])
    assert canonical.whole_results(found, {}) == ({}, [f"results of {target}, which was never asked for"])


def test_unfinished_runs_are_seen(few: sa.Engine) -> None:
    assert canonical.open_runs(few) == []
    with few.begin() as connection:
        connection.execute(sa.text("UPDATE ingest_runs SET finished_utc = NULL"))
    assert canonical.open_runs(few) == ["run 1 (ingest) is unfinished"]


def test_what_a_command_may_not_do_is_seen() -> None:
    def ended(code: int, stderr: str) -> Ended:
        return Ended(("ingest",), code, "", stderr, 1.0)

    assert ended(DONE, "jcmc11010: science product").misbehaviour((DONE,)) == []
    assert ended(FAILED, "sbcdark: It failed.\n  Try again.").misbehaviour((FAILED,)) == []
    for code, stderr in (
        (FAILED, "sbcdark: It failed."),  # another code than the one that is allowed
        (DONE, "sbcdark: It failed."),
        (DONE, "sqlite3.OperationalError: database is locked"),
    ):
        assert ended(code, stderr).misbehaviour((DONE,)), stderr
    assert ended(FAILED, "").misbehaviour((FAILED,))
    assert ended(FAILED, "sbcdark: One.\nsbcdark: Two.").misbehaviour((FAILED,))
    assert ended(FAILED, "Traceback (most recent call last):\n").tracebacks()
    assert ended(FAILED, "sbcdark: This should not have happened: KeyError").tracebacks()


def test_processes_and_files_that_stay_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path / "bench")
    assert bench.survivors() == []
    # In place of the command: one that starts another and ends.
    orphan = f"import subprocess; subprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(600)'])"
    monkeypatch.setattr("torture.commands.PROGRAM", [sys.executable, "-c", orphan])
    running = bench.start("sqlite:///none.db")
    running.process.wait()
    found = bench.survivors(patience_s=0.0)
    assert len(found) == 1
    assert "time.sleep(600)" in found[0]
    assert bench.survivors() == []
    running.end()
    (bench.temporary / "half").write_text("")
    assert bench.remains() == ["temporary tmp/half"]


def test_products_that_are_not_whole_are_seen(shared_data: Path, tmp_path: Path) -> None:
    (path,) = copied(shared_data, tmp_path / "products", "jcmc11010")
    sums = products.pixel_sums(path.parent)
    assert products.half_written(path.parent, sums) == []
    path.write_bytes(path.read_bytes()[:-3000])
    (path.parent / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (path.parent / "cut.ecsv").write_text("# %ECSV 1.0\n# ---")
    (path.parent / ".sbcdark-left").mkdir()
    assert len(products.half_written(path.parent, sums)) == 3
    assert len(products.surplus(path.parent, {path.name})) == 3
    assert products.missing(path.parent, {"a_drz.fits"}) == ["no product a_drz.fits"]


def test_made_darks_are_whole_and_distinct(empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path) -> None:
    many_darks(shared_data / "darks_13961", tmp_path, 45)
    told = ingest(empty_catalog, [tmp_path], workers=1)
    assert (told.added, told.rejected) == (45, 0)
    with empty_catalog.connect() as connection:
        rows = connection.execute(sa.text("SELECT rootname, start_mjd, temperature_start_c FROM exposures")).all()
    assert len({row.rootname for row in rows}) == len({row.start_mjd for row in rows}) == 45


def test_cases_can_be_repeated() -> None:
    first, again, other = (moments.chance("ingest", "sqlite", 1, number).random() for number in (0, 0, 1))
    assert first == again != other


def test_report_counts_and_fails_for_what_was_found() -> None:
    tally = Tally("kill an ingest", "sqlite")
    tally.count("kills", 3)
    assert tally.clean
    assert tally.tried == Counter(kills=3)
    assert "Tried: 3 kills. Found: lost 0, wrong 0, left over 0, tracebacks 0." in report.verdict([tally])
    tally.blame("lost", "ingest 7", ["files lacks a row"])
    assert not tally.clean
    told = report.lines([tally], header=True)
    assert "lost: ingest 7: files lacks a row" in told
    assert "lost 1, wrong 0" in report.verdict([tally])
