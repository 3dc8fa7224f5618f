"""MAST: the SBC data sets and files of the archive, asked for by astroquery.

Names of the server become paths only if they have the form of a root name or of a product's file name. astroquery's
configuration names the server; its session gets the time limits and the retries of `http`.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from sbcdark.catalog.times import mjd_of_utc
from sbcdark.pipeline.archive.http import Adapter, BrokenAnswerError, session, unreachable, user_error, with_retries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_LONGEST_SILENCE_S = 60.0
"""Time limit of a query; astroquery's own (`[mast] timeout`, 600 s) counts if it is shorter."""

_PAGE = 5000
"""Rows of a query; the archive gives no more."""

_DATASETS_A_QUERY = 200
"""Data sets whose products are asked for at once; from 1000 on astroquery prints a progress bar to stdout."""

_NAME = re.compile(r"[a-z][a-z0-9]{8}")
_FILE_NAME = re.compile(r"([a-z][a-z0-9]{8})_(raw|flt|asn)\.fits")

_NAME_COLUMN = "sci_data_set_name"
_COLUMNS = (
    "sci_targname",
    "sci_instrument_config",
    "sci_actual_duration",
    "sci_start_time",
    "sci_pep_id",
    "sci_archive_date",
)


@dataclass(frozen=True, slots=True)
class Dataset:
    """An exposure, or an association with its exposures, at the archive.

    Attributes
    ----------
    start_mjd, exptime_s : float
        Of an association, the start of its first exposure (UTC) and the sum of the exposure times.
    listed_as : str
        The data set whose product list has its files: itself, or its association.
    archived_utc : datetime or None
        When its files were archived after they were processed last.
    """

    name: str
    dark: bool
    program: int
    start_mjd: float
    exptime_s: float | None
    listed_as: str
    archived_utc: datetime | None = None

    @property
    def is_association(self) -> bool:
        """Whether it is an association, whose name ends in a digit; that of an exposure ends in a letter."""
        return self.name[-1].isdigit()


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """A RAW, FLT or ASN at the archive; `rootname` is its exposure or, of an ASN, its association."""

    name: str
    kind: str
    rootname: str
    dataset: Dataset
    size_byte: int | None
    url: str
    public: bool


