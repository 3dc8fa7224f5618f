"""The program's entry point; an interruption during the imports is quiet, too."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress

from sbcdark.cli.errors import INTERRUPTED

_WITH_WORKERS = {"masterdark", "photometry", "run"}
_WITHOUT_WORKERS = {"-h", "--help", "--scheduler", "--workers"}
"""Options of a command that then starts no workers here, or perhaps none."""


def main() -> None:
    """Run the program."""
    gc.disable()  # imports leave no garbage; looking for it takes a tenth of a short command's time
    _open_streams()
    try:
        _import_ahead(sys.argv[1:])
        from sbcdark.cli.main import run  # noqa: PLC0415  inside the try: imports take most of a short command's time

        code = run()
        _let_nothing_interrupt()
    except KeyboardInterrupt:
        _let_nothing_interrupt()
        code = INTERRUPTED
    if code == INTERRUPTED:
        # Python would wait for threads that wait for a silent server.
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _import_ahead(arguments: list[str]) -> None:
    """Start the process that imports the libraries of the workers of a command, beside the imports of this one."""
    if len(arguments) > 1 and arguments[0] in _WITH_WORKERS and not _WITHOUT_WORKERS & set(arguments):
        from sbcdark.pipeline.products.workers import start_imports  # noqa: PLC0415  costly for other commands

        start_imports()


def _open_streams() -> None:
    """Open the standard streams that the shell closed (`>&-`) on the null device.

    Otherwise the next opened file, perhaps the catalog, would get their number, and Python has None in their place.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))


def _let_nothing_interrupt() -> None:
    # The command is done; only the interpreter's shutdown remains. It would restore Ctrl-C to the system, which would
    # then end the program with another exit code.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # the shutdown would look twice for garbage among all that was imported
