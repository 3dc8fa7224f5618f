"""Named roots: the same catalog from machines with other mount points."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from helpers import counts, renamed, rootname, unpacked_raw

from sbcdark.catalog import models, roots
from sbcdark.catalog.engine import reading, writing
from sbcdark.catalog.errors import BadFileError, UsageError
from sbcdark.catalog.queries import match_values
from sbcdark.pipeline.frames.untrusted_fits import local_path
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.ingest.verification import verify
from sbcdark.pipeline.selection.file_state import with_current_file

NAMES = [rootname("j", number) for number in (1, 2)]


@pytest.fixture
def archive(shared_data: Path, tmp_path: Path) -> Path:
    """Return a folder with two RAW darks, one of them in a folder with an unusual name."""
    folder = tmp_path / "one mount" / "sbc"
    inner = folder / "ä 50%#"
    inner.mkdir(parents=True)
    for name, place in zip(NAMES, (folder, inner), strict=True):
        (place / f"{name}_raw.fits").write_bytes(renamed(unpacked_raw(shared_data), name))
    return folder


def uris(engine: sa.Engine) -> set[str]:
    with reading(engine) as session:
        return set(session.scalars(sa.select(models.File.uri)))


def states(engine: sa.Engine) -> list[str]:
    with reading(engine) as session:
        found = [match_values(session, name) for name in NAMES]
        files = [with_current_file(session, one).file for one in found if one is not None]
    return [file.state for file in files if file is not None]


def test_files_below_a_root_are_found_at_another_mount(
    empty_catalog: sa.Engine, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBCDARK_ROOTS", f"hst={archive.parent}")
    assert counts(ingest(empty_catalog, [archive])) == (2, 0, 0, 0)
    assert uris(empty_catalog) == {
        f"root://hst/sbc/{NAMES[0]}_raw.fits",
        f"root://hst/sbc/%C3%A4%2050%25%23/{NAMES[1]}_raw.fits",
    }
    assert states(empty_catalog) == ["present", "present"]
    other = archive.parent.rename(archive.parent.with_name("another mount"))
    assert states(empty_catalog) == ["missing", "missing"]
    monkeypatch.setenv("SBCDARK_ROOTS", f"other=/nowhere:hst={other}")
    assert states(empty_catalog) == ["present", "present"]
    assert counts(ingest(empty_catalog, [other])) == (0, 0, 2, 0)
    assert verify(empty_catalog).missing == 0
    monkeypatch.delenv("SBCDARK_ROOTS")
    with pytest.raises(UsageError, match="below the root 'hst'"):
        states(empty_catalog)


def test_catalog_from_before_the_roots_takes_them_over(
    empty_catalog: sa.Engine, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(empty_catalog, [archive])
    before = uris(empty_catalog)
    assert all(uri.startswith("file://") for uri in before)
    monkeypatch.setenv("SBCDARK_ROOTS", f"hst={archive.parent}")
    # Both are known: one by its path, the other below the root, too.
    with writing(empty_catalog) as session:
        row = session.scalars(sa.select(models.File).where(models.File.uri.endswith(f"/sbc/{NAMES[0]}_raw.fits"))).one()
        values = {column.name: getattr(row, column.name) for column in models.File.__table__.columns}
        del values["id"]
        session.add(models.File(**values | {"uri": f"root://hst/sbc/{NAMES[0]}_raw.fits"}))
    report = ingest(empty_catalog, [archive])
    assert counts(report) == (0, 0, 2, 0)
    found = uris(empty_catalog)
    assert len(found) == 3
    assert {uri for uri in found if uri.startswith("file://")} == {(archive / f"{NAMES[0]}_raw.fits").as_uri()}
    assert counts(ingest(empty_catalog, [archive])) == (0, 0, 2, 0)


def test_settings_file_names_roots(archive: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SBCDARK_ROOTS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = archive / "x.fits"
    assert roots.uri_of(path) == path.as_uri()
    file = roots.settings_file()
    file.parent.mkdir(parents=True)
    file.write_text(f"# mounts\n\nhst = {archive.parent}\ninner={archive}\n")
    assert roots.uri_of(path) == "root://inner/x.fits"
    assert roots.uri_of(archive.parent / "y.fits") == "root://hst/y.fits"
    assert roots.uri_of(Path("/elsewhere/y.fits")) == "file:///elsewhere/y.fits"
    assert local_path("root://hst/sbc/x.fits") == path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hst", "is not NAME=/path"),
        ("hst=relative", "is not NAME=/path"),
        ("HST=/data", "is not NAME=/path"),
        ("../x=/data", "is not NAME=/path"),
        ("hst=/data:hst=/other", "named twice"),
    ],
)
def test_malformed_roots_are_told(text: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBCDARK_ROOTS", text)
    with pytest.raises(UsageError, match=words):
        roots.uri_of(Path("/data/x.fits"))


@pytest.mark.parametrize(
    "uri", ["root://hst/../../etc/passwd", "root://hst/%2e%2e/%2e%2e/etc/passwd", "root://hst/a/%2E%2E/../.."]
)
def test_stored_place_never_leaves_its_root(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBCDARK_ROOTS", "hst=/data/hst")
    with pytest.raises(UsageError, match="leads out of its root"):
        local_path(uri)


def test_other_schemes_are_not_on_this_machine() -> None:
    with pytest.raises(BadFileError):
        local_path("https://archive.invalid/x.fits")
