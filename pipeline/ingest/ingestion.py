"""Ingest of files, folders and URLs into the catalog; running it again changes nothing."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from sbcdark.catalog import ingest_summary, queries, writes
from sbcdark.catalog.chunks import chunks
from sbcdark.catalog.contradictions import contradictions
from sbcdark.catalog.engine import reading, writing
from sbcdark.catalog.errors import SbcdarkError, UnreachableError
from sbcdark.catalog.records import FileReading, Refusal
from sbcdark.catalog.roots import adopt, roots, uri_of
from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.catalog.workspace import end_with_parent
from sbcdark.pipeline.archive.cluster import cluster, worker_lost
from sbcdark.pipeline.archive.urls import is_remote
from sbcdark.pipeline.detector.regions import REGIONS
from sbcdark.pipeline.frames import exposure_files
from sbcdark.pipeline.frames.flats import flat_has_come
from sbcdark.pipeline.frames.untrusted_fits import local_path, modified_ns
from sbcdark.pipeline.ingest import remote_ingestion
from sbcdark.pipeline.ingest.discovery import discover
from sbcdark.pipeline.ingest.quality import flag_outliers
from sbcdark.pipeline.ingest.report import IngestReport
from sbcdark.pipeline.selection.file_state import rival_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Executor, Future
    from pathlib import Path

    import sqlalchemy as sa
    from sqlalchemy.orm import Session

    from sbcdark.catalog.progress import Progress
    from sbcdark.catalog.records import ExposureFacts, KnownFile


_BATCH = 128
"""Files per transaction: enough for bulk writes, few enough that a crash costs little and memory stays flat."""


_TOGETHER = 8
"""Files of one job: fewer would wait for messages."""

_BATCHES_FOR_POOL, _BATCHES_FOR_CLUSTER = 2, 8
"""Batches that are read ahead of the one that is written."""

_WORTH_A_POOL = 48
"""From this number of FLTs, starting worker processes saves time."""


def ingest(
    engine: sa.Engine | None,
    paths: Iterable[str | Path],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    flat: Path | None = None,
    checksum: bool = True,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> IngestReport:
    """Read new and changed files below some paths and write them to the catalog, local files first.

    Parameters
    ----------
    engine : Engine or None
        The catalog; None (with `dry_run`) means that there is no catalog yet.
    paths : iterable of str or Path
        Files, folders, ``https://`` addresses of files, ``s3://`` addresses of files or prefixes. Remote files stay
        remote: of a RAW or FLT, only the headers and the rows of two regions are downloaded.
    workers : int, optional
        Number of files read at once; by default one per core. One process writes, in transactions of 128 files.
    scheduler : str, optional
        Address of the scheduler of a Dask cluster, whose workers read instead.
    flat : Path or None
        A flat, or a folder of flats, by default the folder of the environment variable `jref`: where an FLT's flat is
        there, its regions are measured on FLT x flat, like with like with the darks.
    checksum : bool
        Whether to store the sha256 of each file.
    dry_run : bool
        Read and report; write nothing.

    Returns
    -------
    IngestReport

    Raises
    ------
    UsageError
        A path does not exist, or an address is refused.
    UnreachableError
        A host cannot be reached; everything read before is kept.
    SbcdarkError
        The catalog cannot be written; everything committed before is kept.
    """
    report = IngestReport()
    local, uris = remote_ingestion.split(paths)
    files = discover(local, report)
    if engine is None and not dry_run:
        raise SbcdarkError("There is no catalog to write to.")
    remote_files = remote_ingestion.discover_remote(uris, report)
    total = len(files) + len(remote_files)
    if engine is not None and not dry_run and roots():
        with writing(engine) as session:
            adopt(session)
    writer = _Writer(engine, report, dry_run=dry_run)
    todo = _changed(engine, files, report, flat)
    done = len(files) - len(todo)
    if progress is not None:
        progress(done, total)
    read = partial(exposure_files.read_file, checksum=checksum, flat=flat)
    with _read(todo, workers, scheduler, read) as batches:
        for batch in batches:
            writer.write(batch)
            done += len(batch)
            if progress is not None:
                progress(done, total)
    try:
        for found in remote_ingestion.read_batches(engine, remote_files, checksum=checksum, flat=flat):
            if fresh := [item for item in found if item is not None]:
                writer.write(fresh)
            report.unchanged += found.count(None)
            done += len(found)
            if progress is not None:
                progress(done, total)
    except UnreachableError:
        writer.finish()
        raise
    writer.finish()
    return report


def _changed(engine: sa.Engine | None, files: Sequence[Path], report: IngestReport, flat: Path | None) -> list[Path]:
    """Return the files whose size or time differs from the catalog, new ones, and FLTs whose flat is at hand by now."""
    if engine is None:
        return list(files)
    todo = []
    with reading(engine) as session:
        for batch in chunks(files):
            uris = [uri_of(path) for path in batch]
            known = queries.known_files(session, uris)
            for path, uri in zip(batch, uris, strict=True):
                if _is_unchanged(path, known.get(uri), flat):
                    report.unchanged += 1
                else:
                    todo.append(path)
    return todo


def _is_unchanged(path: Path, row: KnownFile | None, flat: Path | None) -> bool:
    if row is None or not row.complete or row.state != "present":
        return False
    if flat_has_come(row.divided_by, flat):
        return False
    try:
        status = path.stat()
    except OSError:
        return False
    return (row.size_byte, row.mtime_ns) == (status.st_size, modified_ns(status))


@contextmanager
def _read(
    paths: Sequence[Path], workers: int | None, scheduler: str | None, read: Callable[[Path], FileReading | Refusal]
) -> Iterator[Iterator[list[FileReading | Refusal]]]:
    """Yield the readings batch by batch: from this process, a pool of processes, or the workers of a cluster."""
    wanted = workers if workers is not None else os.cpu_count() or 1
    batches = [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
    if scheduler is not None:
        with cluster(scheduler) as executor:
            yield _ahead(executor, batches, _BATCHES_FOR_CLUSTER, read)
    elif wanted <= 1 or len(paths) <= 1:
        yield ([read(path) for path in batch] for batch in batches)
    elif sum(exposure_files.product_kind(path.name) == "FLT" for path in paths) < _WORTH_A_POOL:
        # Most of the time of a RAW goes to code that lets other threads run: reading, unpacking, sha256, sums.
        with ThreadPoolExecutor(wanted) as threads:
            yield _ahead(threads, batches, _BATCHES_FOR_POOL, read)
    else:
        # "spawn": a forked child would inherit the database connection and the locks of other threads.
        with ProcessPoolExecutor(wanted, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
            yield _ahead(pool, batches, _BATCHES_FOR_POOL, read)


def _ahead(
    executor: Executor, batches: Sequence[Sequence[Path]], most: int, read: Callable[[Path], FileReading | Refusal]
) -> Iterator[list[FileReading | Refusal]]:
    """Yield the readings of batches, at most `most` of which are read ahead."""
    waiting: deque[list[Future[list[FileReading | Refusal]]]] = deque()
    rest = iter(batches)
    try:
        for batch in rest:
            uris = [uri_of(path) for path in batch]
            parts = chunks(uris, _TOGETHER)
            waiting.append([executor.submit(_read_together, list(part), read) for part in parts])
            if len(waiting) > most:
                yield _readings(waiting.popleft())
        while waiting:
            yield _readings(waiting.popleft())
    except worker_lost() as error:
        raise SbcdarkError(
            "A reading process died; everything written before is kept.", "Run it again with --workers 1."
        ) from error


def _readings(parts: Iterable[Future[list[FileReading | Refusal]]]) -> list[FileReading | Refusal]:
    return [one for part in parts for one in part.result()]


def _read_together(uris: Sequence[str], read: Callable[[Path], FileReading | Refusal]) -> list[FileReading | Refusal]:
    """Read files in a worker, which may have the roots elsewhere."""
    return [read(local_path(uri)) for uri in uris]


def _place(uri: str) -> Path | str:
    return uri if is_remote(uri) else local_path(uri)


def _rivals(session: Session, run_id: int) -> list[str]:
    """Return a warning for each exposure of a run with two files between which nothing but the checksum decides."""
    names = ingest_summary.with_several_contents(session, run_id)
    values = queries.match_values_of(session, names)
    return [f"{one.rootname}: {text}" for one in values if (text := rival_of(session, one)) is not None]


class _Writer:
    """The only writer of an ingest: one transaction per batch."""

    def __init__(self, engine: sa.Engine | None, report: IngestReport, *, dry_run: bool) -> None:
        self._engine = engine
        self._report = report
        self._dry_run = dry_run
        self._run_id: int | None = None
        self._would_read: list[ExposureFacts] = []
        self._doubts: dict[str, None] = {}
        self._regions: list[dict[str, Any]] = [asdict(region) for region in REGIONS]

    def write(self, batch: Sequence[FileReading | Refusal]) -> None:
        readings = [item for item in batch if isinstance(item, FileReading)]
        refusals = [item for item in batch if isinstance(item, Refusal)]
        for refusal in refusals:
            if refusal.ignored:
                self._report.ignore(_place(refusal.uri), refusal.reason)
            else:
                self._report.reject(_place(refusal.uri), refusal.reason)
        rejected = [refusal for refusal in refusals if not refusal.ignored]
        if self._dry_run or self._engine is None:
            self._report_only(readings)
            return
        with writing(self._engine) as session:
            against = contradictions(session, readings)
            rejected += against.values()
            accepted = [item for item in readings if item.uri not in against]
            counts, self._run_id = writes.write_batch(
                session,
                accepted,
                rejected,
                self._regions,
                run_id=self._run_id,
                action="ingest",
                software_version=SOFTWARE_VERSION,
            )
        self._reject(against.values())
        self._doubt(item.exposure for item in accepted)
        self._report.added += counts.added
        self._report.updated += counts.updated
        self._report.unchanged += counts.unchanged
        self._report.superseded += counts.superseded

    def _report_only(self, readings: Sequence[FileReading]) -> None:
        known = {}
        if self._engine is None:
            against = contradictions(None, readings)
        else:
            with reading(self._engine) as session:
                known = queries.known_files(session, [item.uri for item in readings])
                against = contradictions(session, readings)
        self._reject(against.values())
        for item in readings:
            row = known.get(item.uri)
            if item.uri in against:
                continue
            if row is not None and row.state == "present" and writes.same_content(row, item):
                self._report.unchanged += 1
                continue
            if row is None:
                self._report.added += 1
            else:
                self._report.updated += 1
            if item.exposure is not None:
                self._would_read.append(item.exposure)
        self._doubt(self._would_read)

    def _reject(self, refusals: Iterable[Refusal]) -> None:
        for refusal in refusals:
            self._report.reject(_place(refusal.uri), refusal.reason)

    def _doubt(self, exposures: Iterable[ExposureFacts | None]) -> None:
        for one in exposures:
            if one is not None:
                self._doubts |= dict.fromkeys(f"{one.rootname}: {text}" for text in one.doubts)

    def finish(self) -> None:
        if self._engine is not None and not self._dry_run:
            self._run_id = flag_outliers(self._engine, self._run_id)
        self._summarize()

    def _summarize(self) -> None:
        """Report what came in by program, and what is new against the catalog before."""
        report, run = self._report, self._run_id
        report.warnings = [*self._doubts]
        rejected = [entry["path"].replace("\\", "/").rpartition("/")[2] for entry in report.rejections]
        if self._engine is None:
            touched = ingest_summary.would_touch(None, self._would_read)
            report.programs = ingest_summary.by_program(None, None, touched, rejected)
        elif self._would_read or run is not None:
            with reading(self._engine) as session:
                if run is None:
                    touched = ingest_summary.would_touch(session, self._would_read)
                else:
                    touched = ingest_summary.touched_exposures(session, run)
                report.programs = ingest_summary.by_program(session, run, touched, rejected)
                report.judged = [] if run is None else ingest_summary.judged_darks(session, run, touched)
                report.darks_before = ingest_summary.darks_before(session, run) if touched else None
                report.warnings += [] if run is None else _rivals(session, run)
