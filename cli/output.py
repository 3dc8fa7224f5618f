"""Output of listings: a table, JSON, CSV, or a file by its ending. Data go to stdout.

A table fits the width of the screen, and no row loses the columns that name it.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.text import listed, number
from sbcdark.cli.errors import folded, screen_width, shown
from sbcdark.pipeline.frames.tables import table_format, write_table
from sbcdark.pipeline.views.json_forms import plain
from sbcdark.progress import bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sbcdark.catalog.progress import Progress

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.", show_default=False)]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.", show_default=False)]
FileOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE", help="Write a table: FILE.ecsv, FILE.csv, FILE.vot or FILE.fits."),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="With -o: replace an existing file.", show_default=False)
]


_GAP = 2
"""Columns between two columns."""

_PROSE = 16
"""Width that a column of prose keeps."""

_PIECE = re.compile(r"[^\s,]*,+\s*|[^\s,]+\s*|\s+")
"""What stays together where prose continues on the next line: a word, or the text up to a comma."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a printed table.

    Attributes
    ----------
    key : str
        Key of the row.
    heading : str
        Heading, with the unit in parentheses.
    show : callable, optional
        Formats a value other than None.
    spare : int
        0 for a column that names the row, which is never left out. Others are left out where the screen is too narrow,
        the largest `spare` first.
    error : str, optional
        Key of the 1-sigma error, which follows the value.
    folds : bool
        Whether the values are prose, which may continue on the next line after a blank or a comma.
    common : bool
        Whether a value that all rows have in common is said above the table instead.
    """

    key: str
    heading: str
    show: Callable[[Any], str] = str
    spare: int = 0
    error: str | None = None
    folds: bool = False
    common: bool = False

    def cell(self, row: Mapping[str, Any]) -> str:
        """Return the text of a row in this column."""
        value, error = row.get(self.key), None if self.error is None else row.get(self.error)
        if value is None:
            return ""
        return shown(self.show(value) if error is None else f"{self.show(value)} +- {self.show(error)}")


def fixed(decimals: int) -> Callable[[Any], str]:
    """Return a formatter with this number of decimals."""
    return lambda value: f"{value:.{decimals}f}"


def scaled(factor: float, decimals: int) -> Callable[[Any], str]:
    """Return a formatter in units of 1/factor."""
    return lambda value: f"{value * factor:.{decimals}f}"


def rounded(value: float, error: float) -> str:
    """Return a value and its error, rounded to two digits of the error: "56.9 +- 1.2"."""
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return f"{value:.4g}"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{decimals}f} +- {error:.{decimals}f}"


def minute(value: Any) -> str:
    """Format a time to the minute."""
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value)


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
    """Print a table of rows on stdout; columns without values are left out."""
    from rich import box  # noqa: PLC0415  not needed for JSON and CSV
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    width = screen_width(sys.stdout)
    # A pipe has no width: nothing is folded or left out there.
    console = Console(width=width) if sys.stdout.isatty() else Console(width=width or 10_000, no_color=True)
    cells, common = _cells(rows, columns)
    said = [title] if title else []
    if common:
        said.append(f"All have {', '.join(_in_words(column, value) for column, value in common.items())}.")
    for line in "\n".join(said).split("\n") if said else ():
        console.out(folded(line, width, ""), highlight=False)
    if not rows:
        return
    kept, left_out = fitted(cells, console.width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column, size in kept.items():
        numeric = any(isinstance(row.get(column.key), int | float) for row in rows)
        table.add_column(
            Text(column.heading), justify="right" if numeric else "left", width=size, overflow="fold", vertical="top"
        )
    for index in range(len(rows)):
        texts = [(cells[column][index], column, size) for column, size in kept.items()]
        table.add_row(*(Text(_lines(text, size) if column.folds else text) for text, column, size in texts))
    console.print(table)
    if left_out:
        names = ", ".join(column.heading for column in left_out)
        say(f"(left out, too wide for the screen: {names})")


def fits_whole(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> bool:
    """Return whether a table of rows fits the screen with all its columns, and nothing folded; a pipe fits all."""
    width = screen_width(sys.stdout)
    sizes = [_whole(column, values) for column, values in _cells(rows, columns)[0].items()]
    return width is None or sum(sizes) + _GAP * (len(sizes) - 1) <= width


def _cells(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]
) -> tuple[dict[Column, list[str]], dict[Column, str]]:
    """Return the texts of the columns with values, and the text of those that have one in common for all rows."""
    cells, common = {}, {}
    for column in columns:
        if any(row.get(column.key) is not None for row in rows):
            values = [column.cell(row) for row in rows]
            if column.common and len(rows) > 1 and len(set(values)) == 1:
                common[column] = values[0]
            else:
                cells[column] = values
    return cells, common


def _whole(column: Column, values: Sequence[str]) -> int:
    """Return the width of a column in which nothing folds."""
    return max(len(column.heading), *map(len, values))


def _in_words(column: Column, value: str) -> str:
    """Return a value in words, its unit after it: "time 1000 s"."""
    name, parenthesis, unit = column.heading.partition(" (")
    return f"{name} {value}{' ' + unit.rstrip(')') if parenthesis else ''}"


def fitted(cells: Mapping[Column, Sequence[str]], width: int) -> tuple[dict[Column, int], list[Column]]:
    """Fit the columns of a table to a width: headings and prose fold first, then columns are left out.

    Parameters
    ----------
    cells : mapping of Column to sequence of str
        The texts of the rows.
    width : int
        Width of the screen.

    Returns
    -------
    kept : dict of Column to int
        The width of each column that stays, in order.
    left_out : list of Column
        The others, in the order in which they were left out.
    """
    whole = {column: _whole(column, values) for column, values in cells.items()}
    least = {column: _least(column, values) for column, values in cells.items()}
    left_out: list[Column] = []

    def room(of: Mapping[Column, int]) -> int:
        kept = [size for column, size in of.items() if column not in left_out]
        return width - sum(kept) - _GAP * (len(kept) - 1)

    for column in sorted((one for one in cells if one.spare), key=lambda one: -one.spare):
        if room(least) >= 0:
            break
        left_out.append(column)
    sizes = {column: size for column, size in least.items() if column not in left_out}
    while room(sizes) < 0 and max(sizes.values()) > 1:
        # Only the columns that name a row are left: the widest of them folds.
        widest = max(sizes, key=lambda column: sizes[column])
        sizes[widest] -= 1
    for column in sorted(sizes, key=lambda one: whole[one] - sizes[one]):
        sizes[column] += max(0, min(whole[column] - sizes[column], room(sizes)))
    return sizes, left_out


def _least(column: Column, values: Sequence[str]) -> int:
    """Return the smallest width of a column in which its values are easy to read."""
    longest = max(map(len, values))
    if column.folds:
        pieces = [piece.rstrip() for value in values for piece in _PIECE.findall(value)]
        longest = min(longest, max([_PROSE, *map(len, pieces)]))
    return max(longest, *map(len, column.heading.split()), 1)


def _lines(text: str, width: int) -> str:
    """Return prose in lines of this width; a piece that is longer has a line of its own."""
    lines = [""]
    for piece in _PIECE.findall(text):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def say(text: str) -> None:
    """Print a message on stderr, folded at the width of the screen."""
    sys.stderr.write(f"{folded(shown(text), screen_width(sys.stderr))}\n")


_NAMED = re.compile(r"([a-z0-9]{9}): (.+)", re.DOTALL)
"""A warning about one exposure."""

_said: set[str] = set()
"""The warnings of this command that were said."""


def begin_command() -> None:
    """Forget the warnings of an earlier command in the same process."""
    _said.clear()


_NAMES_SHOWN = 40


def say_warnings(warnings: Sequence[str]) -> None:
    """Print each warning once in a command: a line of what, a line of what to do; exposures with the same together.

    Parameters
    ----------
    warnings : sequence of str
        ``[EXPOSURE: ]WHAT[; WHAT TO DO]``.
    """
    same: dict[str, list[str]] = {}
    for warning in warnings:
        if warning not in _said:
            _said.add(warning)
            named = _NAMED.fullmatch(warning)
            same.setdefault(warning if named is None else named[2], []).extend([] if named is None else [named[1]])
    for text, names in same.items():
        what, _, todo = text.partition("; ")
        say(f"warning: {listed(names, _NAMES_SHOWN)}{': ' if names else ''}{what}")
        if todo:
            say(f"  {todo[0].upper()}{todo[1:]}")


def tell(text: str) -> None:
    """Print a line on stdout, folded at the width of the screen."""
    typer.echo(folded(shown(text), screen_width(sys.stdout)))


@contextmanager
def progress_bar(doing: str, *, in_bytes: bool = False) -> Iterator[Progress | None]:
    """Show a progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415  only a terminal needs it

    with bar(doing, Console(stderr=True), in_bytes=in_bytes) as shown_bar:
        yield shown_bar
