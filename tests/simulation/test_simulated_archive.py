"""Simulated files are like real ones, and their counts are Poisson around the truth that comes with them."""

from __future__ import annotations

import math
import re
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from scipy import stats
from twin_archive import real_darks

from sbcdark.pipeline.detector.dark_shape import glow_map, row_sensitivity
from sbcdark.pipeline.detector.regions import BOX, HOT_PIXELS_XY
from sbcdark.pipeline.simulation.darks import coarse_temperature, dark_rate, raw_pixels
from sbcdark.pipeline.simulation.files import write_simulated
from sbcdark.pipeline.simulation.headers import PRIMARY, override
from sbcdark.pipeline.simulation.simulated_archive import (
    APERTURE_SIGMAS,
    Parameters,
    SimulatedArchive,
    flat,
    flat_fielded,
    sigmas_from_source,
    simulate,
    source_rate,
)
from sbcdark.pipeline.simulation.sky import native_plane, pixel_area_arcsec2, plane_to_sky, sky_to_plane

if TYPE_CHECKING:
    from pathlib import Path

    from sbcdark.pipeline.simulation.simulated_archive import SimulatedFile

ONE_IN_A_MILLION = 1e-6
"""Chance that a statistical test rejects what is true; the seeds are fixed, so that it does so always or never."""


@pytest.fixture(scope="module")
def archive() -> SimulatedArchive:
    return simulate()


@pytest.fixture(scope="module")
def raws(archive: SimulatedArchive) -> list[SimulatedFile]:
    return list(islice(archive.files(), len(archive.darks)))


def test_raw_dark_has_the_cards_of_a_real_one(real_data: Path, raws: list[SimulatedFile], tmp_path: Path) -> None:
    write_simulated(tmp_path / raws[0].name, raws[0])
    with (
        fits.open(real_data / "darks_13961" / "jcrx01iiq_raw.fits.gz") as real,
        fits.open(tmp_path / raws[0].name) as ours,
    ):
        for theirs, mine in zip(real, ours, strict=True):
            # astropy does not write GROUPS = F, which says nothing.
            keys = [key for key in theirs.header if key and key != "GROUPS"]
            assert [key for key in mine.header if key] == keys
            for key in keys:
                assert type(mine.header[key]) is type(theirs.header[key]), key
            # The blank padding is a trap for whoever compares ROOTNAME.
            assert mine.header.cards["EXTNAME" if mine.name != "PRIMARY" else "ROOTNAME"].image.index("'", 12) == (
                theirs.header.cards["EXTNAME" if mine.name != "PRIMARY" else "ROOTNAME"].image.index("'", 12)
            )
        assert ours["SCI"].data.dtype == real["SCI"].data.dtype
        assert ours["ERR"].data is None
        assert ours["DQ"].data is None
        assert (ours["ERR"].header["NAXIS"], ours["DQ"].header["NAXIS"]) == (0, 0)


def test_raw_dark_has_the_size_of_a_real_one(raws: list[SimulatedFile], tmp_path: Path) -> None:
    write_simulated(tmp_path / "raw.fits", raws[0])
    assert (tmp_path / "raw.fits").stat().st_size == 2_134_080


def test_header_tells_the_truth(archive: SimulatedArchive, raws: list[SimulatedFile]) -> None:
    for truth, file in zip(archive.darks, raws, strict=True):
        primary = {key: value for key, value, _ in file.cards}
        science = {key: value for key, value, _ in file.extensions[0].cards}
        assert str(primary["ROOTNAME"]).strip() == truth.rootname == file.name.removesuffix("_raw.fits")
        assert primary["EXPTIME"] == truth.exposure_s
        assert primary["EXPEND"] == pytest.approx(truth.start_mjd + truth.exposure_s / 86400, abs=1e-9)
        assert (science["MDECODT1"], science["MDECODT2"]) == (truth.temperature_start_c, truth.temperature_end_c)


def test_temperatures_come_in_the_steps_of_real_ones() -> None:
    darks = real_darks()
    assert len(darks) == 20
    for real in (*(dark.temperature_start_c for dark in darks), *(dark.temperature_end_c for dark in darks)):
        assert coarse_temperature(real + 0.12) == pytest.approx(real, abs=1e-4)


