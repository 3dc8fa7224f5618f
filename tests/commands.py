"""Runs many commands of the program in one other process, which takes a second to start, and talks with it by pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mast_server import MastServer

PROGRAM = Path(sys.executable).with_name("sbcdark")
"""The installed command."""

_LOOP = """
import contextlib, io, json, os, sys
from sbcdark.cli.main import run

for line in sys.stdin:
    asked = json.loads(line)
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.argv = ["sbcdark", *asked["arguments"]]
    out = io.StringIO()
    err = out if asked["together"] else io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run()
    print(json.dumps([code, out.getvalue(), "" if err is out else err.getvalue()]), flush=True)
"""


@dataclass(frozen=True)
class Done:
    """What a command said and how it ended."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """Return what it printed as JSON."""
        assert self.stdout, self.stderr
        return json.loads(self.stdout)


class Commands:
    """The other process; used as a context manager it lives until its end."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _LOOP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=plain_environment() | environment,
        )

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._process.communicate(timeout=60)

    def run(
        self, folder: Path, database: str, *arguments: str | Path, columns: int | None = None, together: bool = False
    ) -> Done:
        """Run one command in a folder, which is also the user's home, on a catalog; an own `--db` comes first.

        Parameters
        ----------
        columns : int, optional
            Width of the screen; by default the output goes to a pipe.
        together : bool
            Whether stderr goes to stdout, too, in the order of writing.
        """
        wide = "" if columns is None else str(columns)
        asked = {
            "environment": {"HOME": str(folder), "XDG_DATA_HOME": str(folder / "data"), "COLUMNS": wide},
            "folder": str(folder),
            "together": together,
            "arguments": [*([] if "--db" in arguments[:1] else ["--db", database]), *map(str, arguments)],
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        done = Done(*json.loads(self._process.stdout.readline()))
        assert "Traceback" not in done.stdout + done.stderr
        return done


def plain_environment() -> dict[str, str]:
    """Return the environment without what would change where the program works."""
    proxies = {
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
    }
    left_out = {"SBCDARK_DB", "jref", "COLUMNS", *proxies}
    return {key: value for key, value in os.environ.items() if key not in left_out}


def subprocess_of(mast: MastServer, folder: Path, *arguments: str | Path, timeout_s: int = 20) -> subprocess.Popen[str]:
    """Start the installed command in a process of its own, on a SQLite catalog in the folder."""
    environment = plain_environment() | mast.configure(folder / "config", timeout_s)
    return subprocess.Popen(
        [PROGRAM, "--db", f"sqlite:///{folder / 'catalog.db'}", *arguments],
        env=environment | {"HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
