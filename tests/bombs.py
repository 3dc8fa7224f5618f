"""Files that would keep a reader busy for ever or take all memory, if it believed them."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

from bad_input import overwritten, sound
from helpers import BLOCK, CARD, SCI_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LARGE = 60 * 2**20
"""Bytes: as much as is read at all."""


def bombs(data: Path) -> dict[str, Callable[[], bytes]]:
    """Return, by name, functions that make the bytes of files of which every one has to be rejected."""
    raw, asn = sound(data, "raw", 1), sound(data, "asn", 2)
    flt = sound(data, "flt", 3)
    primary = raw[:SCI_HEADER]
    begin = raw[: 8 * CARD]

    def sci(keyword: str, value: str) -> Callable[[], bytes]:
        return lambda: overwritten(raw, keyword, value, 1)

    def table(keyword: str, value: str) -> Callable[[], bytes]:
        return lambda: overwritten(asn, keyword, value, 1)

    return {
        "gzip of 10 GB of zeros_raw": lambda: gzip_of_zeros(10 * 2**30),
        "gzip of 10 GB of zeros_asn": lambda: gzip_of_zeros(10 * 2**30),
        "gzip of endless cards_raw": lambda: gzip.compress(begin) + gzip_of_zeros(2**30, b" "),
        "empty gzip streams_raw": lambda: gzip.compress(b"") * (LARGE // 20),
        "gzip with an endless name_raw": lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * LARGE,
        "header without END_raw": lambda: begin + card("COMMENT", "") * (LARGE // CARD),
        "header with END at last_raw": lambda: header(begin, *[card("COMMENT", "")] * (LARGE // CARD)),
        "value without end_raw": lambda: header(
            begin, card("TARGNAME", "'x&'"), *[b"CONTINUE  'x&'".ljust(CARD)] * (LARGE // CARD)
        ),
        "extensions without number_raw": lambda: primary + image() * (LARGE // BLOCK),
        "an extension of -2880 bytes_raw": lambda: primary + image(NAXIS=1, NAXIS1=-BLOCK),
        "-2880 parameters_raw": lambda: primary + image(NAXIS=1, NAXIS1=0, PCOUNT=-BLOCK),
        "-1 groups_raw": lambda: primary + image(NAXIS=1, NAXIS1=BLOCK, GCOUNT=-1),
        "axis of -1_asn": table("NAXIS2", "-1"),
        "a billion axes_raw": sci("NAXIS", "999999999"),
        "a billion axes, hierarchically_raw": lambda: hidden(raw, b"HIERARCH NAXIS = 999999999"),
        "a billion axes, shifted_raw": lambda: hidden(raw, b"NAXIS= 999999999"),
        "a billion axes, small_raw": lambda: hidden(raw, b"naxis   = 999999999"),
        "999 axes_raw": sci("NAXIS", "999"),
        "2**31 columns_raw": sci("NAXIS1", str(2**31)),
        "2**62 parameters_raw": sci("PCOUNT", str(2**62)),
        "2**62 groups_raw": sci("GCOUNT", str(2**62)),
        "2**31 columns_flt": lambda: overwritten(flt, "NAXIS1", str(2**31), 1),
        "a billion extensions promised_raw": lambda: overwritten(raw, "NEXTEND", "1000000000"),
        "a billion fields_asn": table("TFIELDS", "1000000000"),
        "a billion rows_asn": table("NAXIS2", "1000000000"),
        "rows without width_asn": lambda: overwritten(overwritten(asn, "NAXIS2", "1000000000000", 1), "NAXIS1", "0", 1),
        "a field of terabytes_asn": table("TFORM1", "'999999999999A'"),
        "names in a heap_asn": lambda: heap_of_names(asn),
        "compressed image_raw": lambda: compressed_image(primary),
        "random groups_raw": lambda: overwritten(raw, "GROUPS", "T"),
    }


def gzip_of_zeros(length: int, filling: bytes = b"\0") -> bytes:
    """Return a gzip stream of one byte over and over, without making all of it: deflate repeats itself too."""
    piece = filling * 2**24
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = deflate.compress(piece) + deflate.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08" + bytes(7) + first * (length // len(piece)) + b"\x03\x00" + bytes(8)


def card(keyword: str, value: str) -> bytes:
    """Return a header card."""
    text = f"{keyword:8}  {value}" if keyword == "COMMENT" else f"{keyword:8}= {value:>20}"
    return text.encode().ljust(CARD)


def header(*cards: bytes) -> bytes:
    """Return a header that ends with END, in whole blocks."""
    text = b"".join(cards) + b"END".ljust(CARD)
    return text.ljust(-(-len(text) // BLOCK) * BLOCK)


def image(**cards: int) -> bytes:
    """Return the header of an image extension, by default without pixels."""
    numbers = {"BITPIX": 8, "NAXIS": 0, "PCOUNT": 0, "GCOUNT": 1} | cards
    return header(b"XTENSION= 'IMAGE   '".ljust(CARD), *[card(key, str(value)) for key, value in numbers.items()])


def hidden(raw: bytes, text: bytes) -> bytes:
    """Write a card that a forgiving reader takes for NAXIS over a comment of the SCI header."""
    at = raw.index(b"COMMENT ", SCI_HEADER) if b"COMMENT " in raw[SCI_HEADER:] else raw.index(b"EXTNAME ", SCI_HEADER)
    return raw[:at] + text.ljust(CARD) + raw[at + CARD :]


def heap_of_names(asn: bytes) -> bytes:
    """Return an ASN of 1000 rows of which each claims the whole heap of 16 MB for its name."""
    primary = asn[: asn.index(b"XTENSION")]
    heap = 16 * 2**20
    cards = {"BITPIX": 8, "NAXIS": 2, "NAXIS1": 16, "NAXIS2": 1000, "PCOUNT": heap, "GCOUNT": 1, "TFIELDS": 2}
    names = {"TTYPE1": "'MEMNAME '", "TFORM1": "'1PA     '", "TTYPE2": "'MEMTYPE '", "TFORM2": "'1PA     '"}
    head = header(
        b"XTENSION= 'BINTABLE'".ljust(CARD),
        *[card(key, str(value)) for key, value in cards.items()],
        *[card(key, value) for key, value in names.items()],
    )
    body = (heap.to_bytes(4, "big") + bytes(4)) * 2 * 1000 + b"j" * heap
    return primary + head + body.ljust(-(-len(body) // BLOCK) * BLOCK, b"\0")


def compressed_image(primary: bytes) -> bytes:
    """Return a file whose SCI is one tile, compressed by gzip, that unpacks to 4 GB."""
    tile = gzip_of_zeros(2**32)
    cards = {"BITPIX": 8, "NAXIS": 2, "NAXIS1": 8, "NAXIS2": 1, "PCOUNT": len(tile), "GCOUNT": 1, "TFIELDS": 1}
    shape = {"ZBITPIX": 16, "ZNAXIS": 2, "ZNAXIS1": 1024, "ZNAXIS2": 1024, "ZTILE1": 1024, "ZTILE2": 1024}
    text = {"TTYPE1": "'COMPRESSED_DATA'", "TFORM1": "'1PB     '", "ZIMAGE": "T", "ZCMPTYPE": "'GZIP_1  '"}
    head = header(
        b"XTENSION= 'BINTABLE'".ljust(CARD),
        *[card(key, str(value)) for key, value in (cards | shape).items()],
        *[card(key, value) for key, value in text.items()],
        card("EXTNAME", "'SCI     '"),
    )
    body = len(tile).to_bytes(4, "big") + bytes(4) + tile
    return (
        primary.replace(b"NEXTEND =                    3", b"NEXTEND =                    1")
        + head
        + body.ljust(-(-len(body) // BLOCK) * BLOCK, b"\0")
    )
