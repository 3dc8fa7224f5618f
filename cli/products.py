"""The commands that make products: masterdark, photometry, run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sbcdark.apertures_and_radii import apertures_from, radii_from
from sbcdark.catalog.errors import UsageError
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
from sbcdark.cli.outcomes import finish, print_members, print_outcomes, print_photometry, print_tables, print_warnings
from sbcdark.cli.output import (
    CsvOption,
    JsonOption,
    check_forms,
    print_json,
    progress_bar,
    say,
    say_warnings,
)
from sbcdark.cli.selectors import SelectorOptions
from sbcdark.cli.shared_options import with_options
from sbcdark.pipeline.selection.names import Selector, as_root_name
from sbcdark.pipeline.selection.rules import MIN_EXPTIME_S, Combine, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sbcdark.pipeline.estimation.build_keywords import BuildKeywords
    from sbcdark.pipeline.products.run import Outcome

FolderOption = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the products.")]
CombineOption = Annotated[
    Combine | None,
    typer.Option(
        "--combine",
        metavar="METHOD",
        help="How darks are combined: model (the default), mean or nearest (the default with --use).",
    ),
]
TopOption = Annotated[int | None, typer.Option("--top", min=1, metavar="K", help="Number of darks to combine.")]
UseOption = Annotated[
    list[str] | None, typer.Option("--use", metavar="EXPOSURE=DARK", help="Use this dark; repeatable.")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DarkOptions(SelectorOptions):
    """The common options of commands that make files: targets, folder, and how the dark is made."""

    folder: FolderOption
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
        # super() alone does not know the class that slots=True makes.
        return replace(super(DarkOptions, self).selector, everything=self.everything)

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
        from sbcdark.pipeline.apertures.sky import parse_sky  # noqa: PLC0415  used only here

        # What is mistyped is said before anything else.
        notes: list[str] = []
        specs, radii = apertures_from(apertures, regions, notes), radii_from(growth or ())
        parse_sky(sky, self.combine or (Combine.NEAREST if self.use else Combine.MODEL))
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
    """Make the science product, and the masterdark on its pixels.

    The masterdark has an error map; the net product is science minus dark.
    """
    outcomes = build.run()
    made = [outcome.masterdark for outcome in outcomes if outcome.masterdark is not None]
    if as_json:
        print_json([_without_warnings(asdict(one)) for one in made])
    else:
        print_members(outcomes)
        for one in made:
            for path in (one.science, one.masterdark, one.net):
                typer.echo(shown(str(path)))
    finish(outcomes)


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
    """Measure apertures on the dark-subtracted science product.

    The products are made where they are missing. Errors come from native counts.
    """
    check_forms(as_json=as_json, as_csv=as_csv)
    if not aperture and regions is None:
        raise UsageError("No aperture is given.", "Give --aperture ellipse:735,710,70,40,90 or --regions FILE.reg.")
    outcomes = build.run(apertures=aperture or (), regions=regions, sky=sky, growth=growth)
    print_photometry(outcomes, as_json=as_json, as_csv=as_csv)
    if not as_json and not as_csv:
        print_tables(outcomes)
    finish(outcomes, apertures=True)


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
    """Do the whole job: products, photometry and pictures.

    Each association gets its own.
    """
    check_forms(as_json=as_json, as_csv=as_csv)
    outcomes = build.run(apertures=aperture or (), regions=regions, sky=sky, growth=growth, pictures=True)
    print_outcomes(outcomes, as_json=as_json, as_csv=as_csv)
    measured = bool(aperture) or regions is not None
    made = [outcome for outcome in outcomes if outcome.failure is None]
    if not measured and made and not any(outcome.photometry for outcome in made):
        say("no aperture is given, so nothing is measured; look at the pictures, then give --aperture or --regions")
    finish(outcomes, apertures=measured)


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
