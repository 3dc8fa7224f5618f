"""The commands that list: exposures, darks."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sbcdark.catalog.queries import KNOWN_KEYS, SORT_KEYS
from sbcdark.catalog.text import listed, number
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
    say,
    scaled,
)
from sbcdark.cli.selectors import SelectorOptions, numbers_of
from sbcdark.cli.shared_options import with_options
from sbcdark.keywords import listed_from
from sbcdark.pipeline.views import listings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sbcdark.catalog.records import ExposureRecord
    from sbcdark.keywords import ExposureKeywords

FilterOption = Annotated[
    list[str] | None, typer.Option("--filter", metavar="NAME", help="Only this filter, e.g. F165LP; several by commas.")
]
TemperatureOption = Annotated[
    str | None, typer.Option("--temp", metavar="LOW:HIGH", help="Mean temperature in C, e.g. 25:27 or 25:.")
]
SinceOption = Annotated[str | None, typer.Option("--since", metavar="DATE", help="Started on this day or later; UTC.")]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="DATE", help="Started on this day or earlier; UTC.")
]
HotOption = Annotated[bool, typer.Option("--hot", help="Only mean temperatures above 25 C.", show_default=False)]
QualityOption = Annotated[
    list[str] | None,
    typer.Option("--quality", metavar="LIST", help="Only these: good, suspect, untested, retired; several by commas."),
]
SortOption = Annotated[
    str, typer.Option("--sort", metavar="COLUMN", help="A printed heading or a key of the JSON; -COLUMN reverses.")
]

WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where", metavar="CONDITION", help="e.g. 'contrast > 10', by a printed heading and in its unit; repeatable."
    ),
]


def _column(key: str, show: Callable[[Any], str] = str, **options: Any) -> Column:
    return Column(key, listings.HEADINGS[key], show, **options)


_RATE = scaled(1 / listings.RATE_UNIT, 2)
_COLUMNS = (
    _column("rootname"),
    _column("program", spare=7, common=True),
    _column("target", spare=10, common=True),
    Column("shown_filter", listings.HEADINGS["filter"], spare=3, common=True),
    _column("start_utc", minute, spare=1),
    _column("exptime_s", fixed(0), spare=6, common=True),
    _column("temperature_mean_c", fixed(2), spare=1),
    _column("box_rate_count_s_pix", _RATE, spare=8, error="box_rate_err_count_s_pix"),
    _column("quiet_rate_count_s_pix", _RATE, spare=5, error="quiet_rate_err_count_s_pix"),
    _column("contrast_count_s_pix", _RATE, spare=2, error="contrast_err_count_s_pix"),
    _column("hot_pixels", spare=6),
    _column("association", spare=11, common=True),
    _column("quality", spare=1),
    _column("quality_reason", spare=1, folds=True),
)
_UNITS = (
    "Rates are in 1e-6 count/s/pixel. Base is the rate of the quiet rows, contrast is box minus base; "
    "hot is a mean above 25 C."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingOptions(SelectorOptions):
    """The options of a listing of exposures; here the selectors are filters, too."""

    filter: FilterOption = None
    temperature: TemperatureOption = None
    since: SinceOption = None
    until: UntilOption = None
    hot: HotOption = False
    quality: QualityOption = None
    where: WhereOption = None
    sort: SortOption = "start"
    as_json: JsonOption = False
    as_csv: CsvOption = False
    output: FileOption = None
    overwrite: OverwriteOption = False

    def keywords(self) -> ExposureKeywords:
        """Return what is wanted as keywords of `Catalog`."""
        return {
            "program": numbers_of("program", self.program or ()),
            "association": self.association,
            "target": self.target,
            "filter": self.filter,
            "temperature_c": self.temperature,
            "since": self.since,
            "until": self.until,
            "hot": self.hot,
            "quality": self.quality or [],
            "where": self.where or [],
            "sort": self.sort.removeprefix("-"),
            "descending": self.sort.startswith("-"),
        }


@app.command()
@with_options(ListingOptions)
def exposures(options: ListingOptions) -> None:
    """List the science exposures and darks of the catalog."""
    _list(None, options)


@app.command()
@with_options(ListingOptions)
def darks(options: ListingOptions) -> None:
    """List the darks of the catalog."""
    _list("dark", options)


def _list(kind: str | None, options: ListingOptions) -> None:
    forms: dict[str, Any] = {name: getattr(options, name) for name in ("as_json", "as_csv", "output", "overwrite")}
    check_forms(**forms)
    wanted = options.keywords()
    wanted["kind"] = kind
    found = catalog().list_exposures(options.names or (), **wanted)
    _say_absent(kind, wanted, found)
    # A dark has no filter and no target, whatever its header says.
    rows = [asdict(one) | {"shown_filter": "dark" if one.kind == "dark" else one.filter} for one in found]
    hot = sum(listings.is_hot(one) for one in found)
    counted = Counter(record.quality for record in found if record.quality != "good")
    by_quality = "".join(f", {count} {quality}" for quality, count in sorted(counted.items()))
    title = f"{number(len(rows), kind or 'exposure')}, {hot} hot{by_quality}. {_UNITS}" if rows else "Nothing is found."
    left_out = {"shown_filter", "target"} if kind == "dark" else set()
    left_out |= set() if counted else {"quality", "quality_reason"}
    columns = [column for column in _COLUMNS if column.key not in left_out]
    emit(rows, SORT_KEYS, columns, **forms, title=title)


def _say_absent(kind: str | None, wanted: ExposureKeywords, found: Sequence[ExposureRecord]) -> None:
    """Say which program, filter, target or association of the wanted ones no exposure of the catalog has."""
    for key in KNOWN_KEYS:
        given = [str(one) for one in listed_from([*map(str, wanted.get(key) or ())], key)]  # type: ignore[call-overload]
        listed_ones = {str(getattr(one, key)).lower() for one in found}
        if all(one.lower() in listed_ones for one in given):
            continue
        there = [(str(value), of) for value, of in catalog().known_values(key) if kind in {None, of}]
        absent = [one for one in given if one.lower() not in {value.lower() for value, _ in there}]
        # A dark has no filter and no target, whatever its header says.
        known = sorted({value for value, of in there if of == "science" or key in {"program", "association"}})
        has = f"; the catalog has {listed(known)}" if known else ""
        if absent:
            say(f"no {kind or 'exposure'} is of {key} {' or '.join(absent)}{has}")
