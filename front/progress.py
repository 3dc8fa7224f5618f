"""Progress bars, in a notebook and on a terminal."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sbcdark.notebook_bar import in_notebook, notebook_bar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from sbcdark.pipeline.ingest.report import Progress


def keep_quiet(_: str) -> None:
    """Show no message."""


@contextmanager
def progress_of(wanted: Progress | bool | None, doing: str) -> Iterator[Progress | None]:
    """Return what shows the progress of a job: a callable as it is, or a bar for True.

    Raises
    ------
    TypeError
        It is something else.
    """
    if wanted is True:
        with notebook_bar(doing) if in_notebook() else bar(doing) as shown:
            yield shown
        return
    if wanted is not None and wanted is not False and not callable(wanted):
        raise TypeError(f"progress: expected True or a callable, got {type(wanted).__name__}")
    yield wanted or None


@contextmanager
def bar(doing: str, console: Console | None = None) -> Iterator[Progress]:
    """Show a bar on a console; by default on the terminal, where it stays when all is done."""
    from rich import progress  # noqa: PLC0415  needed only where a bar is shown

    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn(doing),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console, transient=console is not None) as shown:
        task = shown.add_task(doing, total=None)

        def advance(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total)

        yield advance
