"""The workers of a run import for themselves, whatever the user's script, folder and warning filters are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from helpers import ON_SQLITE

from sbcdark.pipeline.products.workers import submitting, worker_pool

if TYPE_CHECKING:
    import sqlalchemy as sa

SCRIPT = """
from sbcdark import Catalog
made = Catalog({url!r}).run("jcmc11ctq", {folder!r}, combine="nearest", apertures="circle:700,700,30", pictures=False)
print(len(made.photometry))
"""


@pytest.mark.slow
@ON_SQLITE
def test_plain_script_runs_with_warnings_as_errors_beside_a_folder_called_numpy(
    real_catalog: sa.Engine, tmp_path: Path
) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("raise ImportError('the wrong numpy')")
    url = real_catalog.url.render_as_string(hide_password=False)
    # Without `if __name__ == "__main__"`: a worker must not run it again.
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(url=url, folder=str(tmp_path / "products")))
    command = [sys.executable, "-P", "-W", "error", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def _surroundings(name: str) -> tuple[str, str | None]:
    return str(Path.cwd()), os.environ.get(name)


@pytest.mark.slow
def test_workers_have_the_folder_and_the_environment_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that they are forked from was started before."""
    for value in ("one", "two"):
        folder = tmp_path / value
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("SBCDARK_TEST", value)
        with worker_pool(1) as pool:
            with submitting():
                found = pool.submit(_surroundings, "SBCDARK_TEST")
            assert found.result(timeout=120) == (str(folder), value)


AHEAD = """
import sys
from multiprocessing.forkserver import _forkserver
from sbcdark.cli.entry import _import_ahead
_import_ahead(sys.argv[1:])
print(_forkserver._forkserver_pid is not None, "numpy" in sys.modules)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
@pytest.mark.parametrize(
    ("command", "ahead"),
    [
        ("run jcmc11010 -o products", True),
        ("photometry jcmc11010 -o products", True),
        ("run --help", False),
        ("run", False),
        ("run jcmc11010 -o products --workers 1", False),
        ("match jcmc11010", False),
    ],
)
def test_only_a_command_with_workers_imports_their_libraries_ahead(command: str, ahead: bool, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", AHEAD, *command.split()], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{ahead} False\n"
