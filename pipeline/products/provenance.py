"""Provenance of products: header cards, HISTORY in sentences, and tables of the exposures and their darks."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbcdark.catalog.text import number
from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.pipeline.frames.tables import table_hdu
from sbcdark.pipeline.products.product_files import KEY_CARD, aperture_cards

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.io.fits import BinTableHDU

    from sbcdark.catalog.records import Match
    from sbcdark.pipeline.model.combination import ExposureDark
    from sbcdark.pipeline.products.records import Built

Cards = dict[str, str | int | float | bool]

EXPOSURE_COLUMNS = (
    "exposure", "method", "rule", "tier", "base_count_s_pix", "base_err_count_s_pix", "amplitude_count_s_pix",
    "amplitude_err_count_s_pix", "sky_count_s_pix", "sky_err_count_s_pix", "chi2_per_dof", "top", "max_sigma",
    "max_days", "min_exptime_s",
)  # fmt: skip
DARK_COLUMNS = (
    "exposure", "rank", "dark", "weight", "delta_sigma", "delta_contrast_count_s_pix", "delta_box_rate_count_s_pix",
    "delta_temperature_c", "delta_days", "exptime_s",
)  # fmt: skip


def provenance(built: Built) -> Cards:
    """Return what identifies the inputs of a product as header cards (docs/guide.md)."""
    return {
        KEY_CARD: built.inputs_key,
        "DRKVERS": SOFTWARE_VERSION,
        "DRKCOMB": built.masterdark.combine,
        "DRKCATRV": built.revision,
        **aperture_cards(built.apertures, built.growth),
    }


def dark_tables(matches: Sequence[Match], darks: Sequence[ExposureDark]) -> list[BinTableHDU]:
    """Return the tables EXPOSURES (the fit of each exposure) and DARKS (the darks that it comes from).

    Every difference of a dark is science minus dark.
    """
    exposures: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for match, dark in zip(matches, darks, strict=True):
        row: dict[str, Any] = {name: match.parameters.get(name) for name in EXPOSURE_COLUMNS}
        row["max_sigma"] = float("nan") if row["max_sigma"] is None else row["max_sigma"]  # a number also where none is
        row |= {"exposure": match.exposure, "method": dark.method, "rule": match.rule, "tier": match.tier}
        fit = dark.fit
        if fit is not None:
            values = {"base": fit.base, "amplitude": fit.amplitude, "sky": fit.sky}
            row |= {f"{name}_count_s_pix": value for name, value in values.items()}
            errors = zip(values, fit.covariance.diagonal(), strict=False)
            row |= {f"{name}_err_count_s_pix": float(variance) ** 0.5 for name, variance in errors}
            row["chi2_per_dof"] = float(fit.chi2_per_dof)
        exposures.append(row)
        for entry in match.darks:
            terms = {name: getattr(entry, name, None) for name in DARK_COLUMNS}
            weight = dark.weights.get(entry.dark, 0.0)
            rows.append({**terms, "exposure": match.exposure, "weight": weight})
    return [table_hdu("EXPOSURES", exposures, EXPOSURE_COLUMNS), table_hdu("DARKS", rows, DARK_COLUMNS)]


def command_line(arguments: Sequence[str]) -> str:
    """Return the command that runs this program, without the database, whose URL may hold a password.

    Parameters
    ----------
    arguments : sequence of str
        ``sys.argv``. Under another program than ``sbcdark`` (a notebook, a script) the result is empty.
    """
    path = Path(arguments[0]) if arguments and arguments[0] else Path("-")
    if path.name != "sbcdark" and path.parts[-2:] != ("cli", "__main__.py"):
        return ""
    kept: list[str] = []
    rest = iter(arguments[1:])
    for argument in rest:
        if argument == "--db":
            next(rest, None)
        elif not argument.startswith("--db="):
            kept.append(argument)
    return shlex.join(["sbcdark", *kept])


def made_by(command: str) -> str:
    """Return the sentence on the program and the command."""
    return f"Made by sbcdark {SOFTWARE_VERSION}" + (f" with: {command}" if command else ".")


def dark_history(match: Match, dark: ExposureDark) -> list[str]:
    """Return sentences on the dark of an exposure: how it was made, and from which darks."""
    name, darks = match.exposure, [entry.dark for entry in match.darks]
    fit = dark.fit
    if fit is None:
        how = f"The dark of {name} is the {dark.method} of {number(len(darks), 'dark')}"
    else:
        parts = [f"base {fit.base:.4g}"]
        if dark.method == "model":
            parts.append(f"glow {fit.amplitude:.4g}")
        if fit.sky is not None:
            parts.append(f"sky {fit.sky:.4g}")
        how = (
            f"The dark of {name} ({dark.method}) was fitted to its own counts: {', '.join(parts)} count/s/pixel. "
            f"Its shape is that of {number(len(darks), 'dark')}"
        )
    return [f"{how}, chosen by the rule {match.rule} ({match.tier}): {', '.join(darks)}."]


def product_history(built: Built, kind: str, command: str) -> list[str]:
    """Return the history of a product in sentences.

    Parameters
    ----------
    kind : {"science", "dark", "net"}
    """
    made = built.masterdark
    names = ", ".join(one.values.rootname for one in built.inputs)
    start = made_by(command)
    if kind == "science":
        return [start, f"AstroDrizzle combined {names}. No dark is subtracted."]
    darks = [
        text
        for match, dark in zip(built.matches, built.estimate.exposures, strict=True)
        for text in dark_history(match, dark)
    ]
    told = "The tables EXPOSURES and DARKS list the fits and the darks with all terms."
    if kind == "net":
        done = f"The masterdark {made.masterdark.name} was subtracted from {made.science.name}. No sky is subtracted."
        return [start, done, *darks, told]
    return [start, f"Masterdark of {names} on the pixels of {made.science.name}.", *darks, told]
