"""Commands that make products: masterdark, photometry, run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.cli.app import app, catalog
from sbcdark.cli.choosing import ApertureOption, FlatOption, MaxDaysOption, MaxSigmaOption, MinExptimeOption, RuleOption
from sbcdark.cli.errors import shown
from sbcdark.cli.output import (
    Column,
    CsvOption,
    JsonOption,
    check_forms,
    emit,
    fixed,
    print_json,
    print_table,
    say,
    scaled,
)
from sbcdark.pipeline.matching import MIN_EXPTIME_S, Combine, Rule
from sbcdark.pipeline.options import BuildOptions, Job, apertures_of, read_regions
from sbcdark.pipeline.tables import PHOTOMETRY_KEYS

if TYPE_CHECKING:
    from sbcdark.pipeline.run import Outcome

NamesArgument = Annotated[list[str], typer.Argument(metavar="ASSOCIATION|EXPOSURE...", help="What to work on.")]
FolderOption = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where the products go.")]
CombineOption = Annotated[
    Combine | None, typer.Option("--combine", help="How darks are combined; default: model, with --use nearest.")
]
TopOption = Annotated[int | None, typer.Option("--top", min=1, metavar="K", help="How many darks to combine.")]
UseOption = Annotated[
    list[str] | None, typer.Option("--use", metavar="EXPOSURE=DARK", help="Force this dark; may be given again.")
]
MaskOption = Annotated[
    Path | None,
    typer.Option("--mask", metavar="FILE", help="DS9 regions that hold sources: left out of the model's fit."),
]
RegionsOption = Annotated[Path | None, typer.Option("--regions", metavar="FILE", help="DS9 regions as apertures.")]
MixedOption = Annotated[
    bool,
    typer.Option(
        "--mixed", help="Combine exposures of different filters or fields all the same; no flux.", show_default=False
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace products of other inputs.", show_default=False)
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, metavar="N", help="Associations at once; default: one a core.")
]

_COLUMNS = (
    Column("association", "association", spare=4),
    Column("number", "no."),
    Column("aperture", "aperture"),
    Column("science_count_s", "science", fixed(4)),
    Column("dark_count_s", "dark", fixed(4)),
    Column("dark_fraction", "dark/science", fixed(3), spare=2),
    Column("net_count_s", "net", fixed(4)),
    Column("net_err_count_s", "+-", fixed(4)),
    Column("flux_erg_s_cm2_a", "flux", lambda value: f"{value:.3e}", spare=1),
    Column("ab_mag", "AB mag", fixed(3)),
    Column("ab_mag_err", "+-", fixed(3)),
)
_MEMBER_COLUMNS = (
    Column("association", "association", spare=4),
    Column("exposure", "exposure"),
    Column("method", "method"),
    Column("dark_names", "darks"),
    Column("base", "base", scaled(1e6, 3)),
    Column("amplitude", "glow", scaled(1e6, 3)),
    Column("sky", "sky", scaled(1e6, 3)),
    Column("chi2_per_dof", "chi2/dof", fixed(2), spare=3),
    Column("tier", "tier"),
    Column("selection", "selection", spare=2),
)


@app.command()
def masterdark(
    names: NamesArgument,
    folder: FolderOption,
    combine: CombineOption = None,
    rule: RuleOption = Rule.GLOW,
    top: TopOption = None,
    use: UseOption = None,
    flat: FlatOption = None,
    mask: MaskOption = None,
    max_sigma: MaxSigmaOption = None,
    max_days: MaxDaysOption = None,
    min_exptime: MinExptimeOption = MIN_EXPTIME_S,
    mixed: MixedOption = False,
    overwrite: OverwriteOption = False,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the science product and, on the same pixels, the masterdark with its error."""
    options = _options(combine, rule, top, use, flat, mask, max_sigma, max_days, min_exptime, mixed=mixed)
    outcomes = _make(names, Job(folder, options, overwrite=overwrite), workers)
    made = [outcome.masterdark for outcome in outcomes if outcome.masterdark is not None]
    if as_json:
        print_json([_without_warnings(asdict(one)) for one in made])
    else:
        _print_members(outcomes)
        for one in made:
            for path in (one.science, one.masterdark):
                typer.echo(shown(str(path)))
    _finish(outcomes)


