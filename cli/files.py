"""The commands on files: verify, relocate."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sbcdark.catalog.errors import SbcdarkError
from sbcdark.catalog.text import number
from sbcdark.cli.app import app, catalog
from sbcdark.cli.output import Column, JsonOption, print_json, print_table, progress_bar, tell
from sbcdark.cli.selectors import SelectorOptions
from sbcdark.cli.shared_options import with_options

_FINDING_COLUMNS = (
    Column("name", "exposure"),
    Column("kind", "kind"),
    Column("state", "now"),
    Column("was", "was", spare=3),
    Column("reason", "why", spare=1, folds=True),
    Column("resting", "used by selections", spare=2, folds=True),
    Column("uri", "file", spare=4),
)
_RELOCATED_COLUMNS = (Column("name", "exposure"), Column("kind", "kind"), Column("uri", "new place"))


@app.command()
@with_options(SelectorOptions)
def verify(
    options: SelectorOptions,
    checksum: Annotated[
        bool, typer.Option("--checksum", help="Read every file in full and compare its sha256.", show_default=False)
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check whether files are where and what the catalog says.

    Without a selection it checks all. Missing and changed files are no longer selected.
    """
    with progress_bar("checking files") as progress:
        report = catalog().verify(options.selector, checksum=checksum, progress=progress)
    if as_json:
        print_json(report)
    else:
        counted = {word: getattr(report, word) for word in ("present", "missing", "changed", "unchecked")}
        tell(", ".join(f"{count} {word}" for word, count in counted.items()))
        rows = [
            asdict(one) | {"resting": ", ".join(str(selection) for selection in one.selections) or None}
            for one in report.findings
        ]
        print_table(rows, _FINDING_COLUMNS)
    if report.missing or report.changed:
        raise SbcdarkError(
            f"{number(report.missing, 'file')} missing and {report.changed} changed; they are no longer selected.",
            "Find moved files with: sbcdark relocate DIR; update changed files with: sbcdark ingest PATH; "
            "if a disk was not mounted, verify again.",
        )


@app.command()
def relocate(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders where the files are now.")],
    as_json: JsonOption = False,
) -> None:
    """Find moved files by their sha256, and store their new place."""
    with progress_bar("checking files") as progress:
        report = catalog().relocate(folders, progress=progress)
    if as_json:
        print_json(report)
        return
    tell(f"{number(len(report.relocated), 'file')} found, {report.still_missing} still missing")
    print_table([asdict(one) for one in report.relocated], _RELOCATED_COLUMNS)
    if report.unknown:
        tell(f"{report.unknown} more missing without a checksum: ingest the folder where they are now")
