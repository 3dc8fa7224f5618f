"""Fetching: what MAST has and the catalog has not, downloaded a few files at a time, then ingested."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbcdark.catalog import archive_listings
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import NothingMatchedError, SbcdarkError, UnreachableError, UsageError
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
    from sbcdark.pipeline.archive.downloads import ByteProgress
    from sbcdark.pipeline.archive.mast import ArchiveFile
    from sbcdark.pipeline.ingest.report import Progress

_VISIT = re.compile(r"[0-9a-z]{1,2}")


@dataclass(slots=True)
class FetchReport:
    """What a fetch did.

    Attributes
    ----------
    wanted : int
        Files at the archive that were asked for; `here` of them were here before.
    differing : list
        Name, place and difference of files here that are not those of the archive.
    to_fetch : list
        Name and size (as the archive lists it) of those that were not here, or are renewed.
    fetched_byte : int
        Bytes that travelled.
    failures : list
        Path and reason of what could not be had.
    ingest : IngestReport
        What the ingest of the files did.
    update : UpdateReport or None
        What an update found at the archive.
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
        """Return the keys of an ingest and beside them those of the fetch."""
        own = asdict(self)
        read: dict[str, Any] = own.pop("ingest")
        return read | {key: value for key, value in own.items() if value is not None}


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What an update found: darks at the archive, those of them in the catalog, and since when news counts."""

    darks_at_archive: int
    darks_in_catalog: int
    first_seen_now: int
    baseline_utc: datetime
    is_baseline: bool


@dataclass(frozen=True, slots=True)
class Talk:
    """How a fetch says what it does: `say` takes a sentence, the others the progress of download and ingest."""

    say: Callable[[str], None] = lambda _text: None
    bytes_here: ByteProgress | None = None
    files_read: Progress | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a fetch.

    Attributes
    ----------
    folder : Path, optional
        Where the files go; by default the program's folder below `default_folder`.
    dry_run : bool
        Ask the archive and report, get nothing.
    renew : bool
        Get also what is here and differs from the archive's in size, or is older than that.
    """

    folder: Path | None = None
    dry_run: bool = False
    renew: bool = False
    talk: Talk = field(default_factory=Talk)


def default_folder() -> Path:
    """Return where fetched files go unless the user says otherwise: a folder for each program below this one."""
    from platformdirs import user_data_path  # noqa: PLC0415  only where no folder is named

    return Path(user_data_path("sbcdark")) / "archive"