@app.command()
def photometry(
    names: NamesArgument,
    folder: FolderOption,
    aperture: ApertureOption = None,
    regions: RegionsOption = None,
    combine: CombineOption = None,
    rule: RuleOption = Rule.GLOW,
    top: TopOption = None,
    use: UseOption = None,
    flat: FlatOption = None,
    mask: MaskOption = None,
    max_sigma: MaxSigmaOption = None,
    max_days: MaxDaysOption = None,
    min_exptime: MinExptimeOption = MIN_EXPTIME_S,
    mixed: MixedOption = False,
    overwrite: OverwriteOption = False,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Measure apertures on the science product with the masterdark subtracted, errors from native counts."""
    check_forms(as_json=as_json, as_csv=as_csv)
    options = _options(combine, rule, top, use, flat, mask, max_sigma, max_days, min_exptime, mixed=mixed)
    apertures = apertures_of(aperture or (), regions)
    if not apertures:
        raise UsageError("No aperture is given.", "Give --aperture ellipse:735,710,70,40,90 or --regions FILE.reg.")
    outcomes = _make(names, Job(folder, options, apertures, overwrite=overwrite), workers)
    _print_photometry(outcomes, as_json=as_json, as_csv=as_csv)
    _finish(outcomes, apertures=True)


@app.command()
def run(
    names: NamesArgument,
    folder: FolderOption,
    aperture: ApertureOption = None,
    regions: RegionsOption = None,
    combine: CombineOption = None,
    rule: RuleOption = Rule.GLOW,
    top: TopOption = None,
    use: UseOption = None,
    flat: FlatOption = None,
    mask: MaskOption = None,
    max_sigma: MaxSigmaOption = None,
    max_days: MaxDaysOption = None,
    min_exptime: MinExptimeOption = MIN_EXPTIME_S,
    mixed: MixedOption = False,
    overwrite: OverwriteOption = False,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Do the whole job: drizzle, choose darks, build the masterdark, measure, draw."""
    check_forms(as_json=as_json, as_csv=as_csv)
    options = _options(combine, rule, top, use, flat, mask, max_sigma, max_days, min_exptime, mixed=mixed)
    apertures = apertures_of(aperture or (), regions)
    outcomes = _make(names, Job(folder, options, apertures, pictures=True, overwrite=overwrite), workers)
    print_outcomes(outcomes, as_json=as_json, as_csv=as_csv)
    if not apertures:
        say("no aperture was given, so nothing was measured; look at the pictures, then give --aperture or --regions")
    _finish(outcomes, apertures=bool(apertures))


def print_outcomes(outcomes: list[Outcome], *, as_json: bool = False, as_csv: bool = False) -> None:
    """Print what was chosen, what was measured and where everything is."""
    if not as_json and not as_csv:
        _print_members(outcomes)
    _print_photometry(outcomes, as_json=as_json, as_csv=as_csv)
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
            ("photometry", outcome.table),
            *(("picture", picture) for picture in outcome.pictures),
        ]
        for word, path in files:
            if path is not None:
                typer.echo(f"  {word:11}{shown(str(path))}")


def _make(names: list[str], job: Job, workers: int | None) -> list[Outcome]:
    from sbcdark.pipeline.run import make  # noqa: PLC0415  what makes products is slow to import

    return make(catalog(), names, job, workers=workers, talk=say)


def _options(
    combine: Combine | None,
    rule: Rule,
    top: int | None,
    use: list[str] | None,
    flat: Path | None,
    mask: Path | None,
    max_sigma: float | None,
    max_days: float | None,
    min_exptime: float,
    *,
    mixed: bool,
) -> BuildOptions:
    forced: dict[str, tuple[str, ...]] = {}
    for text in use or ():
        exposure, equals, dark = (part.strip().lower() for part in text.partition("="))
        if not exposure or not equals or not dark:
            raise UsageError(f"--use {text!r} is no choice.", "Write e.g. --use jcmc11e6q=jcrx01ixq.")
        forced[exposure] = (*forced.get(exposure, ()), dark)
    if forced and combine is Combine.MODEL:
        raise UsageError(
            "--use forces a dark frame, and the model fits the dark from many.",
            "Give --combine nearest or mean with it.",
        )
    several = any(len(darks) > 1 for darks in forced.values())
    if several and combine is Combine.NEAREST:
        raise UsageError(
            "--combine nearest takes one dark an exposure.", "Name one with --use, or give --combine mean."
        )
    if flat is not None and not flat.exists():
        raise UsageError(f"There is no flat at {flat}.", "Give a FITS file or a folder with --flat.")
    return BuildOptions(
        combine=combine or (Combine.MEAN if several else Combine.NEAREST if forced else Combine.MODEL),
        rule=rule,
        top=top,
        max_sigma=max_sigma,
        max_days=max_days,
        min_exptime_s=min_exptime,
        use=forced,
        flat=flat,
        mask=() if mask is None else tuple(read_regions(mask)),
        mixed=mixed,
    )


def _without_warnings(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "warnings"}


def _print_members(outcomes: list[Outcome]) -> None:
    rows = [
        asdict(member)
        | {
            "association": outcome.name,
            "dark_names": ", ".join(member.darks) if len(member.darks) <= 3 else f"{len(member.darks)} darks",
        }
        for outcome in outcomes
        if outcome.masterdark is not None
        for member in outcome.masterdark.members
    ]
    if rows:
        print_table(rows, _MEMBER_COLUMNS, "Darks; rates in 1e-6 count/s/pixel on the detector")


def _print_photometry(outcomes: list[Outcome], *, as_json: bool, as_csv: bool) -> None:
    rows = [
        asdict(record) | {"number": number}
        for outcome in outcomes
        for number, record in enumerate(outcome.photometry, 1)
    ]
    title = "\nPhotometry; rates in drizzled count/s, flux in erg/s/cm2/A" if rows else ""
    emit(rows, PHOTOMETRY_KEYS, _COLUMNS, as_json=as_json, as_csv=as_csv, output=None, title=title)


def tell_warnings(outcomes: list[Outcome]) -> None:
    """Say what the user should know before trusting the numbers."""
    for outcome in outcomes:
        for warning in outcome.warnings:
            say(f"warning: {warning}")


def _finish(outcomes: list[Outcome], *, apertures: bool = False) -> None:
    """Tell warnings; fail as the only target did, or because some of several did, or where no aperture lies on data."""
    tell_warnings(outcomes)
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    if len(outcomes) == 1 and failures:
        raise failures[0]
    if failures:
        told = " ".join(f"[{failure.what}]" for failure in failures)
        raise SbcdarkError(
            f"{len(failures)} of {len(outcomes)} failed: {told}", "The others are done; run these again."
        )
    if apertures and not any(outcome.photometry for outcome in outcomes):
        raise UsageError("None of the apertures lies on data.", "Look at the product, or give positions on the sky.")
