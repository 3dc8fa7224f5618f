"""Fetching: what MAST has and the catalog has not, downloaded a few files at a time, then ingested."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbcdark.catalog import archived, writes
from sbcdark.catalog.engine import reading, writing
from sbcdark.catalog.errors import NothingMatchedError, SbcdarkError, UnreachableError, UsageError
from sbcdark.catalog.times import mjd_of_utc
from sbcdark.pipeline.archive import Archive
from sbcdark.pipeline.download import Patience, is_whole
from sbcdark.pipeline.ingest import IngestReport, ingest
from sbcdark.pipeline.transfers import transfer
from sbcdark.pipeline.version import SOFTWARE_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import sqlalchemy as sa

    from sbcdark.pipeline.archive import ArchiveFile, Dataset
    from sbcdark.pipeline.ingest import Progress
    from sbcdark.pipeline.transfers import ByteProgress

_VISIT = re.compile(r"[0-9a-z]{1,2}")


@dataclass(slots=True)
class FetchReport:
    """What a fetch did.

    Attributes
    ----------
    wanted : int
        Files at the archive that were asked for; `here` of them were here before.
    to_fetch : list
        Name and size (as the archive lists it) of those that were not.
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
    """How a fetch tells what it does.

    Attributes
    ----------
    say : callable
        Takes a sentence.
    bytes_here, files_read : callable or None
        Take the progress of the download and of the ingest.
    """

    say: Callable[[str], None] = lambda _text: None
    bytes_here: ByteProgress | None = None
    files_read: Progress | None = None


def default_folder() -> Path:
    """Return where fetched files go unless the user says otherwise: a folder for each program below this one."""
    from platformdirs import user_data_path  # noqa: PLC0415  only where no folder is named

    return Path(user_data_path("sbcdark")) / "archive"


def fetch_program(
    engine: sa.Engine | None,
    program: int,
    *,
    visit: str | None = None,
    darks: bool = True,
    science: bool = True,
    folder: Path | None = None,
    dry_run: bool = False,
    talk: Talk | None = None,
    patience: Patience | None = None,
) -> FetchReport:
    """Get the RAW of a program's darks and the FLT and ASN of its science exposures, then ingest them.

    Parameters
    ----------
    engine : Engine or None
        The catalog; None (with `dry_run`) stands for one that is not there yet.
    visit : str, optional
        The two letters or digits of a visit.
    folder : Path, optional
        Where the files go; by default the program's folder below `default_folder`.
    dry_run : bool
        Ask the archive and report, get nothing.

    Raises
    ------
    UsageError
        The visit is none.
    NothingMatchedError
        The archive has no such exposure.
    UnreachableError
        The archive cannot be asked, or not one file could be had of it.
    """
    wanted_visit = None if visit is None else visit.strip().lower().zfill(2)
    if wanted_visit is not None and not _VISIT.fullmatch(wanted_visit):
        raise UsageError(f"{visit!r} is no visit.", "Give two letters or digits, as in --visit 11.")
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
    where = folder if folder is not None else default_folder() / str(program)
    offered = [
        file
        for file in archive.files(datasets)
        if file.kind in _kinds(file.dataset) and (wanted_visit is None or file.rootname[4:6] == wanted_visit)
    ]
    if not offered:
        raise NothingMatchedError(
            f"The archive lists {len(datasets)} data sets of program {program} and no file of them that is of use.",
            "It may be processing them: run the same command again later.",
        )
    job = _Job(engine, archive, talk or Talk(), patience, dry_run=dry_run)
    return job.run([(file, where / file.name) for file in offered])


def fetch_update(
    engine: sa.Engine | None,
    *,
    since: datetime | None = None,
    folder: Path | None = None,
    dry_run: bool = False,
    talk: Talk | None = None,
    patience: Patience | None = None,
) -> FetchReport:
    """Get the darks that came to the archive since this catalog's first update, and ingest them.

    The first update of a catalog only notes what the archive has: its baseline. Later ones get what was first seen
    after that and is not in the catalog, so that what failed once is tried again.

    Parameters
    ----------
    engine : Engine or None
        The catalog; None (with `dry_run`) stands for one that is not there yet.
    since : datetime, optional
        Get also what started at or after this time (UTC) and is not in the catalog.
    folder : Path, optional
        Each program's files go into a folder of its own below this one.

    Raises
    ------
    UnreachableError
        The archive cannot be asked, or not one file could be had of it.
    """
    talk = talk or Talk()
    archive = Archive()
    listed = list_darks(archive)
    now = datetime.now(UTC)
    seen: dict[str, datetime] = {}
    present: set[tuple[str, str]] = set()
    begun: datetime | None = None
    if engine is not None:
        with reading(engine) as session:
            seen, begun = archived.first_seen(session), archived.baseline(session)
            present = archived.present_products(session, [dark.name for dark in listed])
    is_baseline = begun is None
    if engine is not None and not dry_run:
        begun = record_darks(engine, listed, now, baseline=is_baseline)
    since_mjd = None if since is None else mjd_of_utc(since)
    news = [
        dark
        for dark in listed
        if (not is_baseline and begun is not None and seen.get(dark.name, now) > begun)
        or (since_mjd is not None and dark.start_mjd >= since_mjd)
    ]
    missing = [dark for dark in news if (dark.name, "RAW") not in present]
    update = UpdateReport(
        darks_at_archive=len(listed),
        darks_in_catalog=len({name for name, kind in present if kind == "RAW"}),
        first_seen_now=sum(dark.name not in seen for dark in listed),
        baseline_utc=begun or now,
        is_baseline=is_baseline,
    )
    _tell_update(talk, update, dry_run=dry_run)
    where = folder if folder is not None else default_folder()
    names = {dark.name for dark in missing}
    offered = [file for file in archive.files(missing) if file.kind == "RAW" and file.rootname in names]
    without = len(names - {file.rootname for file in offered})
    if without:
        talk.say(f"{without} of the new darks have no RAW at the archive yet; the next update asks again")
    report = _Job(engine, archive, talk, patience, dry_run=dry_run).run(
        [(file, where / str(file.dataset.program) / file.name) for file in offered]
    )
    report.update = update
    return report


