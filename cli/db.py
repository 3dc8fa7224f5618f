"""The commands on the catalog as a whole: db status, upgrade, downgrade, export, import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sbcdark.catalog import schema
from sbcdark.catalog.engine import journal, make_engine, redacted
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.opening import url_of
from sbcdark.catalog.text import number
from sbcdark.cli.app import app, catalog, catalog_url
from sbcdark.cli.commands import App
from sbcdark.cli.output import JsonOption, print_json, tell

database = App(no_args_is_help=True, help="Manage the catalog: its schema, and copies of it.")
app.add_typer(database, name="db")


@database.command()
def status(as_json: JsonOption = False) -> None:
    """Show whether the catalog's schema is current."""
    engine = make_engine(url_of(catalog_url()))
    state, revision = schema.status(engine)
    known = {
        "catalog": redacted(url_of(catalog_url())),
        "state": state.value,
        "revision": revision,
        "program": schema.HEAD,
        "journal": journal(engine),
    }
    if as_json:
        print_json([known])
        return
    for key, value in known.items():
        typer.echo(f"{key:10}{value or '-'}")
    if known["journal"] not in {None, "wal"}:
        tell("WAL does not work there (a network file system?): readers wait during a write.")


@database.command()
def upgrade() -> None:
    """Upgrade an empty or older catalog to this release."""
    schema.upgrade(make_engine(url_of(catalog_url()), create=True))
    typer.echo(f"{redacted(url_of(catalog_url()))} is at revision {schema.HEAD}")


@database.command()
def downgrade(
    revision: Annotated[
        str, typer.Argument(metavar="REVISION", help="The revision to go back to; base removes every table.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Accept the loss of what the older schema cannot hold.")] = False,
) -> None:
    """Downgrade the catalog to an older revision. Back it up first."""
    if not yes:
        raise UsageError(
            f"A downgrade to {revision} loses what the older schema cannot hold"
            + (": everything." if revision == "base" else "."),
            "Back the catalog up, then give --yes.",
        )
    schema.downgrade(make_engine(url_of(catalog_url())), revision)
    typer.echo(f"{redacted(url_of(catalog_url()))} is at revision {revision}")


@database.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The SQLite file to write.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file.", show_default=False)
    ] = False,
) -> None:
    """Write the whole catalog to one SQLite file.

    The file holds the catalog as it is at one moment, and is itself a catalog.
    """
    rows = catalog().export(file, overwrite=overwrite)
    tell(f"Exported {_summary(rows)} to {file}; list them with: sbcdark --db sqlite:///{file.absolute()} darks")


@database.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `sbcdark db export` wrote.")],
) -> None:
    """Import an exported file into the catalog, which must be empty."""
    rows = catalog().import_(file)
    tell(f"Imported {_summary(rows)} into {redacted(url_of(catalog_url()))}")


def _summary(rows: dict[str, int]) -> str:
    return (
        f"{number(rows['exposures'], 'exposure')}, {number(rows['files'], 'file')} and "
        f"{number(rows['selections'], 'selection')}"
    )
