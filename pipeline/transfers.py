"""Several downloads at a time, each told as soon as it is finished."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Protocol

from sbcdark.pipeline.download import DownloadError, download

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import requests

    from sbcdark.pipeline.archive import ArchiveFile
    from sbcdark.pipeline.download import Patience

_AT_ONCE = 4
"""Files that are downloaded at a time: enough to hide the archive's latency, few enough to be a polite guest."""


class ByteProgress(Protocol):
    """What a download tells while it goes on."""

    def __call__(self, done_byte: int, total_byte: int) -> None:
        """Say that `done_byte` of `total_byte` bytes are here."""


def transfer(
    files: Sequence[tuple[ArchiveFile, Path]], patience: Patience, progress: ByteProgress | None = None
) -> Iterator[tuple[Path, int | DownloadError]]:
    """Download files, a few at a time, and give each as it is finished.

    Parameters
    ----------
    files : sequence of (ArchiveFile, Path)
        What to get, and the final name of each; the folders are there.

    Yields
    ------
    (Path, int or DownloadError)
        The final name, and the bytes that travelled or why the file could not be had.
    """
    pool = _Pool(files, patience)
    # Daemons: a server that is silent does not keep a program that was told to end.
    threads = [threading.Thread(target=pool.work, daemon=True) for _ in range(min(_AT_ONCE, len(files)))]
    for thread in threads:
        thread.start()
    try:
        for _ in files:
            target, outcome = pool.next_finished(progress)
            if isinstance(outcome, OSError):
                outcome = DownloadError(f"it cannot be written: {outcome.strerror or outcome}")
            if not isinstance(outcome, int | DownloadError):
                raise outcome
            yield target, outcome
    finally:
        pool.stop.set()
        for thread in threads:
            thread.join(1.0)


class _Pool:
    """What the threads of one transfer share."""

    def __init__(self, files: Sequence[tuple[ArchiveFile, Path]], patience: Patience) -> None:
        self.stop = threading.Event()
        self._lost = threading.Event()
        self._patience = patience
        self._jobs: queue.SimpleQueue[tuple[ArchiveFile, Path]] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[tuple[Path, int | BaseException]] = queue.SimpleQueue()
        self._here: dict[Path, int] = {}
        self._total_byte = sum(file.size_byte or 0 for file, _ in files)
        for job in files:
            self._jobs.put(job)

    def work(self) -> None:
        """Get one file after the other until none is left."""
        import requests  # noqa: PLC0415  takes a while, and only a download needs it

        with requests.Session() as session:
            while not self.stop.is_set():
                try:
                    file, target = self._jobs.get_nowait()
                except queue.Empty:
                    return
                self._finished.put((target, self._outcome(session, file, target)))

    def _outcome(self, session: requests.Session, file: ArchiveFile, target: Path) -> int | BaseException:
        if self._lost.is_set():
            return DownloadError("not tried: the archive was lost before", lost=True)

        def arrived(count: int) -> None:
            self._here[target] = count

        try:
            return download(session, file.url, target, patience=self._patience, arrived=arrived, stop=self.stop)
        except DownloadError as error:
            if error.lost:
                self._lost.set()
            return error
        except BaseException as error:  # noqa: BLE001  it is judged in the thread that waits
            return error

    def next_finished(self, progress: ByteProgress | None) -> tuple[Path, int | BaseException]:
        """Wait for the next file that is finished, and tell meanwhile how many bytes are here."""
        while True:
            if progress is not None:
                progress(sum(list(self._here.values())), self._total_byte)
            try:
                return self._finished.get(timeout=0.2)
            except queue.Empty:
                continue
