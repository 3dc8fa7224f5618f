"""The whole job on unusual inputs: what is warned of, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from flt_copies import copy_with_counts

from sbcdark.catalog.errors import NothingMatchedError, SbcdarkError, UsageError
from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.apertures.apertures import parse_aperture
from sbcdark.pipeline.estimation.options import BuildOptions
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.products.job import Job
from sbcdark.pipeline.products.run import make
from sbcdark.pipeline.selection.rules import Combine

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

APERTURE = "ellipse:735,710,70,40,90"


@pytest.mark.slow
def test_aperture_off_the_data_is_told(catalog: sa.Engine, tmp_path: Path) -> None:
    apertures = tuple(parse_aperture(text) for text in ("circle:3000,700,20", "circle:2,700,20", APERTURE))
    (outcome,) = make(catalog, ["jcmc11010"], Job(tmp_path, BuildOptions(Combine.NEAREST), apertures))
    assert [row.aperture for row in outcome.photometry] == ["circle:2,700,20", APERTURE]
    assert any("circle:3000,700,20 lies outside the data" in warning for warning in outcome.warnings)
    assert any("of circle:2,700,20 lies on data" in warning for warning in outcome.warnings)
    assert all(row.science_err_count_s > 0 for row in outcome.photometry)


def _edited(shared_data: Path, folder: Path, **cards: object) -> Path:
    """Write a stand-in FLT with some cards of its headers changed, or removed (None)."""
    folder.mkdir()
    source = shared_data / "science_13655_standin" / "jcmc11e6q_flt.fits.gz"
    copy_with_counts(source, folder / "jcmc11e6q_flt.fits", **cards)
    return folder


@pytest.mark.slow
def test_mask_off_the_frame_is_told(catalog: sa.Engine, tmp_path: Path) -> None:
    on, off = parse_aperture("circle:735,710,30"), parse_aperture("circle@100.5,38,2")
    options = BuildOptions(Combine.NEAREST, mask=(on, off))
    (outcome,) = make(catalog, ["jcmc11010"], Job(tmp_path, options))
    assert outcome.masterdark is not None
    told = [text for text in outcome.masterdark.warnings if text.startswith("--mask")]
    assert told == [f"--mask: {off.label} lies outside the exposures and masks nothing"]


@pytest.mark.slow
def test_frame_that_no_flat_divided_gets_an_undivided_dark(shared_data: Path, flats: Path, tmp_path: Path) -> None:
    darks = {}
    for correction in ("OMIT", "COMPLETE"):
        folder = _edited(shared_data, tmp_path / correction, FLATCORR=correction)
        engine = open_catalog(f"sqlite:///{tmp_path / correction}.db", create=True)
        ingest(engine, [shared_data / "darks_13961", folder])
        options = BuildOptions(Combine.NEAREST, flat=flats)
        (outcome,) = make(engine, ["jcmc11e6q"], Job(tmp_path / f"products_{correction}", options))
        assert outcome.masterdark is not None
        assert (outcome.masterdark.members[0].flat is None) == (correction == "OMIT")
        darks[correction] = fits.getdata(outcome.masterdark.masterdark, ("SCI", 1))
    # About the middle of the box, where the flat is well above 1 on average: the ratio is that of the same counts, so
    # that only the pixels on the edge of the square (500 of 22,500, of either choice) make a difference, of 0.1 %.
    header = fits.getheader(tmp_path / "products_OMIT" / "jcmc11e6q_sbcdark_dark.fits", ("SCI", 1))
    native = WCS(fits.getheader(shared_data / "science_13655_standin" / "jcmc11e6q_flt.fits.gz", 1))
    x, y = WCS(header).all_world2pix(*native.all_pix2world(680, 750, 0), 0)
    middle = np.s_[int(y) - 75 : int(y) + 75, int(x) - 75 : int(x) + 75]
    flat = fits.getdata(flats / "sbc_standin_pfl.fits", 1)[700:800, 630:730].mean()
    assert flat > 1 + 2 * 0.01  # it can be told from an undivided dark below
    ratio = np.nansum(darks["OMIT"][middle]) / np.nansum(darks["COMPLETE"][middle])
    assert ratio == pytest.approx(flat, abs=0.01)


@pytest.mark.parametrize(
    ("cards", "told"),
    [
        ({"IDCSCALE": None}, "SCI header lacks IDCSCALE"),
        ({"IDCSCALE": 0.05}, "IDCSCALE is 0.05"),
        ({"CD1_1": None}, "lacks CD1_1"),
    ],
)
def test_frame_of_unknown_scale_is_refused(
    shared_data: Path, tmp_path: Path, cards: dict[str, object], told: str
) -> None:
    """AstroDrizzle would go on without a word, and every count would be off by the area factor."""
    engine = open_catalog(f"sqlite:///{tmp_path / 'catalog.db'}", create=True)
    report = ingest(engine, [_edited(shared_data, tmp_path / "edited", **cards)])
    assert [told in rejection["reason"] for rejection in report.rejections] == [True]


def test_rates_for_counts_are_rejected(shared_data: Path, tmp_path: Path) -> None:
    engine = open_catalog(f"sqlite:///{tmp_path / 'catalog.db'}", create=True)
    report = ingest(engine, [_edited(shared_data, tmp_path / "edited", BUNIT="COUNTS/S")])
    assert report.rejections[0]["reason"] == "BUNIT of SCI is COUNTS/S, not COUNTS"


@pytest.mark.slow
def test_apertures_that_leave_little_are_told(catalog: sa.Engine, tmp_path: Path) -> None:
    apertures = tuple(parse_aperture(text) for text in ("circle:700,680,520", APERTURE))
    (outcome,) = make(catalog, ["jcmc11010"], Job(tmp_path, BuildOptions(), apertures))
    assert any("of it for the fit of the dark" in warning for warning in outcome.warnings)
    assert len(outcome.photometry) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("darks", "method", "lack"),
    [("jcrx01i[i-n]q", "scaled mean", "no varying glow"), ("jcrx01iyq", "scaled nearest", "only one dark")],
)
def test_less_than_a_model_is_told(
    shared_data: Path, flats: Path, tmp_path: Path, darks: str, method: str, lack: str
) -> None:
    engine = open_catalog(f"sqlite:///{tmp_path / 'catalog.db'}", create=True)
    found = sorted((shared_data / "darks_13961").glob(f"{darks}_raw.fits.gz"))
    ingest(engine, [*found, shared_data / "science_13655_standin" / "jcmc11e6q_flt.fits.gz"])
    (outcome,) = make(engine, ["jcmc11e6q"], Job(tmp_path / "products", BuildOptions(flat=flats)))
    assert outcome.masterdark is not None
    (member,) = outcome.masterdark.members
    assert member.method == method
    assert len(member.darks) == len(found)
    assert member.amplitude == 0.0
    assert any(f"is a {method} with" in warning and lack in warning for warning in outcome.warnings)


def test_nothing_matches(catalog: sa.Engine, tmp_path: Path) -> None:
    (outcome,) = make(catalog, ["jcmc11e6q"], Job(tmp_path, BuildOptions(max_days=1.0)))
    assert isinstance(outcome.failure, NothingMatchedError)
    assert "days away" in outcome.failure.what


@pytest.mark.parametrize("mean_dark", [0.012, None])
def test_a_dark_is_not_subtracted_twice(shared_data: Path, tmp_path: Path, mean_dark: float | None) -> None:
    """With or without MEANDARK: the pixels tell, too."""
    folder = _edited(shared_data, tmp_path / "edited", DARKCORR="COMPLETE", MEANDARK=mean_dark)
    with fits.open(folder / "jcmc11e6q_flt.fits", mode="update") as hdus:
        hdus["SCI"].data -= 0.002
    engine = open_catalog(f"sqlite:///{tmp_path / 'catalog.db'}", create=True)
    assert ingest(engine, [shared_data / "darks_13961", folder]).rejected == 0
    (outcome,) = make(engine, ["jcmc11e6q"], Job(tmp_path / "products", BuildOptions()))
    assert outcome.failure is not None
    assert "already subtracted" in outcome.failure.what
    assert "calibrate it again with DARKCORR OMIT" in outcome.failure.todo


def test_a_subtracted_dark_is_why_nothing_matches(shared_data: Path, tmp_path: Path) -> None:
    """The FLT has hardly a count left, so every dark is brighter."""
    folder = _edited(shared_data, tmp_path / "edited", DARKCORR="COMPLETE", MEANDARK=0.0)
    with fits.open(folder / "jcmc11e6q_flt.fits", mode="update") as hdus:
        hdus["SCI"].data -= 0.012
    engine = open_catalog(f"sqlite:///{tmp_path / 'catalog.db'}", create=True)
    ingest(engine, [shared_data / "darks_13961", folder])
    (outcome,) = make(engine, ["jcmc11e6q"], Job(tmp_path / "products", BuildOptions()))
    assert isinstance(outcome.failure, NothingMatchedError)
    assert "calibrate it again with DARKCORR OMIT" in outcome.failure.todo


def test_a_missing_pivot_wavelength_is_told(shared_data: Path, flats: Path, tmp_path: Path) -> None:
    folder = _edited(shared_data, tmp_path / "edited", PHOTFLAM=1e-17, PHOTPLAM=0.0)
    engine = open_catalog(f"sqlite:///{tmp_path / 'catalog.db'}", create=True)
    ingest(engine, [shared_data / "darks_13961", folder])
    job = Job(tmp_path / "products", BuildOptions(Combine.NEAREST, flat=flats), (parse_aperture(APERTURE),))
    (outcome,) = make(engine, ["jcmc11e6q"], job)
    assert (outcome.photometry[0].flux_erg_s_cm2_a is None, outcome.photometry[0].ab_mag) == (False, None)
    assert "jcmc11e6q: PHOTPLAM is missing or 0, so no AB magnitude is given" in outcome.warnings


def test_wrong_requests_are_refused(catalog: sa.Engine, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="jcmc11ctq"):
        make(catalog, ["jcmc11e6q"], Job(tmp_path, BuildOptions(use={"jcmc11ctq": ("jcrx01iiq",)})))
    (dark,) = make(catalog, ["jcrx01iiq"], Job(tmp_path / "a" / "b", BuildOptions()))
    assert isinstance(dark.failure, UsageError)
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(SbcdarkError, match="cannot be created"):
        make(catalog, ["jcmc11e6q"], Job(tmp_path / "file" / "products", BuildOptions()))
