"""Stored selections: replayed to the last bit, compared with today's catalog; the outlook in an aperture."""

from __future__ import annotations

import gzip
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.io import fits
from helpers import ON_SQLITE

from sbcdark import Catalog
from sbcdark.catalog.engine import reading, writing
from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.opening import open_catalog
from sbcdark.catalog.results import products_of_selection, stored_selections, write_selection
from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.pipeline.apertures.apertures import parse_aperture
from sbcdark.pipeline.apertures.sky import parse_sky
from sbcdark.pipeline.drizzling.grid import Grid
from sbcdark.pipeline.estimation.options import BuildOptions
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.ingest.quality import restore, retire
from sbcdark.pipeline.products.aperture_preview import outlook
from sbcdark.pipeline.products.job import Job
from sbcdark.pipeline.products.replay import replay
from sbcdark.pipeline.products.run import make
from sbcdark.pipeline.selection.changes import changes
from sbcdark.pipeline.selection.choice import TOP, choose_for, match
from sbcdark.pipeline.selection.rules import Combine, Requirements, Rule

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

APERTURE = "ellipse:735,710,70,40,90"


@pytest.fixture
def archive(shared_data: Path, tmp_path: Path) -> Path:
    """Return a folder of our own with the darks, one association and its flat."""
    folder = tmp_path / "archive"
    shutil.copytree(shared_data / "darks_13961", folder)
    shutil.copy(shared_data / "associations_13655" / "jcmc11010_asn.fits", folder)
    science = shared_data / "science_13655_standin"
    for name in ("jcmc11ctq", "jcmc11e6q"):
        shutil.copy(science / f"{name}_flt.fits.gz", folder)
    flat = gzip.decompress((science / "sbc_standin_pfl.fits.gz").read_bytes())
    (folder / "sbc_standin_pfl.fits").write_bytes(flat)
    for path in folder.iterdir():
        path.chmod(0o644)
    return folder


@pytest.fixture
def catalog(database_url: str, archive: Path) -> sa.Engine:
    engine = open_catalog(database_url, create=True)
    ingest(engine, [archive])
    return engine


@pytest.mark.slow
@ON_SQLITE
def test_replay_is_identical_and_notices_tampering(catalog: sa.Engine, archive: Path, tmp_path: Path) -> None:
    job = Job(tmp_path / "products", BuildOptions(flat=archive), (parse_aperture(APERTURE),))
    (outcome,) = make(catalog, ["jcmc11010"], job)
    assert outcome.failure is None
    assert outcome.masterdark is not None
    selection = outcome.masterdark.members[1].selection
    assert selection is not None
    counted: list[tuple[int, int]] = []
    again = Catalog(catalog).replay(
        selection, tmp_path / "again", progress=lambda done, total: counted.append((done, total))
    )
    assert counted == [(0, 1), (1, 1)]
    assert [(one.kind, one.identical, one.largest_difference_count_s) for one in again] == [
        ("science", True, 0.0),
        ("masterdark", True, 0.0),
        ("error", True, 0.0),
        ("net", True, 0.0),
    ]
    with reading(catalog) as session:
        assert len(products_of_selection(session, selection)) == 4
    # One pixel of the stored masterdark is changed, the science product is gone: checksums are left to compare with.
    with fits.open(outcome.masterdark.masterdark, mode="update") as hdus:
        hdus["SCI", 1].data[700, 700] += 1.0
    outcome.masterdark.science.unlink()
    tampered = {one.kind: one for one in replay(catalog, selection, tmp_path / "third")}
    assert all(one.identical for one in tampered.values())
    assert tampered["masterdark"].note == "the stored file has changed; compared by checksum"
    assert tampered["science"].note == "the stored file is missing; compared by checksum"
    with pytest.raises(UsageError, match="has no selection 9999"):
        replay(catalog, 9999, tmp_path / "none")
    # The dark's file gets other content: what rests on it cannot be replayed.
    _change_content(archive / "jcrx01ixq_raw.fits.gz")
    assert ingest(catalog, [archive]).updated == 1
    with pytest.raises(SbcdarkError, match="has changed since selection"):
        replay(catalog, selection, tmp_path / "fourth")


@pytest.mark.slow
@ON_SQLITE
def test_replay_leaves_out_the_annuli_of_the_run(catalog: sa.Engine, archive: Path, tmp_path: Path) -> None:
    sky = parse_sky("annulus:80,160", Combine.MODEL)
    job = Job(tmp_path / "products", BuildOptions(flat=archive), (parse_aperture(APERTURE),), sky=sky)
    (outcome,) = make(catalog, ["jcmc11010"], job)
    assert outcome.failure is None
    assert [one.identical for one in replay(catalog, "jcmc11010", tmp_path / "again")] == [True] * 4


@pytest.mark.slow
@ON_SQLITE
def test_replay_repeats_the_last_of_two_runs_with_one_selection(
    catalog: sa.Engine, archive: Path, tmp_path: Path
) -> None:
    for scale in (0.025, 0.05):
        options = BuildOptions(Combine.NEAREST, flat=archive, grid=Grid(scale_arcsec=scale))
        (outcome,) = make(catalog, ["jcmc11010"], Job(tmp_path / f"{scale}", options))
        assert outcome.failure is None
    again = replay(catalog, "jcmc11010", tmp_path / "again")
    assert [(one.kind, one.identical) for one in again] == [
        (kind, True) for kind in ("science", "masterdark", "error", "net")
    ]
    assert fits.getdata(again[0].made).shape == fits.getdata(outcome.masterdark.science).shape


def _change_content(path: Path) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    path.write_bytes(gzip.compress(bytes(content)))