def fetch_program(
    engine: sa.Engine | None,
    program: int,
    wish: Wish,
    *,
    visit: str | None = None,
    darks: bool = True,
    science: bool = True,
) -> FetchReport:
    """Get the RAW of a program's darks and the FLT and ASN of its science exposures, then ingest them.

    Parameters
    ----------
    engine : Engine or None
        The catalog; None (with a dry run) stands for one that does not exist yet.
    visit : str, optional
        The two letters or digits of a visit.

    Raises
    ------
    UsageError
        The visit is malformed, or a folder cannot be made.
    NothingMatchedError
        The archive has no such exposure.
    UnreachableError
        The archive cannot be asked, or gave not one file.
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
            "Check the number; the programs with darks are listed by: sbcdark programs",
        )
    where = wish.folder if wish.folder is not None else default_folder() / str(program)
    offered = [
        file
        for file in archive.files(datasets)
        # Of a dark what was read out, of science what is flat-fielded.
        if file.kind in (("RAW",) if file.dataset.dark else ("FLT", "ASN"))
        and (wanted_visit is None or file.rootname[4:6] == wanted_visit)
    ]
    if not offered:
        raise NothingMatchedError(
            f"The archive lists {number(len(datasets), 'data set')} of program {program}, but no RAW, FLT or ASN.",
            "They may be in processing: run the same command again later.",
        )
    return Job(engine, archive.server, wish).run([(file, where / file.name) for file in offered])


class Job:
    """One fetch: what is missing or differs, getting it, ingesting it."""

    def __init__(self, engine: sa.Engine | None, server: str, wish: Wish) -> None:
        self._engine, self._server, self._wish = engine, server, wish
        self._report = FetchReport()

    def run(self, offered: Sequence[tuple[ArchiveFile, Path]]) -> FetchReport:
        """Do it for some files of the archive, each with its final name, and report."""
        if self._engine is None and not self._wish.dry_run:
            raise SbcdarkError("There is no catalog to write to.")
        report, say = self._report, self._wish.talk.say
        report.wanted = len(offered)
        missing, whole = self._missing(offered)
        total = sum(file.size_byte or 0 for file, _ in missing)
        report.to_fetch = [{"file": file.name, "size_byte": file.size_byte} for file, _ in missing]
        say(
            f"{number(len(missing), 'file')} to get, {total / 1e6:.1f} MB; {report.here} already here"
            + (f"; {report.failed} not public" if report.failed else "")
        )
        if report.differing and not self._wish.renew:
            differ = "file differs" if len(report.differing) == 1 else "files differ"
            say(f"{len(report.differing)} {differ} from the archive's; get the archive's with --renew")
        if self._wish.dry_run or self._engine is None:
            return report
        lost = self._get(missing, whole)
        if whole:
            report.ingest = ingest(self._engine, whole, progress=self._wish.talk.files_read)
        if lost and not report.fetched:
            files = "The file" if len(missing) == 1 else f"Not one of {len(missing)} files"
            raise UnreachableError(
                f"{files} could be had from {self._server}: {lost}.".replace("The file could", "The file could not"),
                "Check the network (and https_proxy, if it is set), then run the same command again.",
            )
        return report

    def _missing(
        self, offered: Sequence[tuple[ArchiveFile, Path]]
    ) -> tuple[list[tuple[ArchiveFile, Path]], list[Path]]:
        """Return what has to be downloaded, and what is whole in its folder and not in the catalog."""
        present: dict[tuple[str, str], list[PresentFile]] = {}
        if self._engine is not None:
            with reading(self._engine) as session:
                present = archive_listings.present_products(session, [file.rootname for file, _ in offered])
        missing, whole = [], []
        for file, target in offered:
            copies = present.get((file.rootname, file.kind), [])
            is_whole_here = not copies and is_whole(target)
            if is_whole_here:
                status = target.stat()
                copies = [archive_listings.PresentFile(target.as_uri(), status.st_size, status.st_mtime_ns)]
            differences = [_difference(file, copy) for copy in copies]
            differs = bool(copies) and all(differences)
            if differs:
                entry = {"file": file.name, "path": _place(copies[0]), "how": differences[0]}
                self._report.differing.append(entry)
            if copies and not (differs and self._wish.renew):
                self._report.here += 1
                whole += [target] if is_whole_here else []
            elif not file.public:
                self._fail(target, "it is not public yet")
            else:
                missing.append((file, target))
        return missing, whole

    def _get(self, missing: Sequence[tuple[ArchiveFile, Path]], whole: list[Path]) -> str:
        """Download; return why the archive was lost on the way, or an empty text."""
        for folder in {target.parent for _, target in missing}:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(
                    f"The folder {folder} cannot be made: {error.strerror}.", "Give -o another place."
                ) from error
        report, lost = self._report, ""
        for target, outcome in download_all(missing, self._wish.talk.bytes_here):
            if isinstance(outcome, int):
                report.fetched += 1
                report.fetched_byte += outcome
                report.fetched_files.append(str(target))
                whole.append(target)
            elif isinstance(outcome, OSError):
                self._fail(target, f"it cannot be written: {outcome.strerror or outcome}")
            else:
                reason = getattr(outcome, "what", str(outcome)).rstrip(".")
                lost = lost or (reason if isinstance(outcome, UnreachableError) else "")
                self._fail(target, reason)
        report.fetched_files.sort()
        report.failures.sort(key=lambda failure: failure["path"])
        return lost

    def _fail(self, target: Path, reason: str) -> None:
        self._report.failed += 1
        self._report.failures.append({"path": str(target), "reason": reason})


def _difference(file: ArchiveFile, copy: PresentFile) -> str:
    """Return how a file here differs from the archive's; an empty text where it does not, as far as can be told."""
    size = None if copy.uri.endswith((".gz", ".bz2", ".xz", ".fz")) else copy.size_byte
    if size is not None and file.size_byte is not None and size != file.size_byte:
        return f"{size:,} bytes here, {file.size_byte:,} bytes at the archive"
    archived_utc, here_s = file.dataset.archived_utc, copy.mtime_ns / 1e9
    # A copy may have kept the time of its processing, some hours before it came into the archive.
    is_dated = archived_utc is not None and copy.uri.startswith("file:") and here_s > 0
    if archived_utc is not None and is_dated and here_s + 86_400 < archived_utc.timestamp():
        here = datetime.fromtimestamp(here_s, UTC)
        return f"of {here:%Y-%m-%d %H:%M} here, archived on {archived_utc:%Y-%m-%d %H:%M} UTC"
    return ""


def _place(copy: PresentFile) -> str:
    return str(local_path(copy.uri)) if copy.uri.startswith("file:") else clean(copy.uri)
