"""The command that fills the catalog: ingest."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sbcdark.catalog.errors import RejectedFilesError
from sbcdark.catalog.text import listed, number
from sbcdark.cli.app import FlatOption, SchedulerOption, app, catalog
from sbcdark.cli.output import Column, JsonOption, print_json, print_table, progress_bar, say, say_warnings, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sbcdark.catalog.ingest_summary import IngestedProgram
    from sbcdark.catalog.overview import ProgramOverview
    from sbcdark.catalog.records import Superseded
    from sbcdark.pipeline.ingest.report import IngestReport

_REASONS_SHOWN = 20
_NAMES_SHOWN = 3
_PROGRAMS = (
    Column("program", "program"),
    Column("darks", "new darks"),
    Column("science", "new science"),
    Column("updated", "seen before", spare=3),
    Column("dates", "dates", spare=2),
    Column("temperatures", "T mean (C)", spare=1),
    Column("suspect", "suspect", spare=1),
    Column("untested", "untested", spare=4),
    Column("rejected", "rejected", spare=2),
)


@app.command()
def ingest(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Files, folders, https:// and s3:// addresses, or - for a list on stdin."),
    ],
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, metavar="N", help="Files read at once; default: one per core.")
    ] = None,
    scheduler: SchedulerOption = None,
    flat: FlatOption = None,
    checksum: Annotated[
        bool, typer.Option("--checksum/--no-checksum", help="Store each file's sha256, to recognize the file later.")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and report; write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Read RAW, FLT and ASN files into the catalog. Running it again changes nothing."""
    given = [line for path in paths for line in (_listed() if path == "-" else [path])]
    with progress_bar("reading") as progress:
        report = catalog().ingest(
            given,
            workers=workers,
            scheduler=scheduler,
            flat=flat,
            checksum=checksum,
            dry_run=dry_run,
            progress=progress,
        )
    if as_json:
        print_json(report)
    else:
        print_report(report, dry_run=dry_run)
        if not any((report.added, report.updated, report.unchanged, report.ignored, report.rejected)):
            say(f"no file is there: {listed(given)}")
    if report.rejected:
        raise RejectedFilesError(
            f"{number(report.rejected, 'file')} rejected; all others are in the catalog.",
            "Get these files again and ingest them, or leave them out.",
        )


def _listed() -> list[str]:
    # File names are bytes. `find -print0` separates them by NUL, since they may contain line feeds.
    given = sys.stdin.buffer.read() if sys.stdin is not None else b""  # a shell can close it
    names = given.split(b"\0" if b"\0" in given else b"\n")
    return [os.fsdecode(name) for name in names if name.strip()]


def print_report(report: IngestReport, *, dry_run: bool = False) -> None:
    """Print what an ingest brought: counts, programs, suspects, what is new, and the files that were left out."""
    would = "would be " if dry_run else ""
    tell(
        f"{number(report.added, 'file')} {would}added, {report.updated} {would}updated, {report.unchanged} unchanged, "
        f"{report.ignored} ignored, {report.rejected} rejected"
    )
    if report.programs:
        tell("")
        print_table([asdict(one) | spans(one) for one in report.programs], _PROGRAMS)
        history = report.history()
        for sentence in ("", *history) if history else ():
            tell(sentence)
    same: dict[tuple[str, str | None], list[str]] = {}
    for one in report.judged:
        same.setdefault((one.quality, one.reason), []).append(one.rootname)
    judged = [f"{quality}: {', '.join(names)}: {reason}" for (quality, reason), names in same.items()]
    _tell_some(judged, "judged")
    _say_some([f"rejected: {entry['path']}: {entry['reason']}" for entry in report.rejections], "rejected")
    reasons: dict[str, list[str]] = {}
    for entry in report.ignored_files:
        reasons.setdefault(entry["reason"], []).append(entry["path"])
    for reason, paths in reasons.items():
        say(f"ignored: {listed(paths, _NAMES_SHOWN)}: {reason}")
    say_warnings(report.warnings)
    _say_some([f"superseded: {one.exposure}: {one.uri}{_used_by(one)}" for one in report.superseded], "superseded")


def spans(one: IngestedProgram | ProgramOverview) -> dict[str, Any]:
    """Return the dates and the temperatures of a program as text, and its numbers other than 0."""
    first, last = f"{one.first_start_utc:%Y-%m-%d}", f"{one.last_start_utc:%Y-%m-%d}"
    low, high = f"{one.temperature_min_c:.1f}", f"{one.temperature_max_c:.1f}"
    return {name: value or None for name, value in asdict(one).items() if isinstance(value, int)} | {
        "dates": first if first == last else f"{first} to {last}",
        "temperatures": low if low == high else f"{low} to {high}",
    }


def _some(lines: Sequence[str], what: str) -> list[str]:
    more = [f"and {len(lines) - _REASONS_SHOWN} more {what}; --json lists all"] if len(lines) > _REASONS_SHOWN else []
    return [*lines[:_REASONS_SHOWN], *more]


def _tell_some(lines: Sequence[str], what: str) -> None:
    for line in _some(lines, what):
        tell(line)


def _say_some(lines: Sequence[str], what: str) -> None:
    for line in _some(lines, what):
        say(line)


def _used_by(one: Superseded) -> str:
    if not one.selections:
        return "; no stored selection uses it"
    numbers = ", ".join(str(selection) for selection in one.selections)
    return f"; used by selection{'s' if len(one.selections) > 1 else ''} {numbers} (run: sbcdark changes)"
