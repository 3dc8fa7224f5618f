"""Fetching from a stand-in for MAST by the command line, astroquery unpatched: the same result whatever goes wrong."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from commands import Done, plain_environment
from mast_server import Fault, MastServer, Row

from sbcdark.catalog.errors import UnreachableError
from sbcdark.pipeline.archive import Archive, ArchiveFile, Dataset
from sbcdark.pipeline.catalogs import open_catalog
from sbcdark.pipeline.download import Patience
from sbcdark.pipeline.fetch import Talk, _Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAM = Path(sys.executable).with_name("sbcdark")
RAW_BYTES = 2_134_080


def subprocess_of(mast: MastServer, folder: Path, *arguments: str | Path, timeout_s: int = 20) -> subprocess.Popen[str]:
    """Start the installed command in a process of its own, on a SQLite catalog in the folder."""
    environment = plain_environment() | mast.configure(folder / "config", timeout_s)
    return subprocess.Popen(
        [PROGRAM, "--db", f"sqlite:///{folder / 'catalog.db'}", *arguments],
        env=environment | {"HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_fetch_gets_what_is_missing_and_then_nothing(
    asking: Callable[..., Done], mast: MastServer, shared_data: Path, tmp_path: Path
) -> None:
    names = mast.add_real_darks(shared_data, 0, 3)
    done = asking("fetch", "--program", "13961", "--darks", "--json")
    assert done.code == 0
    report = done.json()
    assert [report[key] for key in ("wanted", "here", "fetched", "failed", "added", "rejected")] == [3, 0, 3, 0, 3, 0]
    assert report["fetched_byte"] == 3 * RAW_BYTES
    assert "3 files to get, 6.4 MB; 0 are here already" in done.stderr
    folder = tmp_path / "data" / "sbcdark" / "archive" / "13961"
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}_raw.fits" for name in names]
    assert {entry["rootname"] for entry in asking("darks", "--json").json()} == set(names)

    again = asking("fetch", "--program", "13961", "--json")
    assert again.code == 0
    assert [again.json()[key] for key in ("wanted", "here", "fetched", "added")] == [3, 3, 0, 0]
    assert len(mast.of("file")) == 3, "nothing else was ever asked for"
    assert set(mast.whole.values()) == {1}


def test_what_the_catalog_has_elsewhere_is_not_fetched(
    asking: Callable[..., Done], mast: MastServer, shared_data: Path
) -> None:
    names = mast.add_real_darks(shared_data, 0, 3)
    assert asking("ingest", shared_data / "darks_13961" / f"{names[1]}_raw.fits.gz").code == 0
    report = asking("fetch", "--program", "13961", "--json").json()
    assert [report[key] for key in ("wanted", "here", "fetched")] == [3, 1, 2]
    assert {entry.name[:9] for entry in mast.of("file")} == {names[0], names[2]}


def test_whole_files_in_the_folder_are_only_ingested(
    asking_sqlite: Callable[..., Done], mast: MastServer, shared_data: Path, tmp_path: Path
) -> None:
    names = mast.add_real_darks(shared_data, 0, 2)
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in names:
        (folder / f"{name}_raw.fits").write_bytes(mast.files[f"{name}_raw.fits"].body)
    (folder / f"{names[0]}_raw.fits").write_bytes(mast.files[f"{names[0]}_raw.fits"].body[:-200_000])
    report = asking_sqlite("fetch", "--program", "13961", "-o", folder, "--json").json()
    assert [report[key] for key in ("here", "fetched", "added")] == [1, 1, 2]


def test_a_program_by_visit_and_kind(asking_sqlite: Callable[..., Done], mast: MastServer, shared_data: Path) -> None:
    mast.add_real_visit(shared_data)
    mast.add(Row("jcmc11d0q", "DARK", 13655, 57125.2, products=["jcmc11d0q_raw.fits", "jcmc11d0q_flt.fits"]))

    def listed(*options: str) -> set[str]:
        done = asking_sqlite("fetch", "--program", "13655", "--dry-run", "--json", *options)
        assert done.code == 0
        return {file["file"] for file in done.json()["to_fetch"]}

    science = {f"jcmc11{name}q_flt.fits" for name in ("ct", "cw", "cx", "de", "dh", "ds", "dt", "e6")}
    science |= {f"jcmc110{number}0_asn.fits" for number in (1, 2, 3, 4)}
    assert listed("--visit", "11", "--science") == science
    assert listed("--visit", "11", "--darks") == {"jcmc11d0q_raw.fits"}
    assert listed("--visit", "11") == listed("--visit", "11", "--darks", "--science")
    assert listed() == science | {"jcmc11d0q_raw.fits", "jcmc12010_asn.fits"}
    assert not mast.of("file")


def test_a_dry_run_needs_no_catalog_and_makes_none(
    asking: Callable[..., Done], mast: MastServer, shared_data: Path, tmp_path: Path
) -> None:
    mast.add_real_darks(shared_data, 0, 2)
    done = asking("fetch", "--program", "13961", "--dry-run")
    assert done.code == 0, done.stderr
    assert done.stdout.splitlines() == [f"jcrx01i{letter}q_raw.fits  {RAW_BYTES} bytes" for letter in "ij"]
    assert asking("fetch", "--update", "--dry-run").code == 0
    assert asking("ingest", shared_data / "associations_13655", "--dry-run").code == 0
    assert not mast.of("file")
    assert not list(tmp_path.iterdir())
    assert asking("exposures").code in {3, 4}, "there is no catalog"
    gone = ("--db", "postgresql://127.0.0.1:9/gone")
    assert asking(*gone, "ingest", shared_data / "associations_13655", "--dry-run").code == 3, "nor is that one empty"


def test_every_fault_of_a_download_is_got_over_at_once(
    asking_sqlite: Callable[..., Done], mast: MastServer, shared_data: Path
) -> None:
    names = mast.add_real_darks(shared_data, 0, 7)
    kinds = ("503", "reset", "short", "wrong length", "stall", "html")
    mast.faults = [Fault(kind, name=name) for kind, name in zip(kinds, names, strict=False)]
    done = asking_sqlite("fetch", "--program", "13961", "--json")
    assert done.code == 0, done.stderr
    assert [done.json()[key] for key in ("fetched", "failed", "added")] == [7, 0, 7]
    assert not [fault for fault in mast.faults if fault.times]
    assert max(mast.sent.values()) < 2 * RAW_BYTES


@pytest.mark.slow
def test_faults_that_stay_cost_their_files_alone(
    asking_sqlite: Callable[..., Done], mast: MastServer, shared_data: Path, tmp_path: Path
) -> None:
    names = mast.add_real_darks(shared_data, 0, 5)
    # What a fault leaves behind would otherwise grow until the file is whole.
    mast.ranges = mast.tags = False
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
    assert [path.name for path in folder.glob("*.fits")] == [f"{names[4]}_raw.fits"]
    mast.faults = []
    assert asking_sqlite("fetch", "--program", "13961", "--json").json()["fetched"] == 4


def test_faults_of_a_query_are_got_over(
    asking_sqlite: Callable[..., Done], mast: MastServer, shared_data: Path
) -> None:
    mast.add_real_darks(shared_data, 0, 2)
    faults = [("columns", "stall"), ("search", "503"), ("search", "html"), ("products", "reset"), ("products", "short")]
    mast.faults = [Fault(kind, route=route) for route, kind in faults]
    done = asking_sqlite("fetch", "--program", "13961", "--dry-run", "--json")
    assert done.code == 0, done.stderr
    assert len(done.json()["to_fetch"]) == 2
    assert not [fault for fault in mast.faults if fault.times]


def test_a_query_that_is_always_refused_is_one_message(asking_sqlite: Callable[..., Done], mast: MastServer) -> None:
    mast.faults = [Fault("503", route="search", times=99)]
    done = asking_sqlite("programs")
    assert done.code == 3
    assert len(done.stderr.splitlines()) == 2
    assert "answers 503" in done.stderr
    assert not done.stdout


def test_a_query_that_never_ends_is_one_message(mast: MastServer, tmp_path: Path) -> None:
    mast.faults = [Fault("stall", route="search", times=99)]
    process = subprocess_of(mast, tmp_path, "programs", timeout_s=1)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 3
    assert len(err.splitlines()) == 2
    assert "did not answer within 1 s" in err
    assert not out


def test_duplicate_rows_count_once(asking_sqlite: Callable[..., Done], mast: MastServer, shared_data: Path) -> None:
    mast.add_real_darks(shared_data, 0, 2)
    mast.faults = [Fault("duplicate", route="search"), Fault("duplicate", route="products")]
    report = asking_sqlite("fetch", "--program", "13961", "--json").json()
    assert [report[key] for key in ("wanted", "fetched", "added")] == [2, 2, 2]
    assert len(mast.of("file")) == 2


def test_an_empty_answer_is_told(asking_sqlite: Callable[..., Done], mast: MastServer, shared_data: Path) -> None:
    mast.add_real_darks(shared_data, 0, 2)
    mast.faults = [Fault("empty", route="search")]
    done = asking_sqlite("fetch", "--program", "13961")
    assert done.code == 5
    assert "no SBC exposure of program 13961" in done.stderr
    mast.faults = [Fault("empty", route="products")]
    done = asking_sqlite("fetch", "--program", "13961")
    assert done.code == 5
    assert "no file of them" in done.stderr
    mast.faults = [Fault("empty", route="search", times=9)]
    for command in (["programs"], ["fetch", "--update"]):
        done = asking_sqlite(*command)
        assert done.code == 3
        assert "which cannot be" in done.stderr


def test_the_servers_text_becomes_no_path(
    asking_sqlite: Callable[..., Done], mast: MastServer, shared_data: Path, tmp_path: Path
) -> None:
    mast.add_real_darks(shared_data, 0, 1)
    evil = ["../jcrx01iaq_raw.fits", "/etc/jcrx01ibq_raw.fits", "jcrx01icq_raw.fits\x1b[2J", "jcrx01idq_raw.fits/x"]
    evil += ["hst_13961_01_acs_sbc_block1_jcrx01ie_raw.fits", "~_raw.fits", "jcrx01ifq_raw.fits.gz", ""]
    mast.rows[0].products += evil
    mast.add(Row("../../x", "DARK", 13961, 57084.0))
    mast.add(Row("jcrx01\x1bq", "DARK\x1b[2J", 13961, 57084.0))
    done = asking_sqlite("fetch", "--program", "13961", "--json")
    assert done.code == 0
    assert [done.json()[key] for key in ("wanted", "fetched")] == [1, 1]
    assert [entry.name for entry in mast.of("file")] == ["jcrx01iiq_raw.fits"]
    assert "\x1b" not in done.stdout + done.stderr
    assert [path.name for path in tmp_path.rglob("*.fits")] == ["jcrx01iiq_raw.fits"]


def test_what_is_not_public_is_told(asking_sqlite: Callable[..., Done], mast: MastServer, shared_data: Path) -> None:
    mast.add_real_darks(shared_data, 0, 1)
    mast.access = "RESTRICTED"
    done = asking_sqlite("fetch", "--program", "13961", "--json")
    assert done.code == 6
    assert done.json()["failures"][0]["reason"] == "the archive does not give it to everybody yet"
    assert not mast.of("file")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--update", "--program", "13961"],
        ["--update", "--darks"],
        ["--program", "13961", "--since", "2020-01-01"],
        ["--update", "--since", "yesterday"],
        ["--program", "13961", "--visit", "../"],
        ["--program", "13961", "-o", "file"],
    ],
)
def test_wrong_usage(
    arguments: list[str], asking_sqlite: Callable[..., Done], mast: MastServer, shared_data: Path, tmp_path: Path
) -> None:
    mast.add_real_darks(shared_data, 0, 1)
    (tmp_path / "file").touch()
    done = asking_sqlite("fetch", *arguments)
    assert done.code == 2
    assert len(done.stderr.strip().splitlines()) <= 3
    assert not mast.of("file")


@pytest.fixture
def refusing_proxy() -> Iterator[str]:
    """Return the address of a proxy that lets nobody through."""

    class Refusing(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            self.send_error(403)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the base class's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as proxy:
        threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_port}"
        proxy.shutdown()


@pytest.mark.parametrize("way", ["no server", "no name", "refusing proxy", "no proxy"])
def test_without_the_archive_there_is_one_message(way: str, refusing_proxy: str, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    server = {"no server": nobody, "no name": "http://archive.invalid"}.get(way, "https://mast.stsci.edu")
    proxy = {"refusing proxy": refusing_proxy, "no proxy": nobody}.get(way)
    (tmp_path / "astropy").mkdir()
    (tmp_path / "astropy" / "astroquery.cfg").write_text(f"[mast]\nserver = {server}\n")
    environment = plain_environment() | {"XDG_CONFIG_HOME": str(tmp_path)} | ({"https_proxy": proxy} if proxy else {})
    done = subprocess.run(
        [PROGRAM, "--db", f"sqlite:///{tmp_path / 'catalog.db'}", "fetch", "--program", "13961"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 3, done.stderr
    assert len(done.stderr.splitlines()) == 2, done.stderr
    words = {
        "no server": "refused",
        "no name": "name cannot be resolved",
        "refusing proxy": "proxy",
        "no proxy": "proxy",
    }
    assert words[way] in done.stderr


def test_an_archive_that_is_lost_is_not_asked_for_every_file(tmp_path: Path, migrated_file: Path) -> None:
    dataset = Dataset("jcrx01iiq", True, 13961, 57084.0, 1000.0, "jcrx01iiq")
    names = [f"jcrx{number:04d}q_raw.fits" for number in range(12)]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    files = [(ArchiveFile(name, "RAW", name[:9], dataset, 1, nobody, True), tmp_path / name) for name in names]
    catalog = open_catalog(shutil.copyfile(migrated_file, tmp_path / "catalog.db"))
    job = _Job(catalog, Archive(), Talk(), Patience(tries=2, first_wait_s=0.01), dry_run=False)
    with pytest.raises(UnreachableError, match="Not one of 12 files") as told:
        job.run(files)
    assert "refused" in str(told.value)
    assert not list(tmp_path.glob("*.part*")), "nothing is left of what never began"


def test_two_fetches_at_once_get_each_file_once(mast: MastServer, shared_data: Path, tmp_path: Path) -> None:
    mast.add_real_darks(shared_data, 0, 4)
    mast.pause_s = 0.01
    running = [subprocess_of(mast, tmp_path, "fetch", "--program", "13961") for _ in range(2)]
    ended = [(*process.communicate(timeout=100), process.returncode) for process in running]
    assert [end[2] for end in ended] == [0, 0], ended
    assert sorted(mast.whole.values()) == [1, 1, 1, 1]
    assert len(mast.of("file")) == 4
    with sqlite3.connect(tmp_path / "catalog.db") as catalog:
        assert catalog.execute("SELECT count(*), min(size_byte) FROM files").fetchone() == (4, RAW_BYTES)


@pytest.mark.slow
def test_killed_twenty_times_no_file_travels_twice(mast: MastServer, shared_data: Path, tmp_path: Path) -> None:
    names = mast.add_real_darks(shared_data, 0, 7)
    mast.pause_s = 0.01
    chance = random.Random(20260301)  # noqa: S311  a test's dice
    folder = tmp_path / "data" / "sbcdark" / "archive" / "13961"
    kills_of_ingests = 0
    for number in range(20):
        process = subprocess_of(mast, tmp_path, "fetch", "--program", "13961")
        if len(list(folder.glob("*_raw.fits"))) < len(names):
            until = sum(mast.sent.values()) + chance.randrange(100_000, 2_000_000)
            while len(list(folder.glob("*_raw.fits"))) < len(names) and sum(mast.sent.values()) < until:
                time.sleep(0.002)
        else:
            time.sleep(chance.uniform(0.5, 3.0))
            kills_of_ingests += 1
        process.send_signal(signal.SIGINT if number % 4 == 3 else signal.SIGKILL)
        _, err = process.communicate(timeout=100)
        assert "Traceback" not in err
        assert process.returncode in {-signal.SIGKILL, 130, 0}
        assert _sizes_in_catalog(tmp_path) <= {RAW_BYTES}, "nothing partial was ingested"
    assert 1 <= kills_of_ingests <= 12
    process = subprocess_of(mast, tmp_path, "fetch", "--program", "13961")
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, out + err
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}_raw.fits" for name in names]
    for name in names:
        file = f"{name}_raw.fits"
        assert (folder / file).read_bytes() == mast.files[file].body
        assert mast.whole[file] <= 1
        # What was on its way at a kill travels again, and no more.
        assert mast.sent[file] < RAW_BYTES + 2**20
    assert _sizes_in_catalog(tmp_path, count=7) == {RAW_BYTES}
    before = len(mast.of("file"))
    subprocess_of(mast, tmp_path, "fetch", "--program", "13961").communicate(timeout=100)
    assert len(mast.of("file")) == before


def _sizes_in_catalog(folder: Path, count: int | None = None) -> set[int]:
    if not (folder / "catalog.db").exists():
        return set()
    with sqlite3.connect(folder / "catalog.db") as catalog:
        if not catalog.execute("SELECT 1 FROM sqlite_master WHERE name = 'files'").fetchone():
            return set()
        sizes = [row[0] for row in catalog.execute("SELECT size_byte FROM files")]
    assert count is None or len(sizes) == count
    return set(sizes)


@pytest.mark.slow
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
