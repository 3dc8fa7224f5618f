"""The command that serves pages about the catalog: serve."""

from __future__ import annotations

from typing import Annotated

import typer

from sbcdark.cli.app import app, catalog
from sbcdark.cli.output import say


@app.command()
def serve(
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="The address; others may be reached from outside.")
    ] = ("127.0.0.1"),
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="The port; 0 takes a free one.")
    ] = 8765,
) -> None:
    """Serve the pages of `report` live, and the catalog as JSON.

    The JSON is under /api/. Nothing is written.
    """
    catalog().serve(host, port, started=lambda address: say(f"serving {address} (Ctrl-C ends it)"))
