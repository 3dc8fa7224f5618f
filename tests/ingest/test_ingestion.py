"""Ingest: the real data to the last digit, and again and again without a change, on both engines."""

from __future__ import annotations

import csv
import gzip
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from helpers import SCI_HEADER, copied, counts, dump, exposures_dump, renamed, unpacked_raw, with_card
from twin_archive import REAL_FOLDERS

from sbcdark.catalog import models, queries
from sbcdark.catalog.engine import reading, writing
from sbcdark.catalog.errors import SbcdarkError
from sbcdark.catalog.opening import open_catalog
from sbcdark.catalog.preferred_files import refresh_exposures
from sbcdark.pipeline.detector.regions import REGIONS
from sbcdark.pipeline.ingest import ingestion
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.views.listings import exposures, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sbcdark.pipeline.ingest.report import IngestReport

MANY = 60
"""Files of several jobs."""


def test_real_darks_come_out_digit_for_digit(real_catalog: sa.Engine, real_data: Path) -> None:
    with (real_data / "tables" / "darks_13961_measured.csv").open(newline="") as file:
        published = {row["rootname"]: row for row in csv.DictReader(file)}
    darks = exposures(real_catalog, queries.ExposureFilter(kind="dark"))
    assert [dark.rootname for dark in darks] == list(published)
    assert len(darks) == 20
    for dark in darks:
        row = published[dark.rootname]
        assert dark.box_count == float(row["box_sum"])
        assert dark.temperature_start_c == float(row["mdecodt1"])
        assert dark.temperature_end_c == float(row["mdecodt2"])
        # The table gives four decimals.
        assert dark.temperature_mean_c == pytest.approx(float(row["avgtemp"]), abs=0.5e-4 + 1e-12)
        assert dark.exptime_s == float(row["exptime"])
        assert dark.start_mjd == float(row["expstart"])
        assert dark.association == row["asn_id"].lower()
        assert dark.program == 13961
        assert dark.quality == "good"
        assert f"{dark.box_rate_count_s_pix:.4e}" == row["box_rate_per_pix"]
        # The header gives the start to the second, and EXPSTART to a millisecond.
        start = datetime.fromisoformat(f"{row['date_obs']}T{row['time_obs']}+00:00")
        assert abs(dark.start_utc - start) < timedelta(seconds=1)


def test_real_science_and_associations_are_all_there(real_catalog: sa.Engine) -> None:
    science = exposures(real_catalog, queries.ExposureFilter(kind="science"))
    assert len(science) == 8
    assert {one.program for one in science} == {13655}
    for number, filter_name in (("010", "F165LP"), ("020", "F125LP"), ("030", "F140LP"), ("040", "F150LP")):
        association = show(real_catalog, f"JCMC11{number}")
        assert len(association["members"]) == 2
        assert association["absent"] == []
        assert {one.filter for one in science if one.rootname in association["members"]} == {filter_name}
    tables = dump(real_catalog)
    assert len(tables["associations"]) == 4
    assert len(tables["files"]) == 32
    assert len(tables["measurements"]) == 28 * len(REGIONS)
    assert len(tables["ingest_runs"]) == 1
    assert tables["rejected_files"] == []


def test_second_run_changes_nothing_at_all(real_catalog: sa.Engine, shared_data: Path) -> None:
    before = dump(real_catalog)
    report = ingest(real_catalog, [shared_data / folder for folder in REAL_FOLDERS], workers=1)
    assert counts(report) == (0, 0, 32, 0)
    assert dump(real_catalog) == before


def test_flat_and_distortion_beside_the_frames_are_ignored(empty_catalog: sa.Engine, shared_data: Path) -> None:
    folder = shared_data / "science_13655_standin"
    report = ingest(empty_catalog, [folder], workers=1)
    assert counts(report) == (8, 0, 0, 0)
    names = {Path(file["path"]).name for file in report.ignored_files}
    assert names == {path.name for path in folder.iterdir() if "_flt." not in path.name}
    assert names >= {"sbc_standin_pfl.fits.gz", "truth.csv"}


def test_touched_file_is_unchanged_and_its_time_is_kept(
    empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path
) -> None:
    (path,) = copied(shared_data, tmp_path / "raw", "jcrx01iiq_raw")
    ingest(empty_catalog, [path])
    before = dump(empty_catalog)
    os.utime(path, ns=(1_000_000_000, 1_000_000_001))
    assert counts(ingest(empty_catalog, [path])) == (0, 0, 1, 0)
    after = dump(empty_catalog)
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == {"files"}
    with reading(empty_catalog) as session:
        assert session.scalars(sa.select(models.File.mtime_ns)).all() == [1_000_000_001]
    assert counts(ingest(empty_catalog, [path])) == (0, 0, 1, 0)


