"""Fetching that is killed, doubled, or meets faults that stay: nothing partial is ingested. A stand-in answers."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from commands import Done, subprocess_of
from mast_server import Fault, MastServer

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

RAW_BYTES = 2_134_080


def test_faults_that_stay_cost_their_files_alone(
    asking_sqlite: Callable[..., Done], mast: MastServer, shared_data: Path, tmp_path: Path
) -> None:
    names = mast.add_real_darks(shared_data, 0, 5)
    kinds = ("503", "reset", "wrong length", "html")
    mast.faults = [Fault(kind, times=99, name=name) for kind, name in zip(kinds, names, strict=False)]
    done = asking_sqlite("fetch", "--program", "13961", "--json")
    assert done.code == 6
    report = done.json()
    assert [report[key] for key in ("fetched", "failed", "added", "rejected")] == [1, 4, 1, 0]
    assert [Path(failure["path"]).name[:9] for failure in report["failures"]] == names[:4]
    assert all(failure["reason"] for failure in report["failures"])
    assert "Run the same command again" in done.stderr
    folder = tmp_path / "data" / "sbcdark" / "archive" / "13961"
    assert [path.name for path in folder.iterdir()] == [f"{names[4]}_raw.fits"]
    mast.faults = []
    assert asking_sqlite("fetch", "--program", "13961", "--json").json()["fetched"] == 4


def test_two_fetches_at_once_do_no_harm(mast: MastServer, shared_data: Path, tmp_path: Path) -> None:
    names = mast.add_real_darks(shared_data, 0, 4)
    mast.pause_s = 0.01
    running = [subprocess_of(mast, tmp_path, "fetch", "--program", "13961") for _ in range(2)]
    ended = [(*process.communicate(timeout=100), process.returncode) for process in running]
    assert [end[2] for end in ended] == [0, 0], ended
    folder = tmp_path / "data" / "sbcdark" / "archive" / "13961"
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}_raw.fits" for name in names]
    assert _sizes_in_catalog(tmp_path) == [RAW_BYTES] * 4


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_fetch_leaves_nothing_partial_and_running_again_completes(
    blow: signal.Signals, mast: MastServer, shared_data: Path, tmp_path: Path
) -> None:
    names = mast.add_real_darks(shared_data, 0, 5)
    mast.pause_s = 0.03
    folder = tmp_path / "data" / "sbcdark" / "archive" / "13961"
    process = subprocess_of(mast, tmp_path, "fetch", "--program", "13961")
    while not mast.whole:  # the others are on their way
        time.sleep(0.01)
    process.send_signal(blow)
    _, err = process.communicate(timeout=30)
    assert process.returncode == (-signal.SIGKILL if blow == signal.SIGKILL else 130)
    assert "Traceback" not in err
    assert list(folder.glob("*.part")) or blow == signal.SIGINT
    assert set(_sizes_in_catalog(tmp_path)) <= {RAW_BYTES}
    for path in folder.glob("*.fits"):
        assert path.read_bytes() == mast.files[path.name].body
    mast.pause_s = 0.0
    process = subprocess_of(mast, tmp_path, "fetch", "--program", "13961")
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, out + err
    assert {path.name: path.read_bytes() for path in folder.glob("*.fits")} == {
        f"{name}_raw.fits": mast.files[f"{name}_raw.fits"].body for name in names
    }
    assert _sizes_in_catalog(tmp_path) == [RAW_BYTES] * 5


def _sizes_in_catalog(folder: Path) -> list[int]:
    with sqlite3.connect(folder / "catalog.db") as catalog:
        if not catalog.execute("SELECT 1 FROM sqlite_master WHERE name = 'files'").fetchone():
            return []
        return [row[0] for row in catalog.execute("SELECT size_byte FROM files")]


def test_two_fetches_and_a_run_do_the_whole_job_whatever_goes_wrong(
    asking_sqlite: Callable[..., Done], mast: MastServer, shared_data: Path, tmp_path: Path
) -> None:
    mast.add_real_darks(shared_data)
    mast.add_real_visit(shared_data)
    kinds = ("503", "reset", "short", "wrong length", "stall", "html")
    darks = [name for name in mast.files if name.startswith("jcrx")]
    science = [name for name in mast.files if name.startswith("jcmc")]
    mast.faults = [Fault(kind, name=name) for kind, name in zip(kinds, darks, strict=False)]
    mast.faults += [Fault(kind, name=name) for kind, name in zip(kinds, science, strict=False)]
    mast.faults += [Fault(kind, route="search") for kind in ("503", "duplicate")]
    mast.faults += [Fault(kind, route="products") for kind in ("html", "duplicate")]
    assert asking_sqlite("fetch", "--program", "13961", "--darks").code == 0
    assert asking_sqlite("fetch", "--program", "13655", "--visit", "11").code == 0
    assert not [fault for fault in mast.faults if fault.times]
    flats = tmp_path / "flats"
    flats.mkdir()
    shutil.copy(shared_data / "science_13655_standin" / "sbc_standin_pfl.fits.gz", flats)
    spec = "ellipse:735,710,70,40,90"
    made = asking_sqlite("run", "jcmc11010", "-o", tmp_path / "products", "--flat", flats, "--aperture", spec, "--json")
    assert made.code == 0, made.stderr
    folders = [shared_data / name for name in ("darks_13961", "associations_13655", "science_13655_standin")]
    straight = ("--db", f"sqlite:///{tmp_path / 'straight.db'}")
    assert asking_sqlite(*straight, "ingest", *folders).code == 0
    for question in (("exposures",), ("match", "--program", "13655")):
        answers = [asking_sqlite(*where, *question, "--json").json() for where in ((), straight)]
        assert _without_places(answers[0]) == _without_places(answers[1]), "as from the files themselves"


def _without_places(answer: Any) -> Any:
    """Return an answer without where the files are."""
    if isinstance(answer, dict):
        return {key: _without_places(value) for key, value in answer.items() if key != "uri"}
    return [_without_places(value) for value in answer] if isinstance(answer, list) else answer
