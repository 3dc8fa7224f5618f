"""The static pages of a catalog: a folder that needs no server and loads nothing from elsewhere."""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING

from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.opening import as_engine
from sbcdark.catalog.text import number
from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.catalog.workspace import end_with_parent, locked, new_folder, workspace
from sbcdark.pipeline.pages.rendering import Pages, read_page

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

    from sbcdark.catalog.progress import Progress
    from sbcdark.pipeline.selection.names import Selector

_MANIFEST = "sbcdark-report.json"
"""Lists the files of a report, so that a later one replaces these and no others."""

_FEW = 200  # pages, which take less time than other processes need to start
_CHUNK = 20

_OWN = re.compile(r"(?:[a-z]+/)?[a-z0-9_]+\.(?:html|css|js|png|ecsv)")


@dataclass(frozen=True, slots=True)
class Report:
    """The files of a report: the index, and how many there are."""

    index: Path
    files: int


def write_report(
    engine: sa.Engine,
    folder: Path,
    selector: Selector | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Write the pages of a catalog into a folder.

    Parameters
    ----------
    engine : Engine
        The catalog; it is only read.
    folder : Path
        The folder; created if missing.
    selector : Selector, optional
        The exposures that have pages, and their associations; by default all.
    overwrite : bool
        Replace the report that is in the folder.
    progress : callable, optional
        Called with the number of finished files and the total.

    Raises
    ------
    UsageError
        The folder holds a report, or files of other origin under the names of pages.
    SbcdarkError
        The folder cannot be written.
    """
    try:
        with new_folder(folder), workspace(folder) as work:
            old = _old_files(folder, overwrite=overwrite)
            new = _render(engine, work, selector, progress)
            with locked(folder):
                _refuse_others(folder, new, old)
                _publish(work, folder, new, old)
    except OSError as error:
        raise SbcdarkError(
            f"Cannot write {folder}: {error.strerror or error}.", "Give another folder with -o."
        ) from error
    return Report(folder / "index.html", len(new))


def _render(engine: sa.Engine, work: Path, selector: Selector | None, progress: Progress | None) -> list[str]:
    pages = Pages(engine, selector=selector)
    with reading(engine) as session:
        paths = list(pages.paths(session))
    done = 0
    advance = progress or (lambda _done, _total: None)
    apart = [path for path in paths if path.startswith("exposures/")] if len(paths) > _FEW else []
    for path in paths:
        (work / path).parent.mkdir(exist_ok=True)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        url = engine.url.render_as_string(hide_password=False)
        waiting = [
            pool.submit(_write, url, work, selector, apart[i : i + _CHUNK]) for i in range(0, len(apart), _CHUNK)
        ]
        for path in paths:
            if not waiting or not path.startswith("exposures/"):
                (work / path).write_bytes(read_page(pages, engine, path))
                done += 1
                advance(done, len(paths))
        for future in as_completed(waiting):
            done += future.result()
            advance(done, len(paths))
    return paths


def _write(url: str, work: Path, selector: Selector | None, paths: list[str]) -> int:
    """Write some pages in a process of their own, and return how many."""
    engine = as_engine(url)
    pages = Pages(engine, selector=selector)
    with reading(engine) as session:
        for path in paths:
            (work / path).write_bytes(pages.read(session, path))
    return len(paths)


def _old_files(folder: Path, *, overwrite: bool) -> set[str]:
    """Return the files of the report in the folder.

    Raises
    ------
    UsageError
        There is one, and it may not be replaced, or its list of files cannot be read.
    """
    manifest = folder / _MANIFEST
    if not manifest.exists():
        return set()
    if not overwrite:
        raise UsageError(f"{folder} already holds a report.", "Give --overwrite to replace it, or -o another folder.")
    try:
        names = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        # The file may come from anywhere: it never names a file outside the folder.
        return {name for name in names if _OWN.fullmatch(name)}
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{manifest} is not the list of a report.", "Give another folder with -o.") from error


def _refuse_others(folder: Path, new: list[str], old: set[str]) -> None:
    """Refuse to replace files that are not of a report."""
    others = [name for name in new if name not in old and os.path.lexists(folder / name)]
    if others:
        more = "" if len(others) == 1 else f" and {number(len(others) - 1, 'other file')}"
        raise UsageError(f"{folder / others[0]}{more} exists and is not of a report.", "Give another folder with -o.")


def _publish(work: Path, folder: Path, new: list[str], old: set[str]) -> None:
    """Move the files into the folder; their list comes first, so that what a kill leaves can be replaced."""
    listed = {"made_by": f"sbcdark {SOFTWARE_VERSION}", "files": sorted({*new, *old})}
    temporary = work / _MANIFEST
    temporary.write_text(json.dumps(listed, indent=1), encoding="utf-8")
    temporary.replace(folder / _MANIFEST)
    for name in sorted(old - set(new)):
        (folder / name).unlink(missing_ok=True)
    for name in new:
        (folder / name).parent.mkdir(exist_ok=True)
        (work / name).replace(folder / name)