def test_changed_content_supersedes_and_keeps_the_old(
    empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "jcrx01iiq_raw.fits"
    path.write_bytes(unpacked_raw(shared_data))
    ingest(empty_catalog, [path])
    old = dump(empty_catalog)
    path.write_bytes(with_card(unpacked_raw(shared_data), "EXPTIME", "500.0"))
    assert counts(ingest(empty_catalog, [tmp_path])) == (0, 1, 0, 0)
    new = dump(empty_catalog)
    assert set(old["measurements"]) < set(new["measurements"])
    assert len(new["measurements"]) == 2 * len(REGIONS)
    assert len(new["ingest_runs"]) == 2
    with reading(empty_catalog) as session:
        files = queries.files_of(session, "jcrx01iiq")
        (dark,) = queries.list_exposures(session, queries.ExposureFilter())
        assert [file.state for file in files] == ["present", "changed"]
        assert len({file.uri for file in files}) == 1
        assert dark.exptime_s == 500.0
        assert dark.box_rate_count_s_pix == 300 / (40_000 * 500.0)
        assert {m.rate_count_s_pix for m in queries.measurements_of(session, files[1].id) if m.region == "box"} == {
            7.5e-6
        }
    # The first content again is a third row, and its measurements count again.
    path.write_bytes(unpacked_raw(shared_data))
    assert counts(ingest(empty_catalog, [tmp_path])) == (0, 1, 0, 0)
    assert exposures(empty_catalog)[0].exptime_s == 1000.0


def test_what_the_header_says_of_the_observation_is_kept_and_shown(
    empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path
) -> None:
    content = unpacked_raw(shared_data)
    for keyword, value in (("QUALITY", "'LOCKLOST'"), ("FGSLOCK", "'COARSE'")):
        content = with_card(content, keyword, value)
    path = tmp_path / "jcrx01iiq_raw.fits"
    path.write_bytes(content)
    ingest(empty_catalog, [path, *copied(shared_data, tmp_path / "flt", "jcmc11deq_flt")])
    dark, science = show(empty_catalog, "jcrx01iiq"), show(empty_catalog, "jcmc11deq")
    assert (dark["observation_quality"], dark["guide_star_lock"], dark["hot_pixels"]) == ("LOCKLOST", "COARSE", 7)
    assert (science["observation_quality"], science["guide_star_lock"], science["hot_pixels"]) == (None, "FINE", None)
    # They go with the file that the exposure takes its values from.
    path.write_bytes(unpacked_raw(shared_data))
    ingest(empty_catalog, [path])
    dark = show(empty_catalog, "jcrx01iiq")
    assert (dark["observation_quality"], dark["guide_star_lock"]) == (None, "GYROS")


@pytest.mark.parametrize(
    ("start", "end", "mean"),
    [
        (0.0, 19.1577, 19.1577),
        (17.2041, 0.0, 17.2041),
        (17.0, 19.5, 18.25),
        # A step of the telemetry from zero is a temperature, and so are two zeros for what they are worth.
        (0.0, 0.2442, 0.1221),
        (0.0, 0.0, 0.0),
    ],
)
def test_temperature_of_exactly_zero_beside_a_real_one_is_not_averaged(
    empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path, start: float, end: float, mean: float
) -> None:
    content = unpacked_raw(shared_data)
    for keyword, value in (("MDECODT1", start), ("MDECODT2", end)):
        content = with_card(content, keyword, f"{value!r:>20}", start=SCI_HEADER)
    (tmp_path / "jcrx01iiq_raw.fits").write_bytes(content)
    ingest(empty_catalog, [tmp_path])
    (dark,) = exposures(empty_catalog)
    assert (dark.temperature_start_c, dark.temperature_end_c) == (start, end)
    assert dark.temperature_mean_c == pytest.approx(mean, rel=1e-15)


def test_facts_that_an_earlier_program_did_not_keep_are_filled_in(
    empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path
) -> None:
    (path,) = copied(shared_data, tmp_path / "raw", "jcrx01iiq_raw")
    ingest(empty_catalog, [path])
    complete = dump(empty_catalog)
    new = ("observation_quality", "guide_star_lock", "hot_pixels")
    with empty_catalog.begin() as connection:
        (facts,) = connection.scalars(sa.select(models.File.exposure_facts))
        connection.execute(
            sa.update(models.File).values(exposure_facts={key: facts[key] for key in facts if key not in new})
        )
        connection.execute(sa.update(models.Exposure).values(dict.fromkeys(new)))
    with writing(empty_catalog) as session:
        refresh_exposures(session, [1])
    assert show(empty_catalog, "jcrx01iiq")["hot_pixels"] is None
    assert counts(ingest(empty_catalog, [path])) == (0, 0, 1, 0)
    assert show(empty_catalog, "jcrx01iiq")["hot_pixels"] == 7
    assert dump(empty_catalog)["exposures"] == complete["exposures"]


def test_content_that_was_good_and_is_broken_now_is_no_longer_chosen(
    empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "jcrx01iiq_raw.fits"
    whole = unpacked_raw(shared_data)
    path.write_bytes(whole)
    ingest(empty_catalog, [path])
    path.write_bytes(whole[: len(whole) // 2])
    report = ingest(empty_catalog, [path])
    assert report.rejected == 1
    with reading(empty_catalog) as session:
        values = queries.match_values(session, "jcrx01iiq")
        assert values is not None
        assert values.file is None
    path.write_bytes(whole)
    ingest(empty_catalog, [path])
    with reading(empty_catalog) as session:
        values = queries.match_values(session, "jcrx01iiq")
        assert values is not None
        assert values.file is not None
    assert dump(empty_catalog)["rejected_files"] == []


def several_files_of_two_exposures(data: Path, folder: Path) -> list[Path]:
    """Make a science FLT, a RAW of the same exposure with another header, and a dark twice, processed differently."""
    folder.mkdir()
    flt = folder / "jcmc11ctq_flt.fits.gz"
    shutil.copyfile(data / "science_13655_standin" / flt.name, flt)
    raw = renamed(unpacked_raw(data), "jcmc11ctq")
    for keyword, value in (
        ("IMAGETYP", "'EXT'"),
        ("OBSTYPE", "'IMAGING'"),
        ("TARGNAME", "'RAW-TARGET'"),
    ):
        raw = with_card(raw, keyword, value)
    (folder / "jcmc11ctq_raw.fits").write_bytes(with_card(raw, "EXPSTART", "57125.0"))
    older = folder / "older"
    older.mkdir()
    shutil.copyfile(data / "darks_13961" / "jcrx01iiq_raw.fits.gz", folder / "jcrx01iiq_raw.fits.gz")
    content = with_card(with_card(unpacked_raw(data), "PROCTIME", "58000.0"), "EXPFLAG", "'INTERRUPTED'")
    (older / "jcrx01iiq_raw.fits").write_bytes(content)
    return sorted(folder.rglob("*.fits*"))


@pytest.mark.slow
def test_order_of_ingest_does_not_matter(database_url: str, shared_data: Path, tmp_path: Path) -> None:
    files = several_files_of_two_exposures(shared_data, tmp_path / "files")
    assert len(files) == 4
    engine = open_catalog(database_url, create=True)
    results = []
    # Every file comes before and after every other one.
    one_by_one: list[list[Sequence[Path]]] = [[[file] for file in order] for order in list(permutations(files))[::3]]
    orders: list[list[Sequence[Path]]] = [[files], *one_by_one]
    for batches in orders:
        with engine.begin() as connection:
            for table in reversed(models.Base.metadata.sorted_tables):
                connection.execute(sa.delete(table))
        for batch in batches:
            ingest(engine, batch, workers=1)
        results.append(exposures_dump(engine))
    engine.dispose()
    assert all(result == results[0] for result in results)
    science, dark = results[0]
    assert (science["rootname"], science["kind"]) == ("jcmc11ctq", "science")
    assert science["target"] != "RAW-TARGET"
    assert science["start_mjd"] != 57125.0
    assert (dark["rootname"], dark["exposure_flag"]) == ("jcrx01iiq", "NORMAL")


def test_raw_of_science_serves_while_there_is_no_flt(
    empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path
) -> None:
    several_files_of_two_exposures(shared_data, tmp_path / "files")
    ingest(empty_catalog, [tmp_path / "files" / "jcmc11ctq_raw.fits"])
    (science,) = exposures(empty_catalog)
    assert science.box_count == 300.0
    ingest(empty_catalog, [tmp_path / "files" / "jcmc11ctq_flt.fits.gz"])
    (science,) = exposures(empty_catalog)
    assert science.box_count != 300.0


def test_file_that_vanishes_after_it_was_found_is_rejected(
    empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path
) -> None:
    paths = copied(shared_data, tmp_path / "files", "jcrx01iiq_raw", "jcrx01ijq_raw")

    def remove_first(done: int, total: int) -> None:
        assert total == 2
        if done == 0:
            paths[0].unlink()

    report = ingest(empty_catalog, [tmp_path / "files"], progress=remove_first)
    assert counts(report) == (1, 0, 0, 1)
    assert "No such file" in report.rejections[0]["reason"]


def test_dry_run_tells_the_same_and_writes_nothing(empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path) -> None:
    paths = copied(shared_data, tmp_path / "files", "jcrx01iiq_raw", "jcrx01ijq_raw")
    (tmp_path / "files" / "x_raw.fits").write_text("no FITS")
    before = dump(empty_catalog)
    dry = ingest(empty_catalog, [tmp_path / "files"], dry_run=True)
    assert dump(empty_catalog) == before
    assert not any(before.values())
    without = ingest(None, [tmp_path / "files"], dry_run=True)
    wet = ingest(empty_catalog, [tmp_path / "files"])
    # Two darks are too few to be tested, and only written ones are.
    (program,) = wet.programs
    assert (program.darks, program.untested, program.is_new) == (2, 2, True)
    assert dry == without == replace(wet, programs=[replace(program, untested=0)])
    assert counts(wet) == (2, 0, 0, 1)
    paths[0].write_bytes(paths[1].read_bytes())
    os.utime(paths[1], ns=(1, 1))
    before = dump(empty_catalog)
    dry = ingest(empty_catalog, [tmp_path / "files"], dry_run=True)
    assert dump(empty_catalog) == before
    assert counts(dry) == (0, 1, 1, 1)
    wet = ingest(empty_catalog, [tmp_path / "files"])
    # What is superseded is known once it is written.
    assert [one.exposure for one in wet.superseded] == ["jcrx01iiq"]
    assert [one.updated for one in wet.programs] == [one.updated for one in dry.programs] == [1]
    assert dry == replace(wet, superseded=[], programs=dry.programs)
    with pytest.raises(SbcdarkError, match="no catalog"):
        ingest(None, [tmp_path / "files"])


def test_rejected_files_are_kept_with_their_reason_once(empty_catalog: sa.Engine, tmp_path: Path) -> None:
    bad = tmp_path / "x_raw.fits"
    bad.write_text("no FITS")
    assert counts(ingest(empty_catalog, [bad])) == (0, 0, 0, 1)
    before = dump(empty_catalog)
    assert len(before["rejected_files"]) == len(before["ingest_runs"]) == 1
    assert before["exposures"] == before["files"] == []
    assert counts(ingest(empty_catalog, [bad])) == (0, 0, 0, 1)
    assert dump(empty_catalog) == before


def many_files(data: Path, folder: Path) -> Path:
    folder.mkdir()
    contents = [unpacked_raw(data, path.name[:9]) for path in sorted((data / "darks_13961").glob("*.gz"))]
    for number in range(MANY):
        content = renamed(contents[number % len(contents)], f"jzz{number:05d}q")
        (folder / f"jzz{number:05d}q_raw.fits.gz").write_bytes(gzip.compress(content, 1))
    (folder / "x_raw.fits").write_text("no FITS")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("by", ["threads", "processes"])
def test_two_workers_make_the_same_catalog_as_one(
    by: str, database_url: str, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by == "processes":
        monkeypatch.setattr(ingestion, "_WORTH_A_POOL", 0)
    folder = many_files(shared_data, tmp_path / "many")
    told: list[tuple[int, int]] = []
    one = open_catalog(tmp_path / "one.db", create=True)
    two = open_catalog(database_url, create=True)
    report_one = ingest(one, [folder], workers=1)
    report_two = ingest(two, [folder], workers=2, progress=lambda done, total: told.append((done, total)))
    assert report_one == report_two
    assert counts(report_two) == (MANY, 0, 0, 1)
    assert told[0] == (0, MANY + 1)
    assert told[-1] == (MANY + 1, MANY + 1)
    left, right = dump(one), dump(two)
    left.pop("ingest_runs")
    right.pop("ingest_runs")
    assert left == right
    one.dispose()
    two.dispose()


def test_two_ingests_at_once_make_the_catalog_of_one(database_url: str, shared_data: Path) -> None:
    def run(_: int) -> IngestReport:
        # Each opens the empty database for itself: both want to make the schema, both to write every file.
        engine = open_catalog(database_url, create=True)
        report = ingest(engine, [shared_data / "darks_13961", shared_data / "associations_13655"], workers=1)
        engine.dispose()
        return report

    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(run, range(2)))
    assert sum(report.added for report in reports) == 24
    assert sum(report.unchanged for report in reports) == 24
    engine = open_catalog(database_url)
    tables = dump(engine)
    engine.dispose()
    assert (len(tables["exposures"]), len(tables["files"]), len(tables["associations"])) == (20, 24, 4)
    assert len(tables["regions"]) == len(REGIONS)
