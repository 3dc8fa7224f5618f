"""Where products are made before they appear: a hidden folder beside them, swept where a killed run left it.

A living run holds a lock on its folder; the system lets go of it however the run ends. What can be locked is therefore
nobody's any more.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
from contextlib import contextmanager, suppress
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PREFIX = ".sbcdark-"
"""How the names of these folders begin."""


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """Give a hidden folder of one's own inside of `folder`, gone at the end; sweep those of runs that were killed.

    Raises
    ------
    OSError
        `folder` cannot be written.
    """
    sweep(folder)
    own, lock = _locked_folder(folder)
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)
        os.close(lock)


def sweep(folder: Path) -> list[Path]:
    """Remove the hidden folders that killed runs left in `folder`, and return them; those of living runs stay."""
    swept = []
    for left in sorted(folder.glob(f"{PREFIX}*")):
        if left.is_symlink() or not left.is_dir():
            continue
        with suppress(OSError):
            lock = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
                swept.append(left)
            finally:
                os.close(lock)
    return swept


def _locked_folder(folder: Path) -> tuple[Path, int]:
    while True:
        own = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
        try:
            lock = os.open(own, os.O_RDONLY)
        except FileNotFoundError:  # another run's sweep was quicker
            continue
        # Some network file systems know no locks: there, what a killed run leaves is never swept, and nobody's is lost.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        # Another run's sweep may have come between the making and the lock.
        with suppress(FileNotFoundError):
            if own.stat().st_ino == os.fstat(lock).st_ino:
                return own, lock
        os.close(lock)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder while its products are replaced and recorded: two runs would mix theirs."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def publish(made: Path, folder: Path, names: Sequence[str], replaced: Sequence[str]) -> None:
    """Let whole files appear in `folder`, all old ones gone before the first new one comes.

    An interruption leaves some of one run, never some of one run beside some of another.

    Parameters
    ----------
    made : Path
        The workspace that holds them, in the same file system.
    names : sequence of str
        The files, in the order in which they appear.
    replaced : sequence of str
        What an earlier run may have left under the same names, and more that belonged to it.
    """
    for name in {*names, *replaced}:
        (folder / name).unlink(missing_ok=True)
    for name in names:
        with (made / name).open("rb") as file:
            # Else a power cut could leave an empty file under the final name.
            os.fsync(file.fileno())
        (made / name).replace(folder / name)


def end_with_parent() -> None:
    """Let this worker process end when the process that started it is killed, which else leaves it waiting for ever."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)
