"""The command that fills the catalog: ingest."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sbcdark.catalog.errors import RejectedFilesError
from sbcdark.catalog.text import number
from sbcdark.cli.app import app, catalog
from sbcdark.cli.output import JsonOption, print_json, progress_bar, say

if TYPE_CHECKING:
    from sbcdark.catalog.records import Superseded
    from sbcdark.pipeline.ingest.report import IngestReport

_REASONS_SHOWN = 20


@app.command()
def ingest(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...", help="Files, folders, https:// and s3:// addresses, or - for a list on stdin."
        ),
    ],
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, metavar="N", help="Reading processes; default: one per core.")
    ] = None,
    checksum: Annotated[
        bool, typer.Option("--checksum/--no-checksum", help="Store each file's sha256, to recognize the file later.")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and report; write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Read RAW, FLT and ASN files into the catalog. Running it again changes nothing."""
    given = [line for path in paths for line in (_listed() if path == "-" else [path])]
    with progress_bar("reading") as progress:
        report = catalog().ingest(given, workers=workers, checksum=checksum, dry_run=dry_run, progress=progress)
    if as_json:
        print_json(report)
    else:
        print_report(report, dry_run=dry_run)
    if report.rejected:
        raise RejectedFilesError(
            f"{number(report.rejected, 'file')} rejected; all others are in the catalog.",
            "Get these files again and ingest them, or leave them out.",
        )


def _listed() -> list[str]:
    # File names are bytes. `find -print0` separates them by NUL, since they may contain line feeds.
    listed = sys.stdin.buffer.read() if sys.stdin is not None else b""  # a shell can close it
    names = listed.split(b"\0" if b"\0" in listed else b"\n")
    return [os.fsdecode(name) for name in names if name.strip()]


def print_report(report: IngestReport, *, dry_run: bool = False) -> None:
    """Print the counts of an ingest, and the first reasons for ignored and rejected files."""
    would = "would be " if dry_run else ""
    typer.echo(
        f"{report.added} {would}added, {report.updated} {would}updated, {report.unchanged} unchanged, "
        f"{report.ignored} ignored, {report.rejected} rejected"
    )
    for word, entries in (("rejected", report.rejections), ("ignored", report.ignored_files)):
        for entry in entries[:_REASONS_SHOWN]:
            say(f"  {word}: {entry['path']}: {entry['reason']}")
        if len(entries) > _REASONS_SHOWN:
            say(f"  and {len(entries) - _REASONS_SHOWN} more {word}; --json lists all")

    for one in report.superseded[:_REASONS_SHOWN]:
        say(f"  superseded: {one.exposure}: {one.uri}{_used_by(one)}")
    if len(report.superseded) > _REASONS_SHOWN:
        say(f"  and {len(report.superseded) - _REASONS_SHOWN} more superseded; --json lists all")


def _used_by(one: Superseded) -> str:
    if not one.selections:
        return "; no stored selection uses it"
    numbers = ", ".join(str(selection) for selection in one.selections)
    return f"; used by selection{'s' if len(one.selections) > 1 else ''} {numbers} (run: sbcdark changes)"
