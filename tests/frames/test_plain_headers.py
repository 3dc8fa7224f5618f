"""The reader of simple headers says what astropy says, or leaves the header to it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from bad_input import overwritten, sound
from helpers import CARD, SCI_HEADER, unpacked_raw, with_card

from sbcdark.pipeline.frames import exposure_files
from sbcdark.pipeline.frames.plain_headers import NotPlainError, PlainHeader, plain_headers
from sbcdark.pipeline.frames.untrusted_fits import NotOursError, UnsoundError, card_value, structure_of

if TYPE_CHECKING:
    from pathlib import Path

VALUES = (
    "'text'", "'text    '           / a comment", "''", "'  led by blanks'", "'a''b'", "'it''  s'", "'open", "'x' y",
    "1", "+1", "-01", "1.5", "-1.", ".5", "1.5E3", "1.5D3", "1.5e3", "1E3", "1.0E400", "1 2", "1.5.5", "0x10", "1_0",
    "T", "F", "TRUE", "T / yes", "", "/ nothing", "NaN", "(1.0, 2.0)", "1/2", "9999999999999999999", "1.5/", "'/'",
    "'&'", "'a: 1.5'", "'a.b: 2'", "'12:30:15'", "'a:b'",
)  # fmt: skip

INDICATORS = ("= ", "=", "  ", "=  ", "= \t", " = ", "==")


def read_by_astropy(cards: bytes, keyword: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return card_value(fits.Header.fromstring(cards), keyword)


def read_plainly(cards: bytes, keyword: str) -> Any:
    return PlainHeader(cards).get(keyword)


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def test_every_card_of_a_raw_is_what_astropy_reads(shared_data: Path) -> None:
    content = unpacked_raw(shared_data)
    read = 0
    for part in structure_of(content):
        cards = content[part.header : part.end]
        header = fits.Header.fromstring(cards)
        plain = PlainHeader(cards)
        for keyword in set(header) - {"COMMENT", "HISTORY", ""}:
            try:
                value = plain.get(keyword)
            except NotPlainError:
                continue
            assert same(value, header[keyword]), keyword
            assert keyword in plain
            read += 1
    assert read > 200
    assert plain.get("ABSENT") is None
    assert "ABSENT" not in plain


def test_other_cards_are_left_to_astropy() -> None:
    """Values and keywords in every form, alone, repeated and beside each other."""
    generator = np.random.default_rng(5)
    keywords = ("EXPTIME", " EXPTIME", "exptime", "EXP TIME", "EXPTIME=", "HIERARCH EXPTIME", "OTHER", "CONTINUE", "")
    agreed = left = 0
    for _ in range(4000):
        cards = []
        for _ in range(generator.choice((1, 1, 2, 3))):
            keyword = generator.choice(keywords) if generator.random() < 0.3 else "EXPTIME"
            indicator = generator.choice(INDICATORS) if generator.random() < 0.2 else "= "
            cards.append(f"{keyword:8}{indicator}{' ' * generator.integers(12)}{generator.choice(VALUES)}")
        content = "".join(f"{card[:CARD]:{CARD}}" for card in cards).encode()
        try:
            value = read_plainly(content, "EXPTIME")
        except NotPlainError:
            left += 1
            continue
        agreed += 1
        assert same(value, read_by_astropy(content, "EXPTIME")), cards
    assert agreed > 1000
    assert left > 1000


SPOILED = {
    "as it is": lambda raw: raw,
    "a quote in a name": lambda raw: overwritten(raw, "TARGNAME", "'a''b'"),
    "a number as text": lambda raw: overwritten(raw, "EXPTIME", "'1000.0'"),
    "no number": lambda raw: overwritten(raw, "EXPTIME", "1000.0.0"),
    "another time": lambda raw: overwritten(raw, "EXPTIME", "1.0D3"),
    "no time": lambda raw: with_card(raw, "EXPTIME", None),
    "another instrument": lambda raw: overwritten(raw, "INSTRUME", "'WFC3'"),
    "fewer extensions than promised": lambda raw: overwritten(raw, "NEXTEND", "9"),
    "promise that is no number": lambda raw: overwritten(raw, "NEXTEND", "T"),
    "not an image": lambda raw: with_card(raw, "XTENSION", "'BINTABLE'", start=SCI_HEADER),
    "another unit": lambda raw: with_card(raw, "BUNIT", "'COUNTS/S'", start=SCI_HEADER),
    "scaled": lambda raw: with_card(raw, "BUNIT", None, start=SCI_HEADER).replace(b"COMMENT ", b"BZERO   =  1", 1),
    "of 8 bits": lambda raw: with_card(raw, "BITPIX", "8", start=SCI_HEADER),
    "another extension": lambda raw: with_card(raw, "EXTNAME", "'ERR'", start=SCI_HEADER),
}


@pytest.mark.parametrize("how", SPOILED)
def test_file_gives_the_same_either_way(how: str, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts, or the refusal and its words."""
    content = SPOILED[how](sound(shared_data, "raw", 0))

    def parsed() -> str:
        try:
            return repr(exposure_files.parse(content, "RAW"))
        except (NotOursError, UnsoundError) as error:
            return f"{type(error).__name__}: {error}"

    found = parsed()
    monkeypatch.setattr(exposure_files, "_plain_exposure", lambda _content: None)
    assert found == parsed()


def test_real_raw_needs_no_astropy(shared_data: Path) -> None:
    content = unpacked_raw(shared_data)
    assert len(plain_headers(content, structure_of(content))) == 4
    assert exposure_files._plain_exposure(content) is not None
