"""The commands that list: exposures, darks, show."""

from __future__ import annotations

import math
import re
from calendar import monthrange
from collections import Counter
from dataclasses import asdict
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.queries import SORT_KEYS
from sbcdark.catalog.text import number
from sbcdark.catalog.times import utc_of_mjd
from sbcdark.cli.app import app, catalog
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
    print_table,
    scaled,
)
from sbcdark.pipeline.views import listings

if TYPE_CHECKING:
    from pathlib import Path

    from sbcdark.catalog.records import ExposureRecord
    from sbcdark.keywords import ExposureKeywords

ProgramOption = Annotated[
    int | None, typer.Option("--program", metavar="N", min=1, max=999_999, help="Only this program.")
]
FilterOption = Annotated[str | None, typer.Option("--filter", metavar="NAME", help="Only this filter, e.g. F165LP.")]
TemperatureOption = Annotated[
    str | None, typer.Option("--temp", metavar="LOW:HIGH", help="Mean temperature in C, e.g. 25:27 or 25:.")
]
SinceOption = Annotated[str | None, typer.Option("--since", metavar="DATE", help="Started on this day or later; UTC.")]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="DATE", help="Started on this day or earlier; UTC.")
]
HotOption = Annotated[bool, typer.Option("--hot", help="Only mean temperatures above 25 C.", show_default=False)]
QualityOption = Annotated[
    str | None,
    typer.Option("--quality", metavar="LIST", help="Only these: good, suspect, untested, retired; several by commas."),
]
SortOption = Annotated[str, typer.Option("--sort", metavar="COLUMN", help="Any column of the JSON; -COLUMN reverses.")]

_COLUMNS = (
    Column("rootname", "exposure"),
    Column("kind", "kind", spare=5),
    Column("program", "program", spare=3),
    Column("filter", "filter", spare=6),
    Column("start_utc", "start (UTC)", minute),
    Column("exptime_s", "time (s)", fixed(0), spare=2),
    Column("temperature_mean_c", "T mean (C)", fixed(2)),
    Column("hot", ""),
    Column("box_count", "box (counts)", fixed(1), spare=4),
    Column("box_rate_count_s_pix", "box rate", scaled(1e6, 2)),
    Column("contrast_count_s_pix", "contrast", scaled(1e6, 2)),
    Column("contrast_err_count_s_pix", "+-", scaled(1e6, 2)),
    Column("association", "association", spare=7),
    Column("shown_quality", "quality"),
)
_RATE_UNIT = "Rates are in 1e-6 count/s/pixel; contrast is box minus quiet rows; hot is a mean above 25 C."


