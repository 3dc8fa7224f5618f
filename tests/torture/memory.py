"""Memory: the peak of an ingest of many files against that of a few."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from torture.commands import DONE
from torture.kills import blame_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torture.commands import Running
    from torture.kills import Stage

LIMIT = 1.20
"""The peak of many files may be so many times that of a few."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


def memory(stage: Stage, few: Sequence[Path], folder: Path, many: int) -> None:
    """Compare the peak memory of the whole tree of processes, with one reading process and with one a core."""
    databases, tally = stage.databases, stage.tally
    for workers in ((), ("--workers", "1")):
        peaks = []
        for paths in (few, (folder,)):
            url = databases.fresh()
            running = stage.bench.start(url, "ingest", *paths, *workers)
            peaks.append(_peak(running))
            blame_command(tally, "memory", running.end(), (DONE,))
            databases.drop(url)
        tally.count("files", len(few) + many)
        ratio = peaks[1] / peaks[0]
        how = " ".join(workers) or "default workers"
        told = f"{how}: {peaks[0] / 1e6:.0f} MB for {len(few)} files, {peaks[1] / 1e6:.0f} MB for {many} ({ratio:.2f})"
        tally.note(told)
        tally.blame("wrong", "memory", [told] if ratio > LIMIT else [])


def _peak(running: Running) -> int:
    """Return the largest sum of the resident sets of a command and all below it, in bytes, until it ends."""
    peak = 0
    while running.process.poll() is None:
        peak = max(peak, sum(_resident(pid) for pid in _tree(running.process.pid)))
        time.sleep(0.01)
    return peak


def _tree(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:  # it ended meanwhile
            continue
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0
