"""Files that contradict each other, and names that say something else than headers, on both engines."""

from __future__ import annotations

import gzip
import shutil
from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from helpers import counts, dump, files_told, renamed, unpacked_raw, with_card

from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.views.listings import exposures, show

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa


def science_of(raw: bytes) -> bytes:
    """Return a RAW that calls itself a science exposure."""
    return with_card(with_card(raw, "IMAGETYP", "'EXT'"), "OBSTYPE", "'IMAGING'")


def test_file_that_calls_a_dark_science_is_rejected(
    empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path
) -> None:
    raw = unpacked_raw(shared_data)
    (tmp_path / "jcrx01iiq_raw.fits").write_bytes(raw)
    ingest(empty_catalog, [tmp_path])
    before = dump(empty_catalog)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "jcrx01iiq_raw.fits").write_bytes(science_of(raw))
    dry = ingest(empty_catalog, [tmp_path], dry_run=True)
    report = ingest(empty_catalog, [tmp_path])
    assert files_told(dry) == files_told(report)
    assert counts(report) == (0, 0, 1, 1)
    assert report.rejections[0]["reason"] == (
        "lists jcrx01iiq as a science exposure; conflicts with jcrx01iiq_raw.fits, which lists it as a dark"
    )
    after = dump(empty_catalog)
    assert {name for name in before if before[name] != after[name]} == {"ingest_runs", "rejected_files"}
    assert counts(ingest(empty_catalog, [tmp_path])) == (0, 0, 1, 1)


def test_first_of_two_new_files_that_contradict_each_other_stands(
    empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path
) -> None:
    raw = unpacked_raw(shared_data)
    (tmp_path / "a_raw.fits").write_bytes(science_of(raw))
    (tmp_path / "b_raw.fits").write_bytes(raw)
    dry = ingest(None, [tmp_path], dry_run=True)
    report = ingest(empty_catalog, [tmp_path])
    assert counts(dry) == counts(report) == (1, 0, 0, 1)
    assert "lists jcrx01iiq as a dark; conflicts with a_raw.fits" in report.rejections[0]["reason"]
    assert exposures(empty_catalog)[0].kind == "science"


def test_association_by_the_name_of_an_exposure_is_rejected(
    empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path
) -> None:
    # `show` and `run` would give the association for the exposure.
    asn = (shared_data / "associations_13655" / "jcmc11010_asn.fits").read_bytes()
    (tmp_path / "jcrx01iiq_raw.fits").write_bytes(unpacked_raw(shared_data))
    (tmp_path / "jcmc11010_asn.fits").write_bytes(asn)
    assert counts(ingest(empty_catalog, [tmp_path])) == (2, 0, 0, 0)
    (tmp_path / "x_asn.fits").write_bytes(renamed(asn, "jcrx01iiq"))
    (tmp_path / "x_raw.fits").write_bytes(renamed(unpacked_raw(shared_data), "jcmc11010"))
    report = ingest(empty_catalog, [tmp_path])
    assert counts(report) == (0, 0, 2, 2)
    assert {one["reason"] for one in report.rejections} == {
        "lists jcrx01iiq as an association; conflicts with jcrx01iiq_raw.fits, which lists it as a dark",
        "lists jcmc11010 as a dark; conflicts with jcmc11010_asn.fits, which lists it as an association",
    }
    assert show(empty_catalog, "jcrx01iiq")["kind"] == "dark"
    assert show(empty_catalog, "jcmc11010")["members"] == ["jcmc11ctq", "jcmc11e6q"]


def test_new_content_of_the_only_file_contradicts_nothing(
    empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path
) -> None:
    raw = unpacked_raw(shared_data)
    path = tmp_path / "jcrx01iiq_raw.fits"
    path.write_bytes(science_of(raw))
    ingest(empty_catalog, [path])
    path.write_bytes(raw)
    assert counts(ingest(empty_catalog, [path])) == (0, 1, 0, 0)
    assert exposures(empty_catalog)[0].kind == "dark"


def test_header_names_the_exposure_whatever_the_file_is_called(
    empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "jcrx01ijq_raw.fits").write_bytes(unpacked_raw(shared_data, "jcrx01iiq"))
    ingest(empty_catalog, [tmp_path])
    assert [one.rootname for one in exposures(empty_catalog)] == ["jcrx01iiq"]
    assert len(show(empty_catalog, "jcrx01iiq")["files"]) == 1


@pytest.mark.parametrize("exptime", ["500.0", "2000.0"])
def test_of_contradicting_times_that_of_the_preferred_file_counts(
    empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path, exptime: str
) -> None:
    flt = shared_data / "science_13655_standin" / "jcmc11ctq_flt.fits.gz"
    with gzip.open(flt) as packed:
        header = packed.read(2880 * 40)
    raw = science_of(renamed(unpacked_raw(shared_data), "jcmc11ctq"))
    shutil.copyfile(flt, tmp_path / flt.name)
    (tmp_path / "jcmc11ctq_raw.fits").write_bytes(with_card(raw, "EXPTIME", exptime))
    own = float(header[header.index(b"EXPTIME ") + 10 :].split(maxsplit=1)[0])
    assert own != float(exptime)
    for order in permutations([flt.name, "jcmc11ctq_raw.fits"]):
        for name in order:
            ingest(empty_catalog, [tmp_path / name])
        (one,) = exposures(empty_catalog)
        assert one.exptime_s == own
        files = {entry["uri"].rpartition("_")[2]: entry for entry in show(empty_catalog, "jcmc11ctq")["files"]}
        assert set(files) == {"raw.fits", "flt.fits.gz"}


def test_exposure_time_in_doubt_is_told_once(empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "jcrx01iiq_raw.fits").write_bytes(with_card(unpacked_raw(shared_data), "EXPTIME", "100.0"))
    dry = ingest(None, [tmp_path], dry_run=True)
    report = ingest(empty_catalog, [tmp_path])
    assert counts(report) == (1, 0, 0, 0)
    told = "EXPTIME, which gives the rates, differs from EXPEND - EXPSTART; compare them in the header"
    assert report.warnings == [f"jcrx01iiq: {told}"]
    assert dry.warnings == report.warnings
    assert ingest(empty_catalog, [tmp_path]).warnings == []  # unchanged: not read again
