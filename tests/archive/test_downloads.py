"""Getting one file: whole or not at all, started over where that can help. A real server answers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from helpers import renamed, unpacked_raw
from mast_content import Served
from mast_server import Fault, MastServer

from sbcdark.catalog.errors import UnreachableError
from sbcdark.pipeline.archive import http
from sbcdark.pipeline.archive.downloads import download
from sbcdark.pipeline.frames.untrusted_fits import UnsoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAME = "jcrx01iiq_raw.fits"
RAW_BYTES = 2_134_080


@pytest.fixture
def mast(shared_data: Path, short_waits: None) -> Iterator[MastServer]:  # noqa: ARG001  it acts
    """Return a stand-in that serves one real dark; waits are short."""
    with MastServer() as server:
        server.add_real_darks(shared_data, 0, 1)
        yield server


@pytest.fixture
def get(mast: MastServer, tmp_path: Path) -> Callable[..., int]:
    """Return a function that downloads the dark to `tmp_path`."""
    return lambda name=NAME: download(address(mast, name), tmp_path / name)


def address(mast: MastServer, name: str = NAME) -> str:
    return f"{mast.url}/search/hst/api/v0.1/retrieve_product?product_name={name[:9].upper()}%2F{name}"


def is_done(folder: Path, mast: MastServer) -> bool:
    return [path.name for path in folder.iterdir()] == [NAME] and (folder / NAME).read_bytes() == mast.files[NAME].body


def test_a_file_arrives_whole(mast: MastServer, tmp_path: Path) -> None:
    told: list[int] = []
    assert download(address(mast), tmp_path / NAME, told.append) == RAW_BYTES
    assert is_done(tmp_path, mast)
    assert told == sorted(told)
    assert told[-1] == RAW_BYTES


@pytest.mark.parametrize("kind", ["503", "reset", "short", "wrong length", "stall", "html"])
def test_a_file_that_breaks_off_starts_over(
    kind: str, mast: MastServer, get: Callable[..., int], tmp_path: Path
) -> None:
    mast.faults = [Fault(kind, times=2)]
    get()
    assert is_done(tmp_path, mast)
    assert mast.faults[0].times == 0


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("503", "the server answers 503"),
        ("reset", r"connection dropped after [\d,]+ bytes"),
        ("short", r"connection dropped after [\d,]+ bytes"),
        ("wrong length", "not a whole file"),
        ("html", "not a whole file"),
        ("stall", "does not answer"),
    ],
)
def test_a_fault_that_stays_leaves_nothing(
    kind: str, reason: str, mast: MastServer, get: Callable[..., int], tmp_path: Path
) -> None:
    (tmp_path / NAME).write_bytes(b"mine")
    mast.faults = [Fault(kind, times=99)]
    with pytest.raises((UnsoundError, UnreachableError), match=reason):
        get()
    assert len(mast.of("file")) == http.TRIES
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(NAME, b"mine")]


def test_what_is_not_there_is_asked_for_once(mast: MastServer, get: Callable[..., int], tmp_path: Path) -> None:
    with pytest.raises(UnsoundError, match="404"):
        get("jcrx01ijq_raw.fits")
    assert len(mast.of("file")) == 1
    assert not list(tmp_path.iterdir())


def test_a_server_that_is_gone_is_told(mast: MastServer, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="cannot be reached: Connection refused"):
        download("http://127.0.0.1:9/x", tmp_path / NAME)
    assert not mast.log


def test_a_redirection_is_followed(mast: MastServer, get: Callable[..., int], tmp_path: Path) -> None:
    mast.elsewhere = mast.url
    mast.faults = [Fault("moved")]
    get()
    assert is_done(tmp_path, mast)
    mast.elsewhere = "http://192.0.2.1"
    mast.faults = [Fault("moved")]
    with pytest.raises(UnsoundError, match="redirected to a non-HTTPS address"):
        get()


def test_another_exposures_file_is_refused(
    mast: MastServer, get: Callable[..., int], tmp_path: Path, shared_data: Path
) -> None:
    mast.files[NAME] = Served(NAME, content=renamed(unpacked_raw(shared_data), "jcrx01zzq"))
    with pytest.raises(UnsoundError, match="jcrx01zzq"):
        get()
    assert not list(tmp_path.iterdir())


def test_what_is_too_large_is_refused(
    mast: MastServer, get: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "LARGEST_FILE", 1_000_000)
    mast.pause_s = 0.01
    with pytest.raises(UnsoundError, match="more than 1,000,000 bytes"):
        get()
    assert mast.sent[NAME] < RAW_BYTES


def test_processes_that_want_the_same_file_do_no_harm(mast: MastServer, tmp_path: Path) -> None:
    mast.pause_s = 0.01
    script = (
        "import sys, pathlib\n"
        "from sbcdark.pipeline.archive.downloads import download\n"
        "download(sys.argv[1], pathlib.Path(sys.argv[2]))\n"
    )
    arguments = [sys.executable, "-c", script, address(mast), tmp_path / NAME]
    running = [subprocess.Popen(arguments) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert is_done(tmp_path, mast)


def test_what_a_killed_process_left_is_removed_a_day_later(
    mast: MastServer, get: Callable[..., int], tmp_path: Path
) -> None:
    old, new = tmp_path / f"{NAME}.old.part", tmp_path / f"{NAME}.new.part"
    for path, age in ((old, 90_000), (new, 10)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    get()
    assert not old.exists()
    new.unlink()
    assert is_done(tmp_path, mast)
