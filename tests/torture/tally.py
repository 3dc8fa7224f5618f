"""What was tried and what came of it."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

KINDS = ("lost", "wrong", "left over", "tracebacks")
"""What may not happen: rows or products gone; rows, products or answers that are not what they should be; processes,
files or open runs that outlive a command; and a traceback, or a message that says it should not have happened."""


@dataclass(slots=True)
class Tally:
    """Counts of one subject on one engine. Several threads may add to it."""

    subject: str
    engine: str
    tried: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str, number: int = 1) -> None:
        """Count things that were done."""
        with self._lock:
            self.tried[what] += number

    def blame(self, kind: str, where: str, details: Iterable[str]) -> None:
        """Note what was found; nothing where there are no details."""
        with self._lock:
            self.faults[kind] += [f"{where}: {detail}" for detail in details]

    def note(self, text: str) -> None:
        """Note what is worth a line of the report."""
        with self._lock:
            self.notes.append(text)

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not any(self.faults.values())

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add the time that the block takes."""
        start = monotonic()
        try:
            yield
        finally:
            self.seconds += monotonic() - start


@dataclass(frozen=True, slots=True)
class Deadline:
    """A bound in time for one subject: it does as much as fits, and says how much that was."""

    end: float

    @staticmethod
    def after(seconds: float) -> Deadline:
        """Return the deadline in so many seconds."""
        return Deadline(monotonic() + seconds)

    def passed(self) -> bool:
        """Tell whether it is over."""
        return monotonic() >= self.end
