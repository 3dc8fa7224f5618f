"""Files are not trusted: what is broken is refused with a clean reason, in bounded memory, and nothing is raised."""

from __future__ import annotations

import gzip
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.io import fits
from helpers import BLOCK, CARD, SCI_HEADER, dump, renamed, unpacked_raw, with_card

from sbcdark.catalog.records import FileReading, Refusal
from sbcdark.pipeline.detector.rates import count_error
from sbcdark.pipeline.frames import untrusted_fits
from sbcdark.pipeline.frames.exposure_files import read_file
from sbcdark.pipeline.frames.untrusted_fits import LARGEST_FILE, clean
from sbcdark.pipeline.ingest.ingestion import ingest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import sqlalchemy as sa

PIXELS = 1024 * 1024


@pytest.fixture(scope="module")
def raw(shared_data: Path) -> bytes:
    return unpacked_raw(shared_data)


def read(tmp_path: Path, content: bytes, name: str = "x_raw.fits") -> FileReading | Refusal:
    path = tmp_path / name
    path.write_bytes(content)
    return read_file(path)


def refused(tmp_path: Path, content: bytes, name: str = "x_raw.fits") -> Refusal:
    result = read(tmp_path, content, name)
    assert isinstance(result, Refusal)
    assert result.reason.isprintable()
    assert 3 < len(result.reason) < 300
    assert result.size_byte == len(content)
    return result


def sci(keyword: str, value: str | bytes | None) -> Callable[[bytes], bytes]:
    return lambda content: with_card(content, keyword, value, start=SCI_HEADER)


def primary(keyword: str, value: str | bytes | None) -> Callable[[bytes], bytes]:
    return lambda content: with_card(content, keyword, value)


