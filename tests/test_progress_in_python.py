"""The progress of long calls from Python: a function that is called, or bars."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from commands import plain_environment

from sbcdark import Catalog
from sbcdark.notebook_bar import notebook_bar

if TYPE_CHECKING:
    from pathlib import Path

    from mast_server import MastServer

FETCH = """
from sbcdark import Catalog

cat, counted, said = Catalog("catalog.db"), [], []
bars = (lambda *arrived: counted.append(("byte", *arrived)), lambda *read: counted.append(("file", *read)))
cat.fetch(13961, folder="here", darks=True, science=False, talk=said.append, progress=bars)
kinds = [kind for kind, _, _ in counted]
assert kinds == sorted(kinds)  # bytes first
assert [one for one in counted if one[0] == "byte"][-1] == ("byte", 3 * 2_134_080, 3 * 2_134_080)
assert counted[-1] == ("file", 3, 3)
assert said == ["3 files to get, 6.4 MB; 0 already here"]
cat.fetch(13961, folder="there", progress=True)  # nothing is to fetch: no bar
Catalog("other.db").fetch(13961, folder="other", progress=True)
"""


def test_a_fetch_counts_bytes_then_files(mast: MastServer, shared_data: Path, tmp_path: Path) -> None:
    mast.add_real_darks(shared_data, 0, 3)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FETCH],
        cwd=tmp_path,
        env=plain_environment() | mast.configure(tmp_path / "config"),
        capture_output=True,
        text=True,
        check=True,
    )
    fetched, read = [line for line in done.stdout.splitlines() if line.strip()]
    assert "fetching" in fetched
    assert "6.4/6.4 MB" in fetched
    assert "reading" in read
    assert "3/3" in read


def test_darks_and_pictures_are_counted(real_file: Path) -> None:
    cat, names = Catalog(real_file), ["jcmc11e6q", "jcmc11ctq"]
    counted: list[tuple[int, int]] = []
    cat.dark(names, combine="nearest", progress=lambda done, total: counted.append((done, total)))
    cat.plot("match", names, progress=lambda done, total: counted.append((done, total)))
    assert counted == 2 * [(0, 2), (1, 2), (2, 2)]


@pytest.mark.parametrize("wrong", ["yes", 1, (True, "yes")])
def test_what_cannot_show_progress_is_said_before_anything_is_done(wrong: Any, tmp_path: Path) -> None:
    cat = Catalog(tmp_path / "catalog.db")
    with pytest.raises(TypeError, match="progress: expected True or a callable"):
        cat.fetch(13961, progress=wrong)
    assert not (tmp_path / "catalog.db").exists()


def test_bytes_of_a_notebooks_bar_are_megabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    display = pytest.importorskip("IPython.display")
    lines: list[Any] = []

    class Handle:
        def update(self, line: Any) -> None:
            lines.append(repr(line))

    monkeypatch.setattr(display, "display", lambda *_, **__: Handle())
    with notebook_bar("fetching", in_bytes=True) as shown:
        shown(1_234_567, 6_402_240)
    assert lines[-1].startswith("fetching: 1.2/6.4 MB in 0:0")
