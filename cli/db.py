"""Commands on the catalog as a whole: db status, upgrade, downgrade, export, import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sbcdark.catalog import schema
from sbcdark.catalog.engine import journal, make_engine, redacted
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.opening import url_of
from sbcdark.cli.app import app, catalog, catalog_url
from sbcdark.cli.output import JsonOption, print_json

database = typer.Typer(no_args_is_help=True, help="The catalog as a whole: its schema, and copies of it.")
app.add_typer(database, name="db")


@database.command()
def status(as_json: JsonOption = False) -> None:
    """Say whether the catalog's schema is the program's."""
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
        typer.echo("It lies where WAL cannot work (a network file system?): readers wait while one writes.")


@database.command()
def upgrade() -> None:
    """Bring an empty or older catalog up to this program."""
    schema.upgrade(make_engine(url_of(catalog_url()), create=True))
    typer.echo(f"{redacted(url_of(catalog_url()))} is at revision {schema.HEAD}")


@database.command()
def downgrade(
    revision: Annotated[str, typer.Argument(help="The revision to go back to; base removes every table.")],
    yes: Annotated[bool, typer.Option("--yes", help="Yes, lose what the older schema cannot hold.")] = False,
) -> None:
    """Bring the catalog down to an older revision. Back it up first."""
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
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The SQLite file to be written.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there.", show_default=False)
    ] = False,
) -> None:
    """Write the whole catalog, as it is at one moment, to one SQLite file, which is a catalog itself."""
    rows = catalog().export(file, overwrite=overwrite)
    typer.echo(f"{_told(rows)} are in {file}; look at them with: sbcdark --db sqlite:///{file.absolute()} darks")


@database.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `sbcdark db export` wrote.")],
) -> None:
    """Read an exported file into the catalog, which has to be empty."""
    rows = catalog().import_(file)
    typer.echo(f"{_told(rows)} are in {redacted(url_of(catalog_url()))}")


def _told(rows: dict[str, int]) -> str:
    return f"{rows['exposures']} exposures, {rows['files']} files and {rows['selections']} selections"
