"""What commands write and read beside the catalog: tables that are there already, closed streams, packed files."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from commands import PROGRAM
from helpers import ON_SQLITE

if TYPE_CHECKING:
    from commands import Commands


LISTINGS: tuple[tuple[str, ...], ...] = (
    ("darks",),
    ("exposures",),
    ("match", "jcmc11e6q"),
    ("changes",),
    ("programs",),
)


def test_table_that_is_there_is_not_replaced_unasked(filled: Any, tmp_path: Path) -> None:
    table = tmp_path / "table.fits"
    table.write_text("mine")
    for arguments in LISTINGS:
        done = filled(*arguments, "-o", table)
        assert (done.code, done.stdout) == (2, "")
        assert "already exists" in done.stderr
        assert "--overwrite" in done.stderr
        assert table.read_text() == "mine"
    assert filled("darks", "-o", table, "--overwrite").code == 0
    assert table.read_bytes().startswith(b"SIMPLE")
    table.unlink()
    table.symlink_to(tmp_path / "nowhere")
    assert filled("darks", "-o", table).code == 2
    assert filled("darks", "--overwrite").code == 2


def test_table_is_refused_before_any_work(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "table.ecsv").write_text("mine")
    (tmp_path / "folder.ecsv").mkdir()
    # Without a catalog every one of them would end with 3.
    for arguments in LISTINGS:
        for name, told in (
            ("table.ecsv", "--overwrite"),
            ("folder.ecsv", "is a folder"),
            ("x.txt", "gives no table format"),
        ):
            done = commands.run(tmp_path, f"sqlite:///{tmp_path / 'none.db'}", *arguments, "-o", name)
            assert (done.code, told in done.stderr) == (2, True), (arguments, done.stderr)
    assert not (tmp_path / "none.db").exists()


@pytest.mark.slow
@ON_SQLITE
@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-", ">&- 2>&-"])
def test_streams_may_be_closed(database_url: str, tmp_path: Path, shared_data: Path, closed: str) -> None:
    dark = shared_data / "darks_13961" / "jcrx01iiq_raw.fits.gz"
    for arguments in (f"ingest {shlex.quote(str(dark))}", "darks --json", "darks", "darks --csv"):
        line = f"exec {shlex.quote(str(PROGRAM))} --db {shlex.quote(database_url)} {arguments} {closed}"
        done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, check=False, timeout=120)
        assert (done.returncode, done.stdout) == (0, b""), done.stderr
    line = f"exec {shlex.quote(str(PROGRAM))} --db {shlex.quote(database_url)} darks --json"
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=True, timeout=120)
    assert len(json.loads(done.stdout)) == 1


def test_home_may_be_written_as_a_tilde(commands: Commands, tmp_path: Path, shared_data: Path) -> None:
    dark = shared_data / "darks_13961" / "jcrx01iiq_raw.fits.gz"
    assert commands.run(tmp_path, "sqlite:///~/x.db", "ingest", dark).code == 0
    assert (tmp_path / "x.db").is_file()
    assert not (tmp_path / "~").exists()
    assert len(commands.run(tmp_path, f"sqlite:///{tmp_path / 'x.db'}", "darks", "--json").json()) == 1


def test_other_packings_are_read_or_named(sbcdark: Any, tmp_path: Path, shared_data: Path) -> None:
    content = gzip.decompress((shared_data / "darks_13961" / "jcrx01iiq_raw.fits.gz").read_bytes())
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "jcrx01iiq_raw.fits.bz2").write_bytes(bz2.compress(content, 1))
    (folder / "jcrx01iiq_raw.fits.xz").write_bytes(lzma.compress(content, preset=0))
    (folder / "jcrx01iiq_raw.fits.fz").write_bytes(b"")
    (folder / "jcrx01iiq_raw.fits.zip").write_bytes(b"")
    report = sbcdark("ingest", folder, "--json").json()
    assert (report["added"], report["ignored"]) == (2, 2)
    told = {Path(one["path"]).suffix: one["reason"] for one in report["ignored_files"]}
    assert told[".fz"] == "compressed as .fz, which is not supported: unpack it with funpack, then ingest it"
    assert told[".zip"] == "compressed as .zip, which is not supported: unpack it, then ingest it"
    assert [row["box_count"] for row in sbcdark("darks", "--json").json()] == [300.0]


def test_exposure_under_two_types_of_member_is_one_member(sbcdark: Any, tmp_path: Path, shared_data: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    with fits.open(shared_data / "associations_13655" / "jcmc11040_asn.fits") as hdus:
        rows = hdus[1].data
        twice = np.concatenate([rows, rows[:1]]).view(np.recarray)
        twice["MEMTYPE"][-1] = "EXP-RPT"
        hdus[1] = fits.BinTableHDU(twice, hdus[1].header)
        hdus.writeto(folder / "jcmc11040_asn.fits")
    done = sbcdark("ingest", folder, shared_data / "science_13655_standin", shared_data / "darks_13961", "--json")
    assert (done.code, done.json()["rejected"]) == (0, 0)
    matched = sbcdark("match", "jcmc11040", "--json").json()
    assert [one["exposure"] for one in matched] == ["jcmc11deq", "jcmc11dhq"]


def test_frames_without_counts_are_rejected(sbcdark: Any, tmp_path: Path, shared_data: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for source in ("darks_13961/jcrx01iiq_raw", "science_13655_standin/jcmc11dhq_flt"):
        with fits.open(shared_data / f"{source}.fits.gz") as hdus:
            hdus["SCI"].data[:] = 0
            hdus.writeto(folder / f"{Path(source).name}.fits", output_verify="ignore")
    done = sbcdark("ingest", folder, "--json")
    report = done.json()
    assert (done.code, report["added"], report["rejected"]) == (6, 0, 2)
    for one in report["rejections"]:
        assert "0 counts in " in one["reason"]
        assert "; the coldest dark gives " in one["reason"]
