"""The commands that make products: masterdark, photometry, run."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.text import listed, number
from sbcdark.cli.app import FlatOption, SchedulerOption, WorkersOption, app, catalog
from sbcdark.cli.drizzle_options import KernelOption, PixfracOption, ReferenceOption, RotationOption, ScaleOption
from sbcdark.cli.errors import shown
from sbcdark.cli.match import (
    AllOption,
    ApertureOption,
    MaskOption,
    MaxDaysOption,
    MaxSigmaOption,
    MinExptimeOption,
    RuleOption,
    SkyOption,
)
from sbcdark.cli.output import (
    Column,
    CsvOption,
    JsonOption,
    check_forms,
    emit,
    fixed,
    print_json,
    print_table,
    progress_bar,
    say,
    say_warnings,
    scaled,
)
from sbcdark.cli.selectors import AssociationOption, ProgramOption, TargetOption
from sbcdark.cli.shared_options import with_options
from sbcdark.keywords import apertures_from, radii_from
from sbcdark.pipeline.frames.tables import PHOTOMETRY_KEYS
from sbcdark.pipeline.products.photometry_tables import growth_rows
from sbcdark.pipeline.selection.names import Selector, as_root_name
from sbcdark.pipeline.selection.rules import MIN_EXPTIME_S, Combine, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sbcdark.catalog.result_records import PhotometryRecord
    from sbcdark.pipeline.estimation.options import BuildKeywords
    from sbcdark.pipeline.products.run import Outcome

NamesArgument = Annotated[list[str] | None, typer.Argument(metavar="ASSOCIATION|EXPOSURE...", help="Targets.")]
FolderOption = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the products.")]
CombineOption = Annotated[
    Combine | None, typer.Option("--combine", help="How darks are combined; default: model, with --use nearest.")
]
TopOption = Annotated[int | None, typer.Option("--top", min=1, metavar="K", help="Number of darks to combine.")]
UseOption = Annotated[
    list[str] | None, typer.Option("--use", metavar="EXPOSURE=DARK", help="Use this dark; may be repeated.")
]
RegionsOption = Annotated[Path | None, typer.Option("--regions", metavar="FILE", help="DS9 regions as apertures.")]
MixedOption = Annotated[
    bool,
    typer.Option(
        "--mixed", help="Combine exposures of different filters or fields anyway; no flux.", show_default=False
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace products made from other inputs.", show_default=False)
]
GrowthOption = Annotated[
    str | None,
    typer.Option(
        "--growth", metavar="R1,R2,...", help="Radii of a curve of growth, in pixels or arcsec as the aperture."
    ),
]

_COLUMNS = (
    Column("association", "association", common=True),
    Column("number", "no."),
    Column("aperture", "aperture", spare=2),
    Column("science_count_s", "science", fixed(4), spare=6),
    Column("dark_count_s", "dark", fixed(4), spare=7),
    Column("sky_count_s", "sky", fixed(4), spare=8),
    Column("source_count_s", "source", fixed(4), spare=1, error="source_err_count_s"),
    Column("significance_sigma", "sigma", fixed(1), spare=3),
    Column("net_count_s", "net", fixed(4), spare=9),
    Column("flux_erg_s_cm2_a", "flux", lambda value: f"{value:.3e}", spare=5),
    Column("shown_magnitude", "AB mag", spare=4),
)
_GROWTH_COLUMNS = (
    Column("association", "association", common=True),
    Column("aperture", "aperture", common=True),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DarkOptions:
    """The common options of commands that make files: targets, folder, and how the dark is made."""

    folder: FolderOption
    names: NamesArgument = None
    program: ProgramOption = None
    association: AssociationOption = None
    target: TargetOption = None
    everything: AllOption = False
    combine: CombineOption = None
    rule: RuleOption = Rule.GLOW
    top: TopOption = None
    use: UseOption = None
    flat: FlatOption = None
    max_sigma: MaxSigmaOption = None
    max_days: MaxDaysOption = None
    min_exptime: MinExptimeOption = MIN_EXPTIME_S
    overwrite: OverwriteOption = False

    @property
    def selector(self) -> Selector:
        """What is selected."""
        return Selector(tuple(self.names or ()), self.program, self.association, self.target, self.everything)

    def keywords(self) -> BuildKeywords:
        """Return the options of the dark as keywords of `Catalog`."""
        return {
            "combine": self.combine,
            "rule": self.rule,
            "top": self.top,
            "use": _forced(self.use or ()),
            "flat": self.flat,
            "max_sigma": self.max_sigma,
            "max_days": self.max_days,
            "min_exptime_s": self.min_exptime,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Build(DarkOptions):
    """The additional options of masterdark, photometry and run."""

    mask: MaskOption = None
    mixed: MixedOption = False
    final_scale: ScaleOption = None
    final_rot: RotationOption = None
    final_pixfrac: PixfracOption = None
    final_kernel: KernelOption = None
    final_refimage: ReferenceOption = None
    workers: WorkersOption = None
    scheduler: SchedulerOption = None

    def run(
        self,
        *,
        apertures: Sequence[str] = (),
        regions: Path | None = None,
        sky: str | None = None,
        growth: str | None = None,
        pictures: bool = False,
    ) -> list[Outcome]:
        """Make the products of each target with the catalog."""
        options: BuildKeywords = {
            **self.keywords(),
            "mask": self.mask,
            "mixed": self.mixed,
            "final_scale": self.final_scale,
            "final_rot": self.final_rot,
            "final_pixfrac": self.final_pixfrac,
            "final_kernel": self.final_kernel,
            "final_refimage": self.final_refimage,
        }
        # What is mistyped is said before anything else.
        notes: list[str] = []
        specs, radii = apertures_from(apertures, regions, notes), radii_from(growth or ())
        if self.workers != 1:
            from sbcdark.pipeline.products.workers import start_imports  # noqa: PLC0415  only this command needs it

            start_imports()  # beside the first look into the catalog
        known = catalog()
        say_warnings([*notes, *known.missing_flats(self.selector, self.flat)])
        with progress_bar("making products") as progress:
            made = known.run(
                self.selector,
                self.folder,
                apertures=specs,
                sky=sky,
                growth=radii,
                pictures=pictures,
                overwrite=self.overwrite,
                workers=self.workers,
                scheduler=self.scheduler,
                talk=say,
                progress=progress,
                **options,
            )
        outcomes = [one.outcome for one in made]
        print_warnings(outcomes)
        return outcomes


@app.command()
@with_options(Build)
def masterdark(build: Build, as_json: JsonOption = False) -> None:
    """Make the science product and, on the same pixels, the masterdark with its error."""
    outcomes = build.run()
    made = [outcome.masterdark for outcome in outcomes if outcome.masterdark is not None]
    if as_json:
        print_json([_without_warnings(asdict(one)) for one in made])
    else:
        _print_members(outcomes)
        for one in made:
            for path in (one.science, one.masterdark, one.net):
                typer.echo(shown(str(path)))
    _finish(outcomes)


@app.command()
@with_options(Build)
def photometry(
    build: Build,
    aperture: ApertureOption = None,
    regions: RegionsOption = None,
    sky: SkyOption = None,
    growth: GrowthOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Measure apertures on the dark-subtracted science product; errors come from native counts."""
    check_forms(as_json=as_json, as_csv=as_csv)
    if not aperture and regions is None:
        raise UsageError("No aperture is given.", "Give --aperture ellipse:735,710,70,40,90 or --regions FILE.reg.")
    outcomes = build.run(apertures=aperture or (), regions=regions, sky=sky, growth=growth)
    _print_photometry(outcomes, as_json=as_json, as_csv=as_csv)
    if not as_json and not as_csv:
        _print_tables(outcomes)
    _finish(outcomes, apertures=True)


