"""The jobs of users as they type them: what the program says is compared with reviewed transcripts.

`make transcripts` writes the transcripts again; read the difference before it is committed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commands import plain_environment
from twin_archive import DARKS, write_twin

from sbcdark import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from commands import Commands
    from conftest import MadeOnce

HERE = Path(__file__).parent
TRANSCRIPTS = HERE / "transcripts"
WIDTHS = (80, 120)

# The length of the folder's name decides where lines are folded.
FOLDER, PREFIX = "/tmp/sbcdarkFOLDER__", "sbcdark"  # noqa: S108  the name that stands for the real one
assert len(FOLDER) == len("/tmp/") + len(PREFIX) + 8  # noqa: S108


@pytest.fixture
def folder(made_once: MadeOnce) -> Iterator[Path]:
    """Return a folder with the twin archive, and some of its darks in a folder of their own."""
    made = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))
    assert len(str(made)) == len(FOLDER)
    shutil.copytree(made_once("twin", write_twin), made / "archive")
    (made / "archive" / "first").mkdir()
    for name in ("jcrx01iiq", "jcrx01ijq", "jcrx01ikq"):
        shutil.copy(made / "archive" / DARKS / f"{name}_raw.fits.gz", made / "archive" / "first")
    (made / "archive" / "first" / "jcrx01zzq_raw.fits").write_text("broken off")
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "job", ["instrument_scientist", pytest.param("astronomer", marks=[pytest.mark.slow, pytest.mark.long])]
)
def test_command_line(commands: Commands, folder: Path, job: str, width: int) -> None:
    for regions in HERE.glob("*.reg"):
        shutil.copy(regions, folder)
    said = []
    for line in (HERE / f"{job}.sh").read_text().splitlines():
        said.append(line if line.startswith("#") else f"$ {line}")
        if not line.startswith("#"):
            arguments = shlex.split(line)[1:]
            done = commands.run(folder, "sqlite:///catalog.db", *arguments, columns=width, together=True)
            said += [done.stdout.rstrip("\n"), *([f"[exit code {done.code}]"] if done.code else []), ""]
    _compare(f"{job}_{width}.txt", "\n".join(said), folder)


@pytest.mark.slow
def test_python_user(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, HERE / "converse.py", HERE / "python_user.txt"],
        cwd=folder,
        env=plain_environment() | {"COLUMNS": "80", "LINES": "40", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    _compare("python_user.txt", done.stdout, folder)


def _compare(name: str, said: str, folder: Path) -> None:
    """Compare what was said with a transcript, or write it where the environment asks for that."""
    text = "".join(f"{line.rstrip()}\n" for line in _general(said, folder).splitlines())
    path = TRANSCRIPTS / name
    if os.environ.get("SBCDARK_WRITE_TRANSCRIPTS"):
        path.write_text(text)
    assert text == path.read_text(), f"{path} differs; `make transcripts` writes it again"


def _general(said: str, folder: Path) -> str:
    """Return a text without what differs from run to run: the folder, the day, sizes and the version."""
    said = said.replace(str(folder), FOLDER).replace(__version__, "X.Y.Z")
    now = datetime.now(UTC)
    for day in (now, now - timedelta(days=1)):
        said = re.sub(rf"{day:%Y-%m-%d} \d\d:\d\d", "2099-12-31 23:59", said)
    return re.sub(
        r"\d+(\.\d+) MB", lambda size: f"{'0' * len(size[0].partition('.')[0])}.{'0' * (len(size[1]) - 1)} MB", said
    )
