"""The commands on files that stay remote: products as from local files, and what is told where it goes wrong."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from commands import PROGRAM, Done

from sbcdark.cli.main import run
from sbcdark.pipeline.archive.concurrency import AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from range_server import RangeServer

APERTURE = "ellipse:735,710,70,40,90"


@pytest.fixture
def sbcdark(
    web: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Return a function that runs the program in this process, on the catalog `db` of the test's folder."""
    for name in ("SBCDARK_DB", "jref"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def run_here(*arguments: str | Path, db: str = "remote") -> Done:
        monkeypatch.setattr(sys, "argv", ["sbcdark", "--db", f"sqlite:///{tmp_path / db}.db", *map(str, arguments)])
        code = run()
        told = capsys.readouterr()
        assert code == 0, told.err
        return Done(code, told.out, told.err)

    assert web.asked == []
    return run_here


def serve_all(web: RangeServer, data: Path) -> list[str]:
    """Serve the darks, the first association and its two FLTs, unpacked, and return their URLs."""
    return [web.put(f"/{path.name.removesuffix('.gz')}", _unpacked(path)) for path in _paths(data)]


def _paths(data: Path) -> list[Path]:
    paths = [*sorted((data / "darks_13961").glob("*_raw.fits.gz")), data / "associations_13655" / "jcmc11010_asn.fits"]
    return paths + [data / "science_13655_standin" / f"{name}_flt.fits.gz" for name in ("jcmc11ctq", "jcmc11e6q")]


def _unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


@pytest.mark.long
@pytest.mark.slow
def test_run_on_remote_files_makes_what_it_makes_of_local_ones(
    web: RangeServer, sbcdark: Any, shared_data: Path, tmp_path: Path
) -> None:
    urls = serve_all(web, shared_data)
    sbcdark("ingest", *urls)
    sbcdark("ingest", *_paths(shared_data), db="local")
    flat = shared_data / "science_13655_standin" / "sbc_standin_pfl.fits.gz"
    asked = ("run", "jcmc11010", "--flat", flat, "--aperture", APERTURE, "--json")
    web.asked.clear()
    remote = json.loads(sbcdark(*asked, "-o", "remote").stdout)
    local = json.loads(sbcdark(*asked, "-o", "local", db="local").stdout)
    assert remote == local
    for name, extension in (("drz", "SCI"), ("dark", "SCI"), ("dark", "ERR"), ("net", "SCI")):
        file = f"jcmc11010_sbcdark_{name}.fits"
        first, second = (fits.getdata(tmp_path / place / file, extension) for place in ("remote", "local"))
        np.testing.assert_array_equal(first, second)
    drawn = web.body_bytes()
    assert drawn <= sum(len(file.content) for file in web.files.values())
    # What was fetched is not fetched again.
    (match,) = json.loads(sbcdark("match", "jcmc11ctq", "--top", "2", "--aperture", APERTURE, "--json").stdout)
    assert len(match["apertures"][0]["residuals"]) == 3
    answers = json.loads(sbcdark("replay", "1", "-o", "replayed", "--json").stdout)
    assert [answer["identical"] for answer in answers] == [True] * 4
    assert web.body_bytes() == drawn
    assert json.loads(sbcdark("changes", "--json").stdout) == []


@pytest.mark.slow
def test_files_that_have_no_room_in_the_cache_are_there_while_they_are_used(
    web: RangeServer, sbcdark: Any, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBCDARK_CACHE_LIMIT", "0")
    sbcdark("ingest", *serve_all(web, shared_data))
    web.files["/jcrx01iyq_raw.fits"].etag = '"another"'
    del web.files["/jcrx01ixq_raw.fits"]
    done = sbcdark("photometry", "jcmc11010", "-o", "products", "--aperture", APERTURE, "--json")
    assert "dark jcrx01iyq is left out: http" in done.stderr
    assert "changed since it was ingested" in done.stderr
    assert "dark jcrx01ixq is left out: http" in done.stderr
    assert json.loads(done.stdout)[0]["dark_count_s"] > 0
    assert not list((tmp_path / "cache").rglob("*.fits"))


@pytest.fixture
def here(
    web: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[str, str]]:
    """Return a function that runs the program in this process, and gives stdout and stderr."""

    def run_here(*arguments: str, code: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["sbcdark", "--db", f"sqlite:///{tmp_path}/here.db", *arguments])
        assert run() == code
        told = capsys.readouterr()
        return told.out, told.err

    assert web.asked == []
    return run_here


def test_commands_that_need_no_pixels_do_without_the_regions_that_were_not_read(
    web: RangeServer, here: Any, shared_data: Path
) -> None:
    report = json.loads(here("ingest", *serve_all(web, shared_data), "--json")[0])
    assert (report["added"], report["rejected"]) == (23, 0)
    drawn = web.body_bytes()
    told = json.loads(here("show", "jcrx01iiq", "--json")[0])
    assert {one["region"] for one in told[0]["measurements"]} == {"box", "quiet"}
    assert f"{web.url}/jcrx01iiq_raw.fits" in here("show", "jcrx01iiq")[0].replace("\n", "")
    here("show", "jcmc11010")
    assert len(json.loads(here("darks", "--json")[0])) == 20
    for rule in ("glow", "box", "temperature", "notebook"):
        (match,) = json.loads(here("match", "jcmc11ctq", "--rule", rule, "--json")[0])
        assert match["darks"][0]["uri"].startswith(web.url)
    here("why", "jcmc11ctq", "jcrx01iiq")
    here("exposures", "--csv")
    assert web.body_bytes() == drawn


def test_what_goes_wrong_is_one_message_and_a_code(web: RangeServer, here: Any) -> None:
    _, told = here("ingest", f"{web.url}/gone_raw.fits", code=6)
    assert "gone_raw.fits: does not exist" in told
    _, told = here("ingest", "http://127.0.0.1:1/x_raw.fits", code=3)
    assert told.startswith("sbcdark: 127.0.0.1:1 cannot be reached: Connection refused.\n  Check the network")
    for address in ("https://somebody:hush@example.org/x_raw.fits", "https://example.org/x_raw.fits?token=hush"):
        out, told = here("ingest", address, code=2)
        assert "hush" not in out + told
        assert told.startswith("sbcdark: An address contains a")


def test_interrupt_does_not_wait_for_a_silent_server(web: RangeServer, tmp_path: Path) -> None:
    # This one keeps the time limits that the user has: half a minute, three times.
    urls = [web.put(f"/x{number}_raw.fits", bytes(100_000), stalls=60.0) for number in range(8)]
    command = [PROGRAM, "--db", f"sqlite:///{tmp_path}/interrupted.db", "ingest", *urls]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    web.wait_for_requests(2 * AT_ONCE)  # each thread has asked after a file, and for its beginning
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert told.startswith("sbcdark: Interrupted")
    assert len(told.splitlines()) == 2
