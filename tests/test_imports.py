"""Light commands stay light, and what the command line promises in its help stands in the docs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from commands import Commands

CHECKOUT = Path(__file__).resolve().parents[1]
HEAVY = (
    "aiohttp",
    "fsspec",
    "s3fs",
    "drizzlepac",
    "astroquery",
    "matplotlib",
    "bokeh",
    "fastapi",
    "jinja2",
    "uvicorn",
    "dask",
    "photutils",
    "regions",
    "scipy",
    "alembic",
    "numpy",
    "requests",
)
COMMANDS = (
    "changes",
    "darks",
    "db",
    "demo",
    "exposures",
    "fetch",
    "ingest",
    "masterdark",
    "match",
    "photometry",
    "plot",
    "programs",
    "relocate",
    "replay",
    "report",
    "restore",
    "retire",
    "run",
    "serve",
    "show",
    "status",
    "subtract",
    "validate",
    "verify",
    "why",
)


def _loaded(arguments: list[str], database: str) -> set[str]:
    """Return the top-level modules that a command has loaded when it ends."""
    script = (
        "import json, sys\n"
        f"sys.argv = ['sbcdark', '--db', {database!r}, *{arguments!r}]\n"
        "from sbcdark.cli.main import run\n"
        "code = run()\n"
        "print('\\n' + json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    code, names = json.loads(done.stdout.splitlines()[-1])
    assert code == 0, done.stderr
    return set(names)


def test_match_loads_nothing_heavy(shared_data: Path, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'catalog.db'}"
    subprocess.run(
        [sys.executable, "-m", "sbcdark.cli", "--db", database, "ingest", shared_data / "darks_13961"], check=True
    )
    loaded = _loaded(["match", "jcrx01iiq", "--json"], database)
    assert not loaded & {*HEAVY, "astropy"}
    assert not _loaded(["--help"], database) & {*HEAVY, "astropy"}


def test_every_command_is_found_in_its_module_and_others_are_not_imported() -> None:
    script = (
        "import json, sys\n"
        "from sbcdark.cli.main import _COMMANDS, app, register\n"
        "register(['--db', 'match', 'status', 'why'])\n"
        "one = sorted(name for name in sys.modules if name.removeprefix('sbcdark.cli.') in _COMMANDS)\n"
        "register(['stauts'])\n"
        "found = {}\n"
        "for each in app.registered_commands:\n"
        "    module = each.callback.__module__.rpartition('.')[2]\n"
        "    found.setdefault(module, []).append(each.name or each.callback.__name__)\n"
        "found |= {each.name: [each.name] for each in app.registered_groups}\n"
        "print(json.dumps([one, found, _COMMANDS]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    one, found, listed = json.loads(done.stdout)
    assert "sbcdark.cli.status" in one
    assert "sbcdark.cli.match" not in one
    assert {module: sorted(own) for module, own in found.items()} == {
        module: sorted(own) for module, own in listed.items()
    }
    assert sorted(name for own in listed.values() for name in own) == sorted(COMMANDS)


def test_importing_connects_to_nothing_and_reads_no_setting() -> None:
    script = "import os; os.environ['SBCDARK_DB'] = 'postgresql://127.0.0.1:1/x'; import sbcdark.cli.main"
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_is_in_the_guide(commands: Commands, tmp_path: Path, command: str) -> None:
    done = commands.run(tmp_path, "", command, "--help")
    assert done.code == 0
    assert len(done.stdout.splitlines()) > 5
    guide = (CHECKOUT / "docs" / "guide.md").read_text()
    assert f"sbcdark {command}" in guide
    for option in re.findall(r"^\s+(?:-\w, )?(--[a-z][a-z-]+)", done.stdout, flags=re.MULTILINE):
        assert option == "--help" or option in guide, f"{option} of {command} is not in the guide"


def test_all_commands_are_known_here() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sbcdark.cli", "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    listed = re.findall(r"^  ([a-z]+)  ", done.stdout.partition("Commands:")[2], flags=re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)
