"""Numbers of headers and pixels that cannot be: none reaches the catalog."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import SCI_HEADER, unpacked_raw, with_card

from sbcdark.catalog.records import ExposureFacts, FileReading, Refusal
from sbcdark.pipeline.detector.regions import BOX
from sbcdark.pipeline.frames.exposure_files import read_file
from sbcdark.pipeline.ingest.ingestion import ingest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import sqlalchemy as sa
    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def raw(shared_data: Path) -> bytes:
    return unpacked_raw(shared_data)


@pytest.fixture(scope="module")
def flt(shared_data: Path) -> bytes:
    return gzip.decompress((shared_data / "science_13655_standin" / "jcmc11ctq_flt.fits.gz").read_bytes())


@pytest.fixture(scope="module")
def asn(shared_data: Path) -> bytes:
    return (shared_data / "associations_13655" / "jcmc11010_asn.fits").read_bytes()


def reason(tmp_path: Path, content: bytes, kind: str) -> str:
    path = tmp_path / f"x_{kind}.fits"
    path.write_bytes(content)
    result = read_file(path)
    assert isinstance(result, Refusal)
    assert not result.ignored
    return result.reason


def facts(tmp_path: Path, content: bytes, kind: str = "raw") -> ExposureFacts:
    path = tmp_path / f"x_{kind}.fits"
    path.write_bytes(content)
    result = read_file(path)
    assert isinstance(result, FileReading)
    assert result.exposure is not None
    return result.exposure


def pixels_of(content: bytes) -> int:
    """Return where the pixels of SCI begin."""
    header = content.index(b"XTENSION")
    return header + -(-(content.index(b"END" + b" " * 77, header) + 80 - header) // 2880) * 2880


def with_pixels(flt: bytes, change: Callable[[NDArray[np.float32]], None]) -> bytes:
    """Return an FLT whose SCI pixels are changed, byte by byte where they lie."""
    start = pixels_of(flt)
    pixels = np.frombuffer(flt, ">f4", 1024 * 1024, start).reshape(1024, 1024).copy()
    change(pixels)
    return flt[:start] + pixels.tobytes() + flt[start + pixels.nbytes :]


@pytest.mark.parametrize("value", ["1E-320", "1E-300", "0.001"])
def test_exposure_of_next_to_nothing_is_rejected(tmp_path: Path, raw: bytes, value: str) -> None:
    # Its rates would be infinite, and 1E-320 s times pixels zero.
    assert "EXPTIME" in reason(tmp_path, with_card(raw, "EXPTIME", value), "raw")
    start = pixels_of(raw)
    empty = raw[:start] + bytes(2 * 1024 * 1024) + raw[start + 2 * 1024 * 1024 :]
    assert facts(tmp_path, with_card(empty, "EXPTIME", "0.1")).exptime_s == 0.1


def test_scaled_counts_that_overflow_are_rejected(empty_catalog: sa.Engine, tmp_path: Path, raw: bytes) -> None:
    at = raw.index(b"EXPNAME ", SCI_HEADER)
    scaled = raw[:at] + b"BSCALE  =              1.0E030".ljust(80) + raw[at + 80 :]
    assert re.search(r"SCI has a pixel of [12]\.\d+e\+33", reason(tmp_path, scaled, "raw"))
    # What is sound beside it in one transaction is stored all the same.
    (tmp_path / "good_raw.fits").write_bytes(raw)
    report = ingest(empty_catalog, [tmp_path], workers=1)
    assert (report.added, report.rejected) == (1, 1)


@pytest.mark.parametrize("value", [1e30, -1e30, 3e38, 1e8])
def test_pixel_that_cannot_be_is_rejected(tmp_path: Path, flt: bytes, value: float) -> None:
    def change(pixels: NDArray[np.float32]) -> None:
        pixels[10, 10] = value

    assert "SCI has a pixel of" in reason(tmp_path, with_pixels(flt, change), "flt")


def test_pixels_that_are_no_numbers_are_left_out(tmp_path: Path, flt: bytes) -> None:
    def change(pixels: NDArray[np.float32]) -> None:
        pixels[BOX.slices] = 1.0
        pixels[700, 600:604] = (np.nan, np.inf, -np.inf, 1e-42)
        pixels[701, 600] = -0.0

    box = next(one for one in facts(tmp_path, with_pixels(flt, change), "flt").measurements if one.region == "box")
    assert box.good_pixels == 40_000 - 3
    assert box.counts == pytest.approx(40_000 - 5, abs=1e-6)


def test_region_without_any_number_is_rejected(tmp_path: Path, flt: bytes) -> None:
    def change(pixels: NDArray[np.float32]) -> None:
        pixels[BOX.slices] = np.nan

    # Values of another file of the exposure would stand beside it otherwise.
    assert "no finite pixel in a measured region" in reason(tmp_path, with_pixels(flt, change), "flt")


def test_sum_below_nothing_is_rejected_unless_a_dark_was_subtracted(tmp_path: Path, flt: bytes) -> None:
    def change(pixels: NDArray[np.float32]) -> None:
        pixels[BOX.slices] = -0.01

    content = with_pixels(flt, change)
    assert "negative sum" in reason(tmp_path, with_card(content, "DARKCORR", "'OMIT    '"), "flt")
    box = facts(tmp_path, with_card(content, "DARKCORR", "'COMPLETE'"), "flt").measurements[0]
    assert box.counts == pytest.approx(-400.0, rel=1e-6)
    assert box.rate_err_count_s_pix > 0


def test_subtraction_that_the_header_does_not_tell_is_rejected(tmp_path: Path, flt: bytes) -> None:
    def change(pixels: NDArray[np.float32]) -> None:
        pixels -= 0.001

    content = with_pixels(flt, change)
    # The sums stay positive, but nearly all pixels held no count.
    assert re.search(r"9\d% of the pixels of SCI are negative", reason(tmp_path, content, "flt"))
    assert facts(tmp_path, with_card(content, "DARKCORR", "'COMPLETE'"), "flt").dark_correction == "COMPLETE"


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        *(("BINAXIS1", "2"), ("BINAXIS2", "4"), ("LTV1", "-100.0"), ("LTV2", "0.5")),
        *(("LTM1_1", "0.5"), ("LTM2_2", "2"), ("SIZAXIS1", "512"), ("SIZAXIS2", "2048")),
    ],
)
def test_pixels_that_are_binned_or_shifted_are_rejected(
    tmp_path: Path, raw: bytes, flt: bytes, keyword: str, value: str
) -> None:
    for content, kind in ((raw, "raw"), (flt, "flt")):
        science = content.index(b"XTENSION")
        told = reason(tmp_path, with_card(content, keyword, value, start=science), kind)
        assert told.startswith(f"{keyword} of SCI is {float(value):g}, not")
        assert facts(tmp_path, with_card(content, keyword, None, start=science), kind).rootname


def test_times_that_contradict_each_other_are_doubted(tmp_path: Path, raw: bytes, flt: bytes) -> None:
    for content, kind in ((raw, "raw"), (flt, "flt")):
        whole, told = facts(tmp_path, content, kind), "EXPTIME, which gives the rates, differs from {}; compare them"
        assert whole.doubts == ()
        for seconds, flag in ((100.0, "NORMAL"), (100.0, "INTERRUPTED"), (5000.0, "NORMAL")):
            other = with_card(content, "EXPEND", f"{whole.start_mjd + seconds / 86400:.10f}")
            other = with_card(other, "EXPFLAG", f"'{flag}'")
            doubted = facts(tmp_path, other, kind)
            assert doubted.doubts == (told.format("EXPEND - EXPSTART") + " in the header",)
            assert doubted.exptime_s == whole.exptime_s
        # An interruption makes an exposure shorter than it lasted; overheads and rounding are below 1 %.
        for seconds, flag in ((5000.0, "INTERRUPTED"), (whole.exptime_s * 1.009, "NORMAL")):
            other = with_card(content, "EXPEND", f"{whole.start_mjd + seconds / 86400:.10f}")
            assert facts(tmp_path, with_card(other, "EXPFLAG", f"'{flag}'"), kind).doubts == ()
        # TEXPTIME belongs to sums of exposures.
        total = with_card(content, "EXPEND", None).replace(b"COMMENT ".ljust(80), b"TEXPTIME= 2040.0".ljust(80), 1)
        assert facts(tmp_path, total, kind).doubts == (told.format("TEXPTIME") + " in the header",)


@pytest.mark.parametrize(("keyword", "value", "where"), [("DARKCORR", "'COMPLETE'", 0), ("MEANDARK", "0.0072", 1)])
def test_dark_that_a_dark_was_subtracted_from_is_rejected(
    tmp_path: Path, raw: bytes, keyword: str, value: str, where: int
) -> None:
    content = with_card(raw, keyword, value, start=raw.index(b"XTENSION") if where else 0)
    assert reason(tmp_path, content, "raw") == "a dark was subtracted from this dark (DARKCORR, MEANDARK)"


def test_counts_that_the_detector_cannot_count_are_doubted_or_rejected(tmp_path: Path, raw: bytes, flt: bytes) -> None:
    def one_pixel(pixels: NDArray[np.float32]) -> None:
        pixels[300, 300] = 60_000.0

    start = pixels_of(raw)
    negative = raw[:start] + np.full(1, -3, ">i2").tobytes() + raw[start + 2 :]
    (told,) = facts(tmp_path, negative).doubts
    assert told.endswith("the SBC counts (a negative count of 16 bits reads as 65,536 more); look at the frame")
    (told,) = facts(tmp_path, with_pixels(flt, one_pixel), "flt").doubts
    assert told == "a pixel has more than the 50 count/s that the SBC counts; look at the frame"
    full = raw[:start] + np.full(2**20, 400, ">i2").tobytes() + raw[start + 2**21 :]
    assert reason(tmp_path, full, "raw").endswith("the SBC counts at most 300000 count/s in all")


@pytest.mark.parametrize("value", ["1E300", "-5.0", "NaN", "T", "'x'", "9" * 60])
def test_optional_numbers_that_cannot_be_are_left_out(tmp_path: Path, raw: bytes, flt: bytes, value: str) -> None:
    # A PROCTIME of 1E300 would make a copy the newest for ever.
    assert facts(tmp_path, with_card(raw, "PROCTIME", value)).processed_mjd is None
    science = flt.index(b"XTENSION")
    for keyword in ("PHOTFLAM", "PHOTPLAM"):
        one = facts(tmp_path, with_card(flt, keyword, value, start=science), "flt")
        assert None in {one.photflam_erg_s_cm2_a, one.photplam_a}


def test_program_may_be_written_as_text(tmp_path: Path, raw: bytes) -> None:
    assert facts(tmp_path, with_card(raw, "PROPOSID", "'13961   '")).program == 13961


@pytest.mark.parametrize(
    "value", ["T", "0", "-1", "1000000", "99999999999999999999", "13961.0", "'13 961'", "'x'", "'1e3'"]
)
def test_program_that_cannot_be_is_left_out(tmp_path: Path, raw: bytes, value: str) -> None:
    assert facts(tmp_path, with_card(raw, "PROPOSID", value)).program is None


def test_association_of_nobody_or_of_one_twice_is_rejected(tmp_path: Path, asn: bytes) -> None:
    table = asn.index(b"XTENSION")
    empty = with_card(asn, "NAXIS2", "0", start=table)
    assert reason(tmp_path, empty[: table + 2880 * (-(-(len(asn) - table) // 2880) - 1)], "asn") == "lists 0 members"
    first, second = b"JCMC11CTQ", b"JCMC11E6Q"
    assert first in asn[table:]
    assert second in asn[table:]
    assert "lists jcmc11ctq twice" in reason(tmp_path, asn.replace(second, first), "asn")


@pytest.mark.parametrize("form", ["'1PA(14)'", "'1QA'", "'14J'", "'100A'", "'999A'"])
def test_members_are_short_text(tmp_path: Path, asn: bytes, form: str) -> None:
    # Each row of a variable-length column may claim the whole heap.
    assert "not a short text" in reason(tmp_path, with_card(asn, "TFORM1", form, start=asn.index(b"XTENSION")), "asn")
