"""What a FITS file says of its own structure, checked before a reader believes it.

astropy takes structure on trust: a negative size leads it round in a circle, NAXIS or TFIELDS of a billion keep it busy
until memory is gone.
"""

from __future__ import annotations

import re
from math import prod
from os import SEEK_END
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from io import RawIOBase
    from typing import BinaryIO

BLOCK = 2880
"""Bytes: headers and data fill whole blocks."""

CARD = 80
"""Bytes of a header card."""

MOST_EXTENSIONS = 100
"""An FLT has six; a product of AstroDrizzle has five."""

MOST_HEADER_BLOCKS = 2000
"""Of all headers of a file: 72,000 cards. A RAW has 13 blocks, a product of many exposures some hundred."""

_MOST_AXES = 9
_MOST_FIELDS = 999  # the standard's own limit
_PIXEL_SIZES = (8, 16, 32, 64, -32, -64)

_KEYWORD = re.compile(rb"BITPIX|NAXIS[0-9]*|PCOUNT|GCOUNT|TFIELDS|GROUPS")
_INTEGER = re.compile(rb"= +([+-]?[0-9]{1,20}) *(?:/.*)?", re.DOTALL)
_NO_GROUPS = re.compile(rb"GROUPS  = +F *(?:/.*)?", re.DOTALL)
_NO_TEXT = re.compile(rb"[^ -~]")
_END = re.compile(rb"END(?![A-Z0-9_-])")


class StructureError(Exception):
    """The file's structure cannot be, with the reason in words."""


def check_structure(file: BinaryIO | RawIOBase) -> None:
    """Walk from header to header to the end of a FITS file. Only headers are read.

    Parameters
    ----------
    file : binary file
        At its beginning, where it says SIMPLE.

    Raises
    ------
    StructureError
        A header does not end or holds more than text; a size is negative, absurd, said twice or written as FITS does
        not write it; there is less in the file than its headers say, or behind its last extension something that is
        no FITS.
    """
    length = file.seek(0, SEEK_END)
    place = blocks = 0
    for _ in range(MOST_EXTENSIONS + 1):
        file.seek(place)
        sizes, header_blocks = _header(file, MOST_HEADER_BLOCKS - blocks)
        blocks += header_blocks
        data = place + header_blocks * BLOCK
        end = data + _data_bytes(sizes)
        if end > length:
            raise StructureError(f"truncated: {length} bytes, where its headers speak of {end}")
        place = data + -(-(end - data) // BLOCK) * BLOCK
        file.seek(min(place, length))
        if file.read(8) != b"XTENSION":
            file.seek(min(place, length))
            # Tapes pad with zeros.
            if file.read().strip(b"\0"):
                raise StructureError("what stands behind its last extension is no FITS")
            return
    raise StructureError(f"it has more than {MOST_EXTENSIONS} extensions")


def _header(file: BinaryIO | RawIOBase, most_blocks: int) -> tuple[dict[str, int], int]:
    """Return the numbers of a header's structure, and how many blocks it fills."""
    found: dict[str, int] = {}
    for number in range(1, most_blocks + 1):
        block = file.read(BLOCK)
        if len(block) < BLOCK:
            raise StructureError("truncated: it ends within a header")
        for place in range(0, BLOCK, CARD):
            card = block[place : place + CARD]
            if _END.match(card):
                if card != b"END".ljust(CARD):
                    raise StructureError("its END card holds more than END, or less")
                return found, number
            if _NO_TEXT.search(card):
                raise StructureError("a header holds bytes that are no text")
            _note(card, found)
    raise StructureError(f"its headers are longer than {MOST_HEADER_BLOCKS} blocks")


def _note(card: bytes, found: dict[str, int]) -> None:
    """Take the number from a card that tells of the structure."""
    # Readers forgive lower case, a shifted equals sign and HIERARCH before a keyword: here nothing is forgiven.
    name, equals, _ = card.partition(b"=")
    keyword = name.strip().upper().removeprefix(b"HIERARCH").strip()
    if not equals or not _KEYWORD.fullmatch(keyword):
        return
    if keyword == b"GROUPS":
        if not _NO_GROUPS.fullmatch(card):
            raise StructureError("it holds random groups")
        return
    shown = keyword.decode("ascii")
    value = _INTEGER.fullmatch(card[8:]) if card[:8] == keyword.ljust(8) else None
    if value is None:
        raise StructureError(f"its {shown[:20]} is no whole number as FITS writes it")
    if shown in found:
        raise StructureError(f"its {shown} is said twice")
    found[shown] = int(value[1])


def _data_bytes(sizes: dict[str, int]) -> int:
    """Return the bytes of data that a header speaks of."""
    if missing := {"BITPIX", "NAXIS"} - sizes.keys():
        raise StructureError(f"its {min(missing)} is missing")
    axes = sizes["NAXIS"]
    if not 0 <= axes <= _MOST_AXES:
        raise StructureError(f"its NAXIS is {axes}, which cannot be")
    if sizes["BITPIX"] not in _PIXEL_SIZES:
        raise StructureError(f"its BITPIX is {sizes['BITPIX']}, which cannot be")
    if not 0 <= sizes.get("TFIELDS", 0) <= _MOST_FIELDS:
        raise StructureError(f"its TFIELDS is {sizes['TFIELDS']}, which cannot be")
    shape = [sizes.get(f"NAXIS{axis}", -1) for axis in range(1, axes + 1)]
    heap, groups = sizes.get("PCOUNT", 0), sizes.get("GCOUNT", 1)
    if min(*shape, heap, 0) < 0 or groups != 1:
        raise StructureError("one of its NAXISn, PCOUNT or GCOUNT is missing or cannot be")
    return abs(sizes["BITPIX"]) // 8 * (prod(shape) + heap) if axes else 0