def test_box_sums_are_poisson(archive: SimulatedArchive, raws: list[SimulatedFile]) -> None:
    expected = np.array([dark_rate(truth)[BOX.slices].sum() * truth.exposure_s for truth in archive.darks])
    drawn = np.array([file.extensions[0].data[BOX.slices].sum(dtype=np.int64) for file in raws])  # type: ignore[index]
    chance = stats.chi2.sf(((drawn - expected) ** 2 / expected).sum(), len(drawn))
    assert ONE_IN_A_MILLION < chance < 1 - ONE_IN_A_MILLION
    # The range of the real run is 294 to 3566.
    assert drawn.min() < 300
    assert drawn.max() > 3000


def test_pixels_are_poisson_around_the_expected_dark(archive: SimulatedArchive, raws: list[SimulatedFile]) -> None:
    counts = sum(np.asarray(file.extensions[0].data, dtype=np.int64) for file in raws)
    expected = sum(dark_rate(truth) * truth.exposure_s for truth in archive.darks)
    for x, y in HOT_PIXELS_XY:
        assert abs(counts[y, x] - expected[y, x]) < 5 * math.sqrt(expected[y, x])  # type: ignore[index]
    assert counts[601:603].sum() == 0  # type: ignore[index]
    drawn, wanted = (np.asarray(image, dtype=float).reshape(64, 16, 64, 16).sum((1, 3)) for image in (counts, expected))
    chance = stats.chi2.sf(((drawn - wanted) ** 2 / wanted).sum(), drawn.size)
    assert ONE_IN_A_MILLION < chance < 1 - ONE_IN_A_MILLION


def test_glow_has_the_shape_of_program_13961() -> None:
    glow = glow_map()
    assert glow[BOX.slices].mean() == pytest.approx(1.0, abs=1e-12)
    assert np.unravel_index(glow.argmax(), glow.shape)[1] == 558
    above = np.where(row_sensitivity() == 1.0, glow, 0.0)
    assert np.unravel_index(above.argmax(), glow.shape) == (654, 558)
    assert round(glow[:128].mean(), 3) == 0.027
    assert round(glow[:, :128].mean(), 4) == 0.0065


def test_temperature_alone_does_not_choose() -> None:
    darks = simulate(Parameters(number_of_darks=200, associations=False)).darks
    warm = np.array([dark.glow_box for dark in darks if 26.9 < dark.temperature_start_c + 0.3 < 27.3])
    assert len(warm) >= 6
    assert warm.max() > 1.5 * warm.min()


def test_files_depend_on_the_seed_and_their_number_alone(raws: list[SimulatedFile]) -> None:
    def first(parameters: Parameters) -> SimulatedFile:
        return next(simulate(parameters).files())

    again = first(Parameters(associations=False))
    np.testing.assert_array_equal(again.extensions[0].data, raws[0].extensions[0].data)
    assert again.cards == raws[0].cards
    other = first(Parameters(seed=1, associations=False))
    assert (other.extensions[0].data != raws[0].extensions[0].data).any()  # type: ignore[union-attr]


def test_a_thousand_darks_have_names_and_times_of_their_own() -> None:
    darks = simulate(Parameters(number_of_darks=1000, associations=False)).darks
    assert len({dark.rootname for dark in darks}) == len({dark.start_mjd for dark in darks}) == 1000
    assert all(re.fullmatch(r"j[0-9a-z]{7}q", dark.rootname) for dark in darks)


def test_counts_over_32767_wrap() -> None:
    assert raw_pixels(np.array([0, 32767, 32768, 40000])).tolist() == [0, 32767, -32768, 40000 - 65536]


def test_override_keeps_padding_and_order() -> None:
    cards = override(PRIMARY, {"ROOTNAME": "jzzd01a0q", "NEWCARD": 3})
    assert [card[0] for card in cards] == [*(card[0] for card in PRIMARY), "NEWCARD"]
    assert next(value for key, value, _ in cards if key == "ROOTNAME") == "jzzd01a0q".ljust(34)


