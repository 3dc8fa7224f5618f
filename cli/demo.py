"""The command that runs the whole job on simulated files: demo."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sbcdark.catalog.text import number
from sbcdark.cli.app import app
from sbcdark.cli.errors import shown
from sbcdark.cli.outcomes import print_outcomes, print_warnings
from sbcdark.cli.output import Column, JsonOption, fixed, print_json, print_table, say

_COLUMNS = (
    Column("association", "association"),
    Column("source_count_s", "true source", fixed(4), spare=4),
    Column("sky_count_s", "true sky", fixed(4), spare=5),
    Column("true_net_count_s", "true net", fixed(4), spare=1),
    Column("net_count_s", "net", fixed(4), spare=1),
    Column("net_err_count_s", "+-", fixed(4), spare=1),
    Column("sigma", "(net-true) /error", fixed(2), spare=2),
    Column("true_dark_count_s", "true dark", fixed(4), spare=3),
    Column("dark_count_s", "dark", fixed(4), spare=3),
)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the results.")] = Path(
        "sbcdark-demo"
    ),
    as_json: JsonOption = False,
) -> None:
    """Simulate a small archive and run the whole job on it.

    The truth is known, and is printed beside the measurements.
    """
    from sbcdark.pipeline.simulation.demo import demonstrate  # noqa: PLC0415  slow to import

    done = demonstrate(folder.absolute(), talk=say)
    if as_json:
        print_json([asdict(truth) for truth in done.truth])
    else:
        typer.echo(f"{number(done.report.added, 'file')} added to the catalog, {done.report.unchanged} unchanged\n")
        print_warnings(list(done.outcomes))
        print_outcomes(list(done.outcomes))
        title = "\nTruth in the aperture, drizzled count/s; the sky is not subtracted, so net = source + sky"
        print_table([asdict(truth) for truth in done.truth], _COLUMNS, title)
        typer.echo(f"\nLook at it in a browser:\n  {shown(str(done.pages))}")
        typer.echo(f"\nTry next, with the same catalog:\n  export SBCDARK_DB={done.catalog}")
        first = done.outcomes[0].name
        program = "sbcdark" if shutil.which("sbcdark") else sys.argv[0]
        for line in ("darks --hot", f"match --association {first}", f"show {first}"):
            typer.echo(f"  {program} {line}")
