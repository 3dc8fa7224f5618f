"""Runs the statements of a text as a Python prompt does, and prints the conversation."""

from __future__ import annotations

import ast
import contextlib
import sys
from pathlib import Path
from typing import Any


def _converse(script: Path) -> None:
    """Run the statements of a script, separated by empty lines, as a Python prompt does; errors are one line."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in script.read_text().split("\n\n"):
        lines = block.strip("\n").splitlines()
        print("\n".join(f"{'>>>' if not number else '...'} {line}" for number, line in enumerate(lines)))
        for statement in ast.parse(block).body:
            try:
                exec(compile(ast.Interactive([statement]), str(script), "single"), names)  # noqa: S102  our own script
            except Exception as error:  # noqa: BLE001  as a prompt does
                print(f"{type(error).__name__}: {error}")
        print()


if __name__ == "__main__":
    with contextlib.redirect_stderr(sys.stdout):
        _converse(Path(sys.argv[1]))
