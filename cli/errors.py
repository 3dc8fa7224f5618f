"""Exit codes, and how errors are printed."""

from __future__ import annotations

import os
import re
import sys

from sbcdark.catalog.errors import (
    NothingMatchedError,
    RejectedFilesError,
    SbcdarkError,
    SchemaError,
    UnreachableError,
    UsageError,
)

_NO_CHARACTER = re.compile("[\\udc80-\\udcff]")

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


def characters(text: str) -> str:
    """Return text with bytes that are not UTF-8 (in file names; Python uses surrogates) as escape sequences."""
    return os.fsencode(text).decode("utf-8", "backslashreplace") if _NO_CHARACTER.search(text) else text


def shown(text: str) -> str:
    """Return text that is safe to print on a terminal: control characters (in a file name, say) are escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in characters(text)
    )


def print_error(error: SbcdarkError) -> None:
    """Print an error on stderr: what happened and why, then what to type next."""
    print(f"sbcdark: {shown(error.what)}", file=sys.stderr)  # noqa: T201  messages go to stderr
    if error.todo:
        print(f"  {shown(error.todo)}", file=sys.stderr)  # noqa: T201
