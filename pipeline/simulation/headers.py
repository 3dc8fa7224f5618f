"""Header cards of simulated ACS/SBC files: the keywords, order and blank padding of a real RAW dark.

The templates follow the header of the RAW dark jcrx01iiq (program 13961); a simulation sets its own values with
`override`.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING

from sbcdark.pipeline.simulation.sky import CD, CRPIX, IDCSCALE, PA_V3, SIP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Value = str | int | float | bool
"""Values of a header card."""

Card = tuple[str, Value, str]
"""Keyword, value, comment; an empty keyword makes a blank card."""


def override(template: Iterable[Card], values: Mapping[str, Value]) -> tuple[Card, ...]:
    """Return the template with some values replaced; cards of new keywords are appended.

    Parameters
    ----------
    template : iterable of cards
        Keywords, values and comments, in order.
    values : mapping
        New values by keyword. Text is padded with blanks to its width in the template.

    Returns
    -------
    tuple of cards
        Every card of the template, then the new ones.
    """
    left = dict(values)
    cards: list[Card] = []
    for keyword, old, comment in template:
        new = left.pop(keyword, old) if keyword else old
        if isinstance(new, str) and isinstance(old, str):
            new = new.ljust(len(old))
        cards.append((keyword, new, comment))
    cards.extend((keyword, value, "") for keyword, value in left.items())
    return tuple(cards)


def _templates() -> dict[str, tuple[Card, ...]]:
    """Return the cards of `headers.json`, by part of a header."""
    text = resources.files(__package__).joinpath("headers.json").read_text(encoding="utf-8")
    return {
        part: tuple((str(word), value, str(comment)) for word, value, comment in cards)
        for part, cards in json.loads(text).items()
    }


_PARTS = _templates()

PRIMARY = _PARTS["primary"]
"""Primary cards of a RAW dark."""

ASSOCIATION_PRIMARY = _PARTS["association primary"]
"""Primary cards of an association table."""

SCIENCE = (*_PARTS["names"], *_PARTS["wcs"], *_PARTS["science"])
"""SCI cards of a RAW dark."""

ERROR = (*_PARTS["names"], *_PARTS["wcs"], *_PARTS["statistics"])
"""ERR cards of an FLT."""

QUALITY = (*_PARTS["names"], *_PARTS["wcs"])
"""DQ cards of an FLT."""


def _constant(value: Value, *more: Card) -> tuple[Card, ...]:
    """Return the cards of an extension of a RAW file whose array is a constant that is not written out."""
    pixel_value = ("PIXVALUE", value, "values of pixels in constant array")
    return (*_PARTS["names"], *_PARTS["constant array"], pixel_value, *_PARTS["wcs"], *more)


NULL_ERROR = _constant(0.0, *_PARTS["statistics"])
NULL_QUALITY = _constant(0)

LINEAR = ("CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2", "ORIENTAT", "PA_APER")
"""Cards of `DISTORTION` that ERR and DQ have, too."""

DISTORTION: dict[str, Value] = {
    "CTYPE1": "RA---TAN-SIP",
    "CTYPE2": "DEC--TAN-SIP",
    "CRPIX1": CRPIX[0],
    "CRPIX2": CRPIX[1],
    "CD1_1": CD[0][0],
    "CD1_2": CD[0][1],
    "CD2_1": CD[1][0],
    "CD2_2": CD[1][1],
    "ORIENTAT": -43.0267,
    "PA_APER": -43.0267,
    "CCDCHIP": 1,
    "NCOMBINE": 1,
    "RADESYS": "ICRS",
    "OCX10": 5.96877289353869e-05,
    "OCX11": 0.033552177250385284,
    "OCY10": 0.030077841132879257,
    "OCY11": 0.003195184050127864,
    "IDCSCALE": IDCSCALE,
    "IDCTHETA": 0.0,
    "IDCXREF": 512.0,
    "IDCYREF": 512.0,
    "IDCV2REF": 205.81,
    "IDCV3REF": 470.237,
    "MJDREF": 0.0,
    "IDCTAB": "jref$sbc_simulated_idc.fits",
    "A_ORDER": 4,
    "B_ORDER": 4,
    **{f"A_{p}_{q}": a for p, q, a, _ in SIP},
    **{f"B_{p}_{q}": b for p, q, _, b in SIP},
    "WCSNAME": "IDC_sbc_simulated",
}
"""Cards that updatewcs adds to a SCI header: without them AstroDrizzle refuses the file."""

TARGET, SCIENCE_PROGRAM = "SIMULATED-GALAXY", 99655

SCIENCE_PRIMARY: dict[str, Value] = {
    "IMAGETYP": "EXT",
    "PRIMESI": "ACS",
    "TARGNAME": TARGET,
    "PROPOSID": SCIENCE_PROGRAM,
    "LINENUM": "11.001",
    "FGSLOCK": "FINE",
    "REFFRAME": "ICRS",
    "PA_V3": PA_V3,
    "CAL_VER": "SIMULATED",
    "OBSTYPE": "IMAGING",
    "NRPTEXP": 1,
    "DQICORR": "COMPLETE",
    "FLATCORR": "COMPLETE",
    "PHOTCORR": "COMPLETE",
    "RPTCORR": "OMIT",
    "DRIZCORR": "PERFORM",
    "IDCTAB": "jref$sbc_simulated_idc.fits",
    "ASN_MTYP": "EXP-DTH",
}
"""Cards of an FLT's primary header that differ from a RAW dark's."""
