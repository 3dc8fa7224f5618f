"""Moments at which a command is killed: at random, and at random around what it does."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


def chance(*names: object) -> random.Random:
    """Return the generator of one case, so that the case can be repeated whatever came before it."""
    return random.Random(" ".join(map(str, names)))  # noqa: S311  nothing here is secret


def after(seconds: float) -> Callable[[], bool]:
    """Return the moment in so many seconds."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def soon_after(sign: Callable[[], bool], delay_s: float) -> Callable[[], bool]:
    """Return the moment that comes so many seconds after a sign was seen."""
    seen: list[float] = []

    def moment() -> bool:
        if not seen and sign():
            seen.append(time.monotonic())
        return bool(seen) and time.monotonic() - seen[0] >= delay_s

    return moment


def drawn(
    rng: random.Random, duration_s: float, start_s: float, written: Callable[[], int], total_byte: int
) -> Callable[[], bool]:
    """Draw a moment of a command that takes `duration_s`, of which `start_s` go by before it does anything.

    A fifth fall anywhere, two fifths while it works, and two fifths where the database has grown by a random part of
    what the command writes.
    """
    kind = rng.random()
    if kind < 0.2:
        return after(rng.uniform(0.0, duration_s))
    if kind < 0.6:
        return after(rng.uniform(start_s, 1.05 * duration_s))
    threshold = rng.uniform(0.0, total_byte)
    return soon_after(lambda: written() > threshold, rng.choice((0.0, rng.uniform(0.0, 0.02))))


def appears(folder: Path, patterns: Sequence[str]) -> Callable[[], bool]:
    """Return a sign that is seen when a file that fits one of the patterns is made (again) in a folder."""
    start_ns = time.time_ns()

    def sign() -> bool:
        for pattern in patterns:
            for path in folder.glob(pattern):
                try:
                    if path.stat().st_mtime_ns >= start_ns:
                        return True
                except FileNotFoundError:  # renamed or removed since
                    continue
        return False

    return sign
