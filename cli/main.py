"""Runs a command; whatever goes wrong becomes one message and an exit code."""

from __future__ import annotations

import os
import sys

from sbcdark.catalog.errors import SbcdarkError
from sbcdark.cli import (  # noqa: F401  importing them adds their commands
    archive,
    db,
    demo,
    exposures,
    files,
    ingest,
    match,
    products,
    quality,
    status,
    subtract,
    validate,
)
from sbcdark.cli.app import app
from sbcdark.cli.errors import FAILED, INTERRUPTED, exit_code, tell


def run() -> int:
    """Run the command that the arguments name and return the exit code."""
    try:
        app()
    except SystemExit as leaving:
        if leaving.code == INTERRUPTED:  # typer makes this of Ctrl-C, and says nothing
            tell(_interrupted())
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except SbcdarkError as error:
        tell(error)
        return exit_code(error)
    except KeyboardInterrupt:
        tell(_interrupted())
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`| head`): no error, but nothing may be flushed into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        tell(SbcdarkError(f"The system refused{place}: {error.strerror or error}.", "Check the place, then run again."))
        return FAILED
    except Exception as error:
        if os.environ.get("SBCDARK_DEBUG"):
            raise
        tell(
            SbcdarkError(
                f"This should not have happened: {type(error).__name__}: {error}.",
                "Set SBCDARK_DEBUG=1, run it again and report what it prints.",
            )
        )
        return FAILED
    return 0


def _interrupted() -> SbcdarkError:
    return SbcdarkError("Interrupted; what was stored before stays.", "Run the same command again to go on.")
