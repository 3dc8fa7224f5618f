"""Files that are gone, changed or only touched: what is chosen instead and what is said, on both engines."""

from __future__ import annotations

import gzip
import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from astropy.io import fits
from helpers import copied

from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.opening import open_catalog
from sbcdark.catalog.queries import files_of, match_values
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.selection.choice import choose_for, forced_match, match
from sbcdark.pipeline.selection.file_state import file_state, with_current_file
from sbcdark.pipeline.selection.rules import Combine, Requirements, Rule

if TYPE_CHECKING:
    import sqlalchemy as sa

DARKS = ("jcrx01iv", "jcrx01iw", "jcrx01ix", "jcrx01iy", "jcrx01j0", "jcrx01ii")


@pytest.fixture
def archive(shared_data: Path, tmp_path: Path) -> Path:
    """Return a folder of our own, its name to be quoted, with some darks and a science exposure."""
    folder = tmp_path / "my archive"
    copied(shared_data, folder, "jcmc11e6q_flt", *(f"{name}q_raw" for name in DARKS))
    for path in folder.iterdir():
        path.chmod(0o644)
    return folder


@pytest.fixture
def catalog(database_url: str, archive: Path) -> sa.Engine:
    engine = open_catalog(database_url, create=True)
    ingest(engine, [archive], workers=1)
    return engine


