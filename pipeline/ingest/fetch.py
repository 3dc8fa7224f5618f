"""Fetch: download the files at MAST that the catalog does not have, then ingest them."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbcdark.catalog import archive_listings
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import NothingMatchedError, SbcdarkError, UnreachableError, UsageError
from sbcdark.catalog.roots import is_local, uri_of
from sbcdark.catalog.text import number
from sbcdark.pipeline.archive.downloads import download_all, is_whole
from sbcdark.pipeline.archive.mast import Archive
from sbcdark.pipeline.frames.untrusted_fits import clean, local_path
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.ingest.report import IngestReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import sqlalchemy as sa

    from sbcdark.catalog.archive_listings import PresentFile
    from sbcdark.catalog.progress import Progress
    from sbcdark.pipeline.archive.downloads import ByteProgress
    from sbcdark.pipeline.archive.mast import ArchiveFile

_VISIT = re.compile(r"[0-9a-z]{1,2}")


@dataclass(slots=True)
class FetchReport:
    """The result of a fetch.

    Attributes
    ----------
    wanted, here, fetched, failed : int
        Files at the archive that the fetch selects; those already here, those downloaded, and those that failed.
    differing : list
        Name, path and difference of local files that differ from those of the archive.
    to_fetch : list
        Name and listed size of the files to download.
    """

    wanted: int = 0
    here: int = 0
    fetched: int = 0
    failed: int = 0
    fetched_byte: int = 0
    differing: list[dict[str, str]] = field(default_factory=list)
    to_fetch: list[dict[str, Any]] = field(default_factory=list)
    fetched_files: list[str] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    ingest: IngestReport = field(default_factory=IngestReport)
    update: UpdateReport | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the keys of the ingest and those of the fetch."""
        own = asdict(self)
        read: dict[str, Any] = own.pop("ingest")
        return read | {key: value for key, value in own.items() if value is not None}


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """Result of the query of an update; darks are new if they were first seen after the baseline."""

    darks_at_archive: int
    darks_in_catalog: int
    first_seen_now: int
    baseline_utc: datetime
    is_baseline: bool


@dataclass(frozen=True, slots=True)
class Talk:
    """Callbacks of a fetch: `say` takes a message, the others the progress of the download and of the ingest."""

    say: Callable[[str], None] = lambda _text: None
    bytes_here: ByteProgress | None = None
    files_read: Progress | None = None


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """Options of a fetch.

    Attributes
    ----------
    folder : Path, optional
        Folder for the files; by default the program's folder below `default_folder`.
    dry_run : bool
        Report the files to download; download nothing.
    renew : bool
        Also download files whose local copy differs in size from the archive's or is older.
    flat : Path, optional
        A flat, or a folder of flats, for the ingest of the files.
    """

    folder: Path | None = None
    dry_run: bool = False
    renew: bool = False
    talk: Talk = field(default_factory=Talk)
    flat: Path | None = None


def default_folder() -> Path:
    """Return the default folder of fetched files; it has one folder per program."""
    from platformdirs import user_data_path  # noqa: PLC0415  only where no folder is named

    return Path(user_data_path("sbcdark")) / "archive"


def fetch_program(
    engine: sa.Engine | None,
    program: int,
    options: FetchOptions,
    *,
    visit: str | None = None,
    darks: bool = True,
    science: bool = True,
) -> FetchReport:
    """Fetch the RAW of a program's darks and the FLT and ASN of its science exposures, and ingest them.

    Parameters
    ----------
    engine : Engine or None
        The catalog; None (in a dry run) if it does not exist yet.
    visit : str, optional
        The two letters or digits of a visit.

    Raises
    ------
    UsageError
        The visit is malformed, or a folder cannot be created.
    NothingMatchedError
        The archive has no such exposure.
    UnreachableError
        The archive cannot be reached.
    """
    wanted_visit = None if visit is None else visit.strip().lower().zfill(2)
    if wanted_visit is not None and not _VISIT.fullmatch(wanted_visit):
        raise UsageError(f"{visit!r} is not a visit.", "Give two letters or digits, as in --visit 11.")
    archive = Archive()
    datasets = [
        dataset
        for dataset in archive.program(program)
        if (darks if dataset.dark else science) and (wanted_visit is None or dataset.name[4:6] == wanted_visit)
    ]
    if not datasets:
        what = "SBC exposure" if darks and science else "SBC dark" if darks else "SBC science exposure"
        of_visit = "" if wanted_visit is None else f", visit {wanted_visit}"
        raise NothingMatchedError(
            f"The archive has no {what} of program {program}{of_visit}.",
            "Check the number; to list the programs with darks: sbcdark programs",
        )
    folder = options.folder if options.folder is not None else default_folder() / str(program)
    offered = [
        file
        for file in archive.files(datasets)
        # The detector's counts of a dark, the flat-fielded counts of a science exposure.
        if file.kind in (("RAW",) if file.dataset.dark else ("FLT", "ASN"))
        and (wanted_visit is None or file.rootname[4:6] == wanted_visit)
    ]
    if not offered:
        raise NothingMatchedError(
            f"The archive lists {number(len(datasets), 'data set')} of program {program}, but no RAW, FLT or ASN.",
            "They may be in processing: run the same command again later.",
        )
    return Fetch(engine, options).run([(file, folder / file.name) for file in offered])


