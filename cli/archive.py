"""The commands on the MAST archive: fetch, programs."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sbcdark.catalog.errors import RejectedFilesError, UsageError
from sbcdark.catalog.text import number
from sbcdark.catalog.times import utc_time
from sbcdark.cli.app import FlatOption, app, catalog
from sbcdark.cli.ingest import print_report
from sbcdark.cli.output import (
    Column,
    CsvOption,
    FileOption,
    JsonOption,
    OverwriteOption,
    check_forms,
    emit,
    fixed,
    minute,
    print_json,
    progress_bar,
    say,
    tell,
)
from sbcdark.cli.selectors import numbers_of
from sbcdark.progress import bars_in_turn

if TYPE_CHECKING:
    from sbcdark.pipeline.ingest.fetch import FetchReport

_SHOWN = 20
"""Number of files of each kind that are shown; --json lists all."""


@app.command()
def fetch(
    program: Annotated[list[str] | None, typer.Option("--program", metavar="N", help="The program to get.")] = None,
    visit: Annotated[str | None, typer.Option("--visit", metavar="V", help="Only this visit, e.g. 11.")] = None,
    darks: Annotated[bool, typer.Option("--darks", help="Only darks (RAW).", show_default=False)] = False,
    science: Annotated[
        bool, typer.Option("--science", help="Only science exposures (FLT and ASN).", show_default=False)
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="All darks that are new at the archive.", show_default=False)
    ] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DATE", help="With --update: also darks started since DATE, UTC.")
    ] = None,
    renew: Annotated[
        bool,
        typer.Option("--renew", help="Also get local files that differ from the archive's.", show_default=False),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files to fetch; get nothing.")] = False,
    folder: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Folder for the files; default: your data folder."),
    ] = None,
    flat: FlatOption = None,
    as_json: JsonOption = False,
) -> None:
    """Get new files from MAST and ingest them."""
    if update and (visit is not None or darks or science):
        raise UsageError("--update covers the darks of all programs.", "Leave out --visit, --darks and --science.")
    numbers = numbers_of("program", program or ())
    if len(numbers) > 1:
        # Elsewhere the option takes several.
        raise UsageError(
            "fetch gets one program at a time.", f"Run it for each: sbcdark fetch --program {numbers[0]}, and so on."
        )
    if since is not None and not update:
        raise UsageError("--since needs --update.", "Run: sbcdark fetch --update --since DATE")
    with bars_in_turn(lambda: progress_bar("fetching", in_bytes=True), lambda: progress_bar("reading")) as bars:
        report = catalog().fetch(
            numbers[0] if numbers else None,
            update=update,
            visit=visit,
            darks=darks or not science,
            science=science or not darks,
            since=utc_time(since),
            renew=renew,
            folder=folder,
            flat=flat,
            dry_run=dry_run,
            talk=say,
            progress=(bars[0], bars[1]),
        )
    if as_json:
        print_json(report.as_json())
    else:
        _print(report, dry_run=dry_run)
    _raise_for_failures(report)


@app.command()
def programs(
    near: Annotated[
        str | None,
        typer.Option("--near", metavar="EXPOSURE", help="Sort by distance in time from this exposure."),
    ] = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    output: FileOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """List the programs with SBC darks at MAST.

    Says how many of their darks are in the catalog.
    """
    from sbcdark.catalog.archive_listings import DarkProgram  # noqa: PLC0415  used only here

    check_forms(as_json=as_json, as_csv=as_csv, output=output, overwrite=overwrite)
    found = catalog().programs(near=near)
    keys = [column.name for column in fields(DarkProgram)]
    columns = (
        Column("program", "program"),
        Column("first_start_utc", "first dark (UTC)", minute, spare=4),
        Column("last_start_utc", "last dark (UTC)", minute, spare=3),
        Column("frames", "darks"),
        Column("frames_in_catalog", "in catalog"),
        Column("nearest_dark", "nearest dark", spare=2),
        Column("distance_days", "distance (days)", fixed(2), spare=1),
    )
    missing = [one for one in found if one.frames_in_catalog < one.frames]
    title = (
        f"{number(len(found), 'program')} with SBC darks at MAST; darks of {number(len(missing), 'program')} "
        "are not all in the catalog"
    )
    emit(
        [asdict(one) for one in found],
        keys,
        columns,
        as_json=as_json,
        as_csv=as_csv,
        output=output,
        overwrite=overwrite,
        title=title,
    )
    if missing:
        say(f"Get the darks of the first: sbcdark fetch --program {missing[0].program} --darks")


def _print(report: FetchReport, *, dry_run: bool) -> None:
    _say_some([f"differs: {one['path']}: {one['how']}" for one in report.differing])
    if dry_run:
        for file in report.to_fetch:
            size = "" if file["size_byte"] is None else f"  {file['size_byte']} bytes"
            typer.echo(f"{file['file']}{size}")
        return
    tell(
        f"{report.fetched} of {number(report.wanted, 'file')} fetched ({report.fetched_byte / 1e6:.1f} MB), "
        f"{report.here} already here, {report.failed} failed"
    )
    _say_some([f"failed: {failure['path']}: {failure['reason']}" for failure in report.failures])
    if report.fetched_files:
        folders = sorted({str(Path(path).parent) for path in report.fetched_files})
        say(f"Files are in {', '.join(folders)}")
    print_report(report.ingest)


def _say_some(lines: list[str]) -> None:
    for line in lines[:_SHOWN]:
        say(f"  {line}")
    if len(lines) > _SHOWN:
        say(f"  and {len(lines) - _SHOWN} more; --json lists all")


def _raise_for_failures(report: FetchReport) -> None:
    bad = report.failed + report.ingest.rejected
    if bad:
        raise RejectedFilesError(
            f"{number(report.failed, 'file')} failed, "
            f"{report.ingest.rejected} rejected; all others are in the catalog.",
            "Run the same command again: it gets only the missing files.",
        )