@pytest.mark.slow
@ON_SQLITE
def test_stored_selection_holds_everything(catalog: sa.Engine, archive: Path, tmp_path: Path) -> None:
    job = Job(tmp_path / "products", BuildOptions(Combine.MEAN, Rule.BOX, top=2, flat=archive))
    (outcome,) = make(catalog, ["jcmc11010"], job)
    assert outcome.masterdark is not None
    member = outcome.masterdark.members[0]
    with reading(catalog) as session:
        (stored,) = stored_selections(session, [member.selection or 0])
        (product, *_) = products_of_selection(session, stored.id)
    assert (stored.exposure, stored.rule, stored.tier) == (member.exposure, "box", member.tier)
    assert tuple(dark.dark for dark in stored.darks) == member.darks
    assert [dark.weight for dark in stored.darks] == [0.5, 0.5]
    assert stored.parameters == {
        "top": 2,
        "max_sigma": None,
        "max_days": None,
        "min_exptime_s": 300.0,
        "combine": "mean",
        "exposures": ["jcmc11ctq", "jcmc11e6q"],
    }
    assert stored.software_version == SOFTWARE_VERSION
    assert stored.catalog_revision == 1
    assert product.parameters["exposures"] == ["jcmc11ctq", "jcmc11e6q"]
    header = fits.getheader(outcome.masterdark.masterdark)
    assert header["DRKCATRV"] == 1
    with fits.open(outcome.masterdark.masterdark) as hdus:
        (row, *_), table = hdus["EXPOSURES"].data, hdus["DARKS"]
        first = stored.darks[0]
        assert (row["exposure"], row["rule"], row["tier"]) == (stored.exposure, stored.rule, stored.tier)
        assert {name: row[name] for name in ("top", "min_exptime_s")} == {"top": 2, "min_exptime_s": 300.0}
        assert (table.data["dark"][0], table.data["weight"][0]) == (member.darks[0], 0.5)
        assert table.data["delta_sigma"][0] == first.delta_sigma
        assert table.data["delta_temperature_c"][0] == first.delta_temperature_c
        assert table.columns["delta_contrast_count_s_pix"].unit == "count pix-1 s-1"
        assert table.columns["delta_days"].unit == "d"


@pytest.mark.parametrize("combine", [Combine.MODEL, Combine.NEAREST])
def test_changes_come_and_go(catalog: sa.Engine, archive: Path, combine: Combine) -> None:
    with writing(catalog) as session:
        exposures = ["jcmc11ctq", "jcmc11e6q"]
        for chosen in choose_for(session, exposures, combine, Rule.GLOW, Requirements(top=TOP[combine])):
            write_selection(session, chosen, SOFTWARE_VERSION)
    match(catalog, ["jcmc11e6q"], rule=Rule.TEMPERATURE, wanted=Requirements(top=1), save=True)
    assert changes(catalog) == []
    retire(catalog, "jcrx01ixq", "edge of the anomaly")
    found = changes(catalog)
    assert {change.exposure for change in found} == (
        {"jcmc11e6q"} if combine is Combine.NEAREST else {"jcmc11ctq", "jcmc11e6q"}
    )
    (change,) = [one for one in found if one.exposure == "jcmc11e6q"]
    assert any(reason.startswith("jcrx01ixq is no longer selected") for reason in change.reasons)
    assert "jcrx01ixq" in change.darks
    assert "jcrx01ixq" not in change.darks_today
    restore(catalog, "jcrx01ixq", "no anomaly")
    assert changes(catalog) == []
    _change_content(archive / "jcrx01ixq_raw.fits.gz")
    assert ingest(catalog, [archive]).updated == 1
    told = {reason for change in changes(catalog) for reason in change.reasons}
    assert "the content of jcrx01ixq's file has changed" in told


@pytest.mark.slow
@ON_SQLITE
def test_outlook_tells_what_each_dark_would_leave(catalog: sa.Engine, archive: Path) -> None:
    found = match(catalog, ["jcmc11e6q"], wanted=Requirements(top=3, max_sigma=20.0))
    apertures = [parse_aperture(APERTURE), parse_aperture("circle@165.5585024,38.0430789,1.5")]
    outlooks, warnings = outlook(catalog, found, apertures, flat=archive)
    assert warnings == []
    assert [one.aperture for one in outlooks] == [aperture.label for aperture in apertures]
    pixel, sky = outlooks
    # pi x 70 x 40 product pixels of 0.025", 1.613 of them to a native one; 0.3 % is f's change over the aperture.
    assert pixel.area_pix == pytest.approx(np.pi * 70 * 40 / 1.613, rel=0.003)
    assert sky.area_pix == pytest.approx(np.pi * (1.5 / 0.025) ** 2 / 1.613, rel=0.003)
    for one in outlooks:
        model, *others = one.residuals
        assert model.dark == "model"
        assert model.residual_count == 0.0
        assert [other.dark for other in others] == [dark.dark for dark in found[0].darks]
        for other in others:
            # What the frame has in the aperture and what it is expected to leave add up to the model's dark, but for
            # the frame's own noise, which is most of the stated error.
            rest = model.dark_count - other.dark_count
            assert other.residual_count == pytest.approx(rest, abs=4 * other.residual_err_count)
            assert other.residual_err_count > model.residual_err_count
            noise = np.sqrt(other.dark_count)
            assert 0.8 * noise < np.sqrt(other.residual_err_count**2 - model.residual_err_count**2) < 1.25 * noise
        # The glow of jcrx01iyq is 6.5e-6 count/s/pixel more than the exposure's over the box, at 5.3 sigma.
        by_name = {other.dark: other.residual_count for other in others}
        assert by_name["jcrx01iyq"] < by_name["jcrx01ixq"]
