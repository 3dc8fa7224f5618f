"""Discovery of the files that an ingest reads below given paths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.roots import uri_of
from sbcdark.pipeline.frames import exposure_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sbcdark.pipeline.ingest.report import IngestReport


_LONGEST_URI = 2048
"""Characters: PostgreSQL cannot index more than 2704 bytes."""


def discover(paths: Iterable[str | Path], report: IngestReport) -> list[Path]:
    """Return the files to read below some paths, in order; files with other names are added to the report.

    Raises
    ------
    UsageError
        A path does not exist.
    """
    found: dict[Path, None] = {}
    folders: dict[Path, Path] = {}
    for path in map(existing, paths):
        if path.is_dir():
            for file in _walk(path, report):
                _consider(file, found, folders, report)
        else:
            _consider(path, found, folders, report)
    return list(found)


def existing(given: str | Path) -> Path:
    """Return a file or folder that a user named.

    Raises
    ------
    UsageError
        It does not exist.
    """
    path = Path(given)
    try:
        path = path.expanduser()
        # An empty name would mean the current folder.
        exists = str(given) != "" and path.exists()
    except (OSError, ValueError, RuntimeError):  # RuntimeError: ~NAME of an unknown user
        exists = False
    if not exists:
        todo = "No file has such a name; name the folder." if "*" in str(given) else "Give existing files or folders."
        raise UsageError(f"{str(given)!r} does not exist.", todo)
    return path


def _consider(path: Path, found: dict[Path, None], folders: dict[Path, Path], report: IngestReport) -> None:
    """Add a file to those found; `folders` keeps where each folder really is."""
    if exposure_files.product_kind(path.name) is None:
        report.ignore(path, exposure_files.why_ignored(path.name))
    elif not exposure_files.is_regular(path):
        report.reject(path, "not a regular file")
    else:
        if path.is_symlink():
            real = path.resolve()
        else:
            folder = path.parent
            if folder not in folders:
                folders[folder] = folder.resolve()
            real = folders[folder] / path.name
        # A content store (git-annex) names files by checksum; only the name of the link gives their kind.
        place = real if exposure_files.product_kind(real.name) is not None else path.absolute()
        if len(uri_of(place)) > _LONGEST_URI:
            report.reject(path, "path is too long")
        else:
            found.setdefault(place)


def _walk(folder: Path, report: IngestReport) -> Iterator[Path]:
    """Walk a folder in order, following links to folders, each real folder once."""
    seen: set[tuple[int, int]] = set()
    # An explicit stack: `os.walk` recurses, and folders may nest deeper than Python's recursion limit.
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
    except OSError:  # a link to itself
        return False