def test_wcs_is_what_astropy_reads_from_the_flt(archive: SimulatedArchive) -> None:
    member = archive.associations[0].exposures[1]
    file = flat_fielded(archive.parameters, archive.associations[0], member)
    science = file.extensions[0]
    wcs = WCS(fits.Header([*(card for card in science.cards if card[0]), ("NAXIS", 2)]))
    x, y = np.array([0.0, 1023.0, 300.0]), np.array([0.0, 10.0, 800.0])
    ra, dec = wcs.all_pix2world(x, y, 0)
    xi, eta = (plane[y.astype(int), x.astype(int)] for plane in native_plane())
    for column in range(3):
        ours = plane_to_sky(xi[column], eta[column], member.pointing)
        assert ours == pytest.approx((ra[column], dec[column]), abs=1e-10)
        assert sky_to_plane(*ours, member.pointing) == pytest.approx((xi[column], eta[column]), abs=1e-12)
    # A step of one pixel to each side, to second order: what is left out is the third derivative, under 1e-8 / pixel^2.
    for column in range(3):
        right = np.array(wcs.sip_pix2foc(x[column] + np.array([-0.5, 0.5, 0, 0]), y[column] + [0, 0, -0.5, 0.5], 0))
        jacobian = np.array([right[:, 1] - right[:, 0], right[:, 3] - right[:, 2]]).T
        area = abs(np.linalg.det(wcs.wcs.cd @ jacobian)) * 3600**2
        assert pixel_area_arcsec2(x, y)[column] == pytest.approx(area, rel=1e-6)
    # science.md: native pixels of 0.0336 x 0.0297 arcsec.
    assert pixel_area_arcsec2(np.array([511.0]), np.array([511.0]))[0] == pytest.approx(0.0336 * 0.0300, rel=0.01)


def test_flt_holds_what_the_truth_says(archive: SimulatedArchive) -> None:
    for association in archive.associations:
        for member in association.exposures:
            file = flat_fielded(archive.parameters, association, member)
            science, error, quality = (extension.data for extension in file.extensions)
            assert science is not None
            assert error is not None
            assert quality is not None
            inside = sigmas_from_source(association.source, *native_plane(), member.pointing) < APERTURE_SIGMAS**2
            time = member.exposure.exposure_s
            shown = source_rate(association.source, member.pointing)
            expected = (
                member.aperture_dark_counts
                + (association.sky_count_s_pix * member.aperture_area_pix + shown[inside].sum()) * time
            )
            # Flat-fielded counts: the variance of N / flat is N / flat^2, at most 1.5 times N / flat here.
            assert abs(science[inside].sum(dtype=float) - expected) < 5 * math.sqrt(1.5 * expected)
            counts = science * flat(archive.parameters.seed)
            np.testing.assert_allclose(counts, np.round(counts), atol=2e-3)
            assert error[counts < 1.5].min() * 1.5 > 1.0
            np.testing.assert_allclose(error * flat(archive.parameters.seed), np.sqrt(counts).clip(1.0), rtol=1e-4)
            assert {int(value) for value in np.unique(quality)} == {0, 4, 16}
            assert (quality[599:604] == 4).all()
            assert member.source_count_s == pytest.approx(shown.sum())


def test_aperture_holds_the_stated_share(archive: SimulatedArchive) -> None:
    association = archive.associations[0]
    pointing = association.exposures[0].pointing
    shown = source_rate(association.source, pointing)
    inside = sigmas_from_source(association.source, *native_plane(), pointing) < APERTURE_SIGMAS**2
    # Whole pixels: those on the rim, 2 pi 46 of them, may each be wrong by half of the surface brightness there.
    rim = 2 * math.pi * 46 * 0.5 * shown.max() * math.exp(-(APERTURE_SIGMAS**2) / 2)
    assert shown[inside].sum() / shown.sum() == pytest.approx(association.aperture_fraction, abs=rim / shown.sum())
    ra, dec, a, b, pa = (float(part) for part in association.aperture.removeprefix("ellipse@").split(","))
    source = association.source
    assert (ra, dec, pa) == pytest.approx((source.ra_deg, source.dec_deg, source.pa_deg), abs=1e-7)
    assert (a, b) == pytest.approx((3 * source.sigma_major_arcsec, 3 * source.sigma_minor_arcsec))


def test_association_table_is_like_a_real_one(real_data: Path, archive: SimulatedArchive, tmp_path: Path) -> None:
    tables = [file for file in archive.files() if file.name.endswith("_asn.fits")]
    assert [file.name for file in tables] == ["jzzs11010_asn.fits", "jzzs11020_asn.fits"]
    write_simulated(tmp_path / tables[0].name, tables[0])
    with (
        fits.open(real_data / "associations_13655" / "jcmc11010_asn.fits") as real,
        fits.open(tmp_path / tables[0].name) as ours,
    ):
        assert [(c.name, c.format) for c in ours[1].columns] == [(c.name, c.format) for c in real[1].columns]
        # Real names are padded with blanks, those that astropy writes with NUL: both are FITS.
        assert list(ours[1].data["MEMTYPE"]) == [name.strip() for name in real[1].data["MEMTYPE"]]
        assert ours[1].data["MEMPRSNT"].all()
        assert list(ours[1].data["MEMNAME"]) == ["JZZS11A1Q", "JZZS11A2Q", "JZZS11010"]
        assert set(ours[0].header) <= set(real[0].header)
