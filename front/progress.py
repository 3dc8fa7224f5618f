"""Progress bars, in a notebook and on a terminal."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from sbcdark.keywords import wrong_type
from sbcdark.notebook_bar import in_notebook, notebook_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from rich.console import Console

    from sbcdark.catalog.progress import Progress


def check_progress(wanted: object) -> None:
    """Check what should show the progress of a job.

    Raises
    ------
    TypeError
        It is neither a bool nor a callable.
    """
    if wanted is not None and not isinstance(wanted, bool) and not callable(wanted):
        raise wrong_type("progress", "True or a callable", wanted)


@contextmanager
def progress_of(wanted: Progress | bool | None, doing: str, *, in_bytes: bool = False) -> Iterator[Progress | None]:
    """Return what shows the progress of a job: a callable as it is, or a bar for True.

    Parameters
    ----------
    doing : str
        What the bar says: "reading".
    in_bytes : bool
        Whether bytes are counted, which are shown in MB.

    Raises
    ------
    TypeError
        It is something else.
    """
    check_progress(wanted)
    if wanted is True:
        with notebook_bar(doing, in_bytes=in_bytes) if in_notebook() else bar(doing, in_bytes=in_bytes) as shown:
            yield shown
        return
    yield wanted or None


@contextmanager
def bars_in_turn(*begin: Callable[[], AbstractContextManager[Progress | None]]) -> Iterator[list[Progress]]:
    """Show the stages of a job by one bar after the other: a bar begins when its stage does, and ends the one before.

    Parameters
    ----------
    begin : callable
        Opens the bar of a stage; None in its place shows nothing.
    """
    with ExitStack() as stack:

        def stage(begin: Callable[[], AbstractContextManager[Progress | None]]) -> Progress:
            begun: list[Progress | None] = []

            def advance(done: int, total: int) -> None:
                if not begun:
                    stack.close()
                    begun.append(stack.enter_context(begin()))
                if begun[0] is not None:
                    begun[0](done, total)

            return advance

        yield [stage(one) for one in begin]


@contextmanager
def bar(doing: str, console: Console | None = None, *, in_bytes: bool = False) -> Iterator[Progress]:
    """Show a bar on a console; by default on the terminal, where it stays when all is done."""
    from rich import progress  # noqa: PLC0415  needed only where a bar is shown

    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn(doing),
        progress.BarColumn(),
        progress.DownloadColumn() if in_bytes else progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console, transient=console is not None) as shown:
        task = shown.add_task(doing, total=None)

        def advance(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total)

        yield advance
