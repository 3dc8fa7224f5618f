"""How listings leave the program: a table for people, JSON, CSV, or a file by its ending. Data go to stdout."""

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
from sbcdark.cli.errors import characters, shown
from sbcdark.pipeline.frames.tables import table_format, write_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sbcdark.pipeline.ingest.report import Progress

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.", show_default=False)]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.", show_default=False)]
FileOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE", help="Write a table: FILE.ecsv, FILE.vot or FILE.fits."),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="With -o: replace a file that is there.", show_default=False)
]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table for people.

    Attributes
    ----------
    key : str
        The field of a row.
    heading : str
        What stands above it, with its unit.
    show : callable, optional
        How a value that is there is written.
    spare : int
        On a terminal that is too narrow, columns are left out, those with the largest number first; 0 always stays.
    """

    key: str
    heading: str
    show: Callable[[Any], str] = str
    spare: int = 0


def fixed(decimals: int) -> Callable[[Any], str]:
    """Write a number with so many decimals."""
    return lambda value: f"{value:.{decimals}f}"


def scaled(factor: float, decimals: int) -> Callable[[Any], str]:
    """Write a number in units of 1/factor."""
    return lambda value: f"{value * factor:.{decimals}f}"


def minute(value: Any) -> str:
    """Write a time to the minute."""
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value)


def plain(record: Any) -> Any:
    """Return a record as JSON has it: numbers as numbers, times in ISO 8601, NaN and infinity as null."""
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
    """Print or write a listing in the form that was asked for.

    Parameters
    ----------
    rows : sequence of mapping
        The rows, with at least `keys`.
    keys : sequence of str
        What JSON, CSV and files hold, in order.
    columns : sequence of Column
        What people are shown.

    Raises
    ------
    UsageError
        Two forms at once, or a file that is there and shall not be replaced.
    """
    check_forms(as_json=as_json, as_csv=as_csv, output=output, overwrite=overwrite)
    if output is not None:
        write_table(rows, keys, output)
        say(f"{len(rows)} rows are in {output}")
    elif as_json:
        print_json([{key: row.get(key) for key in keys} for row in rows])
    elif as_csv:
        _print_csv(rows, keys)
    else:
        print_table(rows, columns, title)


def check_forms(*, as_json: bool, as_csv: bool, output: Path | None = None, overwrite: bool = False) -> None:
    """Refuse, before any work is done, what could not be printed or written after it.

    Raises
    ------
    UsageError
        Two forms at once; a file that is there and shall not be replaced, or whose ending says no form.
    """
    if as_json + as_csv + (output is not None) > 1:
        raise UsageError("--json, --csv and -o exclude each other.", "Give one of them.")
    if output is None:
        if overwrite:
            raise UsageError("--overwrite goes with -o FILE.", "Leave it out, or give -o FILE too.")
        return
    table_format(output)
    if output.is_dir():
        raise UsageError(f"{output} is a folder.", f"Give -o a file, e.g. {output / 'table.ecsv'}")
    if os.path.lexists(output) and not overwrite:
        raise UsageError(f"{output} is there already.", "Give --overwrite to replace it, or -o another name.")


def _print_csv(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(keys)
    for row in rows:
        cells = [plain(row.get(key)) for key in keys]
        writer.writerow([json.dumps(cell) if isinstance(cell, list | dict) else cell for cell in cells])


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], title: str = "") -> None:
    """Print rows for people; columns without any value are left out."""
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
    for number in range(len(rows)):
        table.add_row(*(Text(cells[column][number]) for column in cells if column not in left_out))
    needed = console.measure(table, options=console.options.update(width=1000)).maximum
    # What cannot be left out is rather wrapped by the terminal than cut.
    console.width = max(console.width, needed)
    console.print(table)
    if left_out:
        names = ", ".join(column.heading for column in left_out)
        say(f"(left out for want of width: {names})")


def _left_out(cells: Mapping[Column, Sequence[str]], width: int) -> list[Column]:
    """Return the columns that have to go for a table to fit a width, the most dispensable first."""
    gap = 2
    widths = {column: max(len(column.heading), *map(len, values)) + gap for column, values in cells.items()}
    left_out: list[Column] = []
    for column in sorted(widths, key=lambda one: -one.spare):
        if sum(widths.values()) - sum(widths[one] for one in left_out) <= width + gap or column.spare == 0:
            break
        left_out.append(column)
    return left_out


def say(text: str) -> None:
    """Talk to the user, on stderr."""
    sys.stderr.write(f"{shown(text)}\n")


@contextmanager
def progress_bar(doing: str) -> Iterator[Progress | None]:
    """Show a bar on a terminal, nothing elsewhere."""
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
