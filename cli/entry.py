"""The program's entry: quiet also where it is interrupted while it is still being imported."""

from __future__ import annotations

import signal
import sys

INTERRUPTED = 130
"""What a shell gives to a program that ended by Ctrl-C."""


def main() -> None:
    """Run the program."""
    try:
        from sbcdark.cli.main import run  # noqa: PLC0415  inside of the try: importing takes most of a short command's time

        code = run()
        _let_nothing_interrupt()
    except KeyboardInterrupt:
        _let_nothing_interrupt()
        code = INTERRUPTED
    sys.exit(code)


def _let_nothing_interrupt() -> None:
    # The command is over, and what is left is taking down the interpreter. That gives Ctrl-C back to the system: the
    # program would die by it, whatever the command's own code is.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
