"""Commands on the life of exposures and of stored selections: retire, restore, changes, replay."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated

import typer

from sbcdark.catalog.errors import SbcdarkError
from sbcdark.cli.app import app, catalog
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
)

NameArgument = Annotated[str, typer.Argument(help="The exposure.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is kept and shown.")]


@app.command()
def retire(name: NameArgument, reason: ReasonOption) -> None:
    """Take an exposure out of every choice to come. Stored selections stay as they are."""
    rootname = catalog().retire(name, reason)
    typer.echo(f"{rootname} is retired")


@app.command()
def restore(name: NameArgument, reason: ReasonOption) -> None:
    """Let a retired or flagged exposure be chosen again."""
    rootname = catalog().restore(name, reason)
    typer.echo(f"{rootname} can be chosen again")


@app.command()
def changes(
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    output: FileOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """List stored selections that today's catalog would make otherwise, and why."""
    from sbcdark.pipeline.selection.changes import Change  # noqa: PLC0415  only here

    check_forms(as_json=as_json, as_csv=as_csv, output=output, overwrite=overwrite)
    found = [asdict(change) for change in catalog().changes()]
    keys = [column.name for column in fields(Change)]
    columns = (
        Column("selection", "selection"),
        Column("exposure", "exposure"),
        Column("rule", "rule"),
        Column("reasons", "what is otherwise", "; ".join),
    )
    title = f"{len(found)} stored selections would come out otherwise today"
    emit(found, keys, columns, as_json=as_json, as_csv=as_csv, output=output, overwrite=overwrite, title=title)


@app.command()
def replay(
    selection: Annotated[
        int,
        typer.Argument(metavar="ID", min=1, max=2**31 - 1, help="A stored selection; `sbcdark show NAME` lists them."),
    ],
    folder: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where the products go.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace products that are there.", show_default=False)
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make the products of a stored selection again and compare every pixel."""
    found = catalog().replay(selection, folder, overwrite=overwrite)
    if as_json:
        print_json(found)
    else:
        columns = (
            Column("kind", "product"),
            Column("answer", "pixels"),
            Column("largest_difference_count_s", "largest difference (count/s)", lambda value: f"{value:.3g}"),
            Column("made", "made again"),
            Column("note", "note"),
        )
        print_table([asdict(one) | {"answer": "identical" if one.identical else "DIFFER"} for one in found], columns)
    different = [one for one in found if not one.identical]
    if different:
        kinds = ", ".join(one.kind for one in different)
        raise SbcdarkError(f"Made again, {kinds} of selection {selection} differ: {different[0].note}.")
