"""Dark-subtracted FLTs: what they hold, what they refuse, and that AstroDrizzle makes the net product of them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from flt_copies import copy_with_counts

from sbcdark import Catalog
from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.drizzling.drizzle import Drizzler

if TYPE_CHECKING:
    from pathlib import Path

    from sbcdark.pipeline.products.subtraction import Subtracted

NAMES = ("jcmc11ctq", "jcmc11e6q")


@pytest.fixture(scope="module")
def flats(shared_data: Path) -> Path:
    return shared_data / "science_13655_standin"


@pytest.fixture(scope="module")
def made(cat: Catalog, flats: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Subtracted]:
    return cat.subtract("jcmc11010", tmp_path_factory.mktemp("subtracted"), flat=flats)


@pytest.mark.slow
def test_dark_is_subtracted_and_its_error_added(made: list[Subtracted], shared_data: Path, flats: Path) -> None:
    assert [one.exposure for one in made] == list(NAMES)
    flat = fits.getdata(flats / "sbc_standin_pfl.fits.gz", 1)
    for one in made:
        source = shared_data / "science_13655_standin" / f"{one.exposure}_flt.fits.gz"
        with fits.open(source) as before, fits.open(one.flt) as after, fits.open(one.dark) as dark:
            assert [hdu.name for hdu in after] == [hdu.name for hdu in before]
            assert [hdu.name for hdu in dark] == ["PRIMARY", "SCI", "ERR", "DQ", "EXPOSURES", "DARKS"]
            time = before[0].header["EXPTIME"]
            expected = dark["SCI"].data.astype(np.float64) * time / flat
            good = np.isfinite(expected) & (before["DQ"].data == 0)
            difference = before["SCI"].data.astype(np.float64) - after["SCI"].data
            # Both are stored in single precision.
            assert np.abs(difference - expected)[good].max() < 2e-6 * np.abs(before["SCI"].data[good]).max()
            assert np.array_equal(after["DQ"].data, before["DQ"].data)
            assert np.all(after["ERR"].data[good] >= dark["ERR"].data[good] * time / flat[good] * (1 - 1e-6))
            assert after[0].header["DARKCORR"] == "COMPLETE"
            assert after[0].header["DARKFILE"] == one.dark.name
            assert after[0].header["FILENAME"] == one.flt.name
            assert after["SCI"].header["MEANDARK"] == pytest.approx(one.mean_dark_count)
            assert one.mean_dark_count == pytest.approx(expected[good].mean(), rel=1e-3)
            assert dark["EXPOSURES"].data["exposure"].tolist() == [one.exposure]
            told = " ".join(after[0].header["HISTORY"])
            assert f"The dark in {one.dark.name}, in the exposure time" in told
            assert "was subtracted from SCI" in told
            assert after["SCI"].header["CRVAL1"] == before["SCI"].header["CRVAL1"]


@pytest.mark.slow
def test_drizzled_by_hand_they_are_the_net_product(
    made: list[Subtracted], cat: Catalog, flats: Path, tmp_path: Path
) -> None:
    net = cat.run("jcmc11010", tmp_path / "products", pictures=False, flat=flats).net
    copies = [tmp_path / one.flt.name for one in made]
    for one, copy in zip(made, copies, strict=True):
        shutil.copy(one.flt, copy)
    with Drizzler() as drizzler:
        by_hand = drizzler.drizzle(copies, folder=tmp_path, log=tmp_path / "log")
    ours = fits.getdata(net, "SCI")
    assert by_hand.science.shape == ours.shape
    assert np.array_equal(np.isnan(by_hand.science), np.isnan(ours))
    # Science and dark are each a sum of 2 frames with up to 4 native pixels, rounded at every step.
    assert np.nanmax(np.abs(by_hand.science - ours)) < 16 * 2.0**-24 * np.nanmax(ours)


@pytest.mark.slow
def test_masks_are_regions_of_the_sky_or_pixels_of_the_flt(
    cat: Catalog, flats: Path, shared_data: Path, tmp_path: Path
) -> None:
    with fits.open(shared_data / "science_13655_standin" / "jcmc11e6q_flt.fits.gz") as hdus:
        wcs = WCS(hdus["SCI"].header, hdus)
        places = SkyCoord(*wcs.all_pix2world([560.0, 561.0, 560.0], [700.0, 700.0, 701.0], 0), unit="deg")
    across, up = places[0].separation(places[1:]).arcsec  # the sides of a native pixel, 0.034 by 0.030 arcsec
    regions = {
        # DS9 counts pixels from 1.
        "pixels": f"image; ellipse(561,701,{4.75 / across},{4.75 / up},0)",
        "sky": f'icrs; circle({places[0].ra.deg},{places[0].dec.deg},4.75")',
        "elsewhere": 'icrs; circle(10,-20,5")',
    }
    made = {}
    for name, text in regions.items():
        (tmp_path / f"{name}.reg").write_text(f"{text}\n")
        (made[name],) = cat.subtract("jcmc11e6q", tmp_path / name, mask=tmp_path / f"{name}.reg", flat=flats)
    (made["none"],) = cat.subtract("jcmc11e6q", tmp_path / "none", flat=flats)
    outside = [name for name, one in made.items() if "masks nothing" in " ".join(one.warnings)]
    assert outside == ["elsewhere"]
    amplitude = {}
    for name, one in made.items():
        amplitude[name] = fits.getdata(one.dark, "EXPOSURES")["amplitude_count_s_pix"][0]
    assert amplitude["elsewhere"] == amplitude["none"]
    # The mask takes the brightest 7 % of the frame; the masks differ at their edges, by the shear of the pixels.
    moved = abs(amplitude["pixels"] / amplitude["none"] - 1)
    assert moved > 1e-4
    assert abs(amplitude["sky"] / amplitude["pixels"] - 1) < 0.2 * moved


@pytest.mark.slow
def test_sky_is_subtracted_too(made: list[Subtracted], cat: Catalog, flats: Path, tmp_path: Path) -> None:
    with_sky = cat.subtract("jcmc11010", tmp_path, sky=True, flat=flats)
    for plain, both in zip(made, with_sky, strict=True):
        assert plain.sky_count_s_pix is None
        assert both.sky_count_s_pix is not None
        time = fits.getheader(both.flt)["EXPTIME"]
        difference = fits.getdata(plain.flt, 1).astype(np.float64) - fits.getdata(both.flt, 1)
        assert np.median(difference) == pytest.approx(both.sky_count_s_pix * time, rel=1e-4)
    with pytest.raises(UsageError, match="was made from other inputs") as caught:
        cat.subtract("jcmc11010", tmp_path, flat=flats)
    assert "--overwrite" in caught.value.todo
    assert cat.subtract("jcmc11010", tmp_path, flat=flats, overwrite=True)[0].sky_count_s_pix is None


@pytest.mark.slow
def test_nothing_of_others_is_replaced(shared_data: Path, made: list[Subtracted], tmp_path: Path) -> None:
    folder = tmp_path / "program"
    folder.mkdir()
    copy_with_counts(shared_data / "science_13655_standin" / "jcmc11e6q_flt.fits.gz", folder / "jcmc11e6q_flt.fits")
    before = (folder / "jcmc11e6q_flt.fits").read_bytes()
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.ingest([shared_data / "darks_13961", folder])
    with pytest.raises(UsageError, match="is the input itself"):
        catalog.subtract("jcmc11e6q", folder, combine="nearest")
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(folder / "jcmc11e6q_flt.fits", other)
    with pytest.raises(UsageError, match="was not made by sbcdark"):
        catalog.subtract("jcmc11e6q", other, combine="nearest", overwrite=True)
    assert (folder / "jcmc11e6q_flt.fits").read_bytes() == before == (other / "jcmc11e6q_flt.fits").read_bytes()
    # What is subtracted already is not subtracted again.
    shutil.copy(made[1].flt, folder)
    report = catalog.ingest([folder])
    (ignored,) = report.ignored_files
    assert ignored["reason"] == "made by sbcdark subtract: its dark is already subtracted"
    fits.delval(folder / "jcmc11e6q_flt.fits", "DRKVERS")
    catalog.ingest([folder])
    with pytest.raises(UsageError, match="the dark is already subtracted"):
        catalog.subtract("jcmc11e6q", tmp_path / "twice")


@pytest.mark.slow
def test_prism_is_subtracted_and_not_drizzled(shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "program"
    folder.mkdir()
    source = shared_data / "science_13655_standin" / "jcmc11e6q_flt.fits.gz"
    # A prism's FLT may lack what a drizzle needs.
    copy_with_counts(source, folder / "jcmc11e6q_flt.fits", FILTER1="PR130L", IDCSCALE=None, OCX10=None)
    catalog = Catalog(tmp_path / "catalog.db")
    assert catalog.ingest([shared_data / "darks_13961", folder]).rejected == 0
    (one,) = catalog.subtract("jcmc11e6q", tmp_path / "out")
    assert fits.getheader(one.flt)["FILTER1"] == "PR130L"
    with pytest.raises(UsageError, match="prism are not drizzled") as caught:
        catalog.run("jcmc11e6q", tmp_path / "products")
    assert "sbcdark subtract jcmc11e6q" in caught.value.todo
