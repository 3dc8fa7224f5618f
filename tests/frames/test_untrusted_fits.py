"""Opening what is not trusted: packed files of many parts, FIFOs, files that change, polynomials of any order."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from astropy.io import fits
from helpers import copied, unpacked_raw, with_card

from sbcdark.catalog.errors import BadFileError
from sbcdark.catalog.records import FileReading, FileRecord, Refusal
from sbcdark.pipeline.frames import exposure_files, untrusted_fits
from sbcdark.pipeline.frames.exposure_files import read_file
from sbcdark.pipeline.frames.pixels import drizzle_input, read_dark, read_product, read_science, usable
from sbcdark.pipeline.frames.untrusted_fits import UnsoundError, modified_ns, opened, read_content, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO


@pytest.fixture(scope="module")
def flt(shared_data: Path) -> bytes:
    return gzip.decompress((shared_data / "science_13655_standin" / "jcmc11ctq_flt.fits.gz").read_bytes())


def test_gzip_in_parts_is_joined() -> None:
    text = os.urandom(300_000)
    parts = [gzip.compress(text[place : place + 1000]) for place in range(0, len(text), 1000)]
    assert unpacked(b"".join(parts)) == text
    assert unpacked(gzip.compress(text) + bytes(5000)) == text
    assert unpacked(text) is text


@pytest.mark.parametrize("text", [b"", b"x" * (2**16 - 1), b"x" * 2**16, b"x" * (2**16 + 1)])
def test_gzip_of_any_length_is_unpacked(text: bytes) -> None:
    for level in (0, 1, 9):
        assert unpacked(gzip.compress(text, level)) == text


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_other_packings_are_unpacked(pack: Callable[[bytes], bytes]) -> None:
    text = os.urandom(200_000) + bytes(3_000_000)
    assert unpacked(pack(text)) == text
    assert unpacked(pack(text) + pack(text)) == text + text
    for damaged in (pack(text)[:-1], pack(text) + b"junk", pack(text)[:50_000] + bytes(100) + pack(text)[50_100:]):
        with pytest.raises(UnsoundError, match="stream is broken"):
            unpacked(damaged)


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_bombs_of_other_packings_are_not_unpacked(pack: Callable[[bytes], bytes]) -> None:
    content = pack(bytes(untrusted_fits.LARGEST_FILE + 1))
    tracemalloc.start()
    with pytest.raises(UnsoundError, match="decompresses to more than"):
        unpacked(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * untrusted_fits.LARGEST_FILE


def test_gzip_of_empty_parts_is_given_up() -> None:
    # `gzip` reads on for a quarter of a minute.
    with pytest.raises(UnsoundError, match="more than 2000 parts"):
        unpacked(gzip.compress(b"") * 3_000_000)


@pytest.mark.parametrize(
    "damage", [lambda p: p + b"junk", lambda p: p + bytes(10) + b"x", lambda p: p[:-1], lambda p: p[:12]]
)
def test_gzip_that_is_broken_is_told(damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(UnsoundError, match="gzip stream is broken"):
        unpacked(damage(gzip.compress(b"text" * 1000)))


def test_fifo_in_place_of_a_file_that_was_ingested_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "x_raw.fits"
    os.mkfifo(path)
    with pytest.raises(BadFileError, match="not a regular file"), opened(path):
        pass
    with pytest.raises(BadFileError, match="not a regular file"):
        read_dark(path)
    refusal = read_file(path)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "not a regular file"


def test_device_in_place_of_a_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x_raw.fits"
    path.symlink_to("/dev/zero")
    refusal = read_file(path)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "not a regular file"


def test_file_that_may_not_be_read_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "x_raw.fits"
    path.write_bytes(b"")

    def refuse(name: Path, flags: int) -> int:
        # As root, who may run the tests, every file can be read.
        assert flags == os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        raise PermissionError(13, "Permission denied", str(name))

    monkeypatch.setattr(os, "open", refuse)
    refusal = read_file(path)
    assert isinstance(refusal, Refusal)
    assert (refusal.ignored, refusal.reason) == (False, "cannot be read: Permission denied")


def test_path_may_be_relative(monkeypatch: pytest.MonkeyPatch, shared_data: Path, tmp_path: Path) -> None:
    (path,) = copied(shared_data, tmp_path / "files", "jcrx01iiq_raw")
    monkeypatch.chdir(path.parent)
    assert read_file(Path(path.name)).uri == path.as_uri()


def test_file_that_changes_while_it_is_read_is_rejected(
    monkeypatch: pytest.MonkeyPatch, shared_data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "x_raw.fits"
    content = unpacked_raw(shared_data)
    path.write_bytes(content[: len(content) // 2])
    read = exposure_files.bounded

    def slowly(file: BinaryIO, size: int) -> bytes:
        # Another process goes on with its download between two reads.
        writer = threading.Thread(target=path.write_bytes, args=(content,))
        writer.start()
        writer.join()
        return read(file, size)

    monkeypatch.setattr(exposure_files, "bounded", slowly)
    refusal = read_file(path)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "changed while it was read"
    monkeypatch.undo()
    assert isinstance(read_file(path), FileReading)


def test_time_beyond_64_bits_is_kept_within(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"")
    status: Any = SimpleNamespace(st_mtime_ns=2**70)
    assert modified_ns(status) == 2**63 - 1
    assert modified_ns(path.stat()) == path.stat().st_mtime_ns


@pytest.mark.parametrize("order", ["1000000", "-1", "'x'", "4.0", "99"])
def test_distortion_of_any_order_is_refused(tmp_path: Path, flt: bytes, order: str) -> None:
    # A reader takes memory for the square of it.
    path = tmp_path / "x_flt.fits"
    path.write_bytes(with_card(flt, "A_ORDER", order, start=flt.index(b"XTENSION")))
    with pytest.raises(BadFileError, match="invalid order"):
        read_science(path)


def test_distortion_that_the_projection_does_not_name_is_refused(
    tmp_path: Path, flt: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x_flt.fits"
    path.write_bytes(with_card(flt, "CTYPE1", "'RA---TAN'", start=flt.index(b"XTENSION")))
    with pytest.raises(BadFileError, match="but CTYPE does not say so"):
        read_science(path)
    # A remark of astropy's on stdout would break JSON.
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("keyword", ["IDCSCALE", "CRVAL1", "CD1_1", "OCX10"])
@pytest.mark.parametrize("value", ["'0.025'", "T", ""])
def test_geometry_that_is_no_number_is_refused(tmp_path: Path, flt: bytes, keyword: str, value: str) -> None:
    path = tmp_path / "x_flt.fits"
    path.write_bytes(with_card(flt, keyword, value, start=flt.index(b"XTENSION")))
    with pytest.raises(BadFileError, match=f"lacks {keyword}"):
        read_science(path)


def test_card_that_is_needed_and_cannot_be_read_is_told(tmp_path: Path, flt: bytes) -> None:
    path = tmp_path / "x_flt.fits"
    path.write_bytes(with_card(flt, "CRVAL2", "'unclosed", start=flt.index(b"XTENSION")))
    with pytest.raises(BadFileError, match="lacks CRVAL2"):
        read_science(path)
    refusal = read_file(path)
    assert isinstance(refusal, Refusal)
    assert "lacks CRVAL2" in refusal.reason


@pytest.mark.parametrize("value", ["'unclosed", "nan", "1,5", "1.2.3"])
def test_card_that_nobody_needs_does_no_harm(tmp_path: Path, flt: bytes, value: str) -> None:
    path = tmp_path / "x_flt.fits"
    content = with_card(flt, "INHERIT", value, start=flt.index(b"XTENSION"))
    path.write_bytes(with_card(content, "PROCTIME", value))
    assert isinstance(read_file(path), FileReading)
    frame = read_science(path)
    drizzle_input(frame, ~usable(frame, None), tmp_path / "input.fits")
    with fits.open(tmp_path / "input.fits") as hdus:
        hdus.verify("exception")
        assert "PROCTIME" not in hdus[0].header
        assert "INHERIT" not in hdus[1].header


def test_file_that_is_not_the_ingested_one_is_not_read(tmp_path: Path, flt: bytes) -> None:
    path = tmp_path / "a b_flt.fits"
    path.write_bytes(flt)
    status = path.stat()
    known = FileRecord(
        1, "FLT", path.as_uri(), len(flt), status.st_mtime_ns, hashlib.sha256(flt).hexdigest(), "present"
    )
    assert read_content(path, known) == flt
    os.utime(path, ns=(0, 0))
    assert read_content(path, known) == flt  # the time alone differs
    with pytest.raises(BadFileError, match="changed after it was ingested: its time differs"):
        read_content(path, replace(known, sha256=None))
    path.write_bytes(with_card(flt, "EXPTIME", "510.0"))
    for use in (read_content, read_science, read_dark):
        with pytest.raises(BadFileError, match="changed after it was ingested: its content differs") as told:
            use(path, known)
        assert told.value.todo == f"Ingest it again: sbcdark ingest '{path}'"
    path.write_bytes(flt + bytes(2880))
    with pytest.raises(BadFileError, match=r"its size differs \(\d+ bytes, not \d+\)"):
        read_content(path, known)


def test_file_of_a_server_is_known_by_its_size_and_checksum(tmp_path: Path) -> None:
    path = tmp_path / "cached"
    path.write_bytes(b"text")
    known = FileRecord(1, "FLT", "https://a.invalid/x_flt.fits", 4, 1, hashlib.sha256(b"text").hexdigest(), "present")
    assert read_content(path, known) == b"text"
    assert read_content(path, replace(known, sha256=None)) == b"text"
    with pytest.raises(BadFileError, match="its content differs"):
        read_content(path, replace(known, sha256="0"))


def test_product_of_our_own_may_be_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flt: bytes) -> None:
    path = tmp_path / "x_drz.fits"
    path.write_bytes(flt)
    monkeypatch.setattr(untrusted_fits, "LARGEST_FILE", len(flt) - 1)
    assert read_product(path).science.shape == (1024, 1024)
    with pytest.raises(BadFileError, match="at most"):
        read_science(path)
    with pytest.raises(BadFileError, match="cannot be read: No such file"):
        read_product(tmp_path / "none.fits")


def test_table_in_place_of_an_image_is_told(tmp_path: Path, shared_data: Path) -> None:
    (path,) = copied(shared_data, tmp_path / "files", "jcmc11010_asn")
    with pytest.raises(BadFileError, match="no SCI"):
        read_product(path)


@pytest.mark.parametrize(("keyword", "value"), [("CTYPE1", "'GLON-CAR-SIP'"), ("A_2_0", "'x'")])
def test_wcs_that_cannot_be_is_told(tmp_path: Path, flt: bytes, keyword: str, value: str) -> None:
    path = tmp_path / "x_flt.fits"
    path.write_bytes(with_card(flt, keyword, value, start=flt.index(b"XTENSION")))
    with pytest.raises(BadFileError, match="WCS is unreadable"):
        read_science(path)


def test_sound_flt_is_read(tmp_path: Path, shared_data: Path) -> None:
    (path,) = copied(shared_data, tmp_path / "files", "jcmc11ctq_flt")
    assert read_science(path).science.shape == (1024, 1024)
