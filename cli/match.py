"""The commands that select darks: match, why."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sbcdark.catalog.errors import NothingMatchedError
from sbcdark.catalog.text import number
from sbcdark.cli.app import FlatOption, app, catalog
from sbcdark.cli.output import (
    Column,
    CsvOption,
    FileOption,
    JsonOption,
    OverwriteOption,
    check_forms,
    emit,
    fixed,
    print_json,
    print_table,
    say,
    say_warnings,
    scaled,
    tell,
)
from sbcdark.cli.selectors import SelectorOptions
from sbcdark.cli.shared_options import with_options
from sbcdark.pipeline.selection.rules import MIN_EXPTIME_S, Rule
from sbcdark.pipeline.views.json_forms import DARK_KEYS, dark_forms, match_form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sbcdark.catalog.records import Match
    from sbcdark.keywords import MatchKeywords
    from sbcdark.pipeline.products.aperture_preview import Outlook

AllOption = Annotated[bool, typer.Option("--all", help="All science exposures of the catalog.", show_default=False)]
MaskOption = Annotated[
    Path | None,
    typer.Option("--mask", metavar="FILE", help="DS9 regions of sources, excluded from the fit of the model."),
]
SkyOption = Annotated[
    str | None,
    typer.Option(
        "--sky",
        metavar="SKY",
        help="Sky to subtract: fit, none, annulus:R_IN,R_OUT (product pixels) or annulus@R_IN,R_OUT (arcsec); "
        "default: fit with the model, else none.",
    ),
]
RuleOption = Annotated[
    Rule, typer.Option("--rule", metavar="RULE", help="What is compared: glow, box, temperature or notebook.")
]
MaxSigmaOption = Annotated[
    float | None, typer.Option("--max-sigma", metavar="Z", min=0.0, help="Largest |z|; default: the ladder 2, 5, any.")
]
MaxDaysOption = Annotated[
    float | None, typer.Option("--max-days", metavar="D", min=0.0, help="Largest separation in time, days.")
]
MinExptimeOption = Annotated[
    float, typer.Option("--min-exptime", metavar="S", min=0.0, help="Shortest exposure time of a dark, s.")
]

ApertureOption = Annotated[
    list[str] | None,
    typer.Option(
        "--aperture",
        metavar="SPEC",
        help="In product pixels circle:x,y,r ellipse:x,y,a,b,theta box:x,y,w,h,theta annulus:x,y,r_in,r_out "
        "polygon:x1,y1,x2,y2,x3,y3; on the sky circle@ra,dec,r (arcsec) and so on; or DS9's text. Repeatable.",
    ),
]

_COLUMNS = (
    Column("rank", "rank"),
    Column("dark", "dark"),
    Column("program", "program", spare=5, common=True),
    Column("delta_sigma", "d sigma", fixed(2), spare=1),
    Column("delta_box_rate_count_s_pix", "d box rate", scaled(1e6, 2), spare=4),
    Column("delta_contrast_count_s_pix", "d contrast", scaled(1e6, 2), spare=3),
    Column("delta_temperature_c", "d T (C)", fixed(2), spare=2),
    Column("delta_days", "d time (days)", fixed(2), spare=3),
    Column("exptime_s", "time (s)", fixed(0), spare=6, common=True),
)
_RESIDUAL_COLUMNS = (
    Column("dark", "dark"),
    Column("dark_count", "subtracted", fixed(1)),
    Column("residual_count", "expected residual", fixed(1), error="residual_err_count"),
)
_ROLES = {
    "rule": "ranked first by the rule",
    "cold": "cold ones nearest in time, for the base",
    "warm": "warm ones nearest in time, for the glow",
}


@app.command()
@with_options(SelectorOptions)
def match(
    options: SelectorOptions,
    rule: RuleOption = Rule.GLOW,
    top: Annotated[
        int | None, typer.Option("--top", min=1, metavar="K", help="Largest number of darks; default: 5.")
    ] = None,
    max_sigma: MaxSigmaOption = None,
    max_days: MaxDaysOption = None,
    min_exptime: MinExptimeOption = MIN_EXPTIME_S,
    save: Annotated[bool, typer.Option("--save", help="Store the selections.", show_default=False)] = False,
    aperture: ApertureOption = None,
    flat: FlatOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    output: FileOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Rank the darks that fit each exposure.

    Shows, too, which darks `run` would use for its model.
    """
    check_forms(as_json=as_json, as_csv=as_csv, output=output, overwrite=overwrite)
    known = catalog()
    wanted: MatchKeywords = {
        "rule": rule,
        "top": top,
        "max_sigma": max_sigma,
        "max_days": max_days,
        "min_exptime_s": min_exptime,
    }
    found = known.match(options.selector, save=save, **wanted)
    if aperture:
        say_warnings(known.missing_flats([one.exposure for one in found], flat))
    outlooks, warnings = known.preview(found, aperture, flat=flat, **wanted) if aperture else ([], [])
    say_warnings([*warnings, *(f"{one.exposure}: {warning}" for one in found for warning in one.warnings)])
    if as_json:
        print_json([_json(one, outlooks) for one in found])
    elif as_csv or output is not None:
        rows = [row for one in found for row in _file_rows(one, outlooks)]
        emit(rows, _FILE_KEYS, (), as_json=False, as_csv=as_csv, output=output, overwrite=overwrite)
    else:
        for one in found:
            _print(one, outlooks)
        _print_templates(found)
    for one in found:
        if one.selection_id is not None:
            say(f"Stored selection {one.selection_id} for {one.exposure}: sbcdark show --selection {one.selection_id}")
    unmatched = [one.exposure for one in found if not one.darks]
    if unmatched:
        raise NothingMatchedError(f"No dark fits {', '.join(unmatched)}.", known.advice(unmatched))


