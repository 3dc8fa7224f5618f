"""The global options, given before a command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sbcdark import Catalog
from sbcdark.catalog.engine import default_url
from sbcdark.cli.commands import App
from sbcdark.cli.output import begin_command

WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, metavar="N", help="Associations at once; default: one per core.")
]
FlatOption = Annotated[
    Path | None, typer.Option("--flat", metavar="PATH", help="The flat, or a folder of flats; default: $jref.")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        "--scheduler", metavar="ADDRESS", help="Work on the Dask cluster of this scheduler, e.g. tcp://host:8786."
    ),
]

app = App(
    name="sbcdark",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Choose, model and subtract the dark of HST ACS/SBC exposures.",
)


@dataclass(slots=True)
class _Settings:
    url: str | None = None


_settings = _Settings()


def _print_version(wanted: bool) -> None:
    if wanted:
        from sbcdark.catalog.version import SOFTWARE_VERSION  # noqa: PLC0415

        typer.echo(f"sbcdark {SOFTWARE_VERSION}")
        raise typer.Exit


@app.callback()
def options(
    db: Annotated[
        str | None,
        typer.Option(
            "--db",
            metavar="URL",
            help="The catalog: sqlite:///path or postgresql://host/name. Default: SBCDARK_DB, else your data folder.",
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001  the callback prints it
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Choose, model and subtract the dark of HST ACS/SBC exposures."""
    begin_command()
    _settings.url = db


def catalog_url() -> str:
    """Return the URL of the catalog: from `--db`, or the default."""
    return _settings.url or default_url()


class _Catalog(Catalog):
    """A catalog whose messages keep the words of the command line."""

    _words = staticmethod(str)


def catalog() -> Catalog:
    """Return the catalog from `--db`, or the default one; it is opened on first use."""
    return _Catalog(catalog_url())
