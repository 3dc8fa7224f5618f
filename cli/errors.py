"""Exit codes, and how errors are printed."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from sbcdark.catalog.errors import (
    NothingMatchedError,
    RejectedFilesError,
    SbcdarkError,
    SchemaError,
    UnreachableError,
    UsageError,
)
from sbcdark.catalog.text import characters

if TYPE_CHECKING:
    from typing import TextIO

FAILED = 1
WRONG_USAGE = 2
NOT_REACHED = 3
SCHEMA_NOT_CURRENT = 4
NOTHING_MATCHED = 5
FILES_REJECTED = 6
INTERRUPTED = 130
"""The shell's exit code of a program that Ctrl-C ended."""

_CODES: tuple[tuple[type[SbcdarkError], int], ...] = (
    (UsageError, WRONG_USAGE),
    (UnreachableError, NOT_REACHED),
    (SchemaError, SCHEMA_NOT_CURRENT),
    (NothingMatchedError, NOTHING_MATCHED),
    (RejectedFilesError, FILES_REJECTED),
)


def exit_code(error: SbcdarkError) -> int:
    """Return the exit code of an error; `FAILED` for errors without their own code."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def shown(text: str) -> str:
    """Return text that is safe to print on a terminal: control characters (in a file name, say) are escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in characters(text)
    )


def screen_width(stream: TextIO) -> int | None:
    """Return the width of a terminal, or that of the environment variable COLUMNS; None for a pipe or a file."""
    if stream.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return max(20, shutil.get_terminal_size().columns)
    return None


def folded(text: str, width: int | None, hanging: str = "  ") -> str:
    """Return a line folded at a width, between words; the lines that follow hang by two more."""
    if width is None or len(text) <= width:
        return text
    indent = " " * (len(text) - len(text.lstrip()))
    return textwrap.fill(
        text.strip(),
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}{hanging}",
        break_long_words=False,
        break_on_hyphens=False,
    )


def print_error(error: SbcdarkError) -> None:
    """Print an error on stderr: what happened and why, then what to type next."""
    width = screen_width(sys.stderr)
    print(folded(f"sbcdark: {shown(error.what)}", width), file=sys.stderr)  # noqa: T201  messages go to stderr
    if error.todo:
        print(folded(f"  {shown(error.todo)}", width), file=sys.stderr)  # noqa: T201
