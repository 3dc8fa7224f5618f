"""The commands on the quality of exposures and on stored selections: retire, restore, changes, replay."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated

import typer

from sbcdark.catalog.errors import SbcdarkError
from sbcdark.catalog.text import number
from sbcdark.cli.app import FlatOption, app, catalog
from sbcdark.cli.output import (
    Column,
    CsvOption,
    FileOption,
    JsonOption,
    OverwriteOption,
    check_forms,
    emit,
    print_json,
    print_table,
    progress_bar,
)
from sbcdark.cli.selectors import SelectorOptions
from sbcdark.cli.shared_options import with_options

ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="The reason; it is stored and shown.")]


@app.command()
@with_options(SelectorOptions)
def retire(options: SelectorOptions, reason: ReasonOption) -> None:
    """Exclude exposures from all future selections. Stored selections stay as they are."""
    for rootname in catalog().retire(options.selector, reason):
        typer.echo(f"{rootname} is retired")


@app.command()
@with_options(SelectorOptions)
def restore(options: SelectorOptions, reason: ReasonOption) -> None:
    """Allow retired or flagged exposures to be selected again."""
    for rootname in catalog().restore(options.selector, reason):
        typer.echo(f"{rootname} can be selected again")


@app.command()
@with_options(SelectorOptions)
def changes(
    options: SelectorOptions,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    output: FileOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """List the stored selections that would differ today, and why."""
    from sbcdark.pipeline.selection.changes import Change  # noqa: PLC0415  used only here

    check_forms(as_json=as_json, as_csv=as_csv, output=output, overwrite=overwrite)
    found = [asdict(change) for change in catalog().changes(options.selector)]
    keys = [column.name for column in fields(Change)]
    columns = (
        Column("selection", "selection"),
        Column("exposure", "exposure"),
        Column("rule", "rule"),
        Column("reasons", "differences", "; ".join, spare=1, folds=True),
    )
    title = f"{number(len(found), 'stored selection')} would differ today"
    emit(found, keys, columns, as_json=as_json, as_csv=as_csv, output=output, overwrite=overwrite, title=title)


@app.command()
def replay(
    selection: Annotated[
        str,
        typer.Argument(
            metavar="ID|NAME",
            help="A stored selection (`sbcdark show NAME` lists them), or the newest of an exposure or association.",
        ),
    ],
    folder: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the products.")],
    flat: FlatOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing products.", show_default=False)
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make the products of a stored selection again, and compare.

    Every pixel is compared.
    """
    with progress_bar("making products again") as progress:
        found = catalog().replay(selection, folder, flat=flat, overwrite=overwrite, progress=progress)
    if as_json:
        print_json(found)
    else:
        columns = (
            Column("kind", "product"),
            Column("answer", "pixels"),
            Column("largest_difference_count_s", "largest difference (count/s)", lambda value: f"{value:.3g}", spare=1),
            Column("made", "new file", spare=3),
            Column("own_note", "note", spare=2, folds=True),
        )
        rows = [
            asdict(one)
            # The error below says why they differ, once for all.
            | {
                "answer": "identical" if one.identical else "DIFFER",
                "own_note": (one.note or None) if one.identical else None,
            }
            for one in found
        ]
        print_table(rows, columns)
    different = [one for one in found if not one.identical]
    if different:
        kinds = ", ".join(one.kind for one in different)
        raise SbcdarkError(f"{selection}: the new {kinds} differ from the stored ones: {different[0].note}.")
