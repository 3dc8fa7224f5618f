"""Header text that means harm: in listings, tables, pictures, products and the paths of all of them."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest
from astropy.io import fits
from astropy.table import Table
from bad_input import overwritten, sound
from commands import PROGRAM
from helpers import copied

from sbcdark.cli.main import run
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.views.listings import exposures, show

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa


TEXTS = (
    "'<script>alert(1)</script>'",
    "'a''b\"; DROP TABLE files; --'",
    "']]>&amp;<TD/>'",
    "'../../../../tmp/x'",
    "'$\\frac{1}{0}$ %s {0} \\n'",
    "'[red]rich[/red] [link=http://x]y'",
    "'# x, \"y\" , nan'",
    "'-'",
    "'masked'",
    "'\"\"'",
)
"""As FITS writes them; a doubled quote stands for one."""


def meant(text: str) -> str:
    """Return what a FITS string says."""
    return text[1:-1].replace("''", "'").strip()


@pytest.fixture
def hostile(empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path) -> sa.Engine:
    """Return a catalog of darks with such text in every free field."""
    folder = tmp_path / "files"
    folder.mkdir()
    for number, text in enumerate(TEXTS):
        content = sound(shared_data, "raw", number)
        for keyword in ("TARGNAME", "FILTER1", "EXPFLAG", "CAL_VER", "PFLTFILE", "ASN_ID"):
            content = overwritten(content, keyword, text)
        (folder / f"x{number}_raw.fits").write_bytes(content)
    report = ingest(empty_catalog, [folder], workers=1)
    assert report.added == len(TEXTS)
    return empty_catalog


def test_text_is_kept_as_it_is_and_is_no_association(hostile: sa.Engine) -> None:
    listed = exposures(hostile)
    assert [one.filter for one in listed] == [meant(text) for text in TEXTS]
    assert {one.association for one in listed} == {None}
    for one, text in zip(listed, TEXTS, strict=True):
        known = show(hostile, one.rootname)
        assert known["target"] == known["exposure_flag"] == meant(text)
        assert known["files"][0]["flat_file"] == meant(text)


def test_every_listing_gives_the_text_back(
    hostile: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def listed(*arguments: str | Path) -> str:
        url = hostile.url.render_as_string(hide_password=False)
        monkeypatch.setattr(sys, "argv", ["sbcdark", "--db", url, "exposures", *map(str, arguments)])
        assert run() == 0
        return capsys.readouterr().out

    wanted = [meant(text) for text in TEXTS]
    assert [one["filter"] for one in json.loads(listed("--json"))] == wanted
    assert [row["filter"] for row in csv.DictReader(io.StringIO(listed("--csv")))] == wanted
    assert len(listed().splitlines()) > len(TEXTS)  # a dark's filter is no column of the printed table
    for ending in ("ecsv", "vot", "fits"):
        path = tmp_path / f"list.{ending}"
        listed("-o", path)
        assert [str(value) for value in Table.read(path)["filter"]] == wanted
    ET.parse(tmp_path / "list.vot")  # noqa: S314  our own file has to be XML


def tree(folder: Path) -> dict[str, int]:
    """Return every file below a folder with its size."""
    return {str(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_products_of_hostile_headers_lie_in_their_folder_alone(shared_data: Path, tmp_path: Path) -> None:
    catalog = f"sqlite:///{tmp_path / 'catalog.db'}"
    files, flats, inner = tmp_path / "files", tmp_path / "flats", tmp_path / "a" / "b" / "c"
    copied(shared_data, files, *[f"jcrx01{name}q_raw" for name in ("ii", "ij", "ik", "iw", "ix", "iy", "j1", "j2")])
    flats.mkdir()
    inner.mkdir(parents=True)
    (tmp_path / "x_pfl.fits").write_text("a file that PFLTFILE leads to")
    # A file name of shell and terminal, in a folder of line feeds.
    odd = files / "new\nline $(touch pwned)"
    odd.mkdir()
    content = sound(shared_data, "flt", 7)
    for keyword, value in (
        ("TARGNAME", "'../../../../tmp/pwned'"),
        ("FILTER1", "'$(touch pwned)/../x'"),
        ("PFLTFILE", "'jref$../x_pfl.fits'"),
        ("ASN_ID", "'../../x'"),
        ("CAL_VER", "'<b>\"''8'"),
    ):
        content = overwritten(content, keyword, value)
    for keyword in ("FILENAME", "IDCTAB", "DGEOFILE", "NPOLFILE", "D2IMFILE", "MDRIZTAB"):
        if f"{keyword:8}=".encode() in content[:60_000]:
            content = overwritten(content, keyword, "'jref$../../pwned.fits'")
    (odd / "\x1b[31m\xe9 ; rm -rf _flt.fits").write_bytes(content)
    before = tree(tmp_path)

    def run_there(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [PROGRAM, "--db", catalog, *arguments],
            capture_output=True,
            check=False,
            timeout=300,
            cwd=inner,
            env=os.environ | {"COLUMNS": "1000", "jref": str(flats), "HOME": str(tmp_path / "home")},
        )

    assert run_there("ingest", files).returncode == 0
    done = run_there("run", "jf000007q", "-o", "products", "--aperture", "circle:700,700,40")
    said = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, said
    assert all(letter.isprintable() or letter == "\n" for letter in said)
    assert "PFLTFILE names no flat" in said
    made = {path for path, size in tree(tmp_path).items() if before.get(path) != size}
    products = inner / "products"
    # Beside the products there are the catalog's own files, and what libraries keep at home.
    outside = {path for path in made if not path.startswith((str(products), f"{tmp_path / 'home'}"))}
    assert all("catalog.db" in path for path in outside), outside
    assert before.items() <= tree(tmp_path).items()
    with fits.open(products / "jf000007q_sbcdark_dark.fits") as hdus:
        assert hdus["EXPOSURES"].data["exposure"].tolist() == ["jf000007q"]
