"""Output of listings: a table, JSON, CSV, or a file by its ending. Data go to stdout."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.text import number
from sbcdark.cli.errors import characters, shown
from sbcdark.pipeline.frames.tables import table_format, write_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sbcdark.pipeline.ingest.report import Progress

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.", show_default=False)]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.", show_default=False)]
FileOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE", help="Write a table: FILE.ecsv, FILE.csv, FILE.vot or FILE.fits."),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="With -o: replace an existing file.", show_default=False)
]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a printed table.

    Attributes
    ----------
    key : str
        Key of the row.
    heading : str
        Heading, with the unit.
    show : callable, optional
        Formats a value other than None.
    spare : int
        Columns that do not fit the terminal are left out, largest `spare` first; 0 always stays.
    """

    key: str
    heading: str
    show: Callable[[Any], str] = str
    spare: int = 0


def fixed(decimals: int) -> Callable[[Any], str]:
    """Return a formatter with this number of decimals."""
    return lambda value: f"{value:.{decimals}f}"


def scaled(factor: float, decimals: int) -> Callable[[Any], str]:
    """Return a formatter in units of 1/factor."""
    return lambda value: f"{value * factor:.{decimals}f}"


def minute(value: Any) -> str:
    """Format a time to the minute."""
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value)


def plain(record: Any) -> Any:
    """Return a record for JSON: numbers as numbers, times in ISO 8601, NaN and infinity as null."""
    if is_dataclass(record) and not isinstance(record, type):
        return plain(asdict(record))
    if isinstance(record, dict):
        return {str(key): plain(value) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [plain(value) for value in record]
    if isinstance(record, datetime):
        return record.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(record, float) and not math.isfinite(record):
        return None
    if isinstance(record, Path):
        return plain(str(record))
    if isinstance(record, str):
        return characters(record)
    return record


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    sys.stdout.write(json.dumps(plain(value), indent=1, allow_nan=False) + "\n")


def emit(
    rows: Sequence[Mapping[str, Any]],
    keys: Sequence[str],
    columns: Sequence[Column],
    *,
    as_json: bool,
    as_csv: bool,
    output: Path | None,
    overwrite: bool = False,
    title: str = "",
) -> None:
    """Print or write a listing in the requested format.

    Parameters
    ----------
    rows : sequence of mapping
        The rows, with at least `keys`.
    keys : sequence of str
        Keys of JSON, CSV and files, in order.
    columns : sequence of Column
        Columns of the printed table.

    Raises
    ------
    UsageError
        Two formats at once, or the file exists and may not be replaced.
    """
    check_forms(as_json=as_json, as_csv=as_csv, output=output, overwrite=overwrite)
    if output is not None:
        write_table(rows, keys, output)
        say(f"{number(len(rows), 'row')} written to {output}")
    elif as_json:
        print_json([{key: row.get(key) for key in keys} for row in rows])
    elif as_csv:
        _print_csv(rows, keys)
    else:
        print_table(rows, columns, title)


def check_forms(*, as_json: bool, as_csv: bool, output: Path | None = None, overwrite: bool = False) -> None:
    """Check the output options before any work is done.

    Raises
    ------
    UsageError
        Two formats at once; an existing file without `overwrite`; an ending without a format.
    """
    if as_json + as_csv + (output is not None) > 1:
        raise UsageError("--json, --csv and -o exclude each other.", "Give only one of them.")
    if output is None:
        if overwrite:
            raise UsageError("--overwrite needs -o FILE.", "Leave it out, or add -o FILE.")
        return
    table_format(output)
    if output.is_dir():
        raise UsageError(f"{output} is a folder.", f"Give -o a file, e.g. {output / 'table.ecsv'}")
    if os.path.lexists(output) and not overwrite:
        raise UsageError(f"{output} already exists.", "Give --overwrite to replace it, or -o another name.")


def _print_csv(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(keys)
    for row in rows:
        cells = [plain(row.get(key)) for key in keys]
        writer.writerow([json.dumps(cell) if isinstance(cell, list | dict) else cell for cell in cells])


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], title: str = "") -> None:
    """Print a table of rows; columns without values are left out."""
    from rich import box  # noqa: PLC0415  not needed for JSON and CSV
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    # A pipe has no width: nothing is folded or cut there.
    console = Console() if sys.stdout.isatty() else Console(width=1000, no_color=True)
    if title:
        console.print(Text(title), soft_wrap=True)
    if not rows:
        return
    cells = {
        column: ["" if row.get(column.key) is None else shown(column.show(row[column.key])) for row in rows]
        for column in columns
        if any(row.get(column.key) is not None for row in rows)
    }
    left_out = _left_out(cells, console.width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column in cells:
        if column in left_out:
            continue
        numeric = any(isinstance(row.get(column.key), int | float) for row in rows)
        table.add_column(Text(column.heading), justify="right" if numeric else "left", no_wrap=True)
    for index in range(len(rows)):
        table.add_row(*(Text(cells[column][index]) for column in cells if column not in left_out))
    needed = console.measure(table, options=console.options.update(width=1000)).maximum
    # The terminal wraps the columns that stay, rather than cut them.
    console.width = max(console.width, needed)
    console.print(table)
    if left_out:
        names = ", ".join(column.heading for column in left_out)
        say(f"(columns left out, too wide: {names})")


def _left_out(cells: Mapping[Column, Sequence[str]], width: int) -> list[Column]:
    """Return the columns to leave out so that a table fits a width, largest `spare` first."""
    gap = 2
    widths = {column: max(len(column.heading), *map(len, values)) + gap for column, values in cells.items()}
    left_out: list[Column] = []
    for column in sorted(widths, key=lambda one: -one.spare):
        if sum(widths.values()) - sum(widths[one] for one in left_out) <= width + gap or column.spare == 0:
            break
        left_out.append(column)
    return left_out


def say(text: str) -> None:
    """Print a message on stderr."""
    sys.stderr.write(f"{shown(text)}\n")


@contextmanager
def progress_bar(doing: str) -> Iterator[Progress | None]:
    """Show a progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415  only a terminal needs it

    columns = (
        progress.TextColumn(doing),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield advance
