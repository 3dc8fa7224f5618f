"""The program's entry: quiet also where it is interrupted while it is still being imported."""

from __future__ import annotations

import sys

INTERRUPTED = 130
"""What a shell gives to a program that ended by Ctrl-C."""


def main() -> None:
    """Run the program."""
    try:
        from sbcdark.cli.main import run  # noqa: PLC0415  inside of the try: importing takes most of a short command's time

        sys.exit(run())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
