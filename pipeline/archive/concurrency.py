"""A few requests at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE = 4
"""Requests at a time: enough to hide the latency, few enough to spare the server."""


@contextmanager
def few_at_once() -> Iterator[ThreadPoolExecutor]:
    """Give a pool of `AT_ONCE` threads; the end of the block drops what has not begun and waits for nothing."""
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
