"""Runs a command; every failure becomes one message and an exit code."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from sbcdark.catalog.errors import SbcdarkError
from sbcdark.cli.app import app
from sbcdark.cli.errors import FAILED, INTERRUPTED, WRONG_USAGE, exit_code, print_error
from sbcdark.cli.usage import MISTYPED, usage_error

if TYPE_CHECKING:
    from collections.abc import Sequence


_COMMANDS = {
    "archive": ("fetch", "programs"),
    "db": ("db",),
    "demo": ("demo",),
    "exposures": ("exposures", "darks"),
    "files": ("verify", "relocate"),
    "ingest": ("ingest",),
    "match": ("match", "why"),
    "plot": ("plot",),
    "products": ("masterdark", "photometry", "run"),
    "quality": ("retire", "restore", "changes", "replay"),
    "report": ("report",),
    "serve": ("serve",),
    "show": ("show",),
    "status": ("status",),
    "subtract": ("subtract",),
    "validate": ("validate",),
}
"""The commands of each module."""


def register(arguments: Sequence[str] = ()) -> None:
    """Import the module of the command that the arguments name, which registers it; all if they name none."""
    words = iter(arguments)
    command = None
    for word in words:
        if word == "--db":
            next(words, None)
        elif not word.startswith("-"):
            command = word
            break
    for module in [module for module, own in _COMMANDS.items() if command in own] or _COMMANDS:
        import_module(f"sbcdark.cli.{module}")


def run() -> int:
    """Run the command of the arguments and return the exit code."""
    try:
        return _answer()
    except SbcdarkError as error:
        print_error(error)
        return exit_code(error)
    except KeyboardInterrupt:
        print_error(_interrupted())
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the output has gone (`| head`). This is not an error, but nothing may be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        print_error(
            SbcdarkError(
                f"System error{place}: {error.strerror or error}.", "Check the file or folder, then run again."
            )
        )
        return FAILED
    except Exception as error:
        if os.environ.get("SBCDARK_DEBUG"):
            raise
        print_error(
            SbcdarkError(
                f"This should not have happened: {type(error).__name__}: {error}.",
                "Set SBCDARK_DEBUG=1, run it again and report the output.",
            )
        )
        return FAILED


def _answer() -> int:
    """Run the command and return the exit code; what is mistyped is said as any other error."""
    try:
        register(sys.argv[1:])
        if not gc.isenabled():  # `entry` switched it off for the imports
            gc.freeze()
            gc.enable()
        code = app(standalone_mode=False)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except MISTYPED as mistyped:
        if type(mistyped).__name__ == "NoArgsIsHelpError":
            mistyped.show()
        else:
            print_error(usage_error(mistyped))
        return WRONG_USAGE
    if code == INTERRUPTED:  # typer converts Ctrl-C to this code and prints nothing
        print_error(_interrupted())
    return code if isinstance(code, int) else 0


def _interrupted() -> SbcdarkError:
    return SbcdarkError("Interrupted; everything stored so far is kept.", "Run the same command again to continue.")
