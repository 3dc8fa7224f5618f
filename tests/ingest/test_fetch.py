"""Fetching from a stand-in for MAST by the command line, astroquery unpatched: the same result whatever goes wrong."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from commands import PROGRAM, Done, plain_environment, subprocess_of
from helpers import with_card
from mast_content import Row, Served
from mast_server import Fault, MastServer

from sbcdark.catalog.errors import UnreachableError
from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.archive import http
from sbcdark.pipeline.archive.concurrency import AT_ONCE
from sbcdark.pipeline.archive.mast import ArchiveFile, Dataset
from sbcdark.pipeline.ingest.fetch import Fetch, FetchOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RAW_BYTES = 2_134_080


def test_fetch_gets_what_is_missing_and_then_nothing(
    asking: Callable[..., Done], mast: MastServer, shared_data: Path, tmp_path: Path
) -> None:
    names = mast.add_real_darks(shared_data, 0, 3)
    done = asking("fetch", "--program", "13961", "--darks", "--json")
    assert done.code == 0
    report = done.json()
    assert [report[key] for key in ("wanted", "here", "fetched", "failed", "added", "rejected")] == [3, 0, 3, 0, 3, 0]
    assert report["fetched_byte"] == 3 * RAW_BYTES
    assert "3 files to get, 6.4 MB; 0 already here" in done.stderr
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


def test_a_file_that_differs_from_the_archives_is_named_and_renewed(
    asking: Callable[..., Done], mast: MastServer, shared_data: Path, tmp_path: Path
) -> None:
    names = mast.add_real_darks(shared_data, 0, 3)
    folder = tmp_path / "mine"
    fetching = ("fetch", "--program", "13961", "-o", folder)
    assert asking(*fetching).code == 0
    assert asking(*fetching, "--renew", "--json").json()["differing"] == []
    # The archive processed two exposures again: one file has another size, the other only another date.
    longer, newer = (f"{name}_raw.fits" for name in names[:2])
    extension = b"XTENSION= 'IMAGE   '".ljust(80) + b"BITPIX  =                    8".ljust(80)
    extension += b"".join(
        f"{key:8}= {value:20}".encode().ljust(80) for key, value in (("NAXIS", 0), ("PCOUNT", 0), ("GCOUNT", 1))
    )
    body = mast.files[longer].body
    mast.files[longer] = Served(longer, content=body + (extension + b"END").ljust(2880))
    mast.files[newer] = Served(newer, content=with_card(mast.files[newer].body, "EXPTIME", "999.0"))
    mast.rows[1].archived = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    done = asking(*fetching, "--json")
    assert done.code == 0
    report = done.json()
    assert [report[key] for key in ("wanted", "here", "fetched", "updated")] == [3, 3, 0, 0]
    assert [(one["file"], one["path"]) for one in report["differing"]] == [
        (longer, str(folder / longer)),
        (newer, str(folder / newer)),
    ]
    assert report["differing"][0]["how"] == "2,134,080 bytes here, 2,136,960 bytes at the archive"
    assert "archived on" in report["differing"][1]["how"]
    assert "2 files differ from the archive's; get the archive's with --renew" in done.stderr
    assert f"differs: {folder / longer}: 2,134,080 bytes here" in asking(*fetching).stderr.replace("\n", "")
    sent = len(mast.of("file"))
    assert asking(*fetching, "--renew", "--dry-run").stdout.split()[::3] == [longer, newer]
    assert len(mast.of("file")) == sent

    report = asking(*fetching, "--renew", "--json").json()
    assert [report[key] for key in ("here", "fetched", "failed", "updated")] == [1, 2, 0, 2]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: file.body for name, file in mast.files.items()
    }
    states = {name: [file["state"] for file in asking("show", name, "--json").json()[0]["files"]] for name in names}
    assert states == {
        names[0]: ["present", "changed"],
        names[1]: ["present", "changed"],
        names[2]: ["present"],
    }
    assert asking("show", names[1], "--json").json()[0]["exptime_s"] == 999.0
    mast.rows[1].archived = None
    assert asking(*fetching, "--json").json()["differing"] == []


def test_a_file_in_the_folder_alone_and_an_update_are_compared_too(
    asking_sqlite: Callable[..., Done], mast: MastServer, shared_data: Path, tmp_path: Path
) -> None:
    (name,) = mast.add_real_darks(shared_data, 0, 1)
    target = tmp_path / "mine" / "13961" / f"{name}_raw.fits"
    target.parent.mkdir(parents=True)
    target.write_bytes(mast.files[target.name].body)
    os.utime(target, (1_500_000_000, 1_500_000_000))  # 2017
    report = asking_sqlite("fetch", "--program", "13961", "-o", target.parent, "--json").json()
    assert [report[key] for key in ("here", "fetched", "added")] == [1, 0, 1]
    assert report["differing"][0]["how"] == "of 2017-07-14 02:40 here, archived on 2019-06-01 12:00 UTC"
    assert asking_sqlite("fetch", "--update", "-o", tmp_path / "mine", "--json").json()["differing"] == []
    report = asking_sqlite("fetch", "--update", "--renew", "-o", tmp_path / "mine", "--json").json()
    assert [report[key] for key in ("wanted", "here", "fetched", "unchanged")] == [1, 0, 1, 1]
    report = asking_sqlite("fetch", "--update", "--renew", "-o", tmp_path / "mine", "--json").json()
    assert [report[key] for key in ("wanted", "here", "fetched")] == [1, 1, 0]


def test_a_program_by_visit_and_kind(asking_sqlite: Callable[..., Done], mast: MastServer, shared_data: Path) -> None:
    mast.add_real_visit(shared_data)
    for name, target in (("jcmc11d0q", "DARK"), ("jcmc11d1q", "DARKCLOUD")):
        mast.add(Row(name, target, 13655, 57125.2, products=[f"{name}_raw.fits", f"{name}_flt.fits"]))

    def listed(*options: str) -> set[str]:
        done = asking_sqlite("fetch", "--program", "13655", "--dry-run", "--json", *options)
        assert done.code == 0
        return {file["file"] for file in done.json()["to_fetch"]}

    science = {f"jcmc11{name}q_flt.fits" for name in ("ct", "cw", "cx", "d1", "de", "dh", "ds", "dt", "e6")}
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


@pytest.mark.slow
def test_a_query_that_never_ends_is_one_message(mast: MastServer, tmp_path: Path) -> None:
    mast.faults = [Fault("stall", route="search", times=99)]
    process = subprocess_of(mast, tmp_path, "programs", timeout_s=1)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 3
    assert len(err.splitlines()) == 2
    assert "does not answer" in err
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
    assert "no RAW, FLT or ASN" in done.stderr
    mast.faults = [Fault("empty", route="search", times=9)]
    for command in (["programs"], ["fetch", "--update"]):
        done = asking_sqlite(*command)
        assert done.code == 3
        assert "lists no SBC darks" in done.stderr


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
    assert done.json()["failures"][0]["reason"] == "not public yet"
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


@pytest.mark.slow
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


def test_an_archive_that_is_lost_is_not_asked_for_every_file(
    tmp_path: Path, migrated_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset("jcrx01iiq", True, 13961, 57084.0, 1000.0, "jcrx01iiq")
    names = [f"jcrx{number:04d}q_raw.fits" for number in range(12)]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    files = [(ArchiveFile(name, "RAW", name[:9], dataset, 1, nobody, True), tmp_path / name) for name in names]
    catalog = open_catalog(shutil.copyfile(migrated_file, tmp_path / "catalog.db"))
    monkeypatch.setattr(http, "BACK_OFF_S", 0.01)
    fetch = Fetch(catalog, FetchOptions())
    with pytest.raises(UnreachableError, match="0 of 12 files arrived") as told:
        fetch.run(files)
    assert "refused" in str(told.value)
    assert sum("not tried" in failure["reason"] for failure in fetch.report.failures) >= 12 - 2 * AT_ONCE
    assert not list(tmp_path.glob("*.part*")), "nothing is left of what never began"


def test_fetched_science_frames_are_measured_with_their_flat(
    asking_sqlite: Callable[..., Done], mast: MastServer, shared_data: Path, flats: Path
) -> None:
    mast.add_real_visit(shared_data)
    done = asking_sqlite("fetch", "--program", "13655", "--science", "--visit", "11", "--flat", flats)
    assert done.code == 0, done.stderr
    assert "of FLT x sbc_standin_pfl.fits" in asking_sqlite("show", "jcmc11e6q").stdout
