"""Templates of earlier runs and the comparison of their darks, kept in the cache folder.

The templates of a set of darks, and what the darks say about each other, depend only on the content of the darks,
whatever their order, and on the code that makes them. The name of a file is a hash of both, so an entry is never out of
date. Files are written under a temporary name and renamed; a damaged one is made anew; one process makes an entry while
others that need it wait.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import fields
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from sbcdark.pipeline.archive.cache import cache_folder, limit_byte
from sbcdark.pipeline.detector import defects, regions
from sbcdark.pipeline.detector.defects import HotPixels
from sbcdark.pipeline.model import sources, spots, templates
from sbcdark.pipeline.model.spots import Comparison, Spot, compare_darks
from sbcdark.pipeline.model.templates import Templates, build_templates

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sbcdark.pipeline.model.templates import DarkFrame

DEFAULT_LIMIT_MB = 500
"""The templates of 28 sets of darks."""


class _Entry(NamedTuple):
    templates: Templates
    comparison: Comparison


_latest: dict[str, _Entry] = {}
"""The entry that this process used last: the associations of a visit share theirs."""

_digests: WeakKeyDictionary[DarkFrame, bytes] = WeakKeyDictionary()
"""The hashes of the darks in memory: a run asks first for their comparison, then for their templates."""


def templates_of(darks: Sequence[DarkFrame]) -> Templates:
    """Return the templates of darks, the same to the last bit whether they are kept or made.

    Raises
    ------
    NothingMatchedError, UsageError
        As for `build_templates`; also, `SBCDARK_TEMPLATES_LIMIT` is not a number.
    """
    return _entry_of(darks).templates


def comparison_of(darks: Sequence[DarkFrame]) -> Comparison:
    """Return the comparison of darks with each other (`compare_darks`), which is made and kept with their templates.

    Raises
    ------
    NothingMatchedError, UsageError
        As for `templates_of`.
    """
    return _entry_of(darks).comparison if len(darks) > 1 else Comparison((), tuple(one.rootname for one in darks))


def _entry_of(darks: Sequence[DarkFrame]) -> _Entry:
    limit_byte = _limit_byte()
    darks = sorted(darks, key=lambda dark: dark.rootname)  # exposures rank the same darks in different orders
    key = _key(darks)
    if key not in _latest:
        path = cache_folder("templates") / f"{key}.npz"
        found = _kept_or_made(path, darks, limit_byte) if limit_byte else _made(darks)
        _latest.clear()
        _latest[key] = found
    return _latest[key]


def _made(darks: Sequence[DarkFrame]) -> _Entry:
    made = build_templates(darks)
    return _Entry(made, compare_darks(darks, made))


def templates_are_kept() -> bool:
    """Return whether the cache is on."""
    return _limit_byte() > 0


def _limit_byte() -> int:
    return limit_byte("SBCDARK_TEMPLATES_LIMIT", DEFAULT_LIMIT_MB, "Set it to 500, or to 0 for none.")


def _key(darks: Sequence[DarkFrame]) -> str:
    """Return a hash of everything that the templates depend on: the darks, the code, the libraries."""
    found = hashlib.sha256(_code().encode())
    for dark in darks:
        if dark not in _digests:
            _digests[dark] = _digest(dark)
        found.update(_digests[dark])
    return found.hexdigest()[:32]


def _digest(dark: DarkFrame) -> bytes:
    counts = np.ascontiguousarray(dark.counts)
    found = hashlib.sha256(f"{dark.rootname!r} {dark.exptime_s!r} {counts.dtype.str} {counts.shape}".encode())
    found.update(counts.data)
    return found.digest()


@lru_cache(maxsize=1)
def _code() -> str:
    """Return the text of the modules that make an entry, and the versions of the libraries that they use."""
    texts = [
        Path(module.__file__ or "").read_text(encoding="utf-8")
        for module in (templates, spots, sources, defects, regions)
    ]
    return "\n".join([*texts, version("numpy"), version("scipy")])


def _kept_or_made(path: Path, darks: Sequence[DarkFrame], limit_byte: int) -> _Entry:
    found = _read(path)
    if found is not None:
        return found
    try:
        with _locked(path):
            found = _read(path)  # another process may have made it meanwhile
            if found is None:
                found = _made(darks)
                _write(found, path, limit_byte)
            return found
    except OSError:  # a full disk, or a folder that is not writable: the templates are not kept
        return _made(darks)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_suffix(".lock")
    with lock.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _read(path: Path) -> _Entry | None:
    """Return the entry in a file; None if there is no such file or it is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            values: dict[str, Any] = json.loads(str(stored["values"]))
            values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
            arrays = {name: stored[name] for name in stored.files if name not in {"values", "comparison"}}
            bright, alone = json.loads(str(stored["comparison"]))
        hot = {name.partition(".")[2]: arrays.pop(name) for name in [*arrays] if name.startswith("hot.")}
        made = Templates(**arrays, **values, hot=HotPixels(**hot))
        found = _Entry(made, Comparison(tuple(Spot(*one) for one in bright), tuple(alone)))
        os.utime(path)
    # The checksum of a damaged part differs, or a part is missing.
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
    return found


def _write(made: _Entry, path: Path, limit_byte: int) -> None:
    arrays: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for field in fields(made.templates):
        value = getattr(made.templates, field.name)
        if isinstance(value, HotPixels):
            arrays |= {f"hot.{one.name}": getattr(value, one.name) for one in fields(value)}
        elif isinstance(value, np.ndarray):
            arrays[field.name] = value
        else:
            values[field.name] = value
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            texts = {"values": np.array(json.dumps(values)), "comparison": np.array(json.dumps(made.comparison))}
            np.savez(file, allow_pickle=False, **texts, **arrays)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _make_room(path.parent, limit_byte)


def _make_room(folder: Path, limit_byte: int) -> None:
    """Remove the least recently used files above the limit."""
    kept = []
    for path in folder.glob("*.npz"):
        with suppress(OSError):
            status = path.stat()
            kept.append((status.st_mtime_ns, status.st_size, path))
    size = 0
    for _, size_byte, path in sorted(kept, reverse=True):
        size += size_byte
        if size > limit_byte:
            path.unlink(missing_ok=True)
