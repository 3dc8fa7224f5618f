"""The command that draws the catalog: plot."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sbcdark.catalog.errors import UsageError
from sbcdark.cli.app import FlatOption, app, catalog
from sbcdark.cli.errors import shown
from sbcdark.cli.match import RuleOption
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
    kind: Annotated[Kind, typer.Argument(help="What to draw.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[EXPOSURE]", help="For match, fit and templates.")
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="FILE.png, .pdf, .svg, or .html to zoom in.")
    ] = Path("sbcdark.png"),
    rule: RuleOption = Rule.GLOW,
    flat: FlatOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file.", show_default=False)
    ] = False,
) -> None:
    """Draw coverage and history of the catalog, or match, fit and templates of an exposure."""
    if len(names or ()) > 1:
        raise UsageError("A picture shows one exposure.", f"sbcdark plot {kind} EXPOSURE -o FILE.png")
    path = catalog().plot(
        kind.value, output, exposure=names[0] if names else None, rule=rule, flat=flat, overwrite=overwrite
    )
    typer.echo(shown(str(path)))
