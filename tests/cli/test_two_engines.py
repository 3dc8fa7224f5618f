"""Two engines, one behaviour: the same files and the same commands give the same JSON, byte for byte."""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from helpers import copied

from sbcdark.catalog.engine import redacted, sqlite_url
from sbcdark.cli.main import run

if TYPE_CHECKING:
    from pathlib import Path

TIMES = re.compile(r'"(created_utc|first_seen_utc)": "[0-9T:.-]+Z"')
"""When something was stored: the one thing in which two runs of the same commands may differ."""

SCIENCE = ("jcmc11ctq", "jcmc11e6q", "jcmc11dtq")

READING = (
    ("exposures", "--json"),
    ("exposures", "--sort", "-filter", "--csv"),
    ("exposures", "--sort", "association", "--json"),
    ("exposures", "--program", "13655", "--temp", "20:26", "--json"),
    ("darks", "--hot", "--since", "2015-03-03T09:00", "--json"),
    *(("show", name, "--json") for name in ("jcmc11e6q", "jcrx01iy", "JCMC11010", "jcrx01ixq")),
    *(("match", "jcmc11e6q", "--rule", rule, "--json") for rule in ("glow", "box", "temperature", "notebook")),
    ("match", "--program", "13655", "--csv"),
    ("match", "jcmc11ctq", "--max-days", "10", "--json"),
    ("why", "jcmc11e6q", "jcrx01isq", "--json"),
    ("changes", "--json"),
    ("verify", "--json"),
    ("exposures", "--sort", "nonsense", "--json"),
    ("show", "jnone", "--json"),
)
"""Commands that leave a catalog as it is."""


class Session:
    """The commands of one user on one catalog, with what each printed."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._url, self._capsys, self._monkeypatch = url, capsys, monkeypatch
        self.said: list[tuple[str, ...]] = []

    def __call__(self, *arguments: str | Path) -> None:
        """Run a command and keep what it said."""
        words = [str(argument) for argument in arguments]
        self._monkeypatch.setattr(sys, "argv", ["sbcdark", "--db", self._url, *words])
        self._capsys.readouterr()
        code = run()
        printed = self._capsys.readouterr()
        texts = [TIMES.sub(r'"\1": "then"', text) for text in printed]
        out, talk = (text.replace(self._url, "URL").replace(redacted(self._url), "URL") for text in texts)
        self.said.append((" ".join(words), str(code), out, talk))


def life_of_a_catalog(sbcdark: Session, folder: Path, elsewhere: Path, products: Path) -> None:
    """Ingest, ask, change, lose, find again, make products."""
    sbcdark("ingest", folder, "--json")
    sbcdark("ingest", folder, "--json")
    for command in READING:
        sbcdark(*command)
    sbcdark("match", *SCIENCE, "--save", "--json")
    sbcdark("retire", "jcrx01ixq", "--reason", 'edge of the SAA; "é"')
    moved = next(folder.rglob("jcrx01iyq*"))
    moved.rename(elsewhere / moved.name)
    sbcdark("match", "jcmc11e6q", "--json")
    sbcdark("verify", "--json")
    for command in READING:
        sbcdark(*command)
    sbcdark("relocate", elsewhere, "--json")
    (elsewhere / moved.name).rename(moved)
    sbcdark("verify", "--checksum", "--json")
    sbcdark("restore", "jcrx01ixq", "--reason", "it fits")
    changed = next(folder.rglob("jcrx01iwq*"))
    content = changed.read_bytes()
    shutil.copyfile(next(folder.rglob("jcrx01ivq*")), changed)
    sbcdark("ingest", folder, "--json")
    changed.write_bytes(content[: len(content) // 2])
    sbcdark("ingest", folder, "--json")
    changed.write_bytes(content)
    sbcdark("ingest", folder, "--json")
    aperture = ("--aperture", "ellipse:735,710,70,40,90")
    sbcdark("run", "jcmc11010", "-o", products, *aperture, "--json")
    sbcdark("photometry", "jcmc11e6q", "-o", products, *aperture, "--combine", "nearest", "--json")
    sbcdark("match", "jcmc11e6q", "--aperture", "ellipse:735,710,70,40,90", "--json")
    sbcdark("replay", "4", "-o", products / "again", "--json")
    for command in READING:
        sbcdark(*command)
    sbcdark("db", "export", products / "snapshot.db", "--overwrite")


@pytest.mark.slow
def test_every_command_says_the_same_on_both_engines(
    shared_data: Path,
    tmp_path: Path,
    postgres_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, elsewhere, products = (tmp_path / name for name in ("files", "elsewhere", "products"))
    said = {}
    for url in (sqlite_url(tmp_path / "catalog.db"), postgres_url):
        for place in (folder, elsewhere, products):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
        copied(shared_data, folder, *(path.name for path in sorted((shared_data / "darks_13961").iterdir())))
        copied(shared_data, folder, "jcmc11010_asn", *(f"{name}_flt" for name in SCIENCE))
        for number, path in enumerate(sorted(folder.iterdir())):
            # The times of files are in the JSON of `show`.
            os.utime(path, ns=(number, number))
        session = Session(url, capsys, monkeypatch)
        life_of_a_catalog(session, folder, elsewhere, products)
        said[url.partition(":")[0]] = session.said
    assert said["sqlite"] == said["postgresql"]
    codes = [code for _, code, _, _ in said["sqlite"]]
    assert set(codes) == {"0", "1", "2", "5", "6"}
    assert not any("Traceback" in talk for *_, talk in said["sqlite"])
