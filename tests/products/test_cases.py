"""Inputs that once gave a wrong number, failed or were passed over in silence."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from helpers import with_card

from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.apertures.apertures import parse_aperture
from sbcdark.pipeline.estimation.options import BuildOptions
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.products.job import Job
from sbcdark.pipeline.products.run import Outcome, make

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import sqlalchemy as sa

    from sbcdark.catalog.result_records import PhotometryRecord as Photometry

    Change = Callable[[Any], None]

pytestmark = pytest.mark.slow

APERTURE = "circle@165.5585024,38.0430789,1.2"
PAIR = ("jcmc11deq", "jcmc11dhq")


class Case:
    """One case: its files, and a catalog that they and the darks are ingested into."""

    def __init__(self, shared_data: Path, url: str, folder: Path, flats: Path) -> None:
        self._shared_data, self._flats = shared_data, flats
        self.files, self.products = folder / "files", folder / "products"
        self.files.mkdir()
        self.catalog: sa.Engine = open_catalog(url, create=True)
        ingest(self.catalog, [shared_data / "darks_13961"])

    def write(self, name: str, change: Change | None = None, file: str | None = None) -> Path:
        """Write an FLT, changed, and the association of the pair."""
        target = self.files / (file or f"{name}_flt.fits")
        target.parent.mkdir(exist_ok=True)
        with fits.open(self._shared_data / "science_13655_standin" / f"{name}_flt.fits.gz") as hdus:
            if change is not None:
                change(hdus)
            hdus.writeto(target, overwrite=True)
        shutil.copy(self._shared_data / "associations_13655" / "jcmc11040_asn.fits", self.files)
        return target

    def ingested(self) -> Any:
        """Ingest the files of a case and return the report."""
        return ingest(self.catalog, [self.files])

    def run(self, *names: str, mixed: bool = False) -> Outcome:
        """Run one target."""
        options = BuildOptions(flat=self._flats, mixed=mixed)
        (outcome,) = make(self.catalog, names, Job(self.products, options, (parse_aperture(APERTURE),)))
        return outcome


@pytest.fixture
def case(shared_data: Path, tmp_path: Path, flats: Path) -> Case:
    return Case(shared_data, f"sqlite:///{tmp_path / 'catalog.db'}", tmp_path, flats)


@pytest.fixture
def case_on_engine(shared_data: Path, database_url: str, tmp_path: Path, flats: Path) -> Case:
    return Case(shared_data, database_url, tmp_path, flats)


@pytest.fixture(scope="module")
def undisturbed(shared_data: Path, flats: Path, tmp_path_factory: pytest.TempPathFactory) -> Photometry:
    """Return what the pair gives as it is."""
    folder = tmp_path_factory.mktemp("undisturbed")
    case = Case(shared_data, f"sqlite:///{folder / 'catalog.db'}", folder, flats)
    for name in PAIR:
        case.write(name)
    case.ingested()
    return measured(case.run("jcmc11040"))


def measured(outcome: Outcome) -> Photometry:
    assert outcome.failure is None, outcome.failure
    return outcome.photometry[0]


def test_net_of_the_undisturbed_pair(real_data: Path, undisturbed: Photometry) -> None:
    assert real_data.is_dir()
    assert undisturbed.net_count_s == pytest.approx(9.827573, abs=1e-5)
    # 0.1048, and 0.016 for a base that may have risen since the darks.
    assert undisturbed.net_err_count_s == pytest.approx(0.1060, abs=1e-4)


def test_pixels_that_are_not_finite_count_in_no_plane(case: Case, undisturbed: Photometry) -> None:
    bad = np.random.default_rng(1).random((1024, 1024)) < 0.02

    def lose_pixels(hdus: Any) -> None:
        hdus["SCI"].data[bad] = np.nan

    case.write(PAIR[0], lose_pixels)
    case.write(PAIR[1])
    case.ingested()
    found = measured(case.run("jcmc11040"))
    # 2 % of one of two frames are lost: a hundredth of the counts is drawn anew, within 3 of its own sigma.
    assert found.net_count_s == pytest.approx(undisturbed.net_count_s, abs=3 * 0.1 * undisturbed.net_err_count_s)
    assert found.coverage == pytest.approx(1.0, abs=1e-3)


def test_moving_target_has_the_error_of_what_was_drizzled(case: Case, undisturbed: Photometry) -> None:
    """The same pixels twice: the target stays at its place on the detector, the second pointing is 10 arcsec away."""
    with fits.open(case.write(PAIR[0])) as first:
        pixels, where = first["SCI"].data.copy(), [first["SCI"].header[key] for key in ("CRVAL1", "CRVAL2")]
    for number, name in enumerate(PAIR):

        def follow(hdus: Any, number: int = number) -> None:
            hdus[0].header["MTFLAG"] = "T"
            hdus["SCI"].data = pixels
            hdus["SCI"].header["CRVAL1"], hdus["SCI"].header["CRVAL2"] = where[0], where[1] + number * 10 / 3600

        case.write(name, follow)
    case.ingested()
    outcome = case.run(*PAIR)
    found = measured(outcome)
    # sqrt(f S / t) of both, which the undisturbed pair has too, up to its counts.
    expected = undisturbed.net_err_count_s * (found.science_count_s / undisturbed.science_count_s) ** 0.5
    assert found.net_err_count_s == pytest.approx(expected, rel=0.01)
    assert any("MTFLAG is T" in warning for warning in outcome.warnings)


def test_file_that_changed_after_the_ingest_is_not_used(case_on_engine: Case) -> None:
    path = case_on_engine.write("jcmc11e6q")
    case_on_engine.ingested()
    fits.setval(path, "EXPTIME", value=510.0)
    failure = case_on_engine.run("jcmc11e6q").failure
    assert failure is not None
    assert "jcmc11e6q_flt.fits changed after it was ingested" in failure.what
    assert "sbcdark ingest" in failure.todo
    assert case_on_engine.ingested().updated == 1
    assert case_on_engine.run("jcmc11e6q").failure is None


def test_different_filters_are_refused_and_get_no_flux(case: Case) -> None:
    for name, values in {"jcmc11cwq": (1.6e-17, 1438.0), "jcmc11e6q": (1.36e-16, 1762.0)}.items():

        def calibrate(hdus: Any, values: tuple[float, float] = values) -> None:
            hdus["SCI"].header["PHOTFLAM"], hdus["SCI"].header["PHOTPLAM"] = values

        case.write(name, calibrate)
    case.ingested()
    failure = case.run("jcmc11cwq", "jcmc11e6q").failure
    assert isinstance(failure, UsageError)
    assert "different filters: F125LP (jcmc11cwq), F165LP (jcmc11e6q)" in failure.what
    found = measured(case.run("jcmc11e6q", "jcmc11cwq", mixed=True))
    assert found.net_count_s > 0
    assert (found.flux_erg_s_cm2_a, found.ab_mag) == (None, None)


def test_contradicting_photometry_keywords_are_told(case: Case) -> None:
    """The flux and the magnitude use the keywords of one of the exposures."""
    for name, photplam, filter_name in zip(PAIR, (1605.0, 1500.0), ("F150LP", "F125LP"), strict=True):

        def calibrate(hdus: Any, photplam: float = photplam, filter_name: str = filter_name) -> None:
            hdus["SCI"].header.update(PHOTFLAM=1e-17, PHOTPLAM=photplam, PHOTMODE=f"ACS SBC {filter_name} MJD#57125.3")

        case.write(name, calibrate)
    case.ingested()
    told = "\n".join(case.run(*PAIR).warnings)
    assert "different PHOTPLAM: 1605 (jcmc11deq), 1500 (jcmc11dhq)" in told
    assert "The AB magnitudes use 1605, that of the latest calibration" in told
    assert "jcmc11dhq has FILTER1 F150LP, but PHOTMODE is of F125LP" in told
    assert "jcmc11deq has FILTER1" not in told


def test_exposure_that_its_association_does_not_list_is_told(case: Case) -> None:
    for name in PAIR:
        case.write(name)
    case.write(PAIR[1], lambda hdus: hdus[0].header.update(ROOTNAME="jcmc11dzq"), file="jcmc11dzq_flt.fits")
    case.ingested()
    outcome = case.run("jcmc11040")
    assert "jcmc11dzq names jcmc11040, which does not list it as a member: it is left out" in outcome.warnings
    assert outcome.masterdark is not None
    assert [one.exposure for one in outcome.masterdark.members] == list(PAIR)


def write_far_apart(case: Case, arcsec: float) -> None:
    """Write the pair, the second pointing north and east by so much."""

    def move(hdus: Any) -> None:
        header = hdus["SCI"].header
        header["CRVAL2"] += arcsec / 3600
        header["CRVAL1"] += arcsec / 3600 / math.cos(math.radians(header["CRVAL2"]))

    case.write(PAIR[0])
    case.write(PAIR[1], move)
    case.ingested()


def test_wide_mosaic_is_made(case: Case, undisturbed: Photometry) -> None:
    write_far_apart(case, 80.0)
    # One frame alone holds the source: half the time, an error larger by sqrt(2).
    outcome = case.run(*PAIR)
    found, error = measured(outcome), 2**0.5 * undisturbed.net_err_count_s
    told = f"{APERTURE} lies on 1 of 2 exposures, but exptime_s of its row is that of all"
    assert told in outcome.warnings
    assert found.net_count_s == pytest.approx(undisturbed.net_count_s, abs=3 * error)
    assert found.net_err_count_s == pytest.approx(error, rel=0.01)


def test_fields_a_degree_apart_are_refused(case: Case) -> None:
    write_far_apart(case, 3600.0)
    for mixed in (False, True):
        failure = case.run(*PAIR, mixed=mixed).failure
        assert isinstance(failure, UsageError)
        assert "extend over 1.43 degrees" in failure.what
        assert not case.products.exists()


def test_frame_without_a_count_is_rejected(case_on_engine: Case) -> None:
    def lose_all(hdus: Any) -> None:
        hdus["SCI"].data[:] = 0

    case_on_engine.write(PAIR[0])
    case_on_engine.write(PAIR[1], lose_all)
    (rejection,) = case_on_engine.ingested().rejections
    assert rejection["path"].endswith("jcmc11dhq_flt.fits")
    assert "0 counts in 730 s" in rejection["reason"]


def test_files_of_one_name_change_no_number(case: Case, undisturbed: Photometry) -> None:
    for number, name in enumerate(PAIR):
        case.write(name, file=f"target{number}/visit_flt.fits")
    assert case.ingested().rejections == []
    assert measured(case.run(*PAIR)).net_count_s == pytest.approx(undisturbed.net_count_s, abs=1e-6)


def test_capitals_and_needless_cards_change_no_number(case: Case, undisturbed: Photometry) -> None:
    """Names in capitals; a card that nobody needs holds no valid value: SUNANGLE = nan."""
    for name in PAIR:
        path = case.write(name, file=f"{name.upper()}_FLT.FITS")
        path.write_bytes(with_card(path.read_bytes(), "SUNANGLE", "                 nan"))
    assert case.ingested().rejections == []
    assert measured(case.run("jcmc11040")).net_count_s == pytest.approx(undisturbed.net_count_s, abs=1e-6)
