"""A progress bar in a cell of a notebook: one line that changes, by the display that every notebook has."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from importlib import import_module
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sbcdark.catalog.progress import Progress

_PERIOD_S = 0.5


def in_notebook() -> bool:
    """Return whether this is the kernel of a notebook, which shows HTML, and not a terminal or a script."""
    if "IPython" not in sys.modules:
        return False
    shell = import_module("IPython").get_ipython()
    # The terminal's shell has no display for a front end.
    return shell is not None and hasattr(shell, "kernel")


class _Line:
    """The line as it is now."""

    def __init__(self, doing: str, *, in_bytes: bool) -> None:
        self._doing, self._in_bytes = doing, in_bytes
        self._began = time.monotonic()
        self.done = 0
        self.total: int | None = None
        self.ended = ""

    def __repr__(self) -> str:
        """Give the line without the bar."""
        elapsed = time.monotonic() - self._began
        count = "" if self.total is None else f" {self._counted(self.total)}"
        if self.ended:
            return f"{self._doing}:{count} {self.ended} {_clock(elapsed)}"
        left = f", {_clock(elapsed / self.done * (self.total - self.done))} left" if self.total and self.done else ""
        return f"{self._doing}:{count}, {_clock(elapsed)}{left}"

    def _counted(self, total: int) -> str:
        return f"{self.done / 1e6:.1f}/{total / 1e6:.1f} MB" if self._in_bytes else f"{self.done}/{total}"

    def _repr_html_(self) -> str:
        """Give the line, with a bar until the end."""
        if self.ended:
            return repr(self)
        # Without a place the bar moves to and fro.
        place = f' value="{self.done}" max="{self.total}"' if self.total and self.done else ""
        return f'<progress style="width: 20em; vertical-align: middle"{place}></progress> {self!r}'


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def notebook_bar(doing: str, *, in_bytes: bool = False) -> Iterator[Progress]:
    """Show a bar in the cell that runs; a line with the count (of bytes in MB) and the time stays."""
    line, over = _Line(doing, in_bytes=in_bytes), Event()
    shown: Any = import_module("IPython.display").display(line, display_id=True)

    def tick() -> None:
        while not over.wait(_PERIOD_S):
            shown.update(line)

    def advance(done: int, total: int) -> None:
        line.done, line.total = done, total

    clock = Thread(target=tick, name="sbcdark progress", daemon=True)
    clock.start()
    end = "stopped after"
    try:
        yield advance
        end = "in"
    finally:
        over.set()
        clock.join()
        line.ended = end
        shown.update(line)
