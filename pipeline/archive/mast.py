"""The only caller of MAST: which SBC exposures the archive has, and which files of them, as frozen records.

What the server says is not trusted: a name is only taken where it has the form of a root name or of a product's file,
and nothing else of its text becomes a path. astroquery's own configuration names the server and bounds the time; the
retry policy and the time limits of `connection` are mounted on its session.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import numpy as np
import requests

from sbcdark.catalog.times import mjd_of_utc
from sbcdark.pipeline.archive.http import Adapter, BrokenError, session, unreachable, why, with_retries
from sbcdark.pipeline.frames.exposure_files import product_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sbcdark.catalog.errors import UnreachableError

T = TypeVar("T")

_LONGEST_SILENCE_S = 60.0
"""The time limit of a query; astroquery's own (`[mast] timeout`, 600 s) counts where it is less."""

_PAGE = 5000
"""Rows to a query; the most that the archive gives."""

_MOST_PAGES = 200
"""A server that never comes to an end is left."""

_DATASETS_A_QUERY = 200
"""Data sets whose products are asked for at once. From 1000 on astroquery prints a bar of its own on stdout."""

_NAME = re.compile(r"[a-z][a-z0-9]{8}")
_FILE_NAME = re.compile(r"([a-z][a-z0-9]{8})_(raw|flt|asn)\.fits")

_ARCHIVED = "sci_archive_date"
_COLUMNS = (
    "sci_targname",
    "sci_instrument_config",
    "sci_aper_1234",
    "sci_actual_duration",
    "sci_start_time",
    "sci_pep_id",
)


@dataclass(frozen=True, slots=True)
class Dataset:
    """What the archive keeps under one name: an exposure, or an association with its exposures.

    Attributes
    ----------
    name : str
        Nine letters and digits, lower case.
    start_mjd : float
        Start in days, UTC; of an association, that of its first exposure.
    exptime_s : float or None
        Exposure time; of an association, the sum.
    listed_as : str
        The name under which the archive lists its files: its own, or that of its association.
    archived_utc : datetime or None
        When its files came into the archive, if its listing says that: reprocessing moves it.
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
        """Whether the name is an association's: those end in a digit, exposures in a letter."""
        return self.name[-1].isdigit()


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """A RAW, FLT or ASN that the archive offers.

    Attributes
    ----------
    name : str
        Its file name, which is also a safe one here.
    rootname : str
        The exposure (or, of an ASN, the association) that it is of.
    size_byte : int or None
        The size that the archive's listing says.
    public : bool
        Whether everybody may have it.
    """

    name: str
    kind: str
    rootname: str
    dataset: Dataset
    size_byte: int | None
    url: str
    public: bool