class Fetch:
    """One fetch of some files: `report` is complete when `run` returns or raises."""

    def __init__(self, engine: sa.Engine | None, options: FetchOptions) -> None:
        self.report = FetchReport()
        self._engine, self._options, self._talk = engine, options, options.talk

    def run(self, offered: Sequence[tuple[ArchiveFile, Path]]) -> FetchReport:
        """Download and ingest the missing ones of some files of the archive, each given with its final path."""
        if self._engine is None and not self._options.dry_run:
            raise SbcdarkError("There is no catalog to write to.")
        report, say = self.report, self._talk.say
        report.wanted = len(offered)
        missing, whole = self._missing(offered)
        total_byte = sum(file.size_byte or 0 for file, _ in missing)
        report.to_fetch = [{"file": file.name, "size_byte": file.size_byte} for file, _ in missing]
        say(
            f"{number(len(missing), 'file')} to get, {total_byte / 1e6:.1f} MB; {report.here} already here"
            + (f"; {report.failed} not public" if report.failed else "")
        )
        if report.differing and not self._options.renew:
            differ = "file differs" if len(report.differing) == 1 else "files differ"
            say(f"{len(report.differing)} {differ} from the archive's; get the archive's with --renew")
        if self._options.dry_run or self._engine is None:
            return report
        unreachable = self._download(missing, whole)
        if whole:
            report.ingest = ingest(self._engine, whole, flat=self._options.flat, progress=self._talk.files_read)
        if unreachable and not report.fetched:
            raise UnreachableError(
                f"0 of {number(len(missing), 'file')} arrived: {unreachable}.",
                "Check the network (and https_proxy, if it is set), then run the same command again.",
            )
        return report

    def _missing(
        self, offered: Sequence[tuple[ArchiveFile, Path]]
    ) -> tuple[list[tuple[ArchiveFile, Path]], list[Path]]:
        """Return the files to download, and the paths of complete local files that are not in the catalog."""
        present: dict[tuple[str, str], list[PresentFile]] = {}
        if self._engine is not None:
            with reading(self._engine) as session:
                present = archive_listings.present_products(session, [file.rootname for file, _ in offered])
        missing, whole = [], []
        for file, target in offered:
            copies = present.get((file.rootname, file.kind), [])
            only_here = not copies and is_whole(target)
            if only_here:
                status = target.stat()
                copies = [archive_listings.PresentFile(uri_of(target), status.st_size, status.st_mtime_ns)]
            differences = [_difference(file, copy) for copy in copies]
            differs = bool(copies) and all(differences)
            if differs:
                path = str(local_path(copies[0].uri)) if is_local(copies[0].uri) else clean(copies[0].uri)
                self.report.differing.append({"file": file.name, "path": path, "how": differences[0]})
            if copies and not (differs and self._options.renew):
                self.report.here += 1
                whole += [target] if only_here else []
            elif not file.public:
                self._fail(target, "not public yet")
            else:
                missing.append((file, target))
        return missing, whole

    def _download(self, missing: Sequence[tuple[ArchiveFile, Path]], whole: list[Path]) -> str:
        """Download files and add their paths to `whole`; return why the archive could not be reached, or ''."""
        for folder in {target.parent for _, target in missing}:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(
                    f"The folder {folder} cannot be created: {error.strerror}.", "Name another folder with -o."
                ) from error
        report, unreachable = self.report, ""
        for target, outcome in download_all(missing, self._talk.bytes_here):
            if isinstance(outcome, int):
                report.fetched += 1
                report.fetched_byte += outcome
                report.fetched_files.append(str(target))
                whole.append(target)
            elif isinstance(outcome, OSError):
                self._fail(target, f"cannot be written: {outcome.strerror or outcome}")
            else:
                reason = getattr(outcome, "what", str(outcome)).rstrip(".")
                if isinstance(outcome, UnreachableError):
                    unreachable = unreachable or reason
                self._fail(target, reason)
        report.fetched_files.sort()
        report.failures.sort(key=lambda failure: failure["path"])
        return unreachable

    def _fail(self, target: Path, reason: str) -> None:
        self.report.failed += 1
        self.report.failures.append({"path": str(target), "reason": reason})


def _difference(file: ArchiveFile, copy: PresentFile) -> str:
    """Return how a local file differs from the archive's; an empty string if it does not."""
    is_packed = copy.uri.endswith((".gz", ".bz2", ".xz", ".fz"))
    if not is_packed and file.size_byte not in {None, copy.size_byte}:
        return f"{copy.size_byte:,} bytes here, {file.size_byte:,} bytes at the archive"
    archived_utc, here_s = file.dataset.archived_utc, copy.mtime_ns / 1e9
    # A copy may keep the time of its processing, some hours before it was archived.
    if archived_utc is not None and is_local(copy.uri) and 0 < here_s < archived_utc.timestamp() - 86_400:
        here = datetime.fromtimestamp(here_s, UTC)
        return f"of {here:%Y-%m-%d %H:%M} here, archived on {archived_utc:%Y-%m-%d %H:%M} UTC"
    return ""
