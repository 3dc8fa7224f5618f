"""The command that draws the catalog: plot."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sbcdark.catalog.errors import UsageError
from sbcdark.cli.app import FlatOption, app, catalog
from sbcdark.cli.errors import shown
from sbcdark.cli.match import ApertureOption, MaskOption, RuleOption
from sbcdark.cli.output import progress_bar, say_warnings
from sbcdark.cli.products import RegionsOption
from sbcdark.cli.selectors import AssociationOption, NamesArgument, ProgramOption, SelectorOptions, TargetOption
from sbcdark.pipeline.selection.rules import Rule


class Kind(StrEnum):
    """What is drawn."""

    COVERAGE = "coverage"
    HISTORY = "history"
    MATCH = "match"
    FIT = "fit"
    TEMPLATES = "templates"


@app.command()
def plot(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="coverage, history, match, fit or templates.")],
    names: NamesArgument = None,
    program: ProgramOption = None,
    association: AssociationOption = None,
    target: TargetOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="FILE.png, .pdf, .svg, or .html to zoom in; default: sbcdark_KIND.png.",
        ),
    ] = None,
    rule: RuleOption = Rule.GLOW,
    flat: FlatOption = None,
    aperture: ApertureOption = None,
    regions: RegionsOption = None,
    mask: MaskOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file.", show_default=False)
    ] = False,
) -> None:
    """Draw the catalog, or the match, fit or templates of exposures.

    coverage and history are of the catalog, match, fit and templates of exposures. The files of several exposures have
    the root names in theirs.
    """
    wanted = SelectorOptions(names=names, program=program, association=association, target=target)
    picture = next((name for name in names or () if name.lower().endswith((".png", ".pdf", ".svg", ".html"))), None)
    if picture is not None:
        raise UsageError(f"{picture!r} is a picture, not an exposure.", f"Give the file with -o {picture}")
    path = Path(f"sbcdark_{kind.value}.png") if output is None else output
    with progress_bar("drawing") as progress:
        made = catalog().plot(
            kind.value, wanted.selector, path=path, rule=rule, flat=flat, apertures=aperture or None, regions=regions,
            mask=mask, overwrite=overwrite, talk=lambda warning: say_warnings([warning]), progress=progress,
        )  # fmt: skip
    for path in made if isinstance(made, list) else [made]:
        typer.echo(shown(str(path)))
