"""Check of a FITS file's structure before a reader uses it.

astropy trusts the structure: a negative size puts it into an endless loop, and NAXIS or TFIELDS of a billion keep it
busy until memory runs out.
"""

from __future__ import annotations

import re
from math import prod
from os import SEEK_END
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from io import RawIOBase
    from typing import BinaryIO

BLOCK = 2880
"""Block size in bytes of headers and data."""

CARD = 80
"""Size in bytes of a header card."""

MOST_EXTENSIONS = 100
"""An FLT has six extensions; a product of AstroDrizzle has five."""

MOST_HEADER_BLOCKS = 2000
"""For all headers of a file: 72,000 cards. A RAW has 13 blocks, a product of many exposures a few hundred."""

_MOST_AXES = 9
_MOST_FIELDS = 999  # limit of the FITS standard
_PIXEL_SIZES = (8, 16, 32, 64, -32, -64)

_KEYWORD = re.compile(rb"BITPIX|NAXIS[0-9]*|PCOUNT|GCOUNT|TFIELDS|GROUPS")
_NAMES = (b"BITPIX", b"NAXIS", b"PCOUNT", b"GCOUNT", b"TFIELDS", b"GROUPS")
_INTEGER = re.compile(rb"= +([+-]?[0-9]{1,20}) *(?:/.*)?", re.DOTALL)
_NO_GROUPS = re.compile(rb"GROUPS  = +F *(?:/.*)?", re.DOTALL)
_TEXT = bytes(range(ord(" "), ord("~") + 1))
_NO_TEXT = re.compile(rb"[^ -~]")
_END = re.compile(rb"END(?![A-Z0-9_-])")


class StructureError(Exception):
    """The structure of the file is invalid; the message is the reason."""


class Part(NamedTuple):
    """A header and its data: places in bytes of the first card, of the END card and of the data, and the sizes."""

    header: int
    end: int
    data: int
    sizes: dict[str, int]


def check_structure(file: BinaryIO | RawIOBase) -> list[Part]:
    """Walk through all headers to the end of a FITS file. Only headers are read.

    Parameters
    ----------
    file : binary file
        Positioned at its beginning, where it says SIMPLE.

    Returns
    -------
    list of Part
        The primary header and the extensions.

    Raises
    ------
    StructureError
        A header does not end or has bytes that are not text; a size is negative, too large, duplicated or malformed;
        the file is shorter than its headers say, or has other content after its last extension.
    """
    length = file.seek(0, SEEK_END)
    place = blocks = 0
    parts: list[Part] = []
    for _ in range(MOST_EXTENSIONS + 1):
        file.seek(place)
        sizes, cards = _header(file, MOST_HEADER_BLOCKS - blocks)
        header_blocks = cards * CARD // BLOCK + 1
        blocks += header_blocks
        data = place + header_blocks * BLOCK
        end = data + _data_bytes(sizes)
        if end > length:
            raise StructureError(f"truncated: {length} bytes, but its headers describe {end}")
        parts.append(Part(place, place + cards * CARD, data, sizes))
        place = data + -(-(end - data) // BLOCK) * BLOCK
        file.seek(min(place, length))
        if file.read(8) != b"XTENSION":
            file.seek(min(place, length))
            # Tapes pad with zeros.
            if file.read().strip(b"\0"):
                raise StructureError("content after the last extension is not FITS")
            return parts
    raise StructureError(f"more than {MOST_EXTENSIONS} extensions")


def _header(file: BinaryIO | RawIOBase, most_blocks: int) -> tuple[dict[str, int], int]:
    """Return the sizes in a header, and the number of cards before END."""
    found: dict[str, int] = {}
    for number in range(most_blocks):
        block = file.read(BLOCK)
        if len(block) < BLOCK:
            raise StructureError("truncated: ends within a header")
        end = next((place for place in _places(block, b"END") if _END.match(block, place)), BLOCK)
        # Only these cards can be wrong: where a block has other bytes than text, any of them.
        is_text = not block[:end].translate(None, _TEXT)
        for place in _places(block[:end].upper(), *_NAMES) if is_text else range(0, end, CARD):
            card = block[place : place + CARD]
            if _NO_TEXT.search(card):
                raise StructureError("a header has bytes that are not text")
            _note(card, found)
        if end < BLOCK:
            if block[end : end + CARD] != b"END".ljust(CARD):
                raise StructureError("malformed END card")
            return found, number * (BLOCK // CARD) + end // CARD
    raise StructureError(f"headers are longer than {MOST_HEADER_BLOCKS} blocks")


def _places(block: bytes, *names: bytes) -> list[int]:
    """Return where the cards of a block begin that have one of some names anywhere, in order."""
    found = set()
    for name in names:
        place = block.find(name)
        while place >= 0:
            found.add(place // CARD * CARD)
            place = block.find(name, place + 1)
    return sorted(found)


def _note(card: bytes, found: dict[str, int]) -> None:
    """Store the number of a card that describes the structure."""
    # Readers accept lower case, a shifted equals sign and HIERARCH before a keyword; this check accepts none of them.
    name, equals, _ = card.partition(b"=")
    keyword = name.strip().upper().removeprefix(b"HIERARCH").strip()
    if not equals or not _KEYWORD.fullmatch(keyword):
        return
    if keyword == b"GROUPS":
        if not _NO_GROUPS.fullmatch(card):
            raise StructureError("random groups are not supported")
        return
    shown = keyword.decode("ascii")
    value = _INTEGER.fullmatch(card[8:]) if card[:8] == keyword.ljust(8) else None
    if value is None:
        raise StructureError(f"{shown[:20]} is not an integer in FITS format")
    if shown in found:
        raise StructureError(f"{shown} occurs twice")
    found[shown] = int(value[1])


def _data_bytes(sizes: dict[str, int]) -> int:
    """Return the number of data bytes that a header describes."""
    if missing := {"BITPIX", "NAXIS"} - sizes.keys():
        raise StructureError(f"{min(missing)} is missing")
    axes = sizes["NAXIS"]
    if not 0 <= axes <= _MOST_AXES:
        raise StructureError(f"NAXIS = {axes} is outside 0-{_MOST_AXES}")
    if sizes["BITPIX"] not in _PIXEL_SIZES:
        raise StructureError(f"BITPIX = {sizes['BITPIX']} is invalid")
    if not 0 <= sizes.get("TFIELDS", 0) <= _MOST_FIELDS:
        raise StructureError(f"TFIELDS = {sizes['TFIELDS']} is outside 0-{_MOST_FIELDS}")
    shape = [sizes.get(f"NAXIS{axis}", -1) for axis in range(1, axes + 1)]
    heap, groups = sizes.get("PCOUNT", 0), sizes.get("GCOUNT", 1)
    if min(*shape, heap, 0) < 0 or groups != 1:
        raise StructureError("NAXISn, PCOUNT or GCOUNT is missing or invalid")
    return abs(sizes["BITPIX"]) // 8 * (prod(shape) + heap) if axes else 0
