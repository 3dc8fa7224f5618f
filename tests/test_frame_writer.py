"""Frames are copied with all that AstroDrizzle needs, and nothing half-written ever has a final name."""

from __future__ import annotations

import errno
import gzip
import resource
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from torture.disks import small_disk

from sbcdark.catalog.errors import BadFileError, SbcdarkError
from sbcdark.pipeline.frame_writer import annotate, publish_drizzled, write_science_copy, write_simulated
from sbcdark.pipeline.simulate import Parameters, SimulatedFile, simulate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def flt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = next(file for file in simulate(Parameters(number_of_darks=0)).files() if file.name.endswith("_flt.fits"))
    path = tmp_path_factory.mktemp("flt") / file.name
    write_simulated(path, file)
    return path


def test_copy_of_a_gzipped_flt_keeps_all_but_the_image(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "science_13655_standin" / "jcmc11ctq_flt.fits.gz"
    science = np.random.default_rng(1).normal(size=(1024, 1024))
    write_science_copy(source, tmp_path / "copy_flt.fits", science, extra={"COMBINE": "model"})
    with fits.open(source) as before, fits.open(tmp_path / "copy_flt.fits") as after:
        assert [hdu.name for hdu in before] == [hdu.name for hdu in after]
        np.testing.assert_array_equal(after["SCI"].data, science.astype(np.float32))
        np.testing.assert_array_equal(after["ERR"].data, before["ERR"].data)
        np.testing.assert_array_equal(after["DQ"].data, before["DQ"].data)
        assert after[0].header["COMBINE"] == "model"
        assert after[0].header["FILENAME"] == "copy_flt.fits"
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            ignored = {"COMBINE", "FILENAME"} if number == 0 else set()
            assert {card.image for card in old.header.cards if card.keyword not in ignored} == {
                card.image for card in new.header.cards if card.keyword not in ignored
            }


def test_copy_replaces_the_error_array(flt: Path, tmp_path: Path) -> None:
    error = np.full((1024, 1024), 0.25)
    write_science_copy(flt, tmp_path / "copy.fits", np.zeros((1024, 1024)), error)
    assert (fits.getdata(tmp_path / "copy.fits", "ERR") == 0.25).all()
    assert fits.getdata(tmp_path / "copy.fits", "SCI").dtype == np.dtype(">f4")


def test_image_of_another_shape_is_refused(flt: Path, tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=r"shape \(1024, 1024\).*\(512, 512\)"):
        write_science_copy(flt, tmp_path / "copy.fits", np.zeros((512, 512)))
    assert list(tmp_path.iterdir()) == []


def test_raw_file_is_refused(tmp_path: Path) -> None:
    file = next(simulate(Parameters(number_of_darks=1, associations=False)).files())
    write_simulated(tmp_path / file.name, file)
    with pytest.raises(BadFileError, match=r"ERR extension .* holds no array"):
        write_science_copy(tmp_path / file.name, tmp_path / "copy.fits", np.zeros((1024, 1024)), np.zeros((1024, 1024)))


@pytest.mark.parametrize("share", [0.0, 1e-5, 1e-3, 0.3, 0.9, 0.9999])
@pytest.mark.parametrize("name", ["cut.fits", "cut.fits.gz"])
def test_truncated_source_is_refused_and_leaves_nothing(flt: Path, tmp_path: Path, name: str, share: float) -> None:
    content = flt.read_bytes() if name == "cut.fits" else gzip.compress(flt.read_bytes(), 1)
    (tmp_path / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(BadFileError, match=r"cannot be trusted: (no FITS|its FITS|its gzip|truncated)"):
        write_science_copy(tmp_path / name, tmp_path / "copy.fits", np.zeros((1024, 1024)))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_half_written_file_never_has_the_final_name(flt: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.fits"
    target.write_text("what was there before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))  # a file of 10 MB breaks off at the first
    try:
        with pytest.raises(SbcdarkError, match=r"copy\.fits could not be written") as caught:
            write_science_copy(flt, target, np.zeros((1024, 1024)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.todo
    assert target.read_text() == "what was there before"
    assert [path.name for path in tmp_path.iterdir()] == ["copy.fits"]


def test_disk_that_is_really_full_says_so(flt: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2**20) as disk:
        if disk is None:
            pytest.skip("only root may mount a small disk")
        with pytest.raises(SbcdarkError, match=r"the disk is full\. Free some space") as caught:
            write_science_copy(flt, disk.path / "copy.fits", np.zeros((1024, 1024)))
        assert "\n" not in str(caught.value)
        assert list(disk.path.iterdir()) == []


def test_full_disk_says_so(flt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Any, name: Path, **__: Any) -> None:
        name.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fits.HDUList, "writeto", full)
    with pytest.raises(SbcdarkError, match=r"No space left on device.*Free some space"):
        write_science_copy(flt, tmp_path / "copy.fits", np.zeros((1024, 1024)))
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_missing_is_told(flt: Path, tmp_path: Path) -> None:
    with pytest.raises(SbcdarkError, match="could not be written"):
        write_science_copy(flt, tmp_path / "missing" / "copy.fits", np.zeros((1024, 1024)))


def test_annotation_is_header_safe(flt: Path, tmp_path: Path) -> None:
    path = shutil.copy(flt, tmp_path / "product.fits")
    annotate(
        path,
        {
            "DARKRULE": "glow",
            "DARKAMP": np.float32(0.5),
            "DARKBASE": float("nan"),
            "DARKLIST": "jcrx01iiq " * 50,
            "MASTERDARK_RULE": "it's\n\x1b[31mred\x00\u00e9",
            "MASTERDARK_LONG": "'" * 200,
            "hostile": "x" * 10_000,
        },
    )
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
        np.testing.assert_array_equal(hdus["SCI"].data, fits.getdata(flt, "SCI"))
    annotate(path, {"DARKRULE": "box"})
    assert fits.getheader(path)["DARKRULE"] == "box"
    assert fits.getheader(path).count("DARKRULE") == 1


@pytest.mark.parametrize("keyword", ["NAXIS", "naxis1", "SIMPLE", "END", "A=B", "", "TAB\tTAB", "L\u00c4NGE", "X" * 41])
def test_keyword_that_would_break_the_file_is_refused(flt: Path, tmp_path: Path, keyword: str) -> None:
    path = shutil.copy(flt, tmp_path / "product.fits")
    with pytest.raises(ValueError, match="cannot be the keyword"):
        annotate(path, {keyword: 1})
    assert path.read_bytes() == flt.read_bytes()


def product(path: Path, weight: np.ndarray[Any, np.dtype[np.float32]]) -> Path:
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.full((3, 4), 7.0, np.float32), name="SCI")]
    fits.HDUList([*hdus, fits.ImageHDU(weight, name="WHT"), fits.ImageHDU(name="CTX")]).writeto(path)
    return path


def test_published_product_is_blank_without_weight(tmp_path: Path) -> None:
    weight = np.ones((3, 4), np.float32)
    weight[1, 2] = 0
    assert publish_drizzled(product(tmp_path / "a.fits", weight), tmp_path / "b.fits") == (3, 4)
    with fits.open(tmp_path / "b.fits") as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "WHT"]
        np.testing.assert_array_equal(np.isnan(hdus["SCI"].data), weight == 0)
        assert hdus[0].header["FILENAME"] == "b.fits"


def test_product_without_any_weight_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="No good pixel"):
        publish_drizzled(product(tmp_path / "a.fits", np.zeros((3, 4), np.float32)), tmp_path / "b.fits")
    assert not (tmp_path / "b.fits").exists()


def test_simulated_file_without_image_is_written(tmp_path: Path) -> None:
    write_simulated(tmp_path / "a.fits", SimulatedFile("a.fits", (("ORIGIN", "here", "where"),), ()))
    assert fits.getheader(tmp_path / "a.fits")["ORIGIN"] == "here"
