"""Pixels that were lost on the way to the ground: DQ 1 and 2 of a RAW or FLT, with a fill value as counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.io import fits
from helpers import refused, taken

from sbcdark.catalog.errors import BadFileError
from sbcdark.pipeline.detector.regions import BOX, QUIET
from sbcdark.pipeline.frames.exposure_files import parse, read_file
from sbcdark.pipeline.frames.lost_pixels import lost_pixels
from sbcdark.pipeline.frames.pixels import read_dark
from sbcdark.pipeline.frames.untrusted_fits import UnsoundError

if TYPE_CHECKING:
    from pathlib import Path

ROWS = slice(40, 60)


def with_lost_rows(source: Path, target: Path, flag: int = 2) -> Path:
    """Copy a RAW or FLT with rows that are 0 and flagged."""
    with fits.open(source) as hdus:
        hdus["SCI"].data[ROWS] = 0
        if hdus["DQ"].data is None:
            quality = fits.ImageHDU(np.zeros((1024, 1024), np.int16), name="DQ", ver=1)
            hdus[[hdu.name for hdu in hdus].index("DQ")] = quality
        hdus["DQ"].data[ROWS] |= flag
        hdus.writeto(target, overwrite=True)
    return target


@pytest.fixture
def dark(shared_data: Path) -> Path:
    return shared_data / "darks_13961" / "jcrx01iyq_raw.fits.gz"


@pytest.fixture
def flt(shared_data: Path) -> Path:
    return shared_data / "science_13655_standin" / "jcmc11e6q_flt.fits.gz"


@pytest.mark.parametrize("flag", [1, 2])
def test_a_dark_with_lost_pixels_is_rejected(dark: Path, tmp_path: Path, flag: int) -> None:
    lossy = with_lost_rows(dark, tmp_path / "jcrx01iyq_raw.fits", flag)
    assert "the dark lacks 20480 pixels, lost" in refused(read_file(lossy))
    # A catalog of an earlier release may hold it, and so may one of a server's files, of which only parts are read.
    with pytest.raises(BadFileError, match="lacks 20480 pixels, lost"):
        read_dark(lossy)


def test_a_dark_with_pixels_that_are_not_finite_is_rejected(dark: Path, tmp_path: Path) -> None:
    """One of them would make the templates of all darks blank."""
    blank = tmp_path / "jcrx01iyq_raw.fits"
    with fits.open(dark) as hdus:
        hdus["SCI"].data = hdus["SCI"].data.astype(np.float32)
        hdus["SCI"].data[700:710, 600:610] = np.nan
        hdus.writeto(blank)
    assert "the dark has 100 pixels without a finite value" in refused(read_file(blank))
    with pytest.raises(BadFileError, match="has 100 pixels without a finite value"):
        read_dark(blank)


def test_other_flags_of_a_raw_lose_nothing(dark: Path, tmp_path: Path) -> None:
    flagged = with_lost_rows(dark, tmp_path / "jcrx01iyq_raw.fits", flag=4)
    assert taken(read_file(flagged)).exposure is not None
    assert read_dark(flagged).shape == (1024, 1024)


def test_lost_pixels_of_an_flt_do_not_lower_its_rates(flt: Path, tmp_path: Path) -> None:
    before, after = (
        {one.region: one for one in exposure.measurements}
        for path in (flt, with_lost_rows(flt, tmp_path / "jcmc11e6q_flt.fits"))
        if (exposure := taken(read_file(path)).exposure) is not None
    )
    assert after["box"] == before["box"]
    assert before["quiet"].good_pixels - after["quiet"].good_pixels == 20 * 1024
    rate, error = after["quiet"].rate_count_s_pix, before["quiet"].rate_err_count_s_pix
    assert rate == pytest.approx(before["quiet"].rate_count_s_pix, abs=3 * error)
    with_holes = after["quiet"].counts / before["quiet"].good_pixels / 1020.0
    assert with_holes < before["quiet"].rate_count_s_pix - 3 * error


def test_an_flt_has_the_same_rates_on_a_server(flt: Path, tmp_path: Path) -> None:
    lossy = with_lost_rows(flt, tmp_path / "jcmc11e6q_flt.fits")
    here, there = taken(read_file(lossy)).exposure, parse(lossy.read_bytes(), "FLT", [BOX, QUIET])[0]
    assert here is not None
    assert there is not None
    assert there.measurements == here.measurements[:2]


def test_only_the_rows_that_are_read_are_looked_at(flt: Path, tmp_path: Path) -> None:
    lossy = with_lost_rows(flt, tmp_path / "jcmc11e6q_flt.fits")
    with fits.open(lossy) as hdus:
        assert lost_pixels(hdus, [slice(BOX.y0, BOX.y1)]) is None
        lost = lost_pixels(hdus, [slice(QUIET.y0, QUIET.y1)])
        assert lost is not None
        assert np.array_equal(np.flatnonzero(lost.any(axis=1)), np.arange(40, 60))


def test_lost_rows_of_a_dark_on_a_server_are_seen_where_it_is_read(dark: Path, tmp_path: Path) -> None:
    content = with_lost_rows(dark, tmp_path / "jcrx01iyq_raw.fits").read_bytes()
    with pytest.raises(UnsoundError, match="lacks 20480 pixels"):
        parse(content, "RAW", [QUIET])
    assert parse(content, "RAW", [BOX])[0] is not None


def test_a_tile_compressed_file_says_so(flt: Path, tmp_path: Path) -> None:
    """As `fpack -F` leaves it, under the name of the plain file."""
    packed = tmp_path / "jcmc11e6q_flt.fits"
    with fits.open(flt) as hdus:
        image = fits.CompImageHDU(hdus["SCI"].data, hdus["SCI"].header, name="SCI", quantize_level=0)
        fits.HDUList([hdus[0].copy(), image, hdus["ERR"].copy(), hdus["DQ"].copy()]).writeto(packed)
        fits.setval(packed, "NEXTEND", value=3)
    assert "tile-compressed" in refused(read_file(packed))
