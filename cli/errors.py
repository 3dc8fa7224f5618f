"""Exit codes, and how an error is told."""

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
"""What a shell gives to a program that ended by Ctrl-C."""

_CODES: tuple[tuple[type[SbcdarkError], int], ...] = (
    (UsageError, WRONG_USAGE),
    (UnreachableError, NOT_REACHED),
    (SchemaError, SCHEMA_NOT_CURRENT),
    (NothingMatchedError, NOTHING_MATCHED),
    (RejectedFilesError, FILES_REJECTED),
)


def exit_code(error: SbcdarkError) -> int:
    """Return the exit code of an error; `FAILED` for what has none of its own."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def characters(text: str) -> str:
    """Return text with bytes that are no UTF-8 (in a file's name), for which Python has stand-ins, spelt out."""
    return os.fsencode(text).decode("utf-8", "backslashreplace") if _NO_CHARACTER.search(text) else text


def shown(text: str) -> str:
    """Return text as a terminal may be given it: what would act on it (in a file's name, say) is spelt out."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in characters(text)
    )


def tell(error: SbcdarkError) -> None:
    """Print an error on stderr: what and why, then what to type next."""
    print(f"sbcdark: {shown(error.what)}", file=sys.stderr)  # noqa: T201  stderr is where talk goes
    if error.todo:
        print(f"  {shown(error.todo)}", file=sys.stderr)  # noqa: T201
