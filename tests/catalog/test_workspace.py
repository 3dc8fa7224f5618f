"""Workspaces: a killed run's are swept, a living one's stay; products appear whole; workers end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from sbcdark.catalog.workspace import PREFIX, locked, publish, sweep, workspace

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import sys, time
from pathlib import Path
from sbcdark.catalog.workspace import workspace
with workspace(Path(sys.argv[1])) as own:
    (own / "half_written.fits").write_bytes(b"SIMPLE")
    print(own, flush=True)
    time.sleep(600)
"""

POOL = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from sbcdark.catalog.workspace import end_with_parent
if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        print(*{pool.submit(os.getpid).result() for _ in range(20)}, flush=True)
        time.sleep(600)
"""


def started(code: str, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_what_a_killed_run_left_is_swept_and_a_living_ones_stays(tmp_path: Path) -> None:
    living, living_folder = started(HOLDER, str(tmp_path))
    dead, dead_folder = started(HOLDER, str(tmp_path))
    killed(dead)
    try:
        assert sorted(str(path) for path in tmp_path.iterdir()) == sorted([living_folder, dead_folder])
        with workspace(tmp_path) as own:
            assert sorted(path.name for path in tmp_path.iterdir()) == sorted([own.name, living_folder.split("/")[-1]])
            assert (tmp_path / living_folder / "half_written.fits").exists()
        assert sweep(tmp_path) == []
    finally:
        killed(living)
    assert [str(path) for path in sweep(tmp_path)] == [living_folder]
    assert list(tmp_path.iterdir()) == []


def test_links_and_files_of_that_name_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "theirs")
    (tmp_path / f"{PREFIX}file").write_text("a file")
    assert sweep(tmp_path) == []
    assert (tmp_path / "theirs").is_dir()
    assert (tmp_path / f"{PREFIX}file").read_text() == "a file"


def test_a_failing_run_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with workspace(tmp_path) as own:
            (own / "a").write_text("a")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_products_replace_all_of_the_earlier_run(tmp_path: Path) -> None:
    for name in ("a_drz.fits", "a_masterdark.fits", "a_photometry.ecsv", "mine.txt"):
        (tmp_path / name).write_text("old")
    with workspace(tmp_path) as own, locked(tmp_path):
        for name in ("a_drz.fits", "a_masterdark.fits"):
            (own / name).write_text("new")
        publish(own, tmp_path, ["a_drz.fits", "a_masterdark.fits"], ["a_photometry.ecsv"])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a_drz.fits": "new",
        "a_masterdark.fits": "new",
        "mine.txt": "old",
    }


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert workers
    assert all(is_alive(pid) for pid in workers)
    killed(process)
    for _ in range(200):
        if not any(is_alive(pid) for pid in workers):
            break
        time.sleep(0.05)
    assert not any(is_alive(pid) for pid in workers)
