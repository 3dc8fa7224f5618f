"""Which pixels of a frame count, and the copy that AstroDrizzle gets."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from helpers import with_card

from sbcdark.catalog.errors import BadFileError
from sbcdark.catalog.records import FileReading, Refusal
from sbcdark.pipeline.frames.exposure_files import read_file
from sbcdark.pipeline.frames.pixels import drizzle_input, read_science, usable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sbcdark.pipeline.drizzling.drizzle import Drizzler


@pytest.fixture(scope="module")
def flt(shared_data: Path) -> bytes:
    return gzip.decompress((shared_data / "science_13655_standin" / "jcmc11ctq_flt.fits.gz").read_bytes())


def changed(content: bytes, change: Callable[[Any], None]) -> bytes:
    out = io.BytesIO()
    with fits.open(io.BytesIO(content)) as hdus:
        change(hdus)
        hdus.writeto(out, output_verify="ignore")
    return out.getvalue()


def null_quality(hdus: Any) -> None:
    for name in ("ERR", "DQ"):
        header = hdus[name].header
        hdus[name] = fits.ImageHDU(None, header, name=name)
        hdus[name].header["NPIX1"] = hdus[name].header["NPIX2"] = 1024
        hdus[name].header["PIXVALUE"] = 0


def empty_quality(hdus: Any) -> None:
    hdus["DQ"].data[:] = 0


def sci_card(keyword: str, value: str | None) -> Callable[[bytes], bytes]:
    return lambda content: with_card(content, keyword, value, start=content.index(b"XTENSION"))


NEEDED = ("CRPIX1", "CRVAL1", "CD1_1", "IDCSCALE", "IDCV2REF", "OCX10", "CTYPE1")


@pytest.mark.parametrize("value", [None, "'x'", "nan"])
def test_what_a_run_needs_is_judged_at_ingest(tmp_path: Path, flt: bytes, value: str | None) -> None:
    changed_ones = [with_card(flt, "PA_V3", value), *(sci_card(one, value)(flt) for one in NEEDED)]
    if value is not None:
        changed_ones += [sci_card("A_ORDER", value)(flt), sci_card("A_2_0", "'x'")(flt)]
    path = tmp_path / "x_flt.fits"
    for content in changed_ones:
        path.write_bytes(content)
        assert isinstance(read_file(path), Refusal)
        with pytest.raises(BadFileError):
            read_science(path)


def places(mask: np.ndarray[Any, Any]) -> set[tuple[int, int]]:
    return {(int(y), int(x)) for y, x in np.argwhere(mask)}


ODD: dict[str, Callable[[bytes], bytes]] = {
    "a card that cannot be read": lambda c: with_card(c, "PROCTIME", "nan"),
    "a card of SCI that cannot be read": sci_card("INHERIT", "'unclosed"),
    "a unit in lower case": sci_card("BUNIT", "'counts'"),
    "a keyword in lower case": lambda c: c.replace(b"CD1_1   =", b"cd1_1   =", 1).replace(
        b"EXPTIME =", b"Exptime =", 1
    ),
    "a program as text": lambda c: with_card(c, "PROPOSID", "'13655'"),
    "no name of the distortion": lambda c: with_card(c, "NPOLFILE", None),
    "no name of the exposure": sci_card("EXPNAME", None),
    "no version of SCI": sci_card("EXTVER", None),
    "no mean dark": sci_card("MEANDARK", None),
    "no number of good pixels": sci_card("NGOODPIX", None),
    "no telescope": lambda c: with_card(c, "TELESCOP", None),
    "no end of the exposure": lambda c: with_card(c, "EXPEND", None),
}


Drizzled = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
"""Science and weight of a product."""


def drizzled(drizzler: Drizzler, folder: Path, content: bytes) -> Drizzled:
    path = folder / "x_flt.fits"
    path.write_bytes(content)
    assert isinstance(read_file(path), FileReading)
    frame = read_science(path)
    drizzle_input(frame, ~usable(frame, None), folder / "input_flt.fits")
    product = drizzler.drizzle([folder / "input_flt.fits"], folder=folder, log=folder / "log")
    return product.science, product.weight


@pytest.fixture(scope="module")
def sound(flt: bytes, drizzler: Drizzler, tmp_path_factory: pytest.TempPathFactory) -> Drizzled:
    return drizzled(drizzler, tmp_path_factory.mktemp("sound"), flt)


@pytest.mark.parametrize(
    "what",
    [name if name.startswith("a ") else pytest.param(name, marks=[pytest.mark.slow, pytest.mark.long]) for name in ODD],
)
def test_odd_frames_are_drizzled_as_sound_ones(
    tmp_path: Path, flt: bytes, sound: Drizzled, drizzler: Drizzler, what: str
) -> None:
    for one, other in zip(sound, drizzled(drizzler, tmp_path, ODD[what](flt)), strict=True):
        assert np.array_equal(one, other, equal_nan=True)


@pytest.mark.slow
def test_null_arrays_are_drizzled_as_full_ones(tmp_path: Path, flt: bytes, drizzler: Drizzler) -> None:
    (tmp_path / "sound").mkdir()
    sound = drizzled(drizzler, tmp_path / "sound", changed(flt, empty_quality))
    odd = drizzled(drizzler, tmp_path, changed(flt, null_quality))
    for one, other in zip(sound, odd, strict=True):
        assert np.array_equal(one, other, equal_nan=True)


def test_sound_frame_is_copied_byte_for_byte(tmp_path: Path, flt: bytes) -> None:
    path = tmp_path / "x_flt.fits"
    path.write_bytes(flt)
    frame = read_science(path)
    assert frame.content == flt
    assert not frame.moving_target
    drizzle_input(frame, ~usable(frame, None), tmp_path / "copy.fits")
    assert (tmp_path / "copy.fits").read_bytes() == flt


@pytest.mark.parametrize("flag", ["T", True])
def test_moving_target_and_solution_are_read(tmp_path: Path, flt: bytes, flag: str | bool) -> None:
    path = tmp_path / "x_flt.fits"
    path.write_bytes(flt)
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["MTFLAG"] = flag
        hdus[1].header["WCSNAME"] = " IDC_a "
    frame = read_science(path)
    assert frame.moving_target
    assert frame.wcs_name == "IDC_a"


def test_bad_pixels_have_no_weight_and_no_value(tmp_path: Path, flt: bytes, drizzler: Drizzler) -> None:
    def change(hdus: Any) -> None:
        hdus["DQ"].data[:] = 0
        hdus["DQ"].data[10, 10] = 16
        hdus["SCI"].data[:] = 1.0
        hdus["SCI"].data[20, 20] = np.nan
        hdus["SCI"].data[30, 30] = -0.6
        hdus["SCI"].data[40, 40] = -0.4
        hdus["DQ"].data[50, 50] = 4096

    path = tmp_path / "x_flt.fits"
    path.write_bytes(changed(flt, change))
    frame = read_science(path)
    flat = np.ones((1024, 1024))
    flat[60, 60], flat[61, 61], flat[62, 62] = np.nan, 0.009, 101.0
    good = usable(frame, flat)
    own = {(10, 10), (20, 20), (30, 30)}
    bad = own | {(60, 60), (61, 61), (62, 62)}
    assert places(~good) == bad
    assert places(~usable(frame, None)) == own
    drizzle_input(frame, ~good, tmp_path / "copy_flt.fits")
    with fits.open(tmp_path / "copy_flt.fits") as hdus:
        science, quality = hdus["SCI"].data, hdus["DQ"].data
        assert quality.dtype.kind == "i"
        assert quality.dtype.itemsize == 2
        assert (science[10, 10], quality[10, 10]) == (1.0, 16)
        for place in bad - {(10, 10)}:
            assert (science[place], quality[place]) == (0.0, 512)
        assert np.count_nonzero(science != 1) == 6  # (40, 40) keeps its value
        assert np.count_nonzero(quality) == 7
    product = drizzler.drizzle([tmp_path / "copy_flt.fits"], folder=tmp_path, log=tmp_path / "log")
    assert np.isfinite(product.science[product.weight > 0]).all()
    assert places(product.frames[0].weight == 0) == bad


@pytest.mark.parametrize(
    ("pixels", "quality", "flag"),
    [
        (np.uint16, np.int16, 32),
        (np.int16, np.int16, 32),
        (np.float64, np.uint16, 0x8000),
        (np.float32, np.int32, 1 << 20),
        (np.float32, np.uint8, 128),
    ],
)
def test_pixels_of_other_types_are_drizzled_alike(
    tmp_path: Path, flt: bytes, drizzler: Drizzler, pixels: type, quality: type, flag: int
) -> None:
    """SCI of whole counts, one of them above 32767; a flag that no usual DQ array has."""

    def convert(hdus: Any) -> None:
        counts = np.round(hdus["SCI"].data)
        counts[500, 500] = 40_000
        hdus["SCI"].data = counts.astype(np.uint16).view(np.int16) if pixels is np.int16 else counts.astype(pixels)
        flags = np.zeros((1024, 1024), quality)
        flags[600:700, 300:400] = flag
        hdus["DQ"].data = flags

    path = tmp_path / "x_flt.fits"
    path.write_bytes(changed(flt, convert))
    frame = read_science(path)
    good = usable(frame, None)
    assert not good[600:700, 300:400].any()
    assert good.sum() == 1024**2 - 10_000
    drizzle_input(frame, ~good, tmp_path / "input_flt.fits")
    product = drizzler.drizzle([tmp_path / "input_flt.fits"], folder=tmp_path, log=tmp_path / "log")
    assert np.array_equal(product.frames[0].weight > 0, good)
    total = np.nansum(product.science, dtype=np.float64)
    # A native pixel has the area of 1.6 product pixels.
    assert total == pytest.approx(1.6 * frame.science[good].sum() / 1020.0, rel=0.03)
