"""The files below some paths that an ingest reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.frames import exposure_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sbcdark.pipeline.ingest.report import IngestReport


_LONGEST_URI = 2048
"""Characters: PostgreSQL cannot keep more than 2704 bytes in an index."""


def discover(paths: Iterable[str | Path], report: IngestReport) -> list[Path]:
    """Return the files to be read below some paths, in order; what is none by its name goes into the report.

    Raises
    ------
    UsageError
        A path is not there.
    """
    found: dict[Path, None] = {}
    for given in paths:
        path = Path(given)
        try:
            path = path.expanduser()
            # An empty name would stand for the current folder.
            exists = str(given) != "" and path.exists()
        except (OSError, ValueError, RuntimeError):  # the last where ~NAME is nobody's home
            exists = False
        if not exists:
            raise UsageError(f"There is no {str(given)!r}.", "Give files or folders that are there.")
        if path.is_dir():
            for file in _walk(path, report):
                _consider(file, found, report)
        else:
            _consider(path, found, report)
    return list(found)


def _consider(path: Path, found: dict[Path, None], report: IngestReport) -> None:
    if exposure_files.product_kind(path.name) is None:
        report.ignore(path, exposure_files.why_ignored(path.name))
    elif not exposure_files.is_regular(path):
        report.reject(path, "no regular file")
    else:
        real = path.resolve()
        # A content store (git-annex) keeps the bytes under a checksum; only the link's name says what they are.
        place = real if exposure_files.product_kind(real.name) is not None else path.absolute()
        if len(place.as_uri()) > _LONGEST_URI:
            report.reject(path, "its path is too long")
        else:
            found.setdefault(place)


def _walk(folder: Path, report: IngestReport) -> Iterator[Path]:
    """Walk a folder in order, through links to folders too, each real folder once."""
    seen: set[tuple[int, int]] = set()
    # A stack of our own: `os.walk` calls itself, and folders may lie deeper in each other than Python lets it.
    waiting = [folder]
    while waiting:
        parent = waiting.pop()
        try:
            status = parent.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(parent) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError as error:
            report.reject(parent, f"cannot be read: {error.strerror}")
            continue
        folders = {entry.name for entry in entries if _is_folder(entry)}
        waiting += [parent / entry.name for entry in reversed(entries) if entry.name in folders]
        yield from (parent / entry.name for entry in entries if entry.name not in folders)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
