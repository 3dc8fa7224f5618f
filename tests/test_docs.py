"""What the README and the guide show is run, on the real files."""

from __future__ import annotations

import gzip
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import PROGRAM

CHECKOUT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture
def workplace(shared_data: Path, tmp_path: Path) -> Path:
    """Return a folder laid out as the README has it: darks/, program/, flats/."""
    shutil.copytree(shared_data / "darks_13961", tmp_path / "darks")
    shutil.copytree(shared_data / "associations_13655", tmp_path / "program")
    science = shared_data / "science_13655_standin"
    (tmp_path / "program").chmod(0o755)
    for path in science.glob("*_flt.fits.gz"):
        shutil.copy(path, tmp_path / "program")
    (tmp_path / "flats").mkdir()
    flat = gzip.decompress((science / "sbc_standin_pfl.fits.gz").read_bytes())
    (tmp_path / "flats" / "sbc_standin_pfl.fits").write_bytes(flat)
    return tmp_path


def _environment(folder: Path) -> dict[str, str]:
    environment = {key: value for key, value in os.environ.items() if key not in {"SBCDARK_DB", "jref"}}
    # The default catalog is in the user's data folder: here it is a throw-away one.
    return environment | {"XDG_DATA_HOME": str(folder / "data"), "HOME": str(folder)}


def _blocks(name: str, language: str) -> list[str]:
    text = (CHECKOUT / name).read_text()
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    return [block for written_in, block in blocks if written_in == language]


def _run(workplace: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = _environment(workplace)
    return subprocess.run(
        words, cwd=workplace, env=environment, capture_output=True, text=True, check=False, timeout=180
    )


def test_readme_commands(workplace: Path) -> None:
    commands = [
        line for block in _blocks("README.md", "") for line in block.splitlines() if line.startswith("sbcdark ")
    ]
    assert len(commands) == 7
    for command in commands:
        done = _run(workplace, PROGRAM, *shlex.split(command)[1:])
        assert done.returncode == 0, (command, done.stderr)
    assert (workplace / "products" / "jcmc11010_sbcdark_dark.fits").exists()
    (code,) = _blocks("README.md", "python")
    done = _run(workplace, sys.executable, "-c", f"{code}\nassert len(cat.darks(hot=True)) == 12")
    assert (done.returncode, done.stderr) == (0, "")


def test_readme_targets_are_in_the_makefile() -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    targets = [
        line.split()[1] for block in _blocks("README.md", "") for line in block.splitlines() if line[:5] == "make "
    ]
    assert targets == ["demo", "test", "test-slow"]
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)


def test_guide_python(workplace: Path) -> None:
    (code,) = _blocks("docs/guide.md", "python")
    more = "print(list(m.table['dark']), r.photometry['source_count_s'], d.rate.shape)"
    done = _run(workplace, sys.executable, "-c", f"{code}\n{more}")
    assert done.returncode == 0, done.stderr
    assert "jcrx01ixq" in done.stdout
    assert "ct /" in done.stdout  # the units stand above the columns, cut to the width of a page
    assert "(1024, 1024)" in done.stdout


def test_links_between_pages_lead_somewhere() -> None:
    for page in [CHECKOUT / "README.md", *(CHECKOUT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)