@app.command()
def exposures(
    program: ProgramOption = None,
    filter_: FilterOption = None,
    temperature: TemperatureOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    hot: HotOption = False,
    quality: QualityOption = None,
    sort: SortOption = "start_mjd",
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    output: FileOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """List the science exposures and darks of the catalog."""
    wanted = _filter(program, filter_, temperature, since, until, quality, hot=hot)
    _list(None, wanted, sort, as_json=as_json, as_csv=as_csv, output=output, overwrite=overwrite)


@app.command()
def darks(
    program: ProgramOption = None,
    temperature: TemperatureOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    hot: HotOption = False,
    quality: QualityOption = None,
    sort: SortOption = "start_mjd",
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    output: FileOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """List the darks of the catalog."""
    wanted = _filter(program, None, temperature, since, until, quality, hot=hot)
    _list("dark", wanted, sort, as_json=as_json, as_csv=as_csv, output=output, overwrite=overwrite)


def _list(
    kind: str | None,
    wanted: ExposureKeywords,
    sort: str,
    *,
    as_json: bool,
    as_csv: bool,
    output: Path | None,
    overwrite: bool,
) -> None:
    check_forms(as_json=as_json, as_csv=as_csv, output=output, overwrite=overwrite)
    wanted = {**wanted, "sort": sort.lstrip("-"), "descending": sort.startswith("-")}
    found = catalog().list_exposures(kind, **wanted)
    rows = [_row(record) for record in found]
    hot = sum(row["hot"] is not None for row in rows)
    qualities = Counter(record.quality for record in found if record.quality != "good")
    by_quality = "".join(f", {count} {quality}" for quality, count in sorted(qualities.items()))
    title = f"{number(len(rows), 'exposure')}, {hot} hot{by_quality}. {_RATE_UNIT}"
    emit(rows, SORT_KEYS, _COLUMNS, as_json=as_json, as_csv=as_csv, output=output, overwrite=overwrite, title=title)


def _row(record: ExposureRecord) -> dict[str, Any]:
    return asdict(record) | {
        "hot": "hot" if listings.is_hot(record) else None,
        "shown_quality": record.quality if record.quality != "good" else None,
    }


def _filter(
    program: int | None,
    filter_: str | None,
    temperature: str | None,
    since: str | None,
    until: str | None,
    quality: str | None,
    *,
    hot: bool,
) -> ExposureKeywords:
    return {
        "program": program,
        "filter": filter_,
        "temperature_c": _range(temperature),
        "since": utc_time(since),
        "until": utc_time(until, end_of_day=True),
        "hot": hot,
        "quality": [] if quality is None else quality.split(","),
    }


def _range(text: str | None) -> tuple[float | None, float | None]:
    if text is None:
        return None, None
    low, colon, high = text.partition(":")
    try:
        limits = (float(low) if low else None, float(high) if high else None)
    except ValueError:
        limits = (None, None)
    finite = all(limit is None or math.isfinite(limit) for limit in limits)
    turned = None not in limits and limits[0] > limits[1]  # type: ignore[operator]
    if not colon or limits == (None, None) or not finite or turned:
        raise UsageError(
            f"{text!r} is not a range of temperatures.", "Write e.g. --temp 25:27, --temp 25: or --temp :24."
        )
    return limits


_MONTH = re.compile(r"(\d{4})(?:-(\d{2}))?")
_MJD = re.compile(r"[4-9]\d{4}(?:\.\d*)?")


def _days(text: str) -> list[tuple[date, date]]:
    """Return the first and last day of a date, a month or a year; nothing where the text is none of these."""
    match = _MONTH.fullmatch(text.strip())
    try:
        if match is None:
            day = date.fromisoformat(text)
            return [(day, day)]
        year, month = int(match[1]), None if match[2] is None else int(match[2])
        first = date(year, month or 1, 1)
        return [(first, first.replace(month=month or 12, day=monthrange(year, month or 12)[1]))]
    except ValueError:
        return []


def utc_time(text: str | None, *, end_of_day: bool = False) -> datetime | None:
    """Return a date, month, year, time or MJD given by the user as a UTC time.

    Parameters
    ----------
    end_of_day : bool
        Whether a bare date, month or year means its last microsecond instead of its first.

    Raises
    ------
    UsageError
        The text is not a date.
    """
    if text is None:
        return None
    for first, last in _days(text):
        return datetime.combine(last if end_of_day else first, time.max if end_of_day else time.min, tzinfo=UTC)
    if (number := _MJD.fullmatch(text.strip())) is not None:
        return utc_of_mjd(float(number[0]))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        todo = "Write e.g. 2015-03-01, 2015-03, 2015-03-01T06:00 or an MJD."
        raise UsageError(f"{text!r} is not a date.", todo) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="An exposure (8 or 9 characters) or an association.")],
    as_json: JsonOption = False,
) -> None:
    """Show everything that the catalog has about an exposure or association."""
    known = catalog().show(name)
    if as_json:
        print_json([known])
        return
    facts = {key: value for key, value in known.items() if not isinstance(value, list)}
    rows = [{"field": key, "value": minute(value)} for key, value in facts.items() if value is not None]
    print_table(rows, (Column("field", "field"), Column("value", "value")))
    for key, value in known.items():
        if isinstance(value, list) and value:
            entries = [entry if isinstance(entry, dict) else {key: entry} for entry in value]
            columns = [Column(name, name, _shown) for name in entries[0]]
            print_table(entries, columns, f"\n{key}")


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value)
    return minute(value)
