"""User-facing errors: what happened, why, and what to type next."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class SbcdarkError(Exception):
    """Base class of all errors shown to the user as one message.

    `what` and `todo` have the words of the command line, which prints them; ``str(error)`` has those of Python.

    Parameters
    ----------
    what : str
        What happened, and why, in one sentence.
    todo : str, optional
        What to do next: the command to type, if there is one.
    """

    def __init__(self, what: str, todo: str = "") -> None:
        self.what = what
        self.todo = todo
        super().__init__(f"{what} {todo}".strip())

    def __str__(self) -> str:
        """Return the message in the words of Python."""
        from sbcdark.catalog.python_words import in_python  # noqa: PLC0415  only Python asks

        return in_python(f"{self.what} {self.todo}".strip())

    @property
    def _render_traceback_(self) -> Callable[[], list[str]]:
        """What IPython shows in place of a traceback; with ``SBCDARK_DEBUG=1`` it finds nothing and shows that."""
        if os.environ.get("SBCDARK_DEBUG"):
            raise AttributeError
        from sbcdark.catalog.shown_errors import shown_error  # noqa: PLC0415  only IPython asks

        return lambda: shown_error(self, self.what, self.todo)


class InterruptedCallError(KeyboardInterrupt):
    """A call from Python that Ctrl-C, or the stop of a notebook, has ended."""

    def __init__(self) -> None:
        super().__init__("Interrupted; everything stored so far is kept. Run it again to continue.")

    @property
    def _render_traceback_(self) -> Callable[[], list[str]]:
        """What IPython shows in place of a traceback, as for `SbcdarkError`."""
        if os.environ.get("SBCDARK_DEBUG"):
            raise AttributeError
        return lambda: [str(self)]


class UsageError(SbcdarkError):
    """An invalid request: a bad aperture, an unknown root name."""


class ArgumentError(UsageError, TypeError):
    """An argument of a method that has the wrong type, is unknown, or is missing."""


class UnreachableError(SbcdarkError):
    """The catalog or the archive cannot be reached."""


class SchemaError(SbcdarkError):
    """The database is older or newer than the program, or is not a sbcdark catalog."""


class NothingMatchedError(SbcdarkError):
    """No dark passes the gates of the rule, or the archive has none of the requested files."""


class BadFileError(SbcdarkError):
    """A file is unusable: truncated, not FITS, or without what a measurement needs."""


class RejectedFilesError(SbcdarkError):
    """Some files were rejected or not fetched; the others were processed."""
