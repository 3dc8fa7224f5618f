"""The commands that select darks: match, why."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sbcdark.catalog.errors import NothingMatchedError
from sbcdark.cli.app import app, catalog
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
    scaled,
    tell,
)
from sbcdark.pipeline.selection.rules import MIN_EXPTIME_S, Rule

if TYPE_CHECKING:
    from sbcdark.catalog.records import Match
    from sbcdark.keywords import MatchKeywords
    from sbcdark.pipeline.products.aperture_preview import Outlook

ProgramOption = Annotated[
    int | None, typer.Option("--program", metavar="N", min=1, max=999_999, help="All science of a program.")
]
AssociationOption = Annotated[
    str | None, typer.Option("--association", metavar="A", help="All exposures of an association.")
]
TargetOption = Annotated[
    str | None, typer.Option("--target", metavar="NAME", help="All science of a target, by its TARGNAME.")
]
RuleOption = Annotated[Rule, typer.Option("--rule", help="The quantity that is compared.")]
MaxSigmaOption = Annotated[
    float | None, typer.Option("--max-sigma", min=0.0, help="Largest |z|; default: the ladder 2, 5, any.")
]
MaxDaysOption = Annotated[float | None, typer.Option("--max-days", min=0.0, help="Largest separation in time, days.")]
MinExptimeOption = Annotated[float, typer.Option("--min-exptime", min=0.0, help="Shortest exposure time of a dark, s.")]

ApertureOption = Annotated[
    list[str] | None,
    typer.Option(
        "--aperture",
        metavar="SPEC",
        help="circle:x,y,r  ellipse:x,y,a,b,theta  box:…  polygon:…  annulus:…  or circle@ra,dec,r …, or DS9's text.",
    ),
]
FlatOption = Annotated[
    Path | None, typer.Option("--flat", metavar="PATH", help="The flat, or a folder of flats; default: $jref.")
]

DARK_KEYS = (
    "rank",
    "dark",
    "program",
    "score",
    "weight",
    "delta_sigma",
    "delta_box_rate_count_s_pix",
    "delta_contrast_count_s_pix",
    "delta_temperature_c",
    "delta_days",
    "exptime_s",
    "uri",
)
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
    Column("residual_count", "expected residual", fixed(1)),
    Column("residual_err_count", "+-", fixed(1)),
)


@app.command()
def match(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Exposures, associations, or their files.")
    ] = None,
    program: ProgramOption = None,
    association: AssociationOption = None,
    target: TargetOption = None,
    rule: RuleOption = Rule.GLOW,
    top: Annotated[int, typer.Option("--top", min=1, metavar="K", help="Largest number of darks.")] = 5,
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
    """Rank the darks that fit each exposure, with every term of the score."""
    check_forms(as_json=as_json, as_csv=as_csv, output=output, overwrite=overwrite)
    known = catalog()
    wanted: MatchKeywords = {
        "rule": rule,
        "top": top,
        "max_sigma": max_sigma,
        "max_days": max_days,
        "min_exptime_s": min_exptime,
    }
    found = known.match(names or [], program=program, association=association, target=target, save=save, **wanted)
    outlooks, warnings = known.preview(found, aperture, flat=flat, **wanted) if aperture else ([], [])
    for warning in warnings:
        say(f"warning: {warning}")
    if as_json:
        print_json([_json(one, outlooks) for one in found])
    elif as_csv or output is not None:
        rows = [_tagged(one, dark) for one in found for dark in _dark_rows(one)]
        emit(
            rows,
            ("exposure", "rule", "tier", *DARK_KEYS),
            (),
            as_json=False,
            as_csv=as_csv,
            output=output,
            overwrite=overwrite,
        )
    else:
        for one in found:
            _print(one, outlooks)
    for one in found:
        if one.selection_id is not None:
            say(f"Stored selection {one.selection_id} for {one.exposure}")
    unmatched = [one.exposure for one in found if not one.darks]
    if unmatched:
        raise NothingMatchedError(f"No dark fits {', '.join(unmatched)}.", known.advice(unmatched))


@app.command()
def why(
    exposure: Annotated[str, typer.Argument(help="The science exposure.")],
    dark: Annotated[str, typer.Argument(help="The dark.")],
    rule: RuleOption = Rule.GLOW,
    top: Annotated[int, typer.Option("--top", min=1, metavar="K", help="Number of darks to select.")] = 5,
    max_sigma: MaxSigmaOption = None,
    max_days: MaxDaysOption = None,
    min_exptime: MinExptimeOption = MIN_EXPTIME_S,
    as_json: JsonOption = False,
) -> None:
    """Explain why a dark is selected for an exposure or not, and what would admit it."""
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


def _dark_rows(one: Match) -> list[dict[str, Any]]:
    return [{key: row[key] for key in DARK_KEYS} for row in (asdict(dark) for dark in one.darks)]


def _tagged(one: Match, dark: dict[str, Any]) -> dict[str, Any]:
    return {"exposure": one.exposure, "rule": one.rule, "tier": one.tier} | dark


def _json(one: Match, outlooks: list[Outlook]) -> dict[str, Any]:
    answer = {
        "exposure": one.exposure,
        "rule": one.rule,
        "tier": one.tier,
        "darks": _dark_rows(one),
        "nearest_rejected": [asdict(rejected) for rejected in one.nearest_rejected],
        "warnings": list(one.warnings),
    }
    apertures = [asdict(outlook) for outlook in outlooks if outlook.exposure == one.exposure]
    return answer | ({"apertures": apertures} if apertures else {})


def _print(one: Match, outlooks: list[Outlook]) -> None:
    title = f"\n{one.exposure}: rule {one.rule}, tier {one.tier}"
    if one.darks:
        title += ". Differences are science minus dark; rates in 1e-6 count/s/pixel."
    print_table(_dark_rows(one), _COLUMNS, title)
    for rejected in one.nearest_rejected:
        tell(f"  not selected: {rejected.dark}: {rejected.reason}")
    for warning in one.warnings:
        tell(f"  warning: {warning}")
    for outlook in outlooks:
        if outlook.exposure == one.exposure:
            title = (
                f"\n  {outlook.aperture}: {outlook.science_count:.1f} +- {outlook.science_err_count:.1f} native counts "
                f"in {outlook.area_pix:.0f} native pixels; residual dark counts with each dark:"
            )
            print_table([asdict(residual) for residual in outlook.residuals], _RESIDUAL_COLUMNS, title)
