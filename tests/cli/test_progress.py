"""Progress bars: on a terminal, on stderr, and nowhere else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from commands import plain_environment

if TYPE_CHECKING:
    from pathlib import Path


def _errors_on_a_terminal(words: list[str | Path]) -> tuple[str, str]:
    """Return stdout and what a terminal shows of stderr."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=theirs, text=True, env=plain_environment() | {"TERM": "xterm"}
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            read = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        shown += read
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, shown
    return out, shown.decode("utf-8", "replace")


@pytest.mark.slow
def test_a_report_shows_a_bar_on_a_terminal_alone(real_file: Path, tmp_path: Path) -> None:
    words: list[str | Path] = [sys.executable, "-m", "sbcdark.cli", "--db", f"sqlite:///{real_file}", "report", "-o"]
    out, shown = _errors_on_a_terminal([*words, tmp_path / "report"])
    assert out == f"{tmp_path / 'report' / 'index.html'}\n"
    assert "writing pages" in shown
    assert re.search(r"\b\d+/\d+\b.*\bleft\b", shown)
    piped = subprocess.run(
        [*words, tmp_path / "again"], capture_output=True, text=True, check=True, env=plain_environment()
    )
    assert "writing pages" not in piped.stderr
    assert "\x1b" not in piped.stdout + piped.stderr
