"""Entry point of `python -m sbcdark.cli`, the same as the command `sbcdark`."""

from __future__ import annotations

from sbcdark.cli.entry import main

if __name__ == "__main__":
    main()