@app.command()
def why(
    exposure: Annotated[str, typer.Argument(metavar="EXPOSURE", help="The science exposure.")],
    dark: Annotated[str, typer.Argument(metavar="DARK", help="The dark.")],
    rule: RuleOption = Rule.GLOW,
    top: Annotated[int, typer.Option("--top", min=1, metavar="K", help="Number of darks to select.")] = 5,
    max_sigma: MaxSigmaOption = None,
    max_days: MaxDaysOption = None,
    min_exptime: MinExptimeOption = MIN_EXPTIME_S,
    as_json: JsonOption = False,
) -> None:
    """Explain why a dark is selected for an exposure or not.

    Says, too, what would admit it.
    """
    found = catalog().why(
        exposure, dark, rule=rule, top=top, max_sigma=max_sigma, max_days=max_days, min_exptime_s=min_exptime
    )
    if as_json:
        print_json([asdict(found)])
        return
    rows = [asdict(check) | {"answer": {True: "pass", False: "FAIL", None: ""}[check.passed]} for check in found.checks]
    columns = (
        Column("answer", ""),
        Column("check", "check (science - dark)", folds=True),
        Column("value", "value", spare=1),
        Column("wanted", "wanted", spare=2, folds=True),
    )
    print_table(rows, columns, f"{found.exposure} and {found.dark}, rule {found.rule}")
    tell("")
    tell(found.summary)
    if found.relaxation is not None:
        tell(f"To admit it: {found.relaxation}")


def _json(one: Match, outlooks: list[Outlook]) -> dict[str, Any]:
    apertures = [asdict(outlook) for outlook in outlooks if outlook.exposure == one.exposure]
    return match_form(one) | ({"apertures": apertures} if apertures else {})


_FILE_KEYS = (
    *("exposure", "what", "rule", "tier", *DARK_KEYS, "role", "reason"),
    *("aperture", "area_pix", "science_count", "science_err_count"),
    *("dark_count", "residual_count", "residual_err_count"),
)
"""The columns of a table file; `what` is selected, not selected, template, residual or warning."""


def _file_rows(one: Match, outlooks: list[Outlook]) -> list[dict[str, Any]]:
    """Return all that the screen shows of a match as rows of one table."""
    rows = [{"what": "selected"} | row for row in dark_forms(one.darks)]
    rows += [{"what": "not selected", **asdict(rejected)} for rejected in one.nearest_rejected]
    rows += [{"what": "template"} | row for row in dark_forms(one.templates, "role")]
    for outlook in outlooks:
        if outlook.exposure == one.exposure:
            inside = {key: value for key, value in asdict(outlook).items() if key in _FILE_KEYS}
            rows += [{"what": "residual"} | inside | asdict(residual) for residual in outlook.residuals]
    rows += [{"what": "warning", "reason": warning} for warning in one.warnings]
    return [row | {"exposure": one.exposure, "rule": one.rule, "tier": one.tier} for row in rows]


def _print(one: Match, outlooks: list[Outlook]) -> None:
    title = f"\n{one.exposure}: rule {one.rule}, tier {one.tier}"
    if one.darks:
        title += ". Differences are science minus dark; rates in 1e-6 count/s/pixel."
    print_table(dark_forms(one.darks), _COLUMNS, title)
    for rejected in one.nearest_rejected:
        tell(f"  not selected: {rejected.dark}: {rejected.reason}")
    for outlook in outlooks:
        if outlook.exposure == one.exposure:
            title = (
                f"\n{outlook.aperture}: {outlook.science_count:.1f} +- {outlook.science_err_count:.1f} native counts "
                f"in {outlook.area_pix:.0f} native pixels; residual dark counts with each dark:"
            )
            print_table([asdict(residual) for residual in outlook.residuals], _RESIDUAL_COLUMNS, title)


def _print_templates(found: Sequence[Match]) -> None:
    """Print the darks that a run would use, once for exposures with the same templates."""
    same: dict[frozenset[tuple[str, str | None]], list[Match]] = {}
    for one in found:
        if one.templates:
            same.setdefault(frozenset((dark.dark, dark.role) for dark in one.templates), []).append(one)
    for matches in same.values():
        darks = matches[0].templates
        tell("")
        tell(
            f"For {', '.join(one.exposure for one in matches)}, sbcdark run fits the model with templates from "
            f"{number(len(darks), 'dark')}:"
        )
        for role, why_they in _ROLES.items():
            names = sorted(dark.dark for dark in darks if dark.role == role)
            if names:
                tell(f"  {role}  {len(names):3} {why_they}: {', '.join(names)}")
