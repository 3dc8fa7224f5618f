"""The command that shows the catalog at a glance: status."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sbcdark.catalog.text import listed, number
from sbcdark.cli.app import app, catalog
from sbcdark.cli.ingest import spans
from sbcdark.cli.output import Column, JsonOption, print_json, print_table, tell

_PROGRAMS = (
    Column("program", "program"),
    Column("darks", "darks"),
    Column("hot_darks", "hot"),
    Column("science", "science"),
    Column("set_aside", "set aside", spare=1),
    Column("dates", "dates", spare=2),
    Column("temperatures", "T mean (C)", spare=3),
)
_RUNS = (
    Column("id", "revision"),
    Column("action", "change"),
    Column("started_utc", "when (UTC)", lambda value: f"{value:%Y-%m-%d %H:%M}"),
    Column("added", "added", spare=1),
    Column("updated", "updated", spare=2),
    Column("rejected", "rejected", spare=3),
    Column("marked", "exposures", spare=1, folds=True),
)


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Show the catalog at a glance.

    Its programs, last changes, files and stored results. The archive is not contacted.
    """
    known = catalog().status()
    if as_json:
        print_json(known)
        return
    where: dict[str, Any] = {"catalog": known.catalog}
    if known.size_byte is not None:
        where["size"] = f"{known.size_byte / 1e6:.1f} MB"
    seen = known.overview
    where["files"] = ", ".join(f"{count} {state}" for state, count in seen.files.items()) or "none"
    where["rejected"] = f"{number(seen.rejected_files, 'file')}, not in the catalog"
    where["stored"] = (
        f"{number(seen.selections, 'selection')}, {number(seen.products, 'product')}, "
        f"{number(seen.photometry, 'photometry row')}, {number(seen.associations, 'association')}"
    )
    for key, value in where.items():
        tell(f"{key:10}{value}")
    title = "\nPrograms; hot is a mean above 25 C, set aside is suspect, untested or retired"
    print_table([asdict(one) | spans(one) for one in seen.programs], _PROGRAMS, title)
    runs = [
        {name: value or None for name, value in asdict(one).items()}
        | {"marked": f"{listed(one.marked)}: {one.reason}" if one.marked else None}
        for one in seen.last_runs
    ]
    print_table(runs, _RUNS, "\nLast changes")
