"""Progress of long jobs: the callback, and the count of things that are done one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")


class Progress(Protocol):
    """Progress callback of a long job."""

    def __call__(self, done: int, total: int) -> None:
        """Report that `done` of `total` files, or what else there are many of, are finished."""


def counted(things: Sequence[T], progress: Progress | None) -> Iterator[T]:
    """Return things one by one, and tell how many are done."""
    for done, thing in enumerate(things):
        if progress is not None:
            progress(done, len(things))
        yield thing
    if progress is not None:
        progress(len(things), len(things))
