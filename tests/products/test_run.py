"""The whole job on the four real associations: products, grids, photometry against truth, the published procedure."""

from __future__ import annotations

import csv
import gzip
import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from helpers import dump
from sky_geometry import area_factor, native_pixels

from sbcdark.catalog import results
from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.apertures.apertures import parse_aperture
from sbcdark.pipeline.estimation.options import BuildOptions
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.products.job import Job
from sbcdark.pipeline.products.run import Outcome, make
from sbcdark.pipeline.selection.rules import Combine, Rule
from sbcdark.pipeline.views.product_pictures import draw_products

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

GRID = ("NAXIS1", "NAXIS2", "CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")
"""The keywords that say which pixel lies where on the sky."""

ASSOCIATIONS = ("jcmc11010", "jcmc11020", "jcmc11030", "jcmc11040")
APERTURE = "ellipse:735,710,70,40,90"


@pytest.fixture(scope="module")
def outcomes(catalog: sa.Engine, flats: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Run the four associations with the default model, two at a time, each once for all tests below."""
    job = Job(
        tmp_path_factory.mktemp("products"),
        BuildOptions(flat=flats),
        (parse_aperture(APERTURE),),
        pictures=True,
        draw=draw_products,
    )
    found = make(catalog, ASSOCIATIONS, job, workers=2)
    assert [one.failure for one in found] == [None] * 4
    return {one.name: one for one in found}


def _truth(shared_data: Path) -> dict[str, dict[str, Any]]:
    with (shared_data / "science_13655_standin" / "truth.csv").open() as file:
        return {row["rootname"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", ASSOCIATIONS)
def test_science_and_masterdark_are_on_one_grid(outcomes: dict[str, Outcome], name: str) -> None:
    made = outcomes[name].masterdark
    assert made is not None
    science = fits.getheader(made.science, ("SCI", 1))
    for extension in ("SCI", "ERR"):
        dark = fits.getheader(made.masterdark, extension)
        assert {key: dark[key] for key in GRID} == {key: science[key] for key in GRID}
        image = fits.getdata(made.masterdark, extension)
        np.testing.assert_array_equal(np.isnan(image), np.isnan(fits.getdata(made.science, 1)))


@pytest.mark.parametrize("name", ASSOCIATIONS)
def test_nothing_but_products_is_left_in_the_folder(outcomes: dict[str, Outcome], name: str) -> None:
    made = outcomes[name].masterdark
    assert made is not None
    members = [member.exposure for member in made.members]
    expected = {
        f"{name}_sbcdark_{ending}"
        for ending in (
            "drz.fits",
            "dark.fits",
            "drizzle.log",
            "phot.ecsv",
            "products.png",
            *(f"{member}.png" for member in members),
        )
    }
    others = {path.name for path in made.science.parent.iterdir()}
    assert expected <= others
    assert not [other for other in others if other.startswith(".")]


@pytest.mark.parametrize("name", ASSOCIATIONS)
def test_provenance_stands_in_the_header(outcomes: dict[str, Outcome], name: str) -> None:
    made = outcomes[name].masterdark
    assert made is not None
    with fits.open(made.masterdark) as hdus:
        header, exposures, darks = hdus[0].header, hdus["EXPOSURES"].data, hdus["DARKS"].data
        assert header["DRKCOMB"] == "model"
        assert header["DRKCATRV"] >= 1
        assert f"Masterdark of {', '.join(one.exposure for one in made.members)} on" in " ".join(header["HISTORY"])
        for row, member in zip(exposures, made.members, strict=True):
            own = darks[darks["exposure"] == member.exposure]
            assert (row["exposure"], row["method"], tuple(own["dark"])) == (
                member.exposure,
                member.method,
                member.darks,
            )
            fitted = tuple(row[f"{name}_count_s_pix"] for name in ("base", "base_err", "amplitude", "sky", "sky_err"))
            assert fitted == (member.base, member.base_err, member.amplitude, member.sky, member.sky_err)
            assert own["weight"].sum() == pytest.approx(1.0)
    net = fits.getheader(made.net)
    assert (net["DARKFILE"], net["DARKCORR"]) == (made.masterdark.name, "COMPLETE")


@pytest.mark.parametrize(("name", "sigmas"), [(ASSOCIATIONS[0], 2.0), *((name, 3.0) for name in ASSOCIATIONS[1:])])
def test_net_rate_agrees_with_truth(outcomes: dict[str, Outcome], shared_data: Path, name: str, sigmas: float) -> None:
    """The truth in the drizzled product, from the truth table and the WCS alone.

    The source is a round Gaussian of sigma s in NATIVE pixels with a total rate R in native counts. On the product each
    native count counts f times, f = native pixel area / 0.025"^2 (1.61 here). A native pixel under product pixel o
    holds R / (2 pi s^2) exp(-d^2 / 2 s^2), d being the distance from the source in native pixels, and the product has
    that same value at o: the sum over the aperture is taken pixel by pixel, so that f need not be put in by hand. The
    sky, a surface brightness, is the same per product as per native pixel; it is not subtracted.

    jcmc11010, where the glow is, has to agree within 2 sigma. For the other three the limit is 3 sigma (a chance of
    0.8 % that one of three is farther off): the source's own counts in the stand-in jcmc11dsq are 2.7 sigma low.
    """
    outcome, truth = outcomes[name], _truth(shared_data)
    made, measured = outcome.masterdark, outcome.photometry[0]
    assert made is not None
    product_wcs = WCS(fits.getheader(made.science, ("SCI", 1)))
    y, x = np.mgrid[630:791, 685:786].astype(float)
    inside = ((x - 735) / 40) ** 2 + ((y - 710) / 70) ** 2 <= 1
    rate = time = 0.0
    for member in made.members:
        row = truth[member.exposure]
        seconds, sigma = float(row["exptime_s"]), float(row["source_sigma_pix"])
        with fits.open(shared_data / "science_13655_standin" / f"{member.exposure}_flt.fits.gz") as hdus:
            native_wcs = WCS(hdus[1].header)
        native_x, native_y = native_pixels(product_wcs, native_wcs, x[inside], y[inside])
        squared = (native_x - float(row["source_x"])) ** 2 + (native_y - float(row["source_y"])) ** 2
        source = float(row["source_count_s"]) / (2 * math.pi * sigma**2) * np.exp(-squared / (2 * sigma**2))
        rate += seconds * float(np.sum(source + float(row["sky_count_s_pix"])))
        time += seconds
        # Nearly all of the source's f x R lies in the aperture.
        factor = area_factor(native_wcs, float(row["source_x"]), float(row["source_y"]))
        assert 0.9 < float(source.sum()) / (factor * float(row["source_count_s"])) <= 1.0
    assert measured.net_count_s == pytest.approx(rate / time, abs=sigmas * measured.net_err_count_s)


def test_errors_are_those_of_native_counts(outcomes: dict[str, Outcome]) -> None:
    """The science error is sqrt(f S / t), not sqrt(S / t): f = 1.61 times the detected counts stand in a product."""
    measured = outcomes["jcmc11010"].photometry[0]
    native = math.sqrt(1.613 * measured.science_count_s / 2040.0)
    # f varies by 0.3 % over the aperture; the flat's scatter inside of it (5 % a pixel) averages out to less than 1 %.
    assert measured.science_err_count_s == pytest.approx(native, rel=0.01)


def test_results_are_recorded_whole_or_not_at_all(
    catalog: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise SbcdarkError("the last of the rows was not written", "Try again.")

    monkeypatch.setattr(results, "write_photometry", fail)
    before = dump(catalog)
    job = Job(tmp_path, BuildOptions(Combine.NEAREST), (parse_aperture(APERTURE),))
    (outcome,) = make(catalog, ["jcmc11ctq"], job, workers=1)
    assert outcome.failure is not None
    assert outcome.failure.what == "the last of the rows was not written"
    assert dump(catalog) == before


@pytest.mark.long
@pytest.mark.slow
def test_published_procedure_is_reproduced(
    catalog: sa.Engine, shared_data: Path, tmp_path: Path, outcomes: dict[str, Outcome]
) -> None:
    """Forced darks, no flat: the same as AstroDrizzle run by hand on FLTs that carry the darks' counts."""
    use = {"jcmc11ctq": "jcrx01iiq", "jcmc11e6q": "jcrx01iyq"}
    options = BuildOptions(Combine.NEAREST, use={science: (dark,) for science, dark in use.items()})
    (outcome,) = make(catalog, ["jcmc11010"], Job(tmp_path / "ours", options))
    assert outcome.masterdark is not None
    assert [member.darks for member in outcome.masterdark.members] == [(dark,) for dark in use.values()]
    by_hand = tmp_path / "by_hand"
    by_hand.mkdir()
    for science, dark in use.items():
        with fits.open(shared_data / "science_13655_standin" / f"{science}_flt.fits.gz") as hdus:
            counts = fits.getdata(shared_data / "darks_13961" / f"{dark}_raw.fits.gz", 1).astype(np.uint16)
            # The dark's counts in the science exposure's own time.
            hdus[1].data = (counts * (1020.0 / 1000.0)).astype(np.float32)
            hdus.writeto(by_hand / f"{science}_flt.fits")
    reference = outcomes["jcmc11010"].masterdark
    assert reference is not None
    script = (
        "from drizzlepac.astrodrizzle import AstroDrizzle\n"
        f"AstroDrizzle({[f'{name}_flt.fits' for name in use]!r}, output='hand', mdriztab=False, build=False, "
        "context=False, preserve=False, static=False, skysub=False, driz_separate=False, median=False, blot=False, "
        f"driz_cr=False, final_wcs=True, final_units='cps', final_refimage={str(reference.science) + '[sci,1]'!r})\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=by_hand, check=True, capture_output=True, timeout=120)
    hand = fits.getdata(by_hand / "hand_drz_sci.fits")
    weight = fits.getdata(by_hand / "hand_drz_wht.fits")
    ours = fits.getdata(outcome.masterdark.masterdark, ("SCI", 1))
    there = weight > 0
    np.testing.assert_array_equal(np.isfinite(ours), there)
    # Single precision: 24 bits, in sums of up to a dozen native pixels' parts.
    np.testing.assert_allclose(ours[there], hand[there], rtol=12 * 2.0**-24, atol=1e-12)


@pytest.mark.slow
def test_one_failure_does_not_cost_the_others(shared_data: Path, tmp_path: Path) -> None:
    """An association whose FLT is cut short fails with a message; the other is made."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("jcmc11ctq", "jcmc11e6q", "jcmc11cxq", "jcmc11dsq"):
        packed = (shared_data / "science_13655_standin" / f"{name}_flt.fits.gz").read_bytes()
        (folder / f"{name}_flt.fits").write_bytes(gzip.decompress(packed))
    engine = open_catalog(f"sqlite:///{tmp_path / 'catalog.db'}", create=True)
    ingest(engine, [shared_data / "darks_13961", shared_data / "associations_13655", folder])
    broken = folder / "jcmc11e6q_flt.fits"
    broken.write_bytes(broken.read_bytes()[:1_000_000])
    options = BuildOptions(Combine.NEAREST)
    lost, made = make(engine, ["jcmc11010", "jcmc11030"], Job(tmp_path / "products", options), workers=2)
    assert lost.failure is not None
    assert "jcmc11e6q_flt.fits changed after it was ingested" in lost.failure.what
    assert made.failure is None
    assert made.masterdark is not None
    assert made.masterdark.masterdark.exists()
    assert not list((tmp_path / "products").glob("jcmc11010*.fits"))
    assert not list((tmp_path / "products").glob(".*"))


@pytest.mark.slow
def test_absent_members_are_told(shared_data: Path, tmp_path: Path) -> None:
    engine = open_catalog(f"sqlite:///{tmp_path / 'catalog.db'}", create=True)
    science = shared_data / "science_13655_standin"
    ingest(engine, [shared_data / "darks_13961", shared_data / "associations_13655", science / "jcmc11ctq_flt.fits.gz"])
    (outcome,) = make(engine, ["jcmc11010"], Job(tmp_path / "products", BuildOptions(Combine.MEAN)))
    assert outcome.failure is None
    assert "jcmc11e6q, a member of jcmc11010, is not in the catalog and is left out" in outcome.warnings
    (empty,) = make(engine, ["jcmc11020"], Job(tmp_path / "products", BuildOptions(Combine.MEAN)))
    assert isinstance(empty.failure, UsageError)
    assert "jcmc11cwq, jcmc11dtq" in empty.failure.what


@pytest.mark.slow
def test_mean_of_darks_is_their_counts_over_their_time(catalog: sa.Engine, shared_data: Path, tmp_path: Path) -> None:
    options = BuildOptions(Combine.MEAN, Rule.NOTEBOOK, top=2)
    (outcome,) = make(catalog, ["jcmc11e6q"], Job(tmp_path, options))
    assert outcome.masterdark is not None
    (member,) = outcome.masterdark.members
    assert member.darks == ("jcrx01ixq", "jcrx01iyq")
    assert member.weights == (0.5, 0.5)
    total = sum(
        float(fits.getdata(shared_data / "darks_13961" / f"{dark}_raw.fits.gz", 1)[400:500, 400:500].sum())
        for dark in member.darks
    )
    made = fits.open(outcome.masterdark.masterdark)
    native = WCS(fits.getheader(shared_data / "science_13655_standin" / "jcmc11e6q_flt.fits.gz", 1))
    y, x = np.mgrid[0 : made["SCI"].data.shape[0], 0 : made["SCI"].data.shape[1]].astype(float)
    native_x, native_y = native_pixels(WCS(made["SCI"].header), native, x.ravel(), y.ravel())
    inside = (np.abs(native_x - 449.5) < 50) & (np.abs(native_y - 449.5) < 50)
    drizzled = float(np.nansum(made["SCI"].data.ravel()[inside]))
    expected = area_factor(native, 449.5, 449.5) * total / 2000.0
    made.close()
    # Product pixels on the square's edge (a perimeter of 400 native, 500 product pixels) fall in or out as a whole.
    edge = expected / 16100 * math.sqrt(500)
    assert drizzled == pytest.approx(expected, abs=3 * edge)


@pytest.mark.slow
def test_dark_that_is_gone_is_replaced_by_the_next(shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "darks"
    folder.mkdir()
    for path in (shared_data / "darks_13961").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    engine = open_catalog(f"sqlite:///{tmp_path / 'catalog.db'}", create=True)
    ingest(engine, [folder, shared_data / "science_13655_standin"])
    (folder / "jcrx01ixq_raw.fits.gz").unlink()
    options = BuildOptions(Combine.NEAREST, Rule.NOTEBOOK)
    (outcome,) = make(engine, ["jcmc11e6q"], Job(tmp_path / "products", options))
    assert outcome.masterdark is not None
    assert outcome.masterdark.members[0].darks == ("jcrx01iyq",)
    assert any("the RAW of jcrx01ixq is missing" in warning for warning in outcome.warnings)
