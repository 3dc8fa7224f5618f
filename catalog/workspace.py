"""Hidden work folders for products, beside the final ones; those of killed runs are removed.

A running process holds a lock on its folder, and the system releases the lock however the process ends. A folder
that can be locked therefore has no owner.
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
"""Prefix of the names of these folders."""


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Make a folder, and remove it at the end if it is new and still empty, as are the parents that were made for it.

    Raises
    ------
    OSError
        It cannot be made.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        with suppress(OSError):  # the first that holds something ends it
            for path in new:
                path.rmdir()


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """Yield a new hidden folder inside `folder` and remove it at the end; also remove those of killed runs.

    Raises
    ------
    OSError
        `folder` is not writable.
    """
    sweep(folder)
    own, lock = _locked_folder(folder)
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)
        os.close(lock)


def sweep(folder: Path) -> list[Path]:
    """Remove the hidden folders of killed runs in `folder` and return them; those of running processes stay."""
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
        except FileNotFoundError:  # another run removed it first
            continue
        # Some network file systems have no locks: there, folders of killed runs are never removed, and none is lost.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        # Another run may remove the folder before it is locked.
        with suppress(FileNotFoundError):
            if own.stat().st_ino == os.fstat(lock).st_ino:
                return own, lock
        os.close(lock)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder while its products are replaced and recorded: two runs would mix theirs."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def publish(made: Path, folder: Path, names: Sequence[str], replaced: Sequence[str]) -> None:
    """Move complete files into `folder`; all old ones are removed before the first new one appears.

    An interruption leaves part of one run, never a mixture of two runs.

    Parameters
    ----------
    made : Path
        The work folder with the files, on the same file system.
    names : sequence of str
        The files, in order of appearance.
    replaced : sequence of str
        Files of an earlier run to remove, under the same names or others.
    """
    for name in {*names, *replaced}:
        (folder / name).unlink(missing_ok=True)
    for name in names:
        _flush(made / name)  # otherwise a power cut could leave an empty file under the final name
        (made / name).replace(folder / name)


def flush_beside(paths: Sequence[Path]) -> None:
    """Write complete files to the disk beside other work, so that `publish` hardly waits for it."""

    def work() -> None:
        with suppress(OSError):  # `publish` meets it again, and tells
            for path in paths:
                _flush(path)

    threading.Thread(target=work, daemon=True).start()


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def end_with_parent() -> None:
    """End this worker process if its parent is killed; otherwise it would wait for ever."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)
