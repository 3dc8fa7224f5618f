"""`python -m sbcdark.cli` is the command `sbcdark`."""

from __future__ import annotations

from sbcdark.cli.entry import main

if __name__ == "__main__":
    main()
