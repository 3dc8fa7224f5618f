"""Products in a folder: nothing that is there is lost, and what was made of the same inputs is added to."""

from __future__ import annotations

import gzip
import json
import shutil
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from astropy.io import fits
from astropy.table import Table
from helpers import ON_SQLITE

from sbcdark.catalog import models
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.apertures.apertures import parse_aperture
from sbcdark.pipeline.estimation.options import BuildOptions
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.ingest.quality import retire
from sbcdark.pipeline.products import run as running
from sbcdark.pipeline.products.job import Job
from sbcdark.pipeline.products.provenance import command_line
from sbcdark.pipeline.products.replay import replay
from sbcdark.pipeline.products.run import make
from sbcdark.pipeline.selection.rules import Combine
from sbcdark.pipeline.views.product_pictures import draw_products

if TYPE_CHECKING:
    from pathlib import Path

    from sbcdark.pipeline.products.records import Built

pytestmark = pytest.mark.slow

FIRST, SECOND = parse_aperture("ellipse:735,710,70,40,90"), parse_aperture("circle:500,500,30")
NAME = "jcmc11010"


def content(folder: Path) -> dict[str, bytes]:
    """Return what lies in a folder beside the catalog and logs."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.suffix != ".log" and not path.name.startswith("catalog.db")
    }


def apertures_in(folder: Path) -> list[str]:
    return list(Table.read(folder / f"{NAME}_sbcdark_phot.ecsv")["aperture"])


@ON_SQLITE
def test_nothing_that_is_there_is_lost(real_catalog: sa.Engine, tmp_path: Path) -> None:
    # What the archive calls its own products lies in the same folder.
    (tmp_path / f"{NAME}_drz.fits").write_bytes(b"of the archive")
    options = BuildOptions(Combine.MODEL)
    (first,) = make(real_catalog, [NAME], Job(tmp_path, options, (FIRST,), pictures=True, draw=draw_products))
    assert first.failure is None
    made = set(content(tmp_path))
    # The same again: everything stays, and is the same.
    told: list[str] = []
    (again,) = make(real_catalog, [NAME], Job(tmp_path, options, (FIRST,), draw=draw_products), talk=told.append)
    assert "earlier" not in told[0]
    assert again.photometry == first.photometry
    assert set(content(tmp_path)) == made
    # A second aperture is added to the table; both are measured with the same dark.
    (second,) = make(real_catalog, [NAME], Job(tmp_path, options, (SECOND,), draw=draw_products), talk=told.append)
    assert told[-1].endswith(f"; with earlier apertures: {FIRST.label} (--overwrite drops them)")
    assert [row.aperture for row in second.photometry] == [FIRST.label, SECOND.label] == apertures_in(tmp_path)
    assert second.photometry[0].net_count_s == pytest.approx(first.photometry[0].net_count_s, abs=1e-3)
    # Making the dark alone takes nothing away.
    (dark,) = make(real_catalog, [NAME], Job(tmp_path, options))
    assert dark.failure is None
    assert apertures_in(tmp_path) == [FIRST.label, SECOND.label]
    assert set(content(tmp_path)) == made
    assert (tmp_path / f"{NAME}_drz.fits").read_bytes() == b"of the archive"
    # The weights of the darks follow from the fit, and that from what the apertures leave: two choices an exposure.
    # Two of the four jobs find everything made: two builds, of four products of two exposures.
    with reading(real_catalog) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(models.Selection)) == 4
        assert session.scalar(sa.select(sa.func.count()).select_from(models.ProductSelection)) == 2 * 4 * 2


@ON_SQLITE
def test_products_of_other_inputs_are_replaced_on_demand_alone(real_catalog: sa.Engine, tmp_path: Path) -> None:
    (first,) = make(real_catalog, [NAME], Job(tmp_path, BuildOptions(Combine.NEAREST), (FIRST,)))
    assert first.failure is None
    before = content(tmp_path)
    other = BuildOptions(Combine.MEAN)
    (refused,) = make(real_catalog, [NAME], Job(tmp_path, other))
    assert isinstance(refused.failure, UsageError)
    assert "was made from other inputs" in refused.failure.what
    assert "--overwrite" in refused.failure.todo
    assert content(tmp_path) == before
    (replaced,) = make(real_catalog, [NAME], Job(tmp_path, other, overwrite=True))
    assert replaced.failure is None
    # The old table belonged to the old products.
    assert set(content(tmp_path)) == {f"{NAME}_sbcdark_{kind}.fits" for kind in ("drz", "dark", "net")}


@ON_SQLITE
@pytest.mark.parametrize("name", ["drz.fits", "phot.ecsv", "products.png"])
def test_file_of_another_program_is_refused(real_catalog: sa.Engine, tmp_path: Path, name: str) -> None:
    mine = tmp_path / f"{NAME}_sbcdark_{name}"
    mine.write_text("mine")
    (refused,) = make(real_catalog, [NAME], Job(tmp_path, BuildOptions(Combine.NEAREST)))
    assert isinstance(refused.failure, UsageError)
    assert f"{mine} already exists" in refused.failure.what
    assert content(tmp_path) == {mine.name: b"mine"}


def test_header_and_rows_agree_while_the_catalog_changes(
    real_catalog: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = running.record

    def after_a_change(engine: sa.Engine, *rest: object) -> Built:
        retire(engine, "jcrx01iiq", "another process writes meanwhile")
        return record(engine, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(running, "record", after_a_change)
    (outcome,) = make(real_catalog, [NAME], Job(tmp_path, BuildOptions(Combine.NEAREST)), workers=1)
    assert outcome.masterdark is not None
    header = fits.getheader(outcome.masterdark.masterdark)
    with reading(real_catalog) as session:
        revisions = {*session.scalars(sa.select(models.Product.catalog_revision))}
        revisions |= {*session.scalars(sa.select(models.Selection.catalog_revision))}
        kinds = {*session.scalars(sa.select(models.File.kind).join(models.Selection))}
    assert revisions == {header["DRKCATRV"]}
    assert kinds == {"FLT"}


@pytest.mark.long
def test_products_of_the_earlier_headers_are_recognised(real_catalog: sa.Engine, tmp_path: Path) -> None:
    """Before HISTORY and tables, a header had the darks in packed cards; the key of the inputs was the same."""
    job = Job(tmp_path, BuildOptions(Combine.NEAREST), (parse_aperture("circle:700,700,30"),))
    (first,) = make(real_catalog, [NAME], job, workers=1)
    assert first.masterdark is not None
    for path in (first.masterdark.science, first.masterdark.masterdark, first.masterdark.net):
        with fits.open(path, mode="update") as hdus:
            del hdus[0].header["HISTORY"]
            hdus[0].header["DK01D001"] = "jcrx01iiq 1.000000 0.1 1e-7 1e-7 0.5 20"
            for name in ("EXPOSURES", "DARKS"):
                if name in hdus:
                    del hdus[name]
    again = Job(tmp_path, BuildOptions(Combine.NEAREST), (parse_aperture("circle:600,600,20"),))
    (second,) = make(real_catalog, [NAME], again, workers=1)
    assert second.failure is None
    assert [one.aperture for one in second.photometry] == ["circle:700,700,30", "circle:600,600,20"]


def test_command_in_the_header_holds_no_database() -> None:
    assert command_line(["/usr/bin/sbcdark", "--db", "postgresql://me:secret@x/y", "run", "A b", "-o", "x"]) == (
        "sbcdark run 'A b' -o x"
    )
    assert command_line(["/x/sbcdark/cli/__main__.py", "--db=postgresql://me:secret@x/y", "run"]) == "sbcdark run"
    for other in (["/usr/bin/python"], ["script.py", "--password", "secret"], ["-c"], [""], []):
        assert command_line(other) == ""


@ON_SQLITE
def test_replay_says_what_is_different(shared_data: Path, database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    shutil.copytree(shared_data / "darks_13961", folder)
    shutil.copy(shared_data / "science_13655_standin" / "jcmc11e6q_flt.fits.gz", folder)
    flat = folder / "sbc_standin_pfl.fits"
    packed = shared_data / "science_13655_standin" / "sbc_standin_pfl.fits.gz"
    flat.write_bytes(gzip.decompress(packed.read_bytes()))
    catalog = open_catalog(database_url, create=True)
    ingest(catalog, [folder])
    (outcome,) = make(catalog, ["jcmc11e6q"], Job(tmp_path / "products", BuildOptions(Combine.NEAREST, flat=folder)))
    assert outcome.masterdark is not None
    selection = outcome.masterdark.members[0].selection
    assert selection is not None
    flat.unlink()
    answers = {one.kind: one for one in replay(catalog, selection, tmp_path / "again")}
    assert answers["science"].identical
    assert not answers["masterdark"].identical
    assert answers["masterdark"].note.startswith("the flat of jcmc11e6q was sbc_standin_pfl.fits (")
    assert answers["masterdark"].note.endswith("now missing")
    with pytest.raises(UsageError, match="already exists"):
        replay(catalog, selection, tmp_path / "again")
    with reading(catalog) as session:
        parameters = session.scalars(sa.select(models.Product.parameters)).first()
    assert {"drizzlepac", "numpy"} <= json.loads(json.dumps(parameters))["versions"].keys()