def change(path: Path) -> None:
    """Give a file other content of the same size, and another time."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    plain = gzip.compress(bytes(content))
    path.write_bytes(plain)


@pytest.mark.parametrize("what", ["counts", "flux", "copy", "newer"])
def test_a_file_that_only_its_checksum_prefers_is_told(
    catalog: sa.Engine, archive: Path, tmp_path: Path, what: str
) -> None:
    """A user's own FLT keeps the PROCTIME of the archive's: one of the two gives all numbers."""
    own = tmp_path / "own" / "jcmc11e6q_flt.fits"
    own.parent.mkdir()
    with fits.open(archive / "jcmc11e6q_flt.fits.gz") as hdus:
        if what == "counts":
            hdus["SCI"].data *= 2
        elif what == "flux":
            hdus["SCI"].header["PHOTFLAM"] = 1e-17
        elif what == "newer":
            hdus["SCI"].data *= 2
            hdus[0].header["PROCTIME"] = 60_000.5
        hdus.writeto(own)
    report = ingest(catalog, [own], workers=1)
    assert report.added == 1
    if what in {"copy", "newer"}:
        assert (report.warnings, rivals(catalog)) == ([], [])
        return
    (told,) = rivals(catalog)
    assert own.as_uri() in told
    assert report.warnings == [f"jcmc11e6q: {told}"]
    own.unlink()
    assert rivals(catalog) == []
    # Nothing is new, so nothing is told.
    assert ingest(catalog, [archive], workers=1).warnings == []


def rivals(catalog: sa.Engine) -> list[str]:
    """Return what a match, and a dark named for the exposure, say of two files of one processing time."""
    (found,) = match(catalog, "jcmc11e6q")
    with reading(catalog) as session:
        forced = forced_match(session, "jcmc11e6q", ["jcrx01ixq"], Requirements())
    told, again = (
        [one for one in warnings if "two of its FLT files differ and have the same PROCTIME" in one]
        for warnings in (found.warnings, forced.warnings)
    )
    assert told == again
    return told


def test_states_of_a_file(catalog: sa.Engine, archive: Path) -> None:
    path = archive / "jcrx01ixq_raw.fits.gz"
    with reading(catalog) as session:
        (file,) = files_of(session, "jcrx01ixq")
    assert file_state(file) == "present"
    # Touched: the content decides, where it is known.
    os.utime(path, ns=(1, 1))
    assert file_state(file) == "present"
    assert file_state(replace(file, sha256=None)) == "changed"
    assert file_state(replace(file, size_byte=file.size_byte + 1)) == "changed"
    # Other content of the same size.
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert file_state(file) == "changed"
    path.write_bytes(content)
    assert file_state(file) == "present"
    path.unlink()
    assert file_state(file) == "missing"
    path.mkdir()
    assert file_state(file) == "changed"
    # What is on a server is not asked for.
    assert file_state(replace(file, uri="https://archive.invalid/jcrx01ixq_raw.fits")) == "present"
    assert file_state(replace(file, uri=(archive / "none" / "x_raw.fits").as_uri())) == "missing"
    assert file_state(replace(file, uri=(archive / "jcrx01iyq_raw.fits.gz" / "x_raw.fits").as_uri())) == "missing"


def test_dark_that_changed_gives_way_and_this_is_said(catalog: sa.Engine, archive: Path) -> None:
    path = archive / "jcrx01ixq_raw.fits.gz"
    (before,) = match(catalog, ["jcmc11e6q"], wanted=Requirements(top=1))
    assert [dark.dark for dark in before.darks] == ["jcrx01ixq"]
    os.utime(path, ns=(1, 1))
    assert match(catalog, ["jcmc11e6q"], wanted=Requirements(top=1)) == [before]
    change(path)
    (after,) = match(catalog, ["jcmc11e6q"], wanted=Requirements(top=1))
    assert [dark.dark for dark in after.darks] == ["jcrx01iyq"]
    (told,) = [warning for warning in after.warnings if "changed after the ingest" in warning]
    assert told.startswith(f"the RAW of jcrx01ixq changed after the ingest ({path.as_uri()}): the next best are used; ")
    assert {one.dark: one.reason for one in after.nearest_rejected}["jcrx01ixq"] == (
        f"its RAW changed after the ingest: {path.as_uri()}"
    )
    # The command that it names mends it.
    command = shlex.split(told.rpartition("with: ")[2])
    assert command == ["sbcdark", "ingest", str(path)]
    assert ingest(catalog, [command[2]]).updated == 1
    (again,) = match(catalog, ["jcmc11e6q"], wanted=Requirements(top=1))
    assert [dark.dark for dark in again.darks] == ["jcrx01ixq"]
    assert not any("changed" in warning for warning in again.warnings)


def test_missing_and_changed_are_told_apart(catalog: sa.Engine, archive: Path) -> None:
    change(archive / "jcrx01ixq_raw.fits.gz")
    (archive / "jcrx01iyq_raw.fits.gz").unlink()
    (found,) = match(catalog, ["jcmc11e6q"])
    assert {"jcrx01ixq", "jcrx01iyq"}.isdisjoint(dark.dark for dark in found.darks)
    told = [warning for warning in found.warnings if warning.startswith("the RAW of ")]
    assert [warning.split()[3] for warning in told] == ["jcrx01iyq", "jcrx01ixq"]
    assert "is missing" in told[0]
    assert told[0].endswith("sbcdark relocate DIR")


def test_a_match_is_the_same_with_the_darks_of_the_templates(catalog: sa.Engine, archive: Path) -> None:
    wanted = Requirements(top=2, max_sigma=100)
    every = match(catalog, ["jcmc11e6q"], wanted=Requirements(top=6, max_sigma=100))[0].darks
    for gone in every[3:5]:  # the templates look at them, a match with two darks does not
        (archive / f"{gone.dark}_raw.fits.gz").unlink()

    (alone,) = match(catalog, ["jcmc11e6q"], wanted=wanted)
    (both,) = match(catalog, ["jcmc11e6q"], wanted=wanted, templates=6)

    assert [dark.dark for dark in alone.darks] == [dark.dark for dark in every[:2]]
    assert replace(both, templates=alone.templates) == alone
    assert {dark.dark for dark in both.templates} == {dark.dark for dark in every} - {dark.dark for dark in every[3:5]}
    (more,) = match(catalog, ["jcmc11e6q"], wanted=Requirements(top=6, max_sigma=100))
    assert any(text.startswith("the RAW of ") for text in more.warnings)


def test_changed_darks_are_in_no_template_and_cannot_be_forced(catalog: sa.Engine, archive: Path) -> None:
    change(archive / "jcrx01iiq_raw.fits.gz")
    with reading(catalog) as session:
        for combine in Combine:
            (chosen,) = choose_for(session, ["jcmc11e6q"], combine, Rule.GLOW, Requirements())
            assert "jcrx01iiq" not in {dark.dark for dark in chosen.darks}
        with pytest.raises(UsageError, match="The RAW of jcrx01iiq changed after the ingest") as caught:
            forced_match(session, "jcmc11e6q", ["jcrx01iiq"], Requirements())
        assert "sbcdark ingest PATH" in caught.value.todo
        (archive / "jcrx01iiq_raw.fits.gz").unlink()
        with pytest.raises(UsageError, match="is missing") as caught:
            forced_match(session, "jcmc11e6q", ["jcrx01iiq"], Requirements())
        assert "sbcdark relocate DIR" in caught.value.todo


def test_copy_of_the_same_content_takes_the_place(catalog: sa.Engine, archive: Path, tmp_path: Path) -> None:
    path = archive / "jcrx01ixq_raw.fits.gz"
    (copy,) = copied(archive.parent, tmp_path / "copies", "jcrx01ixq_raw")
    ingest(catalog, [copy])
    with reading(catalog) as session:
        values = match_values(session, "jcrx01ixq")
        assert values is not None
        assert values.file is not None
        used = Path(values.file.uri.removeprefix("file://").replace("%20", " "))
        other = ({path, copy} - {used}).pop()
        change(used)
        found = with_current_file(session, values)
        assert found.is_present
        assert found.file is not None
        assert found.file.uri == other.as_uri()
        change(other)
        found = with_current_file(session, values)
        assert not found.is_present
        assert found.file is not None
        assert (found.file.uri, found.file.state) == (used.as_uri(), "changed")


@pytest.mark.parametrize("gone", [True, False])
def test_science_frame_that_is_another_is_told(catalog: sa.Engine, archive: Path, *, gone: bool) -> None:
    path = archive / "jcmc11e6q_flt.fits.gz"
    if gone:
        path.unlink()
    else:
        change(path)
    (found,) = match(catalog, ["jcmc11e6q"])
    (told,) = [warning for warning in found.warnings if warning.startswith("its FLT ")]
    if gone:
        assert told == f"its FLT is missing ({path.as_uri()}); find it with: sbcdark relocate DIR"
    else:
        assert told.endswith(f"update it with: sbcdark ingest '{path}'")
    with reading(catalog) as session:
        forced = forced_match(session, "jcmc11e6q", ["jcrx01ixq"], Requirements())
    assert told in forced.warnings
