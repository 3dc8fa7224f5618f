"""Products are written with their headers, and nothing half-written ever has a final name."""

from __future__ import annotations

import errno
import resource
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from torture.disks import small_disk

from sbcdark.catalog.errors import SbcdarkError
from sbcdark.pipeline.drizzling.drizzled_product import DrizzledProduct
from sbcdark.pipeline.frames.fits_output import read_cards, write_dark_product, write_science_product
from sbcdark.pipeline.frames.tables import table_hdu
from sbcdark.pipeline.simulation.files import write_simulated
from sbcdark.pipeline.simulation.simulated_archive import SimulatedFile

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def product() -> DrizzledProduct:
    """Return a product with the headers of one, of 4.8 MB an image."""
    weight = np.ones((1000, 1200), np.float32)
    weight[1, 2] = 0
    science = np.where(weight > 0, np.float32(7.0), np.float32(np.nan))
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(science, name="SCI"), fits.ImageHDU(weight, name="WHT")])
    hdus["SCI"].header["CRPIX1"] = 600.5
    hdus.append(fits.ImageHDU(name="CTX"))
    return DrizzledProduct(science, weight, WCS(hdus["SCI"].header), hdus, (), "3")


def test_half_written_file_never_has_the_final_name(product: DrizzledProduct, tmp_path: Path) -> None:
    target = tmp_path / "copy.fits"
    target.write_text("what was there before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))  # a file of 10 MB breaks off at the first
    try:
        with pytest.raises(SbcdarkError, match=r"Cannot write .*copy\.fits") as caught:
            write_science_product(target, product.hdus, product.science, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.todo
    assert target.read_text() == "what was there before"
    assert [path.name for path in tmp_path.iterdir()] == ["copy.fits"]


def test_disk_that_is_really_full_says_so(product: DrizzledProduct, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2**20) as disk:
        if disk is None:
            pytest.skip("only root may mount a small disk")
        with pytest.raises(SbcdarkError, match=r"the disk is full\. Free some space") as caught:
            write_science_product(disk.path / "copy.fits", product.hdus, product.science, {})
        assert "\n" not in str(caught.value)
        assert list(disk.path.iterdir()) == []


def test_full_disk_says_so(product: DrizzledProduct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Any, name: Path, **__: Any) -> None:
        name.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fits.HDUList, "writeto", full)
    with pytest.raises(SbcdarkError, match=r"No space left on device.*Free some space"):
        write_science_product(tmp_path / "copy.fits", product.hdus, product.science, {})
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_missing_is_told(product: DrizzledProduct, tmp_path: Path) -> None:
    with pytest.raises(SbcdarkError, match="Cannot write"):
        write_science_product(tmp_path / "missing" / "copy.fits", product.hdus, product.science, {})


def test_cards_are_header_safe(product: DrizzledProduct, tmp_path: Path) -> None:
    path = tmp_path / "product.fits"
    cards = {
        "DARKRULE": "glow",
        "DARKAMP": np.float32(0.5),
        "DARKBASE": float("nan"),
        "DARKLIST": "jcrx01iiq " * 50,
        "MASTERDARK_RULE": "it's\n\x1b[31mred\x00\u00e9",
        "MASTERDARK_LONG": "'" * 200,
        "hostile": "x" * 10_000,
    }
    write_science_product(path, product.hdus, product.science, cards)
    with fits.open(path) as hdus:
        hdus.verify("exception")
        header = hdus[0].header
        assert header["DARKRULE"] == "glow"
        assert header["DARKAMP"] == 0.5
        assert header["DARKBASE"] is None
        assert header["DARKLIST"] == ("jcrx01iiq " * 50).rstrip()
        assert header["MASTERDARK_RULE"] == "it's[31mred?"
        assert set(header["MASTERDARK_LONG"]) == {"'"}
        assert len(header["HOSTILE"]) == 1000
        assert header["FILENAME"] == "product.fits"
    write_science_product(path, product.hdus, product.science, {"DARKRULE": "box"})
    assert fits.getheader(path).count("DARKRULE") == 1
    assert fits.getheader(path)["DARKRULE"] == "box"


@pytest.mark.parametrize("keyword", ["NAXIS", "naxis1", "SIMPLE", "END", "A=B", "", "TAB\tTAB", "L\u00c4NGE", "X" * 41])
def test_keyword_that_would_break_the_file_is_refused(product: DrizzledProduct, tmp_path: Path, keyword: str) -> None:
    with pytest.raises(ValueError, match="not allowed as the keyword"):
        write_science_product(tmp_path / "product.fits", product.hdus, product.science, {keyword: 1})
    assert list(tmp_path.iterdir()) == []


def test_history_is_in_sentences_and_the_error_has_a_comment(product: DrizzledProduct, tmp_path: Path) -> None:
    history = [
        "Made by sbcdark with: sbcdark run A.",
        "The dark of jcmc11ctq comes from " + "jcrx01iiq, " * 20 + "\x1b[31m.",
    ]
    image = np.ones((1000, 1200), np.float32)
    tables = [table_hdu("DARKS", [{"dark": "jcrx01iiq", "delta_temperature_c": 0.5}], ["dark", "delta_temperature_c"])]
    write_dark_product(tmp_path / "a.fits", product.hdus, image, image, {"DRKINPUT": "abc"}, history, tables)
    write_science_product(tmp_path / "b.fits", product.hdus, product.science, {"DRKINPUT": "abc"}, history[:1])
    with fits.open(tmp_path / "a.fits") as hdus:
        hdus.verify("exception")
        told = list(hdus[0].header["HISTORY"])
        assert told[0] == history[0]
        assert told[1].startswith("The dark of jcmc11ctq comes from jcrx01iiq, ")
        assert all(len(line) <= 72 and line.isprintable() for line in told)
        assert "errors of the photometry" in " ".join(hdus["ERR"].header["COMMENT"])
        assert "COMMENT" not in hdus["SCI"].header
        assert hdus["DARKS"].data["dark"].tolist() == ["jcrx01iiq"]
        assert hdus["DARKS"].columns["delta_temperature_c"].unit == "Celsius"
        assert hdus[0].header["NEXTEND"] == len(hdus) - 1 == 3
    # One product's text does not go into the next.
    assert list(fits.getheader(tmp_path / "b.fits")["HISTORY"])[:1] == history[:1]
    assert "HISTORY" not in product.hdus[0].header


def test_products_hold_their_images_and_nothing_empty(product: DrizzledProduct, tmp_path: Path) -> None:
    write_science_product(tmp_path / "a.fits", product.hdus, product.science, {"DRKINPUT": "abc"})
    dark, error = np.full((1000, 1200), 2.0, np.float32), np.full((1000, 1200), 0.5, np.float32)
    write_dark_product(tmp_path / "b.fits", product.hdus, dark, error, {"DRKINPUT": "abc"})
    with fits.open(tmp_path / "a.fits") as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "WHT"]
        assert hdus[0].header["NEXTEND"] == 2
        np.testing.assert_array_equal(hdus["SCI"].data, product.science)
        np.testing.assert_array_equal(hdus["WHT"].data, product.weight)
    with fits.open(tmp_path / "b.fits") as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "ERR"]
        np.testing.assert_array_equal(hdus["SCI"].data, dark)
        np.testing.assert_array_equal(hdus["ERR"].data, error)
        assert hdus["ERR"].header["CRPIX1"] == hdus["SCI"].header["CRPIX1"] == 600.5
    assert read_cards(tmp_path / "b.fits") == {"DRKINPUT": "abc"}
    (tmp_path / "c.fits").write_text("no FITS")
    assert read_cards(tmp_path / "c.fits") == {}


def test_simulated_file_without_image_is_written(tmp_path: Path) -> None:
    write_simulated(tmp_path / "a.fits", SimulatedFile("a.fits", (("ORIGIN", "here", "where"),), ()))
    assert fits.getheader(tmp_path / "a.fits")["ORIGIN"] == "here"
