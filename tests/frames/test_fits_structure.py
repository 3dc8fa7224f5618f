"""The structure of FITS files is checked before a reader believes it."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING

import pytest
from bombs import card, header, image
from helpers import BLOCK, SCI_HEADER, unpacked_raw, with_card

from sbcdark.pipeline.frames.fits_structure import MOST_EXTENSIONS, StructureError, check_structure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def raw(shared_data: Path) -> bytes:
    return unpacked_raw(shared_data)


def sci(keyword: str, value: str) -> Callable[[bytes], bytes]:
    return lambda raw: with_card(raw, keyword, value, start=SCI_HEADER)


def behind_headers(*extensions: bytes) -> Callable[[bytes], bytes]:
    return lambda raw: raw[:SCI_HEADER] + b"".join(extensions)


def instead(text: bytes, keyword: bytes = b"EXTNAME ") -> Callable[[bytes], bytes]:
    def spoil(raw: bytes) -> bytes:
        at = raw.index(keyword, SCI_HEADER)
        return raw[:at] + text.ljust(80) + raw[at + 80 :]

    return spoil


# Without the check, those marked "round" lead astropy round in a circle, "busy" keep it busy until memory is gone.
WRONG: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "round: axis below 0": (behind_headers(image(NAXIS=1, NAXIS1=-BLOCK)), "NAXISn, PCOUNT or GCOUNT"),
    "round: parameters below 0": (behind_headers(image(NAXIS=1, NAXIS1=0, PCOUNT=-BLOCK)), "NAXISn, PCOUNT or GCOUNT"),
    "round: groups below 0": (behind_headers(image(NAXIS=1, NAXIS1=BLOCK, GCOUNT=-1)), "NAXISn, PCOUNT or GCOUNT"),
    "busy: axes": (sci("NAXIS", "999999999"), "NAXIS = 999999999"),
    "busy: axes in HIERARCH": (instead(b"HIERARCH NAXIS = 999999999"), "NAXIS is not an integer"),
    "busy: axes, shifted": (instead(b"NAXIS= 999999999"), "NAXIS is not an integer"),
    "busy: axes, small": (instead(b"naxis   = 999999999"), "NAXIS is not an integer"),
    "busy: fields": (behind_headers(image(TFIELDS=1_000_000_000)), "TFIELDS = 1000000000"),
    "busy: extensions": (behind_headers(image() * (MOST_EXTENSIONS + 1)), "more than 100 extensions"),
    "busy: header": (lambda raw: raw[:800] + card("COMMENT", "") * 80_000, "longer than 2000 blocks"),
    "axes below 0": (sci("NAXIS", "-1"), "NAXIS = -1"),
    "no axes": (instead(b"COMMENT", b"NAXIS   "), "NAXIS is missing"),
    "no length": (instead(b"COMMENT", b"NAXIS2  "), "NAXISn, PCOUNT or GCOUNT"),
    "said twice": (instead(b"NAXIS   =                    2"), "NAXIS occurs twice"),
    "text": (sci("NAXIS1", "'1024'"), "NAXIS1 is not an integer"),
    "fraction": (sci("NAXIS1", "1024.0"), "NAXIS1 is not an integer"),
    "pixels of 17 bits": (sci("BITPIX", "17"), "BITPIX = 17"),
    "more pixels than there are": (sci("NAXIS1", "1048576"), "truncated: 2134080 bytes, but"),
    "more pixels than any number": (sci("NAXIS1", "9" * 40), "NAXIS1 is not an integer"),
    "random groups": (lambda raw: with_card(raw, "GROUPS", "T"), "random groups"),
    "terminal": (instead(b"COMMENT \x1b[2J"), "not text"),
    "NUL": (instead(b"COMMENT \0"), "not text"),
    "not ASCII": (instead(b"COMMENT \xe9"), "not text"),
    "END with more": (instead(b"END x", b"END".ljust(80)), "malformed END card"),
    "END with a sign": (instead(b"END=", b"END".ljust(80)), "malformed END card"),
    "no END": (lambda raw: raw[:SCI_HEADER].replace(b"END".ljust(80), b"ENDE".ljust(80)), "ends within a header"),
    "half a block": (lambda raw: raw[: SCI_HEADER + 1000], "ends within a header"),
    "text behind": (lambda raw: raw + b"<html>", "not FITS"),
    "blanks behind": (lambda raw: raw + b" " * BLOCK, "not FITS"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_structure_is_told(raw: bytes, case: str) -> None:
    spoil, reason = WRONG[case]
    content = spoil(raw)
    assert content != raw
    with pytest.raises(StructureError, match=reason):
        check_structure(io.BytesIO(content))


def test_sound_files_pass(shared_data: Path, raw: bytes) -> None:
    files = [path for path in shared_data.rglob("*.fits*") if "_pfl" not in path.name]
    assert len(files) > 30
    for path in files:
        content = path.read_bytes()
        check_structure(io.BytesIO(gzip.decompress(content) if path.suffix == ".gz" else content))
    # Tapes pad with zeros.
    check_structure(io.BytesIO(raw + bytes(BLOCK)))
    check_structure(io.BytesIO(raw[:SCI_HEADER] + image() * MOST_EXTENSIONS))
    check_structure(io.BytesIO(header(raw[:800], *[card("COMMENT", "")] * 70_000)))
