"""Asking servers a few things at a time, in threads that an interrupt does not wait for.

The standard pool joins its threads when the program ends: Ctrl-C would hang as long as a silent server is waited for.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

AT_ONCE = 6
"""Enough to fill the waits for answers, few enough to be no burden to a server."""

_T = TypeVar("_T")
_Job = tuple["Future[Any]", "Callable[..., Any]", tuple[Any, ...]]


class Threads:
    """Threads that work off jobs in order; made by `threads`."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        for _ in range(AT_ONCE):
            threading.Thread(target=self._work, daemon=True).start()

    def submit(self, call: Callable[..., _T], *arguments: Any) -> Future[_T]:
        """Return what will hold the result of a call."""
        future: Future[_T] = Future()
        self._jobs.put((future, call, arguments))
        return future

    def results(self, call: Callable[..., _T], many: Iterable[Any]) -> Iterator[_T]:
        """Give the results of one call for each of many things, in order."""
        for future in [self.submit(call, one) for one in many]:
            yield future.result()

    def close(self) -> None:
        """Drop the jobs that nobody has begun; the threads end with those that are begun."""
        try:
            while True:
                self._jobs.get_nowait()
        except Empty:
            pass
        for _ in range(AT_ONCE):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call, arguments = job
            try:
                future.set_result(call(*arguments))
            except BaseException as error:  # noqa: BLE001  whoever waits for the result is told
                future.set_exception(error)


@contextmanager
def threads() -> Iterator[Threads]:
    """Give threads that live as long as the block, or until what they have begun ends."""
    pool = Threads()
    try:
        yield pool
    finally:
        pool.close()
