"""Inputs that gave a wrong number, failed or were passed over in silence, each as its own script makes it."""

from __future__ import annotations

import gzip
import importlib.util
from typing import TYPE_CHECKING, Any

import pytest

from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.products.apertures import parse_aperture
from sbcdark.pipeline.products.job import Job
from sbcdark.pipeline.products.options import BuildOptions
from sbcdark.pipeline.products.run import Outcome, make

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

pytestmark = pytest.mark.slow

APERTURE = "circle@165.5585024,38.0430789,1.2"
NET, NET_ERR = 9.8274, 0.1048
"""Of the undisturbed pair jcmc11deq and jcmc11dhq."""

PAIR = ("jcmc11deq", "jcmc11dhq")


@pytest.fixture(scope="module")
def flats(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jref")
    packed = shared_data / "science_13655_standin" / "sbc_standin_pfl.fits.gz"
    (folder / "sbc_standin_pfl.fits").write_bytes(gzip.decompress(packed.read_bytes()))
    return folder


class Case:
    """One case: its files, and a catalog that they and the real darks are ingested into."""

    def __init__(self, shared_data: Path, url: str, folder: Path, flats: Path) -> None:
        path = shared_data.parent / "cases" / "make_cases.py"
        specification = importlib.util.spec_from_file_location("make_cases", path)
        assert specification is not None
        assert specification.loader is not None
        self._scripts: Any = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(self._scripts)
        self.files, self.products, self._flats = folder / "files", folder / "products", flats
        self.files.mkdir()
        self.catalog: sa.Engine = open_catalog(url, create=True)
        ingest(self.catalog, [shared_data / "darks_13961"])

    def write(self, name: str) -> None:
        """Write the files of a case."""
        self._scripts.CASES[name](self.files)

    def ingested(self, name: str) -> Any:
        """Write and ingest the files of a case and return the report."""
        self.write(name)
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


def net_of(outcome: Outcome) -> float:
    assert outcome.failure is None, outcome.failure
    return outcome.photometry[0].net_count_s


def test_pixels_that_are_not_finite_count_in_no_plane(case: Case) -> None:
    case.ingested("nan_pixels")
    outcome = case.run("jcmc11040")
    # 2 % of one of two frames are lost: a hundredth of the counts is drawn anew, within 3 of its own sigma.
    assert net_of(outcome) == pytest.approx(NET, abs=3 * 0.1 * NET_ERR)
    assert outcome.photometry[0].coverage == pytest.approx(1.0, abs=1e-3)


def test_moving_target_has_the_error_of_what_was_drizzled(case: Case) -> None:
    case.ingested("moving_target")
    outcome = case.run(*PAIR)
    measured = outcome.photometry[0]
    # The same pixels twice: sqrt(f S / t) of both, which the undisturbed pair has too, up to its counts.
    expected = NET_ERR * (measured.science_count_s / 9.8872) ** 0.5
    assert measured.net_err_count_s == pytest.approx(expected, rel=0.01)
    assert any("MTFLAG is T" in warning for warning in outcome.warnings)


def test_file_that_changed_after_the_ingest_is_not_used(case_on_engine: Case) -> None:
    case_on_engine.ingested("edited_later")
    case_on_engine.write("edited_later_2")
    failure = case_on_engine.run("jcmc11e6q").failure
    assert failure is not None
    assert "jcmc11e6q_flt.fits changed after it was ingested" in failure.what
    assert "sbcdark ingest" in failure.todo
    assert ingest(case_on_engine.catalog, [case_on_engine.files]).updated == 1
    assert case_on_engine.run("jcmc11e6q").failure is None


def test_different_filters_are_refused_and_get_no_flux(case_on_engine: Case) -> None:
    case_on_engine.ingested("two_filters")
    failure = case_on_engine.run("jcmc11cwq", "jcmc11e6q").failure
    assert isinstance(failure, UsageError)
    assert "different filters: F125LP (jcmc11cwq), F165LP (jcmc11e6q)" in failure.what
    outcome = case_on_engine.run("jcmc11e6q", "jcmc11cwq", mixed=True)
    assert net_of(outcome) > 0
    assert (outcome.photometry[0].flux_erg_s_cm2_a, outcome.photometry[0].ab_mag) == (None, None)


def test_wide_mosaic_is_made(case: Case) -> None:
    case.ingested("wide_mosaic")
    # One frame alone holds the source: half the time, an error larger by sqrt(2).
    outcome = case.run(*PAIR)
    assert net_of(outcome) == pytest.approx(NET, abs=3 * 2**0.5 * NET_ERR)
    assert outcome.photometry[0].net_err_count_s == pytest.approx(2**0.5 * NET_ERR, rel=0.01)


def test_fields_a_degree_apart_are_refused(case: Case) -> None:
    case.ingested("a_degree_apart")
    for mixed in (False, True):
        failure = case.run(*PAIR, mixed=mixed).failure
        assert isinstance(failure, UsageError)
        assert "extend over 1.43 degrees" in failure.what


def test_frame_without_a_count_is_rejected(case_on_engine: Case) -> None:
    report = case_on_engine.ingested("zero_frame")
    (rejection,) = report.rejections
    assert rejection["path"].endswith("jcmc11dhq_flt.fits")
    assert "0 counts in 730 s" in rejection["reason"]


@pytest.mark.parametrize(
    ("name", "target"), [("same_file_name", PAIR), ("capitals", ("jcmc11040",)), ("bad_card", ("jcmc11040",))]
)
def test_name_and_needless_cards_change_no_number(case: Case, name: str, target: tuple[str, ...]) -> None:
    assert case.ingested(name).rejections == []
    assert net_of(case.run(*target)) == pytest.approx(9.827585, abs=1e-5)
