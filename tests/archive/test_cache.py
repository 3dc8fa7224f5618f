"""The cache of remote files: its limit, what stays in spite of it, two processes at once, and what cannot be had."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sbcdark.catalog.errors import BadFileError, SbcdarkError, UnreachableError, UsageError
from sbcdark.catalog.records import FileRecord
from sbcdark.pipeline.archive import cache, remote_files
from sbcdark.pipeline.archive.cache import fetch_ahead, keeping_files, path_of

if TYPE_CHECKING:
    from range_server import RangeServer

MB = 10**6


SCRIPT = """
import hashlib, sys
from sbcdark.catalog.records import FileRecord
from sbcdark.pipeline.archive import cache, remote_files
url = sys.argv[1]; found = remote_files.stat(url)
file = FileRecord(1, "RAW", url, found.size_byte, found.mtime_ns, None, "present", etag=found.etag)
with cache.keeping_files(): print(hashlib.sha256(cache.path_of(file).read_bytes()).hexdigest())
"""
"""Another process that wants a file."""


def record(web: RangeServer, name: str, size: int = MB) -> FileRecord:
    """Serve a file and return its record in the catalog."""
    return recorded(web.put(f"/{name}_raw.fits", name.encode().ljust(size, b".")))


def recorded(url: str) -> FileRecord:
    known = remote_files.stat(url)
    assert known is not None
    return FileRecord(1, "RAW", url, known.size_byte or 0, known.mtime_ns, None, "present", etag=known.etag)


def copies() -> dict[str, int]:
    """Return the sizes of the files in the cache, by name without the hash."""
    folder = Path(os.environ["SBCDARK_CACHE"])
    return {re.sub("^[0-9a-f]{32}_", "", path.name): path.stat().st_size for path in folder.glob("*_*")}


def test_file_is_fetched_once_and_keeps_its_name(web: RangeServer) -> None:
    file = record(web, "a")
    with keeping_files():
        place = path_of(file)
        assert place.name.endswith("_a_raw.fits")
        assert place.read_bytes() == web.files["/a_raw.fits"].content
        drawn = web.body_bytes()
        assert path_of(file) == place
        assert web.body_bytes() == drawn == MB
    assert copies() == {"a_raw.fits": MB}


def test_copy_that_was_cut_is_fetched_again(web: RangeServer) -> None:
    file = record(web, "a")
    path_of(file).write_bytes(b"a power cut")
    assert path_of(file).read_bytes() == web.files["/a_raw.fits"].content


def test_local_files_are_where_they_are(tmp_path: Path) -> None:
    here = FileRecord(1, "RAW", (tmp_path / "a b_raw.fits").as_uri(), 1, 1, None, "present")
    assert path_of(here) == tmp_path / "a b_raw.fits"


def test_name_from_a_server_never_leaves_the_folder(web: RangeServer, tmp_path: Path) -> None:
    web.put("/a/..%2F..%2F..%2Fx%1B_raw.fits", b"anything")
    place = path_of(recorded(f"{web.url}/a/..%2F..%2F..%2Fx%1B_raw.fits"))
    assert place.read_bytes() == b"anything"
    assert place.parent == tmp_path / "cache"
    assert place.name.endswith("_.._.._.._x__raw.fits")


def test_limit_holds_and_the_least_recently_used_go_first(web: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBCDARK_CACHE_LIMIT", "3")
    served = {name: record(web, name) for name in "abcd"}
    for number, name in enumerate("abc"):
        place = path_of(served[name])
        os.utime(place, ns=(number, number))  # the clock of some file systems is coarse
    assert set(copies()) == {"a_raw.fits", "b_raw.fits", "c_raw.fits"}
    path_of(served["a"])
    path_of(served["d"])
    assert set(copies()) == {"a_raw.fits", "c_raw.fits", "d_raw.fits"}
    assert web.body_bytes("/a_raw.fits") == MB
    monkeypatch.setenv("SBCDARK_CACHE_LIMIT", "0")
    with keeping_files():
        assert path_of(served["b"]).is_file()
        assert set(copies()) == {"b_raw.fits"}
    assert copies() == {}


def test_what_a_run_uses_stays_until_it_ends(web: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBCDARK_CACHE_LIMIT", "2")
    served = {name: record(web, name) for name in "abcdef"}
    with keeping_files():
        held = [path_of(served[name]) for name in "abc"]
        with keeping_files():
            path_of(served["d"])
        path_of(served["e"])
        # Another process, which knows nothing of this one, has the same limit.
        subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT, served["f"].uri], check=True, timeout=60)
        assert all(path.is_file() for path in held)
    assert sum(copies().values()) <= 2 * MB


def test_processes_that_want_the_same_file_do_no_harm(web: RangeServer) -> None:
    file = record(web, "a", 5 * MB)
    web.files["/a_raw.fits"].stalls = 0.3
    arguments = [sys.executable, "-W", "error", "-c", SCRIPT, file.uri]
    running = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = {process.communicate(timeout=60)[0] for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert told == {hashlib.sha256(b"a".ljust(5 * MB, b".")).hexdigest() + "\n"}
    assert copies() == {"a_raw.fits": 5 * MB}


def test_other_files_in_the_folder_stay(web: RangeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SBCDARK_CACHE_LIMIT", "0")
    own = [tmp_path / "cache" / "my_raw.fits", tmp_path / "cache" / "folder" / "my_flt.fits"]
    own[1].parent.mkdir(parents=True)
    for path in own:
        path.write_bytes(b"the user's own")
    old = tmp_path / "cache" / ("0" * 32) / "x_raw.fits"
    old.parent.mkdir()
    old.write_bytes(b"a copy of an earlier release")
    with keeping_files():
        path_of(record(web, "a"))
    assert not old.exists()
    assert all(path.is_file() for path in own)
    assert len(list((tmp_path / "cache").glob("*_*"))) == 1


def test_slower_process_does_not_replace_a_copy_in_use(web: RangeServer) -> None:
    with keeping_files():
        place = path_of(record(web, "a"))
        locked = place.stat().st_ino
        cache._store(place.read_bytes(), place)
        assert place.stat().st_ino == locked, "another process could remove a file without its lock"


def test_fetching_ahead_leaves_what_is_gone_to_whoever_asks(web: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [record(web, name) for name in "abc"]
    del web.files["/b_raw.fits"]
    fetch_ahead(files)
    assert set(copies()) == {"a_raw.fits", "c_raw.fits"}
    drawn = web.body_bytes()
    monkeypatch.setenv("SBCDARK_CACHE_LIMIT", "2")
    fetch_ahead([record(web, name) for name in "def"])
    assert web.body_bytes() == drawn


def test_other_content_than_was_ingested_is_refused(web: RangeServer) -> None:
    file = record(web, "a")
    web.put("/a_raw.fits", b"b" * MB, etag='"2"')
    with pytest.raises(BadFileError, match="changed since it was ingested") as told:
        path_of(file)
    assert told.value.todo == f"Ingest it again: sbcdark ingest {file.uri}"
    del web.files["/a_raw.fits"]
    with pytest.raises(BadFileError, match="no longer exists"):
        path_of(file)
    web.put("/a_raw.fits", b"", statuses=[403], always=True)
    with pytest.raises(BadFileError, match="403"):
        path_of(file)
    assert copies() == {}


def test_copy_outlives_its_server(web: RangeServer) -> None:
    file = record(web, "a")
    place = path_of(file)
    web.files.clear()
    assert path_of(file) == place


def test_short_answers_leave_nothing_behind(web: RangeServer) -> None:
    file = record(web, "a")
    web.files["/a_raw.fits"].cut = 1000
    with pytest.raises(BadFileError, match="connection dropped"):
        path_of(file)
    assert copies() == {}


def test_host_that_is_gone_is_told(web: RangeServer) -> None:
    file = record(web, "a")
    web.files["/a_raw.fits"].stalls = 3
    with pytest.raises(UnreachableError, match="does not answer"):
        path_of(file)


def test_folder_that_cannot_be_used_is_told(web: RangeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = record(web, "a")
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SBCDARK_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SbcdarkError, match=r"cache folder .* cannot be used: Not a directory") as told:
        path_of(file)
    assert "SBCDARK_CACHE" in told.value.todo


def test_full_disk_is_told_and_leaves_nothing_behind(
    web: RangeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    file = record(web, "a")
    opened = Path.open

    def open_on_a_full_disk(path: Path, mode: str = "r") -> Any:
        if path.name == ".sbcdark.part":
            path.touch()
            return opened(full, "wb")
        return opened(path, mode)

    monkeypatch.setattr(Path, "open", open_on_a_full_disk)
    with pytest.raises(SbcdarkError, match="cannot be used: No space left on device"):
        path_of(file)
    assert copies() == {}
    assert not (tmp_path / "cache" / ".sbcdark.part").exists()


def test_limit_that_is_no_number_is_told(web: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    file = record(web, "a")
    monkeypatch.setenv("SBCDARK_CACHE_LIMIT", "2 GB")
    with pytest.raises(UsageError, match="SBCDARK_CACHE_LIMIT"):
        path_of(file)


def test_what_a_killed_process_left_is_overwritten(web: RangeServer, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / ".sbcdark.part").write_bytes(b"half")
    path_of(record(web, "a"))
    assert not (tmp_path / "cache" / ".sbcdark.part").exists()
    assert set(copies()) == {"a_raw.fits"}


def test_folder_is_the_users_own_unless_another_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SBCDARK_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_folder("files") == tmp_path / "sbcdark" / "files"
