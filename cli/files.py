"""Commands on the life of files: verify, relocate."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sbcdark.catalog.errors import SbcdarkError
from sbcdark.cli.app import app, catalog
from sbcdark.cli.output import Column, JsonOption, print_json, print_table, progress_bar

_FINDING_COLUMNS = (
    Column("name", "exposure"),
    Column("kind", "kind"),
    Column("state", "now"),
    Column("was", "was", spare=3),
    Column("reason", "why"),
    Column("resting", "selections that rest on it", spare=1),
    Column("uri", "file", spare=2),
)
_RELOCATED_COLUMNS = (Column("name", "exposure"), Column("kind", "kind"), Column("uri", "is now"))


@app.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Exposures or associations; default: every file.")
    ] = None,
    checksum: Annotated[
        bool, typer.Option("--checksum", help="Read every file in full and compare its sha256.", show_default=False)
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look whether files are still where and what the catalog says. What is missing or changed is not chosen."""
    with progress_bar("looking at files") as progress:
        report = catalog().verify(names or (), checksum=checksum, progress=progress)
    if as_json:
        print_json(report)
    else:
        counted = {word: getattr(report, word) for word in ("present", "missing", "changed", "unchecked")}
        typer.echo(", ".join(f"{number} {word}" for word, number in counted.items()))
        rows = [
            asdict(one) | {"resting": ", ".join(str(number) for number in one.selections) or None}
            for one in report.findings
        ]
        print_table(rows, _FINDING_COLUMNS)
    if report.missing or report.changed:
        raise SbcdarkError(
            f"{report.missing} files are missing and {report.changed} have changed; they are not chosen any more.",
            "Find moved ones with: sbcdark relocate DIR; take in changed ones with: sbcdark ingest PATH; "
            "where a disk was not mounted, verify again.",
        )


@app.command()
def relocate(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Where the files are now.")],
    as_json: JsonOption = False,
) -> None:
    """Find files that are not at their place any more, by their sha256, and note the new place."""
    with progress_bar("looking at files") as progress:
        report = catalog().relocate(folders, progress=progress)
    if as_json:
        print_json(report)
        return
    typer.echo(f"{len(report.relocated)} files found again, {report.still_missing} still missing")
    print_table([asdict(one) for one in report.relocated], _RELOCATED_COLUMNS)
    if report.unknown:
        typer.echo(f"{report.unknown} more are missing and have no checksum: ingest the folder where they are now")
