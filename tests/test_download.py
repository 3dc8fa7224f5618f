"""Getting one file: whole or not at all, resumed by ranges, tried again where that can help. A real server answers."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
from helpers import renamed, unpacked_raw
from mast_content import Served
from mast_server import Fault, MastServer

from sbcdark.pipeline.download import DownloadError, Patience, StoppedError, download, part_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUICK = Patience(tries=4, first_wait_s=0.01, longest_wait_s=0.05, connect_s=2.0, read_s=0.5, lock_s=20.0)
NAME = "jcrx01iiq_raw.fits"


@pytest.fixture
def mast(shared_data: Path) -> Iterator[MastServer]:
    """Return a stand-in that serves one real dark."""
    with MastServer() as server:
        server.add_real_darks(shared_data, 0, 1)
        yield server


@pytest.fixture
def get(mast: MastServer, tmp_path: Path) -> Callable[..., int]:
    """Return a function that downloads the dark to `tmp_path`."""

    def run(name: str = NAME, **others: Any) -> int:
        with requests.Session() as session:
            return download(
                session,
                address(mast, name),
                tmp_path / name,
                patience=others.get("patience", QUICK),
                arrived=others.get("arrived", lambda _count: None),
                stop=others.get("stop", threading.Event()),
            )

    return run


def address(mast: MastServer, name: str = NAME) -> str:
    return f"{mast.url}/search/hst/api/v0.1/retrieve_product?product_name={name[:9].upper()}%2F{name}"


def is_done(folder: Path, mast: MastServer, name: str = NAME) -> bool:
    return [path.name for path in folder.iterdir()] == [name] and (folder / name).read_bytes() == mast.files[name].body


def test_a_file_arrives_whole(mast: MastServer, get: Callable[..., int], tmp_path: Path) -> None:
    told: list[int] = []
    assert get(arrived=told.append) == 2_134_080
    assert is_done(tmp_path, mast)
    assert told == sorted(told)
    assert told[-1] == 2_134_080
    assert get() == 0, "what is here whole travels no second time"
    assert len(mast.of("file")) == 1


@pytest.mark.parametrize("kind", ["503", "reset", "short", "wrong length", "stall", "html"])
def test_a_fault_is_got_over(kind: str, mast: MastServer, get: Callable[..., int], tmp_path: Path) -> None:
    mast.faults = [Fault(kind, times=2)]
    get()
    assert is_done(tmp_path, mast)
    assert mast.faults[0].times == 0


@pytest.mark.parametrize("kind", ["reset", "short", "stall"])
def test_what_broke_off_goes_on_where_it_ended(kind: str, mast: MastServer, get: Callable[..., int]) -> None:
    mast.faults = [Fault(kind)]
    travelled = get()
    assert [entry.status for entry in mast.of("file")] == [200, 206]
    assert travelled == 2_134_080, "not a byte was asked for twice"
    assert mast.sent[NAME] < 2_134_080 + 2**19, "nor sent, but for what was on its way"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("503", "the server answers 503"),
        ("reset", "broke the connection off"),
        ("wrong length", "no whole file"),
        ("html", "no FITS file"),
    ],
)
def test_a_fault_that_stays_is_told(
    kind: str, reason: str, mast: MastServer, get: Callable[..., int], tmp_path: Path
) -> None:
    mast.ranges = mast.tags = False
    mast.faults = [Fault(kind, times=99)]
    with pytest.raises(DownloadError, match=reason) as told:
        get()
    assert not told.value.lost
    assert len(mast.of("file")) == QUICK.tries
    assert not (tmp_path / NAME).exists()


def test_what_is_not_there_is_asked_for_once(mast: MastServer, get: Callable[..., int], tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="404"):
        get("jcrx01ijq_raw.fits")
    assert len(mast.of("file")) == 1
    assert not (tmp_path / "jcrx01ijq_raw.fits").exists()


def test_a_server_that_is_gone_is_lost(tmp_path: Path) -> None:
    with requests.Session() as session, pytest.raises(DownloadError, match="refused") as told:
        download(
            session,
            "http://127.0.0.1:9/x",
            tmp_path / NAME,
            patience=QUICK,
            arrived=lambda _count: None,
            stop=threading.Event(),
        )
    assert told.value.lost


def test_a_redirection_is_followed_with_the_range(mast: MastServer, get: Callable[..., int], tmp_path: Path) -> None:
    mast.elsewhere = mast.url
    mast.faults = [Fault("moved"), Fault("short"), Fault("moved")]
    assert get() == 2_134_080
    assert is_done(tmp_path, mast)
    assert [entry.status for entry in mast.log] == [302, 200, 302, 206]


def test_without_ranges_it_begins_anew(mast: MastServer, get: Callable[..., int], tmp_path: Path) -> None:
    mast.ranges = mast.tags = False
    mast.faults = [Fault("short")]
    get()
    assert is_done(tmp_path, mast)
    assert [entry.range for entry in mast.of("file")] == [None, None]


def test_a_part_of_other_content_is_not_gone_on_with(
    mast: MastServer, get: Callable[..., int], tmp_path: Path, shared_data: Path
) -> None:
    told: list[int] = []
    with pytest.raises(StoppedError):
        get(stop=_stops_after(1_000_000, told), arrived=told.append)
    assert part_of(tmp_path / NAME).stat().st_size >= 1_000_000
    # The archive processed the exposure again: other bytes, as long as before.
    content = bytearray(unpacked_raw(shared_data))
    content[40_000:40_100] = 50 * b"\0\1"
    mast.files[NAME] = Served(NAME, content=bytes(content))
    get()
    assert is_done(tmp_path, mast)
    assert [entry.status for entry in mast.of("file")] == [200, 200]


def _stops_after(count: int, told: list[int]) -> Any:
    """Return what looks like an event that is set once so many bytes are here."""

    class Stop(threading.Event):
        def is_set(self) -> bool:
            return bool(told) and told[-1] >= count

    return Stop()


def test_another_part_than_was_asked_for_is_not_taken(
    mast: MastServer, get: Callable[..., int], tmp_path: Path
) -> None:
    mast.faults = [Fault("short"), Fault("other part")]
    get()
    assert is_done(tmp_path, mast)
    assert [entry.status for entry in mast.of("file")] == [200, 206, 200]


@pytest.mark.parametrize(
    ("marks", "statuses"),
    [
        ({"ETag": '"one"'}, [200, 206]),
        ({"ETag": 'W/"weak"'}, [200, 206]),  # then by the date
        ({"ETag": 'W/"weak"', "Last-Modified": ""}, [200, 200]),
        ({"ETag": '"\xe9\xe8"', "Last-Modified": "\xa0"}, [200, 200]),
    ],
)
def test_only_a_sound_mark_lets_a_download_go_on(
    marks: dict[str, str], statuses: list[int], mast: MastServer, get: Callable[..., int], tmp_path: Path
) -> None:
    mast.marks = marks
    mast.faults = [Fault("short")]
    get()
    assert is_done(tmp_path, mast)
    assert [entry.status for entry in mast.of("file")] == statuses


@pytest.mark.parametrize("note", ["", "[]", '{"url": 1}', '{"url": "URL", "etag": 5, "length_byte": "x"}'])
def test_a_broken_note_is_no_note(note: str, mast: MastServer, get: Callable[..., int], tmp_path: Path) -> None:
    part_of(tmp_path / NAME).write_bytes(b"x" * 10_000)
    (tmp_path / f"{NAME}.part.json").write_text(note.replace("URL", address(mast)))
    get()
    assert is_done(tmp_path, mast)


def test_a_stopped_download_goes_on_later(mast: MastServer, get: Callable[..., int], tmp_path: Path) -> None:
    told: list[int] = []
    with pytest.raises(StoppedError):
        get(stop=_stops_after(700_000, told), arrived=told.append)
    assert not (tmp_path / NAME).exists()
    assert get() == 2_134_080 - told[-1]
    assert is_done(tmp_path, mast)


def test_a_part_whose_last_byte_came_asks_nothing_more(
    mast: MastServer, get: Callable[..., int], tmp_path: Path
) -> None:
    told: list[int] = []
    with pytest.raises(StoppedError):
        get(stop=_stops_after(2_134_080, told), arrived=told.append)
    assert get() == 0
    assert is_done(tmp_path, mast)
    assert len(mast.of("file")) == 1


def test_another_exposures_file_is_refused(
    mast: MastServer, get: Callable[..., int], tmp_path: Path, shared_data: Path
) -> None:
    mast.files[NAME] = Served(NAME, content=renamed(unpacked_raw(shared_data), "jcrx01zzq"))
    with pytest.raises(DownloadError, match="jcrx01zzq"):
        get()
    assert not (tmp_path / NAME).exists()


def test_a_broken_file_of_that_name_is_replaced(mast: MastServer, get: Callable[..., int], tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(mast.files[NAME].body[:1_000_000])
    get()
    assert is_done(tmp_path, mast)


def test_no_link_is_written_through(get: Callable[..., int], tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    part_of(tmp_path / NAME).symlink_to(precious)
    with pytest.raises(OSError, match="symbolic links"):
        get()
    assert precious.read_text() == "mine"


def test_what_is_too_large_is_refused(
    mast: MastServer, get: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sbcdark.pipeline.download.LARGEST_FILE", 1_000_000)
    mast.pause_s = 0.01
    with pytest.raises(DownloadError, match="at most 1000000"):
        get()
    assert mast.sent[NAME] < 2_134_080


def test_two_processes_get_one_file_once(mast: MastServer, tmp_path: Path) -> None:
    mast.pause_s = 0.01
    script = (
        "import sys, threading, requests, pathlib\n"
        "from sbcdark.pipeline.download import Patience, download\n"
        "download(requests.Session(), sys.argv[1], pathlib.Path(sys.argv[2]), patience=Patience(),\n"
        "         arrived=lambda count: None, stop=threading.Event())\n"
    )
    arguments = [sys.executable, "-c", script, address(mast), tmp_path / NAME]
    running = [subprocess.Popen(arguments) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert is_done(tmp_path, mast)
    assert len(mast.of("file")) == 1


def test_a_lock_is_not_waited_for_without_end(mast: MastServer, get: Callable[..., int], tmp_path: Path) -> None:
    mast.pause_s = 0.05
    other = threading.Thread(target=get)
    other.start()
    while not part_of(tmp_path / NAME).exists():
        time.sleep(0.01)
    with pytest.raises(DownloadError, match="another process"):
        get(patience=Patience(lock_s=0.3))
    other.join(60)
    assert is_done(tmp_path, mast)
