"""Headers of simple FITS files: only the cards that are asked for are read.

astropy parses every card of a header, which takes most of the time of an ingest. This reader takes only what cannot be
read in two ways; for any other header, astropy decides.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sbcdark.pipeline.frames.fits_structure import CARD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sbcdark.pipeline.frames.fits_structure import Part

_KEYWORD = 8
"""Size in bytes of a keyword."""

_KEYWORDS = re.compile(rb"(?:[A-Z0-9_-][A-Z0-9_ -]{7}| {8})*")
_VALUE = re.compile(
    # astropy takes a text with a colon and a blank for a keyword of its own with a value.
    rb"= +(?:'(?P<text>(?:[^':]|:(?! ))*)'"
    rb"|(?P<whole>[+-]?[0-9]{1,18})"
    rb"|(?P<number>[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:E[+-]?[0-9]{1,3})?)"
    rb"|(?P<truth>[TF]))"
    rb" *(?:/.*)?"
)
_PRIMARY = re.compile(rb"SIMPLE  = +T *(?:/.*)?")
_IMAGE = re.compile(rb"XTENSION= 'IMAGE *' *(?:/.*)?")


class NotPlainError(Exception):
    """The header can be read in more than one way."""


class PlainHeader:
    """The cards of one header.

    Parameters
    ----------
    cards : bytes
        The header, without END and what follows it.

    Raises
    ------
    NotPlainError
        A keyword is not in upper case at the beginning of its card, or a value may continue on the next card.
    """

    def __init__(self, cards: bytes) -> None:
        self._cards = cards
        self._places: dict[bytes, int] = {}
        for place in range(0, len(cards), CARD):
            # Of cards with the same keyword, the first counts.
            self._places.setdefault(cards[place : place + _KEYWORD], place)
        if not _KEYWORDS.fullmatch(b"".join(self._places)) or not self._places.keys().isdisjoint(_OTHER):
            raise NotPlainError

    def get(self, keyword: str) -> str | int | float | bool | None:
        """Return the value of a card; None if it is missing.

        Raises
        ------
        NotPlainError
            The value is not in the format of the FITS standard, or has a quote or a colon and a blank in its text.
        """
        place = self._places.get(keyword.ljust(_KEYWORD).encode("ascii"))
        if place is None:
            return None
        found = _VALUE.fullmatch(self._cards, place + _KEYWORD, place + CARD)
        if found is None:
            raise NotPlainError
        value = found[found.lastgroup or 0].decode("ascii")
        match found.lastgroup:
            case "text":
                return value.rstrip()
            case "whole":
                return int(value)
            case "number":
                return float(value)
        return value == "T"

    def __contains__(self, keyword: str) -> bool:
        """Return whether there is a card with a keyword."""
        return keyword.ljust(_KEYWORD).encode("ascii") in self._places


_OTHER = {b"HIERARCH", b"CONTINUE"}


def plain_headers(content: bytes, parts: Sequence[Part]) -> list[PlainHeader]:
    """Return the headers of a file whose extensions are all images.

    Parameters
    ----------
    content : bytes
        The file.
    parts : sequence of Part
        From `check_structure`.

    Raises
    ------
    NotPlainError
        A header can be read in more than one way, or an extension may not be an image.
    """
    headers = []
    for number, part in enumerate(parts):
        axes = part.sizes["NAXIS"]
        required = ["SIMPLE" if number == 0 else "XTENSION", "BITPIX", "NAXIS"]
        required += [f"NAXIS{axis}" for axis in range(1, axes + 1)] + ([] if number == 0 else ["PCOUNT", "GCOUNT"])
        cards = content[part.header : part.end]
        first = [cards[place : place + _KEYWORD] for place in range(0, len(required) * CARD, CARD)]
        kind = _PRIMARY if number == 0 else _IMAGE
        if first != [keyword.ljust(_KEYWORD).encode("ascii") for keyword in required] or not kind.fullmatch(
            cards, 0, CARD
        ):
            raise NotPlainError
        if (number == 0 and axes) or part.sizes.get("PCOUNT", 0) or "TFIELDS" in part.sizes:
            raise NotPlainError
        headers.append(PlainHeader(cards))
    return headers