def list_darks(archive: Archive) -> list[Dataset]:
    """Return every SBC dark at the archive.

    Raises
    ------
    UnreachableError
        It lists none, which cannot be: such an answer must not pass for the state of the archive.
    """
    listed = archive.darks()
    if not listed:
        raise UnreachableError(
            f"The archive {archive.server} lists no SBC dark at all, which cannot be.",
            "Try again later; if it stays so, its interface has changed and this program needs an update.",
        )
    return listed


def record_darks(engine: sa.Engine, listed: Iterable[Dataset], now: datetime, *, baseline: bool = False) -> datetime:
    """Write a listing of all darks into the catalog and return the time of the catalog's baseline, made if wanted."""
    with writing(engine) as session:
        archived.record_listing(
            session,
            [archived.ArchivedExposure(dark.name, dark.program, dark.start_mjd, dark.exptime_s) for dark in listed],
            now,
        )
        if baseline and archived.baseline(session) is None:
            writes.start_run(session, archived.UPDATE_ACTION, SOFTWARE_VERSION)
        return archived.baseline(session) or now


def _kinds(dataset: Dataset) -> tuple[str, ...]:
    """Return the products that are of use: of a dark what was read out, of science what is flat-fielded."""
    return ("RAW",) if dataset.dark else ("FLT", "ASN")


def _tell_update(talk: Talk, update: UpdateReport, *, dry_run: bool) -> None:
    state = (
        f"The archive has {update.darks_at_archive} SBC darks; {update.darks_in_catalog} of them are in the catalog."
    )
    if update.is_baseline:
        makes = "would make" if dry_run else "makes"
        talk.say(
            f"{state} This first update {makes} the baseline: later ones get what is new from now on. "
            "Get older darks with: sbcdark fetch --program N --darks, or sbcdark fetch --update --since DATE"
        )
    else:
        talk.say(
            f"{state} {update.first_seen_now} were not seen before; "
            f"news counts from {update.baseline_utc:%Y-%m-%d %H:%M} UTC on."
        )


class _Job:
    """One fetch: what is missing, getting it, ingesting it."""

    def __init__(
        self, engine: sa.Engine | None, archive: Archive, talk: Talk, patience: Patience | None, *, dry_run: bool
    ) -> None:
        self._engine = engine
        self._archive = archive
        self._talk = talk
        self._patience = patience or Patience(read_s=min(Patience().read_s, archive.timeout_s))
        self._dry_run = dry_run

    def run(self, offered: Sequence[tuple[ArchiveFile, Path]]) -> FetchReport:
        if self._engine is None and not self._dry_run:
            raise SbcdarkError("There is no catalog to write to.")
        report = FetchReport(wanted=len(offered))
        missing, whole = self._missing(offered, report)
        total = sum(file.size_byte or 0 for file, _ in missing)
        report.to_fetch = [{"file": file.name, "size_byte": file.size_byte} for file, _ in missing]
        self._talk.say(
            f"{len(missing)} files to get, {total / 1e6:.1f} MB; {report.here} are here already"
            + (f"; {report.failed} are not public" if report.failed else "")
        )
        if self._dry_run or self._engine is None:
            return report
        lost = self._get(missing, whole, report)
        if whole:
            report.ingest = ingest(self._engine, whole, progress=self._talk.files_read)
        if lost and not report.fetched:
            raise UnreachableError(
                f"Not one of {len(missing)} files could be had from {self._archive.server}: {lost}.",
                "Check the network (and https_proxy, if one is set), then run the same command again.",
            )
        return report

    def _missing(
        self, offered: Sequence[tuple[ArchiveFile, Path]], report: FetchReport
    ) -> tuple[list[tuple[ArchiveFile, Path]], list[Path]]:
        """Return what has to be downloaded, and what lies in its folder whole and is not in the catalog."""
        present: set[tuple[str, str]] = set()
        if self._engine is not None:
            with reading(self._engine) as session:
                present = archived.present_products(session, [file.rootname for file, _ in offered])
        missing, whole = [], []
        for file, target in offered:
            if (file.rootname, file.kind) in present:
                report.here += 1
            elif is_whole(target):
                report.here += 1
                whole.append(target)
            elif not file.public:
                _fail(report, target, "the archive does not give it to everybody yet")
            else:
                missing.append((file, target))
        return missing, whole

    def _get(self, missing: Sequence[tuple[ArchiveFile, Path]], whole: list[Path], report: FetchReport) -> str:
        """Download; return why the archive was lost on the way, or an empty text."""
        for folder in {target.parent for _, target in missing}:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(
                    f"The folder {folder} cannot be made: {error.strerror}.", "Give -o another place."
                ) from error
        lost = ""
        for target, outcome in transfer(missing, self._patience, self._talk.bytes_here):
            if isinstance(outcome, int):
                report.fetched += 1
                report.fetched_byte += outcome
                report.fetched_files.append(str(target))
                whole.append(target)
            else:
                reason = outcome.what.rstrip(".")
                lost = lost or (reason if outcome.lost else "")
                _fail(report, target, reason)
        report.fetched_files.sort()
        report.failures.sort(key=lambda failure: failure["path"])
        return lost


def _fail(report: FetchReport, target: Path, reason: str) -> None:
    report.failed += 1
    report.failures.append({"path": str(target), "reason": reason})