class Archive:
    """A connection to MAST's search for HST.

    Raises
    ------
    UnreachableError
        From every method: there is no answer, or none that can be understood, in bounded time.
    """

    def __init__(self) -> None:
        from astropy.table import Table  # noqa: PLC0415  with what it is for
        from astroquery.mast import MastMissions, conf  # noqa: PLC0415  takes a second

        self.server = str(conf.server).rstrip("/")
        self.timeout_s = min(float(conf.timeout), _LONGEST_SILENCE_S)
        self._client = MastMissions(mission="hst")
        sessions = (session(), self._client._service_api_connection._session)  # noqa: SLF001  astroquery bounds no time
        for one in sessions:
            one.mount(self.server, Adapter(self.timeout_s))
        # astroquery asks for the list of columns with no limit of time, unless it has it.
        address = f"{self.server}/search/util/api/v0.1/column_list"
        self._columns = self._asked(lambda: _columns(session().get(address, params={"mission": "hst"})))
        self._client.columns["hst"] = Table(rows=self._columns, names=("name", "data_type", "description"))

    def program(self, program: int) -> list[Dataset]:
        """Return the SBC data sets of a program, in order of time."""
        return _datasets(self._rows(sci_pep_id=program, sci_instrume="ACS"))

    def darks(self) -> list[Dataset]:
        """Return every SBC dark of the archive, each exposure by itself, in order of time."""
        rows = self._rows(sci_targname="DARK", sci_instrument_config="ACS/SBC")
        if not rows:
            # The column is the one that names the detector, but the archive's text in it could change.
            rows = self._rows(sci_targname="DARK", sci_aper_1234="SBC*")
        found = [dataset for dataset in _datasets(rows) if dataset.dark]
        exposures = {dataset.name: dataset for dataset in found if not dataset.is_association}
        for file in self.files([dataset for dataset in found if dataset.is_association]):
            if file.kind == "RAW" and file.rootname not in exposures:
                # Listed by its association alone: that one's start is the best that is known before a header is read.
                exposures[file.rootname] = Dataset(
                    file.rootname, True, file.dataset.program, file.dataset.start_mjd, None, file.dataset.name
                )
        return sorted(exposures.values(), key=lambda dataset: (dataset.start_mjd, dataset.name))

    def files(self, datasets: Iterable[Dataset]) -> list[ArchiveFile]:
        """Return the RAW, FLT and ASN files of some data sets, each once, without the HAP duplicates."""
        by_name = {dataset.listed_as: dataset for dataset in datasets}
        names = sorted(by_name)
        files: dict[str, ArchiveFile] = {}
        for start in range(0, len(names), _DATASETS_A_QUERY):
            asked = [name.upper() for name in names[start : start + _DATASETS_A_QUERY]]
            products = self._asked(lambda asked=asked: self._client.get_product_list(asked))  # type: ignore[misc]
            for row in _mappings(products):
                file = self._file(row, by_name)
                if file is not None:
                    files.setdefault(file.name, file)
        return sorted(files.values(), key=lambda file: (file.dataset.start_mjd, file.name))

    def _file(self, row: Mapping[str, Any], datasets: Mapping[str, Dataset]) -> ArchiveFile | None:
        """Return one row of a product list as a record; None for what is no file of ours."""
        name, dataset = _text(row, "filename").lower(), datasets.get(_text(row, "dataset").lower())
        found, kind, uri = _FILE_NAME.fullmatch(name), product_kind(name), _text(row, "uri")
        if found is None or kind is None or dataset is None or not uri.lower().endswith(name):
            return None
        size = _number(row, "size")
        # The address is the one that astroquery's download_file asks, which checks no length.
        url = f"{self.server}/search/hst/api/v0.1/retrieve_product?product_name={quote(uri, safe='')}"
        public = _text(row, "access").upper() in {"PUBLIC", ""}
        return ArchiveFile(name, kind, found.group(1), dataset, None if size is None else int(size), url, public)

    def _rows(self, **criteria: Any) -> list[dict[str, Any]]:
        """Return all rows of a search, page by page."""
        rows: list[dict[str, Any]] = []
        names: set[str] = set()
        for page in range(_MOST_PAGES):
            found = self._asked(
                lambda page=page: self._client.query_criteria(  # type: ignore[misc]
                    **criteria,
                    select_cols=[*_COLUMNS, *({_ARCHIVED} & {name for name, _, _ in self._columns})],
                    limit=_PAGE,
                    offset=page * _PAGE,
                    sort_by="sci_data_set_name",
                )
            )
            rows += _mappings(found)
            if len(found) < _PAGE:
                return rows
            known = len(names)
            names |= {_text(row, "sci_data_set_name") for row in rows[-len(found) :]}
            if len(names) == known:
                break
        raise self._unreachable("the pages of its listing do not come to an end")

    def _asked(self, ask: Callable[[], T]) -> T:
        """Ask, again where the answer is no answer."""

        def once() -> T:
            try:
                with warnings.catch_warnings():
                    # "No results" and "maximum results" are expected: pages are counted.
                    warnings.simplefilter("ignore")
                    return ask()
            except (requests.ConnectionError, requests.HTTPError, requests.Timeout) as error:
                silent = isinstance(error, requests.Timeout) or "timed out" in str(error)
                reason = f"it did not answer within {self.timeout_s:.0f} s" if silent else why(error)
                raise self._unreachable(reason) from error
            except Exception as error:  # astroquery raises many kinds for a server that talks nonsense
                raise BrokenError(why(error)) from error

        try:
            return with_retries(self.server, once)
        except BrokenError as error:
            raise self._unreachable(str(error)) from error

    def _unreachable(self, reason: str) -> UnreachableError:
        return unreachable(f"The archive {self.server}", f"cannot be used: {reason}")


def _columns(response: requests.Response) -> list[tuple[str, str, str]]:
    """Return name, type and description of the columns that a search can name."""
    response.raise_for_status()
    return [(str(one["column_name"]), str(one["qual_type"]), str(one["description"])) for one in response.json()]


def _datasets(rows: Iterable[Mapping[str, Any]]) -> list[Dataset]:
    """Return the SBC data sets among rows of a search, each once, in order of time."""
    found: dict[str, Dataset] = {}
    for row in rows:
        name, program, start = (
            _text(row, "sci_data_set_name").lower(),
            _number(row, "sci_pep_id"),
            _time(row, "sci_start_time"),
        )
        if not _NAME.fullmatch(name) or not _is_sbc(row) or start is None:
            continue
        if program is None or not 0 < program < 1_000_000:
            continue
        exptime = _number(row, "sci_actual_duration")
        dark = _text(row, "sci_targname").upper() == "DARK"
        archived = _time(row, _ARCHIVED)
        exptime_s = exptime if exptime is not None and exptime > 0 else None
        found.setdefault(name, Dataset(name, dark, int(program), mjd_of_utc(start), exptime_s, name, archived))
    return sorted(found.values(), key=lambda dataset: (dataset.start_mjd, dataset.name))


def _is_sbc(row: Mapping[str, Any]) -> bool:
    detector, aperture = _text(row, "sci_instrument_config").upper(), _text(row, "sci_aper_1234").upper()
    return "SBC" in detector or aperture.startswith("SBC") or not (detector or aperture)


def _time(row: Mapping[str, Any], column: str) -> datetime | None:
    try:
        time_utc = datetime.fromisoformat(_text(row, column))
    except ValueError:
        return None
    time_utc = time_utc.replace(tzinfo=UTC) if time_utc.tzinfo is None else time_utc.astimezone(UTC)
    # The SBC flies since 2002.
    return time_utc if 52_000 < mjd_of_utc(time_utc) < 80_000 else None


def _mappings(table: Any) -> Iterator[dict[str, Any]]:
    """Give the rows of an astropy table as mappings."""
    names: Sequence[str] = table.colnames
    for row in table:
        yield {name: row[name] for name in names}


def _text(row: Mapping[str, Any], column: str) -> str:
    """Return a cell as text, as the server wrote it; an empty one where it is masked, missing or no text."""
    value = row.get(column)
    return str(value).strip() if isinstance(value, str) else ""


def _number(row: Mapping[str, Any], column: str) -> float | None:
    """Return a cell as a number; None where it is masked, missing or none."""
    value = row.get(column)
    if value is None or np.ma.is_masked(value):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
