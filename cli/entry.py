"""The program's entry: quiet also where it is interrupted while it is still being imported."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

from sbcdark.cli.errors import INTERRUPTED


def main() -> None:
    """Run the program."""
    _open_streams()
    try:
        from sbcdark.cli.main import run  # noqa: PLC0415  inside of the try: importing takes most of a short command's time

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


def _open_streams() -> None:
    """Open a standard stream that the shell closed (`>&-`) on nothing.

    Its number would go to the next file that is opened, the catalog perhaps, and Python has None in its place.
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
    # The command is over, and what is left is taking down the interpreter. That gives Ctrl-C back to the system: the
    # program would die by it, whatever the command's own code is.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
