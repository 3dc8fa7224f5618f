"""Provenance of products as header cards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.pipeline.products.product_files import KEY_CARD, aperture_cards

if TYPE_CHECKING:
    from sbcdark.catalog.records import Match
    from sbcdark.pipeline.model.combination import ExposureDark
    from sbcdark.pipeline.products.records import Built


def provenance(built: Built) -> dict[str, str | int | float | bool]:
    """Return the provenance of a product as header cards (docs/guide.md)."""
    cards: dict[str, str | int | float | bool] = {
        KEY_CARD: built.inputs_key,
        "DRKVERS": SOFTWARE_VERSION,
        "DRKCOMB": built.masterdark.combine,
        "DRKCATRV": built.revision,
    }
    for number, (match, dark) in enumerate(zip(built.matches, built.estimate.exposures, strict=True), 1):
        cards |= dark_cards(number, match, dark)
    return cards | aperture_cards(built.apertures, built.growth)


def dark_cards(number: int, match: Match, dark: ExposureDark) -> dict[str, str | int | float | bool]:
    """Return the cards of one exposure's dark: its rule, its fit, and each dark with its weight and terms.

    Parameters
    ----------
    number : int
        Number of the exposure in its product, from 1.
    """
    exposure = f"DK{number:02d}"
    cards: dict[str, str | int | float | bool] = {"DRKVERS": SOFTWARE_VERSION}
    cards[f"{exposure}EXP"] = match.exposure
    cards[f"{exposure}RUL"] = match.rule
    cards[f"{exposure}TIE"] = match.tier
    cards[f"{exposure}PAR"] = json.dumps({k: v for k, v in match.parameters.items() if k != "exposures"})
    cards[f"{exposure}MET"] = dark.method
    if dark.fit is not None:
        cards[f"{exposure}BAS"] = dark.fit.base
        cards[f"{exposure}AMP"] = dark.fit.amplitude
        if dark.fit.sky is not None:
            cards[f"{exposure}SKY"] = dark.fit.sky
    for entry in match.darks:
        terms = (
            entry.delta_sigma,
            entry.delta_contrast_count_s_pix,
            entry.delta_box_rate_count_s_pix,
            entry.delta_temperature_c,
            entry.delta_days,
        )
        values = " ".join("-" if term is None else f"{term:.4g}" for term in terms)
        cards[f"{exposure}D{entry.rank:03d}"] = f"{entry.dark} {dark.weights.get(entry.dark, 0.0):.6f} {values}"
    return cards
