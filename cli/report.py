"""The command that writes pages about the catalog: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sbcdark.catalog.text import number
from sbcdark.cli.app import app, catalog
from sbcdark.cli.errors import shown
from sbcdark.cli.output import progress_bar, say
from sbcdark.cli.selectors import SelectorOptions
from sbcdark.cli.shared_options import with_options


@app.command()
@with_options(SelectorOptions)
def report(
    options: SelectorOptions,
    folder: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the pages.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the report in the folder.", show_default=False)
    ] = False,
) -> None:
    """Write pages about the catalog and its products for a browser.

    With a selection, only its exposures and their associations have pages.
    """
    with progress_bar("writing pages") as progress:
        made = catalog().report(folder, options.selector, overwrite=overwrite, progress=progress)
    say(f"{number(made.files, 'file')} written to {folder}")
    typer.echo(shown(str(made.index)))