def long_rootname(content: bytes) -> bytes:
    """Return a file whose ROOTNAME is 10 kB of text, on CONTINUE cards."""
    cards = [f"{'ROOTNAME':8}= '{'a' * 66}&'".ljust(CARD)]
    cards += [f"CONTINUE  '{'b' * 66}&'".ljust(CARD) for _ in range(150)]
    cards += ["CONTINUE  'c'".ljust(CARD)]
    at = content.index(b"ROOTNAME= ")
    end = content.index(b"END".ljust(CARD), at)
    header = content[:at] + "".join(cards).encode() + content[at + CARD : end] + b"END".ljust(CARD)
    return header.ljust(-(-len(header) // BLOCK) * BLOCK) + content[SCI_HEADER:]


def rewritten(content: bytes, pixels: np.ndarray[tuple[int, ...], np.dtype[np.generic]], *, name: str = "SCI") -> bytes:
    """Return a sound FITS file with the headers' values of a real one and other pixels."""
    import io  # noqa: PLC0415

    with fits.open(io.BytesIO(content)) as hdus:
        hdus[name] = fits.ImageHDU(pixels, hdus[name].header, name=name)
        out = io.BytesIO()
        hdus.writeto(out, output_verify="ignore")
    return out.getvalue()


BAD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "text": (lambda _: b"this is no FITS file at all\n" * 200, "not a FITS file"),
    "empty": (lambda _: b"", "not a FITS file"),
    "zeros": (lambda _: bytes(BLOCK * 3), "not a FITS file"),
    "html": (lambda _: b"<html>404 not found</html>", "not a FITS file"),
    "one card": (lambda c: c[:CARD], "ends within a header"),
    "gzip header alone": (lambda c: gzip.compress(c)[:10], "gzip stream is broken"),
    "gzip cut": (lambda c: gzip.compress(c, 1)[:-20], "gzip stream is broken"),
    "gzip cut in half": (lambda c: (p := gzip.compress(c, 1))[: len(p) // 2], "gzip stream is broken"),
    "gzip checksum": (lambda c: gzip.compress(c, 1)[:-8] + bytes(8), "gzip stream is broken"),
    "gzip with junk behind": (lambda c: gzip.compress(c, 1) + b"junk", "gzip stream is broken"),
    "gzip in gzip": (lambda c: gzip.compress(gzip.compress(c, 1), 1), "not a FITS file"),
    "gzip of text": (lambda _: gzip.compress(b"text"), "not a FITS file"),
    "EXPTIME zero": (primary("EXPTIME", "0.0"), "EXPTIME = 0 s is outside 0.01-20000 s"),
    "EXPTIME negative": (primary("EXPTIME", "-1000.0"), "EXPTIME = -1000 s"),
    "EXPTIME NaN": (primary("EXPTIME", "NaN"), ""),
    "EXPTIME infinite": (primary("EXPTIME", "1E999"), "EXPTIME = inf"),
    "EXPTIME text": (primary("EXPTIME", "'NaN'"), "EXPTIME is not a number"),
    "EXPTIME true": (primary("EXPTIME", "T"), "EXPTIME is not a number"),
    "EXPTIME empty": (primary("EXPTIME", ""), "EXPTIME"),
    "EXPTIME missing": (primary("EXPTIME", None), "EXPTIME is missing"),
    "EXPTIME of 400 digits": (primary("EXPTIME", "9" * 68), "EXPTIME"),
    "EXPTIME complex": (primary("EXPTIME", "(1.0, 2.0)"), "EXPTIME"),
    "MDECODT1 missing": (sci("MDECODT1", None), "MDECODT1 is missing"),
    "MDECODT1 999": (sci("MDECODT1", "999.0"), "MDECODT1 = 999 C is outside -50 to 100 C"),
    "MDECODT1 text": (sci("MDECODT1", "'warm'"), "MDECODT1 is not a number"),
    "MDECODT2 missing": (sci("MDECODT2", None), "MDECODT2 is missing"),
    "EXPSTART zero": (primary("EXPSTART", "0.0"), "EXPSTART = 0 MJD"),
    "EXPSTART in 1990": (primary("EXPSTART", "48000.0"), "EXPSTART = 48000 MJD"),
    "EXPSTART far away": (primary("EXPSTART", "1E300"), "EXPSTART = 1e+300"),
    "ROOTNAME a path": (primary("ROOTNAME", "'../../x'"), "ROOTNAME"),
    "ROOTNAME quotes": (primary("ROOTNAME", "'a''b\";--'"), "ROOTNAME"),
    "ROOTNAME newlines": (primary("ROOTNAME", b"'jcrx\n1iiq'"), ""),
    "ROOTNAME escapes": (primary("ROOTNAME", b"'\x1b[2Jiiq'"), ""),
    "ROOTNAME long": (long_rootname, "ROOTNAME"),
    "ROOTNAME number": (primary("ROOTNAME", "123456789"), "ROOTNAME"),
    "ROOTNAME missing": (primary("ROOTNAME", None), "ROOTNAME"),
    "ROOTNAME not ASCII": (primary("ROOTNAME", "'jcrx01iié'"), ""),
    "NAXIS 1": (sci("NAXIS", "1"), ""),
    "NAXIS 3": (sci("NAXIS", "3"), ""),
    "NAXIS 0": (sci("NAXIS", "0"), ""),
    "NAXIS negative": (sci("NAXIS", "-2"), ""),
    "NAXIS 999": (sci("NAXIS", "999"), ""),
    "NAXIS1 too small": (sci("NAXIS1", "512"), ""),
    "NAXIS1 huge": (sci("NAXIS1", "1048576"), ""),
    "NAXIS1 negative": (sci("NAXIS1", "-1024"), ""),
    "NAXIS1 text": (sci("NAXIS1", "'\x1b[31m'"), ""),
    "BITPIX 8 where 16 lies": (sci("BITPIX", "8"), ""),
    "BITPIX 64 where 16 lies": (sci("BITPIX", "64"), ""),
    "BITPIX 17": (sci("BITPIX", "17"), ""),
    "BITPIX 8, sound": (lambda c: rewritten(c, np.ones((1024, 1024), np.uint8)), "BITPIX of SCI is 8"),
    "BITPIX 32, sound": (lambda c: rewritten(c, np.ones((1024, 1024), np.int32)), "BITPIX of SCI is 32"),
    "a subarray": (lambda c: rewritten(c, np.ones((512, 1024), np.int16)), "1024 x 512 pixels"),
    "a cube": (lambda c: rewritten(c, np.ones((2, 1024, 1024), np.int16)), "not have 1024 x 1024 pixels"),
    "nothing but NaN": (
        lambda c: rewritten(c, np.full((1024, 1024), np.nan, np.float32)),
        "1048576 pixels without a finite value",
    ),
    "no SCI": (sci("EXTNAME", "'ERR'"), "not SCI"),
    "primary alone": (lambda c: with_card(c, "NEXTEND", "0")[:SCI_HEADER], "SCI extension is missing"),
    "INSTRUME missing": (primary("INSTRUME", None), "INSTRUME is missing"),
    "DETECTOR missing": (primary("DETECTOR", None), "DETECTOR is missing"),
    "as an ASN": (lambda c: c, "table of members is missing"),
}

IGNORED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "WFC": (primary("DETECTOR", "'WFC'"), "another detector: WFC"),
    "HRC": (primary("DETECTOR", "'HRC'"), "another detector: HRC"),
    "WFC3": (primary("INSTRUME", "'WFC3'"), "another instrument: WFC3"),
    "a flat": (primary("IMAGETYP", "'FLAT'"), "not a dark: FLAT"),
    "time tag": (primary("OBSMODE", "'TIME-TAG'"), "not an ACCUM exposure"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_file_is_rejected_with_its_reason(tmp_path: Path, raw: bytes, case: str) -> None:
    spoil, reason = BAD[case]
    content = spoil(raw)
    assert content != raw or case == "as an ASN"
    refusal = refused(tmp_path, content, "x_asn.fits" if case == "as an ASN" else "x_raw.fits")
    assert not refusal.ignored
    assert reason in refusal.reason


@pytest.mark.parametrize("case", IGNORED)
def test_sound_file_of_another_kind_is_ignored(tmp_path: Path, raw: bytes, case: str) -> None:
    spoil, reason = IGNORED[case]
    refusal = refused(tmp_path, spoil(raw))
    assert refusal.ignored
    assert reason in refusal.reason


def test_nothing_of_bad_files_is_stored(empty_catalog: sa.Engine, raw: bytes, tmp_path: Path) -> None:
    bad = {name: content for name, content in BAD.items() if name != "as an ASN"}
    folder = tmp_path / "files"
    folder.mkdir()
    for number, (spoil, _) in enumerate([*bad.values(), *IGNORED.values()]):
        (folder / f"x{number:03d}_raw.fits").write_bytes(spoil(raw))
    (folder / "good_raw.fits").write_bytes(raw)
    report = ingest(empty_catalog, [folder], workers=1)
    assert (report.added, report.rejected, report.ignored) == (1, len(bad), len(IGNORED))
    tables = dump(empty_catalog)
    assert len(tables["exposures"]) == len(tables["files"]) == 1
    assert len(tables["rejected_files"]) == len(bad)
    for rows in tables.values():
        assert all(value.isprintable() for row in rows for value in row if isinstance(value, str))


def test_raw_cut_at_any_block_is_rejected(tmp_path: Path, raw: bytes) -> None:
    blocks = len(raw) // BLOCK
    assert blocks * BLOCK == len(raw) == 2_134_080
    data = SCI_HEADER + raw[SCI_HEADER:].index(b"END".ljust(CARD)) + CARD
    data = -(-data // BLOCK)
    after = data + -(-2 * PIXELS // BLOCK)
    boundaries = {0, 1, SCI_HEADER // BLOCK, data, data + 1, after - 1, after, after + 1, blocks - 2, blocks - 1}
    cuts = boundaries | set(np.random.default_rng(741).choice(blocks, 60, replace=False).tolist())
    assert len(cuts) >= 60
    for cut in sorted(cuts):
        assert not refused(tmp_path, raw[: cut * BLOCK]).ignored, f"cut after block {cut}"


def test_raw_cut_between_blocks_is_rejected(tmp_path: Path, raw: bytes) -> None:
    for cut in (1, 29, 79, 81, SCI_HEADER - 1, SCI_HEADER + 1, len(raw) // 2 + 7, len(raw) - BLOCK - 1):
        assert not refused(tmp_path, raw[:cut]).ignored, f"cut after byte {cut}"


def test_flt_cut_in_any_extension_is_rejected(tmp_path: Path, shared_data: Path) -> None:
    packed = shared_data / "science_13655_standin" / "jcmc11ctq_flt.fits.gz"
    flt = gzip.decompress(packed.read_bytes())
    with fits.open(packed) as hdus:
        starts = [hdu.fileinfo()["hdrLoc"] for hdu in hdus]
        ends = [hdu.fileinfo()["datLoc"] for hdu in hdus]
    for cut in {*starts[1:], *ends[1:], *(end + BLOCK for end in ends[1:-1]), len(flt) - BLOCK}:
        if cut < len(flt):
            assert not refused(tmp_path, flt[:cut], "x_flt.fits").ignored, f"cut after byte {cut}"
    assert isinstance(read(tmp_path, flt, "x_flt.fits"), FileReading)


def peak_of(tmp_path: Path, content: bytes, name: str) -> tuple[FileReading | Refusal, int]:
    path = tmp_path / name
    path.write_bytes(content)
    tracemalloc.start()
    try:
        result = read_file(path)
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_gzip_bomb_is_rejected_in_bounded_memory(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(200 * 2**20), 6)
    # Whole members one after another unpack as one stream.
    result, peak = peak_of(tmp_path, bomb * 4, "x_raw.fits.gz")
    assert isinstance(result, Refusal)
    assert "decompresses to more than" in result.reason
    # The bytes that are allowed, and once more while they are joined.
    assert peak < 2 * LARGEST_FILE + 8 * 2**20


def test_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x_raw.fits"
    with path.open("wb") as file:
        file.truncate(50 * 2**30)
    tracemalloc.start()
    result = read_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(result, Refusal)
    assert "bytes; an SBC file has at most" in result.reason
    assert peak < 2**20


@pytest.mark.parametrize(("width", "rows"), [(0, 2**31), (2**31, 2**31), (1, 2**40), (34, 10**9)])
def test_table_that_claims_billions_of_rows_is_rejected_in_bounded_memory(
    tmp_path: Path, shared_data: Path, width: int, rows: int
) -> None:
    content = (shared_data / "associations_13655" / "jcmc11010_asn.fits").read_bytes()
    at = content.index(b"XTENSION")
    content = with_card(with_card(content, "NAXIS1", str(width), start=at), "NAXIS2", str(rows), start=at)
    result, peak = peak_of(tmp_path, content, "x_asn.fits")
    assert isinstance(result, Refusal)
    assert not result.ignored
    assert peak < 2**20


def test_random_damage_to_headers_never_raises(tmp_path: Path, raw: bytes) -> None:
    rng = np.random.default_rng(2880)
    headers = np.frombuffer(raw[: SCI_HEADER + 3 * BLOCK], np.uint8)
    tail = raw[len(headers) :]
    read_well = 0
    for trial in range(160):
        damaged = headers.copy()
        places = rng.integers(0, len(damaged), rng.integers(1, 30))
        damaged[places] = rng.integers(0, 256, len(places)) if trial % 2 else rng.integers(32, 127, len(places))
        result = read(tmp_path, damaged.tobytes() + tail)
        if isinstance(result, FileReading):
            read_well += 1
            facts = result.exposure
            assert facts is not None
            texts = (facts.rootname, facts.target, facts.filter, facts.association, facts.exposure_flag)
            assert all(text is None or (text.isprintable() and len(text) <= CARD) for text in texts)
            assert facts.exptime_s > 0
        else:
            assert result.reason.isprintable()
    # Most of a header's bytes are comments and blanks: damage there costs nothing.
    assert 0 < read_well < 160


def test_random_damage_to_tables_never_raises(tmp_path: Path, shared_data: Path) -> None:
    content = np.frombuffer((shared_data / "associations_13655" / "jcmc11010_asn.fits").read_bytes(), np.uint8)
    rng = np.random.default_rng(11520)
    for _ in range(160):
        damaged = content.copy()
        places = rng.integers(0, len(damaged), rng.integers(1, 40))
        damaged[places] = rng.integers(0, 256, len(places))
        result = read(tmp_path, damaged.tobytes(), "x_asn.fits")
        if isinstance(result, Refusal):
            assert result.reason.isprintable()
        else:
            assert result.association is not None
            assert all(name.isalnum() and kind.isprintable() for name, kind in result.association.members)


def test_header_text_that_would_act_on_a_terminal_is_stripped(
    empty_catalog: sa.Engine, tmp_path: Path, raw: bytes
) -> None:
    content = raw
    for keyword, value in (
        ("TARGNAME", b"'\x1b[2J\x1b]0;x\x07DARK\r\n\x00'"),
        ("FILTER1", b"'BL\x9bOCK\x7f1'"),
        ("ASN_ID", b"'\x1b[31mJ'"),
        ("EXPFLAG", b"'NOR\tMAL'"),
        ("CAL_VER", b"'8.2.1\x08\x08'"),
    ):
        content = with_card(content, keyword, value)
    path = tmp_path / "x_raw.fits"
    path.write_bytes(content)
    result = read_file(path)
    if isinstance(result, Refusal):
        assert result.reason.isprintable()
    else:
        assert result.exposure is not None
        assert result.exposure.association is None
    ingest(empty_catalog, [path])
    for rows in dump(empty_catalog).values():
        assert all(value.isprintable() for row in rows for value in row if isinstance(value, str))


@pytest.mark.parametrize("value", [b"'\x1b[2JWFC'", b"'W\nFC'"])
def test_reason_never_repeats_control_characters(tmp_path: Path, raw: bytes, value: bytes) -> None:
    assert "\x1b" not in refused(tmp_path, with_card(raw, "DETECTOR", value)).reason
    assert clean("\x1b[31m red\x00\u202e\n ") == "[31m red"


def test_counts_above_32767_are_unwrapped_in_the_box(tmp_path: Path, raw: bytes) -> None:
    pixels = np.zeros((1024, 1024), np.int16)
    pixels[700, 600] = np.uint16(40_000).astype(np.int16)
    pixels[700, 601] = -1
    for content in (rewritten(raw, pixels), rewritten(raw, pixels.view(np.uint16))):
        result = read(tmp_path, content)
        assert isinstance(result, FileReading)
        assert result.exposure is not None
        measured = {one.region: one for one in result.exposure.measurements}
        assert measured["box"].counts == 40_000 + 65_535
        assert measured["quiet"].counts == 0
        assert measured["quiet"].rate_err_count_s_pix == count_error(0) / (measured["quiet"].good_pixels * 1000.0)


def test_null_error_and_quality_arrays_are_fine(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "x_raw.fits"
    path.write_bytes(raw)
    with untrusted_fits.opened(path) as hdus:
        assert hdus["ERR"].data is None
        assert hdus["DQ"].data is None
    result = read_file(path)
    assert isinstance(result, FileReading)
    assert result.exposure is not None
    assert result.exposure.measurements[0].counts == 300


def test_packed_and_plain_file_say_the_same(tmp_path: Path, raw: bytes) -> None:
    plain = read(tmp_path, raw)
    packed = read(tmp_path, gzip.compress(raw, 1), "y_raw.fits.gz")
    # A packed file that lost its .gz, and a plain one that was given it, are what their bytes are.
    swapped = read(tmp_path, gzip.compress(raw, 1), "z_raw.fits")
    assert isinstance(plain, FileReading)
    assert isinstance(packed, FileReading)
    assert isinstance(swapped, FileReading)
    assert plain.exposure == packed.exposure == swapped.exposure
    assert plain.sha256 != packed.sha256
    assert packed.sha256 == swapped.sha256


def test_members_of_an_association_keep_their_order(shared_data: Path) -> None:
    result = read_file(shared_data / "associations_13655" / "jcmc11010_asn.fits")
    assert isinstance(result, FileReading)
    assert result.association is not None
    with fits.open(shared_data / "associations_13655" / "jcmc11010_asn.fits") as hdus:
        rows = [(row["MEMNAME"].strip().lower(), row["MEMTYPE"].strip()) for row in hdus[1].data]
    assert list(result.association.members) == rows
    assert [kind for _, kind in rows] == ["EXP-DTH", "EXP-DTH", "PROD-DTH"]


def test_upper_case_rootname_is_the_same_exposure(tmp_path: Path, raw: bytes) -> None:
    result = read(tmp_path, renamed(raw, "JCRX01IIQ"))
    assert isinstance(result, FileReading)
    assert result.exposure is not None
    assert result.exposure.rootname == "jcrx01iiq"