@app.command()
@with_options(Build)
def run(
    build: Build,
    aperture: ApertureOption = None,
    regions: RegionsOption = None,
    sky: SkyOption = None,
    growth: GrowthOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Do the whole job: products, photometry and pictures of each association."""
    check_forms(as_json=as_json, as_csv=as_csv)
    outcomes = build.run(apertures=aperture or (), regions=regions, sky=sky, growth=growth, pictures=True)
    print_outcomes(outcomes, as_json=as_json, as_csv=as_csv)
    measured = bool(aperture) or regions is not None
    made = [outcome for outcome in outcomes if outcome.failure is None]
    if not measured and made and not any(outcome.photometry for outcome in made):
        say("no aperture is given, so nothing is measured; look at the pictures, then give --aperture or --regions")
    _finish(outcomes, apertures=measured)


def print_outcomes(outcomes: list[Outcome], *, as_json: bool = False, as_csv: bool = False) -> None:
    """Print the selected darks, the photometry and the paths of all products."""
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
            ("net", made.net),
            ("photometry", outcome.table),
            ("growth", outcome.growth_table),
            *(("picture", picture) for picture in outcome.pictures),
        ]
        for word, path in files:
            if path is not None:
                typer.echo(f"  {word:11}{shown(str(path))}")


def _print_tables(outcomes: list[Outcome]) -> None:
    """Print the paths of the tables, and of the pictures of curves of growth."""
    grown = [outcome for outcome in outcomes if outcome.growth_table is not None]
    tables = [path for outcome in outcomes for path in (outcome.table, outcome.growth_table) if path is not None]
    if tables:
        typer.echo("")
    for path in (*tables, *(outcome.pictures[-1] for outcome in grown if outcome.pictures)):
        typer.echo(shown(str(path)))


def _forced(texts: Sequence[str]) -> dict[str, list[str]]:
    forced: dict[str, list[str]] = {}
    for text in texts:
        exposure, equals, dark = (as_root_name(part) for part in text.partition("="))
        if not exposure or not equals or not dark:
            raise UsageError(f"--use {text!r} is not EXPOSURE=DARK.", "Write e.g. --use jcmc11e6q=jcrx01ixq.")
        forced.setdefault(exposure, []).append(dark)
    return forced


def _without_warnings(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "warnings"}


def _print_members(outcomes: list[Outcome]) -> None:
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


def _print_photometry(outcomes: list[Outcome], *, as_json: bool, as_csv: bool) -> None:
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
    title = f"\nPhotometry; rates in drizzled count/s, flux in erg/s/cm2/A\n{about}" if rows else ""
    grown = any(outcome.growth for outcome in outcomes)
    keys = (*PHOTOMETRY_KEYS, "growth") if grown and as_json else PHOTOMETRY_KEYS
    emit(rows, keys, _COLUMNS, as_json=as_json, as_csv=as_csv, output=None, title=title)
    if grown and not as_json and not as_csv:
        points = [point for outcome in outcomes for point in outcome.growth]
        shown_points = [{"shown_magnitude": _magnitude(point.record)} for point in points]
        growth = [row | more for row, more in zip(growth_rows(points), shown_points, strict=True)]
        print_table(growth, _GROWTH_COLUMNS, "\nCurves of growth")


def _magnitude(record: PhotometryRecord) -> str | None:
    if record.ab_mag is not None and record.ab_mag_err is not None:
        return f"{record.ab_mag:.2f} +- {record.ab_mag_err:.2f}"
    return None if record.ab_mag_limit is None else f"> {record.ab_mag_limit:.2f} (3 sigma)"


def _subtracted(outcomes: list[Outcome]) -> str:
    """Return one line about what is subtracted."""
    methods = {record.sky_method for outcome in outcomes for record in outcome.photometry}
    if methods == {"none"}:
        return "source = science - dark; no sky is subtracted"
    # 0.4 mas are enough: the digits of a position from hours and minutes would fill the screen.
    texts = [re.sub(r"(\.[0-9]{7})[0-9]+", r"\1", one) for one in sorted(methods - {"none"})]
    shown_methods = ["the fitted sky" if one == "fit" else f"the sky of {one}" for one in texts]
    sky = " or ".join(shown_methods)
    rests = "\nnet rests on the base expected from the darks, source does not" if "fit" in methods else ""
    return f"source = science - dark - sky; {sky} is subtracted{rests}"


def _counted_from(outcomes: list[Outcome]) -> str:
    """Say how pixels are counted, where an aperture is in pixels: DS9 counts them from 1."""
    in_pixels = any(":" in record.shape for outcome in outcomes for record in outcome.photometry)
    return "\napertures count pixels from 0, DS9 counts them from 1" if in_pixels else ""


def print_warnings(outcomes: list[Outcome]) -> None:
    """Print what to know before trusting the numbers."""
    say_warnings([warning for outcome in outcomes for warning in outcome.warnings])


def _finish(outcomes: list[Outcome], *, apertures: bool = False) -> None:
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
