"""Filling a catalog, and listing what it holds."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

from sbcdark.base import OpenCatalog
from sbcdark.catalog import records
from sbcdark.keywords import (
    ExposureKeywords,
    SelectorKeywords,
    flat_from,
    is_one,
    listed_from,
    moment_from,
    names_from,
    path_from,
    paths_from,
    program_from,
    programs_from,
    qualities_from,
    selected_from,
    selector_from,
    temperatures_from,
    texts_from,
    wrong_type,
)
from sbcdark.progress import bars_in_turn, check_progress, progress_of
from sbcdark.results import Records, Status, with_times
from sbcdark.signatures import with_keywords

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from astropy.table import QTable

    from sbcdark.catalog.archive_listings import DarkProgram
    from sbcdark.catalog.progress import Progress
    from sbcdark.keywords import Folder, Moment, Names, One, Several
    from sbcdark.pipeline.ingest.fetch import FetchReport
    from sbcdark.pipeline.ingest.report import IngestReport
    from sbcdark.pipeline.selection.names import Selector
    from sbcdark.pipeline.views.dark_history import ProgramHistory


class FillingCatalog(OpenCatalog):
    """The jobs that fill a catalog and list what it holds."""

    def ingest(
        self,
        paths: Folder | Iterable[Folder],
        *,
        workers: int | None = None,
        scheduler: str | None = None,
        flat: Folder | None = None,
        checksum: bool = True,
        dry_run: bool = False,
        progress: Progress | bool | None = None,
    ) -> IngestReport:
        """Read RAW, FLT and ASN files into the catalog. Running it again changes nothing.

        Parameters
        ----------
        paths : str, Path or iterable of these
            Files, folders, ``https://`` and ``s3://`` addresses.
        workers : int, optional
            Number of files read at once; by default one per core.
        scheduler : str, optional
            Address of the scheduler of a Dask cluster, ``tcp://host:8786``, whose workers read instead.
        flat : str or Path, optional
            A flat, or a folder of flats; by default the folder of the environment variable `jref`. The rates of an FLT
            whose flat is there are those of FLT x flat, like with like with the darks.
        checksum : bool
            Store each file's sha256, to recognize the file later.
        dry_run : bool
            Read and report; write nothing.
        progress : callable or bool, optional
            Called with the number of finished files and the total; True shows a bar.

        Returns
        -------
        IngestReport
            It includes rejected files; they raise nothing.
        """
        from sbcdark.pipeline.ingest.ingestion import ingest  # noqa: PLC0415  each job loads what it needs

        given = paths_from(paths, "paths")
        engine = self._to_fill(dry_run=dry_run)
        with progress_of(progress, "reading") as shown:
            return ingest(
                engine,
                given,
                workers=workers,
                scheduler=scheduler,
                flat=flat_from(flat),
                checksum=checksum,
                dry_run=dry_run,
                progress=shown,
            )

    def fetch(
        self,
        program: int | str | None = None,
        *,
        update: bool = False,
        visit: int | str | None = None,
        darks: bool = True,
        science: bool = True,
        since: Moment = None,
        renew: bool = False,
        folder: Folder | None = None,
        flat: Folder | None = None,
        dry_run: bool = False,
        talk: Callable[[str], None] | None = None,
        progress: Progress | bool | tuple[Progress, Progress] | None = None,
    ) -> FetchReport:
        """Get new files from MAST and ingest them.

        Parameters
        ----------
        program : int, optional
            The program; restricted to one `visit`, to its `darks`, its `science`, or both.
        update : bool
            Instead of a program: all darks that are new at the archive; with `since`, also those started since then.
        renew : bool
            Also get local files that differ from the archive's.
        folder : str or Path, optional
            Folder for the files; by default in the user's data folder.
        flat : str or Path, optional
            A flat, or a folder of flats, as for `ingest`.
        dry_run : bool
            Report the files to fetch; get nothing.
        talk : callable, optional
            Called with messages.
        progress : callable, two of them, or bool, optional
            Called with the number of bytes that have arrived and their total, then, or the second, with the number of
            files that are read and the total; True shows a bar for each.
        """
        from sbcdark.catalog.errors import UsageError  # noqa: PLC0415  each job loads what it needs
        from sbcdark.pipeline.ingest import fetch, programs  # noqa: PLC0415

        number = program_from(program)
        if update == (number is not None):
            raise UsageError(
                "Give a program, or ask for an update; one of both.",
                "Run: sbcdark fetch --program N, or sbcdark fetch --update",
            )
        arriving, read = progress if isinstance(progress, tuple) else (progress, progress)
        for one in (arriving, read):
            check_progress(one)
        begun = moment_from(since, "since")
        into, flats = None if folder is None else path_from(folder, "folder"), flat_from(flat)
        engine = self._to_fill(dry_run=dry_run)
        with bars_in_turn(
            lambda: progress_of(arriving, "fetching", in_bytes=True), lambda: progress_of(read, "reading")
        ) as shown:
            said = fetch.Talk(self._talk(talk), *shown)
            options = fetch.FetchOptions(into, dry_run, renew, said, flats)
            if number is None:
                return programs.fetch_update(engine, options, since=begun)
            return fetch.fetch_program(
                engine, number, options, visit=None if visit is None else str(visit), darks=darks, science=science
            )

    def programs(self, *, near: One | None = None) -> Records[DarkProgram]:
        """List the programs with SBC darks at MAST, and how many of their darks are in the catalog.

        Parameters
        ----------
        near : str, optional
            An exposure in the catalog: programs are sorted by distance in time from it.
        """
        from sbcdark.catalog.archive_listings import DarkProgram  # noqa: PLC0415  each job loads what it needs
        from sbcdark.pipeline.ingest.programs import programs  # noqa: PLC0415  each job loads what it needs

        exposure = None if near is None else names_from(near, "near")[0]
        return Records(DarkProgram, programs(self._opened(create=near is None), near=exposure))

    @with_keywords(ExposureKeywords)
    def exposures(self, names: Names | Selector = (), **wanted: Unpack[ExposureKeywords]) -> QTable:
        """List exposures.

        Parameters
        ----------
        names : str, Path or iterable of these
            Only these exposures or associations; by default all.
        kind : {"dark", "science"}, optional
            Both by default.
        program, association, target, filter : optional
            Only these programs, associations, targets (TARGNAME) or filters, one or many.
        quality : str or iterable of str
            Only these: good, suspect, untested, retired.
        hot : bool
            Only mean temperatures above 25 C.
        temperature_c : (float or None, float or None) or str
            Range of the mean temperature, C; as text ``25:27`` or ``25:``.
        since, until : str, datetime, Time or float, optional
            Range of the start, UTC: ``2015``, ``2015-04``, ``2015-04-13``, a time, or an MJD.
        where : str or iterable of str
            Conditions such as ``contrast > 10``, by the headings of ``sbcdark exposures`` and in their units.
        sort : str
            A column, by its name or its heading; `descending` reverses the order.

        Returns
        -------
        QTable
            With units and times; empty if nothing is found.
        """
        from sbcdark.pipeline.frames.tables import to_qtable  # noqa: PLC0415  astropy is slow to import

        columns = [column.name for column in fields(records.ExposureRecord)]
        return to_qtable([asdict(record) for record in self.list_exposures(names, **wanted)], columns)

    @with_keywords(ExposureKeywords)
    def darks(self, names: Names | Selector = (), **wanted: Unpack[ExposureKeywords]) -> QTable:
        """List darks: see `exposures`."""
        wanted["kind"] = "dark"
        return self.exposures(names, **wanted)

    def known_values(self, key: str) -> set[tuple[Any, str]]:
        """Return what the exposures have of a key of their records, each with a kind of exposure that has it.

        Parameters
        ----------
        key : str
            ``program``, ``filter``, ``target`` or ``association``.
        """
        from sbcdark.catalog.engine import reading  # noqa: PLC0415  each job loads what it needs
        from sbcdark.catalog.queries import KNOWN_KEYS, known_values  # noqa: PLC0415

        if key not in KNOWN_KEYS:
            raise wrong_type("key", f"one of {', '.join(KNOWN_KEYS)}", key)
        with reading(self.engine) as session:
            return known_values(session, key)

    @with_keywords(ExposureKeywords)
    def list_exposures(
        self, names: Names | Selector = (), **wanted: Unpack[ExposureKeywords]
    ) -> list[records.ExposureRecord]:
        """List exposures as records: see `exposures`."""
        from sbcdark.catalog.queries import ExposureFilter  # noqa: PLC0415  each job loads what it needs
        from sbcdark.pipeline.selection.names import as_root_name  # noqa: PLC0415
        from sbcdark.pipeline.views.listings import exposures  # noqa: PLC0415

        given: dict[str, Any] = dict(wanted)
        kind = given.get("kind")
        if kind not in {None, "dark", "science"}:
            raise wrong_type("kind", "'dark' or 'science'", kind)
        known = ExposureFilter(
            kind,
            program=programs_from(given.get("program")),
            filter=tuple(listed_from(given.get("filter"), "filter")),
            temperature_c=temperatures_from(given.get("temperature_c")),
            since=moment_from(given.get("since"), "since"),
            until=moment_from(given.get("until"), "until", end_of_day=True),
            hot=bool(given.get("hot")),
            quality=qualities_from(given.get("quality")),
            target=tuple(listed_from(given.get("target"), "target")),
            association=tuple(map(as_root_name, listed_from(given.get("association"), "association"))),
        )
        return exposures(
            self.engine,
            known,
            selector=selector_from(names),
            where=texts_from(given.get("where"), "where"),
            sort=given.get("sort", "start_mjd"),
            descending=bool(given.get("descending")),
        )

    def history(self, names: Names | Selector = ()) -> Records[ProgramHistory]:
        """Return what the good darks of each program tell: base, glow at 27 C with its scatter, hot pixels.

        `plot` draws it as ``history``.

        Parameters
        ----------
        names : str, Path or iterable of these
            Only these darks or their associations.
        """
        from sbcdark.pipeline.views.dark_history import ProgramHistory, history_of  # noqa: PLC0415

        return Records(ProgramHistory, history_of(self.engine, selector_from(names)).programs)

    def status(self) -> Status:
        """Return an overview of the catalog; the archive is not contacted."""
        from sbcdark.catalog.engine import reading, redacted  # noqa: PLC0415  each job loads what it needs
        from sbcdark.catalog.overview import overview  # noqa: PLC0415
        from sbcdark.catalog.queries import HOT_ABOVE_C  # noqa: PLC0415

        with reading(self.engine) as session:
            seen = overview(session, hot_above_c=HOT_ABOVE_C)
        database = self.engine.url.database if self.engine.dialect.name == "sqlite" else None
        size = Path(database).stat().st_size if database else None
        return Status(redacted(self.url), size, seen)

    @overload
    def show(self, names: One) -> dict[str, Any]: ...
    @overload
    def show(self, names: Several | Selector = ..., **wanted: Unpack[SelectorKeywords]) -> list[dict[str, Any]]: ...
    @with_keywords(SelectorKeywords)
    def show(
        self, names: Names | Selector = (), **wanted: Unpack[SelectorKeywords]
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Return everything known about an exposure (files, measurements, selections) or an association (members).

        Parameters
        ----------
        names : str, Path or iterable of these
            Exposures or associations; for several a list is returned.
        program, association, target : optional
            Further exposures: all of these programs, associations, targets (TARGNAME), one or many.

        Returns
        -------
        dict or list of dict
            The keys are those of ``sbcdark show --json``; times are `Time` (UTC).
        """
        known = [with_times(one) for one in self.show_records(selector_from(names, **selected_from(wanted)))]
        return known[0] if is_one(names) and not wanted and len(known) == 1 else known

    def show_records(self, names: Names | Selector) -> list[dict[str, Any]]:
        """Return what `show` returns as a list, with times as datetimes, which need no astropy."""
        from sbcdark.catalog.engine import reading  # noqa: PLC0415  each job loads what it needs
        from sbcdark.catalog.errors import UsageError  # noqa: PLC0415  each job loads what it needs
        from sbcdark.pipeline.selection.names import selected_exposures  # noqa: PLC0415
        from sbcdark.pipeline.views.listings import known_of  # noqa: PLC0415

        selector = selector_from(names)
        if selector.is_empty:
            raise UsageError(
                "Nothing to show is given.", "Give exposures or associations, or: sbcdark show --selection N"
            )
        with reading(self.engine) as session:
            named = [*selector.names, *selector.association]
            named += selected_exposures(session, replace(selector, names=(), association=()))
            return [known_of(session, name) for name in dict.fromkeys(named)]

    def selection(self, selection: int) -> dict[str, Any]:
        """Return everything about a stored selection: its darks with every term, and the products that use it.

        Returns
        -------
        dict
            The keys are those of ``sbcdark show --selection --json``; times are `Time` (UTC).
        """
        found: dict[str, Any] = with_times(self.selection_record(selection))
        return found | {"warnings": list(self._said(found["warnings"]))}

    def selection_record(self, selection: int) -> dict[str, Any]:
        """Return what `selection` returns, with times as datetimes, which need no astropy."""
        from sbcdark.pipeline.views.listings import show_selection  # noqa: PLC0415  each job loads what it needs

        return show_selection(self.engine, selection)
