"""What the commands that make products print: darks, photometry, paths, warnings, failures."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.text import listed, number
from sbcdark.cli.errors import shown
from sbcdark.cli.output import Column, emit, fits_whole, fixed, print_table, say_warnings, scaled, tell
from sbcdark.pipeline.frames.tables import PHOTOMETRY_KEYS

if TYPE_CHECKING:
    from sbcdark.catalog.result_records import PhotometryRecord
    from sbcdark.pipeline.products.run import Outcome

_COLUMNS = (
    Column("association", "association", common=True),
    Column("number", "no."),
    Column("aperture", "aperture", spare=2, folds=True, common=True),
    Column("science_count_s", "science", fixed(4), spare=6),
    Column("dark_count_s", "dark", fixed(4), spare=7),
    Column("sky_count_s", "sky", fixed(4), spare=8),
    Column("source_count_s", "source", fixed(4), spare=1, error="source_err_count_s"),
    Column("significance_sigma", "sigma", fixed(1), spare=5),
    Column("net_count_s", "net", fixed(4), spare=9),
    Column("flux_erg_s_cm2_a", "flux", lambda value: f"{value:.3e}", spare=4),
    Column("shown_magnitude", "AB mag", spare=3),
)
_APERTURE_COLUMNS = (
    Column("association", "association", common=True),
    Column("number", "no."),
    Column("named", "aperture", folds=True),
)
_GROWTH_COLUMNS = (
    Column("association", "association", common=True),
    Column("number", "no."),
    Column("aperture", "aperture", folds=True, common=True),
    Column("radius_pix", "radius (pix)", fixed(1)),
    Column("radius_arcsec", "(arcsec)", fixed(3), spare=2),
    Column("coverage", "coverage", fixed(3), spare=3),
    Column("source_count_s", "source", fixed(4), error="source_err_count_s"),
    Column("significance_sigma", "sigma", fixed(1)),
    Column("shown_magnitude", "AB mag", spare=1),
)
_MEMBER_COLUMNS = (
    Column("association", "association", spare=7, common=True),
    Column("exposure", "exposure"),
    Column("method", "method", spare=4, common=True),
    Column("dark_names", "darks", spare=2, folds=True),
    Column("base", "base", scaled(1e6, 3), spare=1),
    Column("amplitude", "glow", scaled(1e6, 3), spare=1),
    Column("sky", "sky", scaled(1e6, 3), spare=1),
    Column("chi2_per_dof", "chi2/dof", fixed(2), spare=5),
    Column("tier", "tier", spare=3),
    Column("selection", "selection", spare=6),
)


def print_outcomes(outcomes: list[Outcome], *, as_json: bool = False, as_csv: bool = False) -> None:
    """Print the selected darks, the photometry and the paths of all products."""
    if not as_json and not as_csv:
        print_members(outcomes)
    print_photometry(outcomes, as_json=as_json, as_csv=as_csv)
    if as_json or as_csv:
        return
    for outcome in outcomes:
        made = outcome.masterdark
        if made is None:
            continue
        typer.echo(f"\n{outcome.name}")
        files = [
            ("science", made.science),
            ("masterdark", made.masterdark),
            ("net", made.net),
            ("photometry", outcome.table),
            ("growth", outcome.growth_table),
            *(("picture", picture) for picture in outcome.pictures),
        ]
        for word, path in files:
            if path is not None:
                typer.echo(f"  {word:11}{shown(str(path))}")


def print_tables(outcomes: list[Outcome]) -> None:
    """Print the paths of the tables, and of the pictures of curves of growth."""
    grown = [outcome for outcome in outcomes if outcome.growth_table is not None]
    tables = [path for outcome in outcomes for path in (outcome.table, outcome.growth_table) if path is not None]
    if tables:
        typer.echo("")
    for path in (*tables, *(outcome.pictures[-1] for outcome in grown if outcome.pictures)):
        typer.echo(shown(str(path)))


def print_members(outcomes: list[Outcome]) -> None:
    """Print the darks of each exposure and what was fitted."""
    rows = [
        asdict(member)
        | {
            "association": outcome.name,
            "dark_names": ", ".join(member.darks) if len(member.darks) <= 3 else number(len(member.darks), "dark"),
        }
        for outcome in outcomes
        if outcome.masterdark is not None
        for member in outcome.masterdark.members
    ]
    if rows:
        print_table(rows, _MEMBER_COLUMNS, "Darks; rates in 1e-6 count/s/pixel on the detector")


def print_photometry(outcomes: list[Outcome], *, as_json: bool, as_csv: bool) -> None:
    """Print the photometry and the curves of growth."""
    from sbcdark.pipeline.products.photometry_tables import growth_rows  # noqa: PLC0415  it loads numpy

    rows = [
        asdict(record)
        | {
            "number": number,
            "shown_magnitude": _magnitude(record),
            "growth": [row for row in growth_rows(outcome.growth) if row["aperture"] == record.aperture],
        }
        for outcome in outcomes
        for number, record in enumerate(outcome.photometry, 1)
    ]
    about = f"{_subtracted(outcomes)}{_counted_from(outcomes)}"
    # One association is named above the table: a column would take the place of the flux.
    alone = f" of {outcomes[0].name}" if len(outcomes) == 1 else ""
    without = {"association"} if alone else set()
    title = f"\nPhotometry{alone}; rates in drizzled count/s, flux in erg/s/cm2/A\n{about}" if rows else ""
    grown = any(outcome.growth for outcome in outcomes)
    keys = (*PHOTOMETRY_KEYS, "growth") if grown and as_json else PHOTOMETRY_KEYS
    on_screen = not as_json and not as_csv
    numbered = on_screen and not fits_whole(rows, _COLUMNS[1:] if alone else _COLUMNS)
    if numbered:
        # Only the numbers stay in the rows, so that source, flux and magnitude have their place.
        print_table(_apertures(outcomes), [one for one in _APERTURE_COLUMNS if one.key not in without], title)
        tell("")
        without, title = without | {"aperture"}, ""
    columns = [one for one in _COLUMNS if one.key not in without]
    emit(rows, keys, columns, as_json=as_json, as_csv=as_csv, output=None, title=title)
    if grown and on_screen:
        without = without if numbered else without | {"number"}
        columns = [one for one in _GROWTH_COLUMNS if one.key not in without]
        points = [(outcome, point) for outcome in outcomes for point in outcome.growth]
        more = [
            {"shown_magnitude": _magnitude(point.record), "number": _number(outcome, point.aperture)}
            for outcome, point in points
        ]
        growth = zip(growth_rows([point for _, point in points]), more, strict=True)
        print_table([row | own for row, own in growth], columns, f"\nCurves of growth{alone}")


def _apertures(outcomes: list[Outcome]) -> list[dict[str, Any]]:
    """Return the numbered apertures: once if all associations have the same, else of each association."""
    rows = [
        {"association": outcome.name, "number": number, "named": _named(record)}
        for outcome in outcomes
        for number, record in enumerate(outcome.photometry, 1)
    ]
    lists = [[_named(record) for record in outcome.photometry] for outcome in outcomes if outcome.photometry]
    if any(one != lists[0] for one in lists):
        return rows
    return [row | {"association": None} for row in rows[: len(lists[0])]]


def _named(record: PhotometryRecord) -> str:
    """Return the label of an aperture, with its shape where the label is another text."""
    if re.match(r"[a-z_]+[:@]", record.aperture) is not None:
        return record.aperture
    return f"{record.aperture}: {_short(record.shape)}"


def _number(outcome: Outcome, aperture: str) -> int:
    """Return the number of an aperture in the photometry of its association."""
    return 1 + [record.aperture for record in outcome.photometry].index(aperture)


def _magnitude(record: PhotometryRecord) -> str | None:
    if record.ab_mag is not None and record.ab_mag_err is not None:
        return f"{record.ab_mag:.2f} +- {record.ab_mag_err:.2f}"
    return None if record.ab_mag_limit is None else f"> {record.ab_mag_limit:.2f} (3 sigma)"


def _subtracted(outcomes: list[Outcome]) -> str:
    """Return one line about what is subtracted."""
    methods = {record.sky_method for outcome in outcomes for record in outcome.photometry}
    if methods == {"none"}:
        return "source = science - dark; no sky is subtracted"
    texts = [_short(one) for one in sorted(methods - {"none"})]
    shown_methods = ["the fitted sky" if one == "fit" else f"the sky of {one}" for one in texts]
    sky = " or ".join(shown_methods)
    rests = "\nnet rests on the base expected from the darks, source does not" if "fit" in methods else ""
    return f"source = science - dark - sky; {sky} is subtracted{rests}"


def _short(shape: str) -> str:
    """Return a shape with 7 decimals: the digits of a position from hours and minutes would fill the screen."""
    return re.sub(r"(\.[0-9]{7})[0-9]+", r"\1", shape)  # 0.4 mas are enough


def _counted_from(outcomes: list[Outcome]) -> str:
    """Say how pixels are counted, where an aperture is in pixels: DS9 counts them from 1."""
    in_pixels = any(":" in record.shape for outcome in outcomes for record in outcome.photometry)
    return "\napertures count pixels from 0, DS9 counts them from 1" if in_pixels else ""


def print_warnings(outcomes: list[Outcome]) -> None:
    """Print what to know before trusting the numbers."""
    say_warnings([warning for outcome in outcomes for warning in outcome.warnings])


def finish(outcomes: list[Outcome], *, apertures: bool = False) -> None:
    """Raise if the only target or some targets failed, or if no aperture lies on data."""
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    if len(outcomes) == 1 and failures:
        raise failures[0]
    if failures:
        # Why was told when each of them failed.
        names = listed([outcome.name for outcome in outcomes if outcome.failure is not None])
        todos = {failure.todo for failure in failures}
        rest = "" if len(failures) == len(outcomes) else " The others are complete."
        raise SbcdarkError(
            f"{len(failures)} of {number(len(outcomes), 'target')} failed: {names}.{rest}",
            todos.pop() if len(todos) == 1 else "Run the failed ones again.",
        )
    if apertures and not any(outcome.photometry for outcome in outcomes):
        raise UsageError("No aperture lies on data.", "Look at the product, or give positions on the sky.")
