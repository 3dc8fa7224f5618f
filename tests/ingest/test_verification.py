"""The life of files: missing, changed, moved, back again; what rests on them is told; on both engines."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from helpers import copied, counts, dump, files_told, unpacked_raw, with_card

from sbcdark.catalog import models, queries
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.ingest.relocation import Relocated, relocate
from sbcdark.pipeline.ingest.verification import verify
from sbcdark.pipeline.selection.changes import changes
from sbcdark.pipeline.selection.choice import match
from sbcdark.pipeline.selection.reasons import why

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("jcrx01iwq_raw", "jcrx01ixq_raw", "jcrx01iyq_raw", "jcmc11e6q_flt", "jcmc11010_asn")

BEST = "jcrx01ixq"
"""The dark that fits jcmc11e6q best of these."""


@pytest.fixture
def folder(shared_data: Path, tmp_path: Path) -> Path:
    copied(shared_data, tmp_path / "files", *NAMES)
    return tmp_path / "files"


@pytest.fixture
def filled(empty_catalog: sa.Engine, folder: Path) -> Iterator[sa.Engine]:
    """Return a catalog of five files; whatever happens to them, it knows at the end of which darks a RAW is present."""
    assert counts(ingest(empty_catalog, [folder])) == (5, 0, 0, 0)
    with_raw = sa.select(models.Exposure.rootname).where(models.Exposure.has_raw)
    is_raw = (models.File.kind == "RAW") & (models.File.state == "present")
    with reading(empty_catalog) as session:
        assert sorted(session.scalars(with_raw)) == ["jcrx01iwq", "jcrx01ixq", "jcrx01iyq"]
    yield empty_catalog
    with reading(empty_catalog) as session:
        present = set(session.scalars(sa.select(models.Exposure.rootname).join(models.File).where(is_raw)))
        assert set(session.scalars(with_raw)) == present


def file_of(folder: Path, name: str) -> Path:
    return next(folder.rglob(f"{name}*"))


def states(engine: sa.Engine) -> dict[str, list[str]]:
    with reading(engine) as session:
        return {
            name: [file.state for file in queries.files_of(session, name)]
            for name in session.scalars(sa.select(models.Exposure.rootname))
        }


def best_of(engine: sa.Engine) -> str:
    (found,) = match(engine, ["jcmc11e6q"])
    return found.darks[0].dark


def test_nothing_has_happened_and_nothing_is_written(filled: sa.Engine) -> None:
    before = dump(filled)
    for checksum in (False, True):
        told: list[tuple[int, int]] = []
        report = verify(filled, checksum=checksum, progress=lambda done, total, told=told: told.append((done, total)))
        assert (report.present, report.missing, report.changed, report.unchecked) == (5, 0, 0, 0)
        assert report.findings == []
        assert told == [(5, 5)]
    assert dump(filled) == before


def test_missing_file_is_marked_not_chosen_and_back_again(filled: sa.Engine, folder: Path) -> None:
    assert best_of(filled) == BEST
    (selection,) = match(filled, ["jcmc11e6q"], save=True)
    path = file_of(folder, BEST)
    path.rename(path.with_suffix(".away"))
    report = verify(filled)
    assert (report.present, report.missing) == (4, 1)
    (finding,) = report.findings
    assert (finding.name, finding.state, finding.was, finding.reason) == (BEST, "missing", "present", "does not exist")
    assert finding.selections == (selection.selection_id,)
    assert states(filled)[BEST] == ["missing"]
    assert best_of(filled) != BEST
    (change,) = changes(filled)
    assert any("missing" in reason for reason in change.reasons)
    # Told again, and nothing new is written.
    before = dump(filled)
    assert verify(filled).findings[0].was == "missing"
    assert dump(filled) == before
    path.with_suffix(".away").rename(path)
    report = verify(filled)
    assert (report.present, report.findings[0].reason) == (5, "found at its place again")
    assert best_of(filled) == BEST
    assert changes(filled) == []


def test_match_takes_the_next_best_for_a_file_that_went_since_and_says_so(filled: sa.Engine, folder: Path) -> None:
    file_of(folder, BEST).unlink()
    (found,) = match(filled, ["jcmc11e6q"])
    assert [dark.dark for dark in found.darks] == ["jcrx01iyq", "jcrx01iwq"][: len(found.darks)]
    (told,) = [warning for warning in found.warnings if BEST in warning]
    assert "is missing" in told
    assert "sbcdark relocate" in told
    assert any(one.dark == BEST and "missing" in one.reason for one in found.nearest_rejected)
    # The catalog is not written by a command that reads.
    assert states(filled)[BEST] == ["present"]
    answer = why(filled, "jcmc11e6q", BEST)
    assert not answer.taken
    assert answer.relaxation == "sbcdark relocate DIR, with the folder where its RAW is now"


def test_a_copy_with_the_same_content_serves_for_a_file_that_is_gone(filled: sa.Engine, folder: Path) -> None:
    path = file_of(folder, BEST)
    (folder / "copies").mkdir()
    shutil.copyfile(path, folder / "copies" / path.name)
    assert counts(ingest(filled, [folder])) == (1, 0, 5, 0)
    path.unlink()
    (found,) = match(filled, ["jcmc11e6q"])
    assert found.darks[0].dark == BEST
    assert found.darks[0].uri == (folder / "copies" / path.name).as_uri()
    assert not any(BEST in warning for warning in found.warnings)


def test_touched_file_is_read_and_known_by_its_content(filled: sa.Engine, folder: Path) -> None:
    path = file_of(folder, BEST)
    os.utime(path, ns=(5, 5))
    revision = len(dump(filled)["ingest_runs"])
    assert verify(filled).findings == []
    assert len(dump(filled)["ingest_runs"]) == revision
    with reading(filled) as session:
        assert queries.files_of(session, BEST)[0].mtime_ns == 5


def test_changed_content_is_found_by_size_by_time_and_in_full(
    filled: sa.Engine, folder: Path, shared_data: Path
) -> None:
    path = file_of(folder, BEST)
    whole = path.read_bytes()
    status = path.stat()
    # The same size and time: only a checksum tells.
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert verify(filled).changed == 0
    report = verify(filled, checksum=True)
    assert (report.changed, report.findings[0].reason) == (1, "content differs")
    assert states(filled)[BEST] == ["changed"]
    assert best_of(filled) != BEST
    # The old content is back: it is present again, with its measurements.
    path.write_bytes(whole)
    assert verify(filled).findings[0].reason == "found at its place again"
    assert best_of(filled) == BEST
    path.write_bytes(whole + b"more")
    assert "bytes" in verify(filled).findings[0].reason
    path.write_bytes(with_card(unpacked_raw(shared_data, BEST), "EXPTIME", "900.0"))
    assert counts(ingest(filled, [folder])) == (1, 0, 4, 0)
    report = verify(filled)
    assert (report.present, report.findings) == (5, [])


def test_named_exposures_alone_are_looked_at(filled: sa.Engine, folder: Path) -> None:
    file_of(folder, BEST).unlink()
    assert verify(filled, ["jcrx01iwq", "JCMC11010"]).findings == []
    assert verify(filled, [BEST.upper()]).missing == 1
    with pytest.raises(UsageError, match="no exposure"):
        verify(filled, ["jxxx01ixq"])


def test_folder_for_a_file_and_unreadable_parent(filled: sa.Engine, folder: Path) -> None:
    path = file_of(folder, BEST)
    path.unlink()
    path.mkdir()
    assert verify(filled).findings[0].reason == "no longer a regular file"
    folder.rename(folder.with_name("gone"))
    folder.write_text("a file where the folder was")
    assert verify(filled).missing == 5


def test_without_checksum_the_time_decides(empty_catalog: sa.Engine, folder: Path) -> None:
    ingest(empty_catalog, [folder], checksum=False)
    assert verify(empty_catalog).findings == []
    report = verify(empty_catalog, checksum=True)
    assert (report.present, report.unchecked) == (0, 5)
    os.utime(file_of(folder, BEST), ns=(5, 5))
    assert "no checksum" in verify(empty_catalog).findings[0].reason
    file_of(folder, "jcrx01iyq").unlink()
    assert relocate(empty_catalog, [folder]).unknown == 1


def test_moved_files_are_found_by_their_content(filled: sa.Engine, folder: Path, tmp_path: Path) -> None:
    (stored,) = match(filled, ["jcmc11e6q"], save=True)
    before = dump(filled)
    place = tmp_path / "new" / "deep"
    place.mkdir(parents=True)
    # Another name, another folder: the content tells.
    old = file_of(folder, BEST)
    old.rename(place / f"renamed_{old.name}")
    file_of(folder, "jcmc11010").rename(place / "jcmc11010_asn.fits")
    shutil.copyfile(file_of(folder, "jcrx01iwq"), place / "a_copy_raw.fits.gz")
    verify(filled)
    report = relocate(filled, [tmp_path / "new"])
    assert report.still_missing == report.unknown == 0
    assert sorted(report.relocated, key=lambda one: one.name) == [
        Relocated(
            "jcmc11010", "ASN", (folder / "jcmc11010_asn.fits").as_uri(), (place / "jcmc11010_asn.fits").as_uri()
        ),
        Relocated(BEST, "RAW", old.as_uri(), (place / f"renamed_{old.name}").as_uri()),
    ]
    (again,) = match(filled, ["jcmc11e6q"])
    assert [dark.dark for dark in again.darks] == [dark.dark for dark in stored.darks]
    assert changes(filled) == []
    after = dump(filled)
    assert after["measurements"] == before["measurements"]
    assert len(after["files"]) == len(before["files"])
    assert relocate(filled, [tmp_path / "new"]).relocated == []
    assert counts(ingest(filled, [folder, place])) == (1, 0, 5, 0)


def test_relocate_needs_no_verify_before(filled: sa.Engine, folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / "elsewhere")
    report = relocate(filled, [tmp_path / "elsewhere"])
    assert (len(report.relocated), report.still_missing) == (5, 0)
    assert verify(filled).present == 5
    (tmp_path / "elsewhere" / "jcmc11010_asn.fits").unlink()
    (tmp_path / "none").mkdir()
    assert relocate(filled, [tmp_path / "none"]).still_missing == 1


def test_superseded_content_is_found_again(filled: sa.Engine, folder: Path, tmp_path: Path, shared_data: Path) -> None:
    (stored,) = match(filled, ["jcmc11e6q"], save=True)
    path = file_of(folder, BEST)
    (tmp_path / "backup").mkdir()
    shutil.copyfile(path, tmp_path / "backup" / path.name)
    path.write_bytes(with_card(unpacked_raw(shared_data, BEST), "EXPTIME", "900.0"))
    report = ingest(filled, [folder])
    assert counts(report) == (0, 1, 4, 0)
    (superseded,) = report.superseded
    assert (superseded.exposure, superseded.uri, superseded.by) == (BEST, path.as_uri(), path.as_uri())
    assert superseded.selections == (stored.selection_id,)
    assert any("content" in reason for change in changes(filled) for reason in change.reasons)
    assert len(relocate(filled, [tmp_path / "backup"]).relocated) == 1
    assert sorted(states(filled)[BEST]) == ["present", "present"]
    assert not any("content" in reason for change in changes(filled) for reason in change.reasons)


def test_reprocessed_copy_elsewhere_supersedes_and_says_on_what(
    filled: sa.Engine, folder: Path, shared_data: Path
) -> None:
    (stored,) = match(filled, ["jcmc11e6q"], save=True)
    newer = with_card(with_card(unpacked_raw(shared_data, BEST), "PROCTIME", "62000.0"), "EXPTIME", "900.0")
    (folder / "new").mkdir()
    (folder / "new" / f"{BEST}_raw.fits").write_bytes(newer)
    report = ingest(filled, [folder])
    (superseded,) = report.superseded
    assert superseded.by == (folder / "new" / f"{BEST}_raw.fits").as_uri()
    assert superseded.selections == (stored.selection_id,)
    # Taken away again, the exposure has the old copy's times and rates, both.
    (folder / "new" / f"{BEST}_raw.fits").unlink()
    verify(filled)
    with reading(filled) as session:
        record = queries.find_exposure(session, BEST)
    assert record is not None
    assert record.exptime_s == 1000.0
    assert record.box_rate_count_s_pix == record.box_count / (40_000 * 1000.0)  # type: ignore[operator]


def test_dry_run_counts_a_file_that_is_back_as_the_ingest_does(
    empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path
) -> None:
    (path,) = copied(shared_data, tmp_path / "files", "jcrx01iiq_raw")
    ingest(empty_catalog, [path])
    away = path.rename(tmp_path / "away")
    assert verify(empty_catalog).missing == 1
    away.rename(path)
    dry = ingest(empty_catalog, [path], dry_run=True)
    assert files_told(dry) == files_told(ingest(empty_catalog, [path]))
    assert counts(dry) == (0, 1, 0, 0)
