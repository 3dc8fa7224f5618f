"""The command that draws the catalog: plot."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sbcdark.catalog.errors import UsageError
from sbcdark.cli.app import app, catalog
from sbcdark.cli.errors import shown
from sbcdark.cli.match import RuleOption
from sbcdark.pipeline.selection.rules import Rule


class Kind(StrEnum):
    """What is drawn."""

    COVERAGE = "coverage"
    HISTORY = "history"
    MATCH = "match"


@app.command()
def plot(
    kind: Annotated[Kind, typer.Argument(help="What to draw.")],
    names: Annotated[list[str] | None, typer.Argument(metavar="[EXPOSURE]", help="The exposure of a match.")] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The picture: FILE.png, FILE.pdf or FILE.svg.")
    ] = Path("sbcdark.png"),
    rule: RuleOption = Rule.GLOW,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file.", show_default=False)
    ] = False,
) -> None:
    """Draw which exposures have darks nearby, how the dark changed over the years, or the match of one exposure."""
    if (kind is Kind.MATCH) != (len(names or ()) == 1):
        raise UsageError(
            "plot match takes one exposure; coverage and history take none.", "sbcdark plot match EXPOSURE -o FILE.png"
        )
    path = catalog().plot(kind.value, output, exposure=names[0] if names else None, rule=rule, overwrite=overwrite)
    typer.echo(shown(str(path)))