class Archive:
    """MAST's search for HST.

    Every method raises `UnreachableError` if the archive gives no usable answer in bounded time.
    """

    def __init__(self) -> None:
        from astropy.table import Table  # noqa: PLC0415  slow to import
        from astroquery.mast import MastMissions, conf  # noqa: PLC0415

        self.server = str(conf.server).rstrip("/")
        self._client = MastMissions(mission="hst")
        adapter = Adapter(min(float(conf.timeout), _LONGEST_SILENCE_S))
        for one in (session(), self._client._service_api_connection._session):  # noqa: SLF001  it has no time limit
            one.mount(self.server, adapter)
        # astroquery would ask for the list of columns without a time limit.
        self._columns = [_text(row, "column_name") for row in self._rows(self._column_list)]
        self._client.columns["hst"] = Table([self._columns], names=["name"])

    def _column_list(self) -> Any:
        response = session().get(f"{self.server}/search/util/api/v0.1/column_list", params={"mission": "hst"})
        response.raise_for_status()
        return response.json()

    def program(self, program: int) -> list[Dataset]:
        """Return the SBC data sets of a program, in order of time."""
        return self._search(sci_pep_id=program, sci_instrume="ACS")

    def darks(self) -> list[Dataset]:
        """Return every SBC dark of the archive, in order of time: exposures, no associations."""
        found = self._search(sci_targname="DARK", sci_instrument_config="ACS/SBC")
        exposures = {dataset.name: dataset for dataset in found if not dataset.is_association}
        for file in self.files(dataset for dataset in found if dataset.is_association):
            if file.kind == "RAW" and file.rootname not in exposures:
                # Listed by its association alone, whose start is close to its own.
                exposures[file.rootname] = Dataset(
                    file.rootname, True, file.dataset.program, file.dataset.start_mjd, None, file.dataset.name
                )
        return sorted(exposures.values(), key=lambda dataset: (dataset.start_mjd, dataset.name))

    def files(self, datasets: Iterable[Dataset]) -> list[ArchiveFile]:
        """Return the RAW, FLT and ASN files of data sets, each once, without the HAP duplicates."""
        by_name = {dataset.listed_as: dataset for dataset in datasets}
        names = sorted(by_name)
        files: dict[str, ArchiveFile] = {}
        for start in range(0, len(names), _DATASETS_A_QUERY):
            asked = [name.upper() for name in names[start : start + _DATASETS_A_QUERY]]
            for row in self._rows(self._client.get_product_list, asked):
                file = self._file(row, by_name)
                if file is not None:
                    files.setdefault(file.name, file)
        return sorted(files.values(), key=lambda file: (file.dataset.start_mjd, file.name))

    def _file(self, row: Mapping[str, Any], datasets: Mapping[str, Dataset]) -> ArchiveFile | None:
        name, uri = _text(row, "filename").lower(), _text(row, "uri")
        dataset, found = datasets.get(_text(row, "dataset").lower()), _FILE_NAME.fullmatch(name)
        if found is None or dataset is None or not uri.lower().endswith(name):
            return None
        # The address that astroquery's download_file asks for.
        url = f"{self.server}/search/hst/api/v0.1/retrieve_product?product_name={quote(uri, safe='')}"
        size_byte = _number(row, "size")
        public = _text(row, "access").upper() in {"PUBLIC", ""}
        size = None if size_byte is None else int(size_byte)
        return ArchiveFile(name, found[2].upper(), found[1], dataset, size, url, public)

    def _search(self, **criteria: Any) -> list[Dataset]:
        """Return the SBC data sets that meet the criteria, each once, in order of time."""

        def page_from(offset: int) -> Any:
            columns = [name for name in _COLUMNS if name in self._columns]
            options = {"select_cols": columns, "limit": _PAGE, "offset": offset, "sort_by": _NAME_COLUMN}
            return self._client.query_criteria(**criteria, **options)

        found: dict[str, Dataset] = {}
        names: set[str] = set()
        for offset in count(0, _PAGE):
            rows = self._rows(page_from, offset)
            for dataset in filter(None, map(_dataset, rows)):
                found.setdefault(dataset.name, dataset)
            if len(rows) < _PAGE:
                break
            known = len(names)
            names.update(_text(row, _NAME_COLUMN) for row in rows)
            if len(names) == known:
                raise unreachable(f"The archive {self.server}", "cannot be used: it repeats a page of its listing")
        return sorted(found.values(), key=lambda dataset: (dataset.start_mjd, dataset.name))

    def _rows(self, query: Callable[..., Any], *arguments: Any) -> list[dict[str, Any]]:
        """Return the rows that a query of astroquery finds."""
        host = f"The archive {self.server}"

        def once() -> list[dict[str, Any]]:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # no row, and as many rows as asked for
                    return [dict(row) for row in query(*arguments)]
            except Exception as error:  # astroquery raises exceptions of many kinds for an unusable answer
                raise user_error(host, error) from error

        try:
            return with_retries(host, once)
        except BrokenAnswerError as error:
            raise unreachable(host, f"cannot be used: {error}") from error


def _dataset(row: Mapping[str, Any]) -> Dataset | None:
    """Return a row of a search as a record; None if it is not an SBC data set."""
    name, program = _text(row, _NAME_COLUMN).lower(), _number(row, "sci_pep_id")
    start_utc, exptime_s = _time(row, "sci_start_time"), _number(row, "sci_actual_duration")
    is_sbc = "SBC" in _text(row, "sci_instrument_config").upper()
    if not (is_sbc and _NAME.fullmatch(name)) or start_utc is None or program is None or not 0 < program < 1_000_000:
        return None
    dark = _text(row, "sci_targname").upper() == "DARK"
    exptime_s = exptime_s if exptime_s is not None and exptime_s > 0 else None
    return Dataset(name, dark, int(program), mjd_of_utc(start_utc), exptime_s, name, _time(row, "sci_archive_date"))


def _time(row: Mapping[str, Any], column: str) -> datetime | None:
    try:
        time_utc = datetime.fromisoformat(_text(row, column))
    except ValueError:
        return None
    return time_utc.replace(tzinfo=UTC) if time_utc.tzinfo is None else time_utc.astimezone(UTC)


def _text(row: Mapping[str, Any], column: str) -> str:
    """Return a cell as text; an empty one if it is masked, missing or a number."""
    value = row.get(column)
    return value.strip() if isinstance(value, str) else ""


def _number(row: Mapping[str, Any], column: str) -> float | None:
    """Return a cell as a number; None if it is masked, missing or not finite."""
    value = row.get(column)
    try:
        number = math.nan if value is None or np.ma.is_masked(value) else float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
