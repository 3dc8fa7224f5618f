"""The errors that a user can meet: what happened, why, and what to type next."""

from __future__ import annotations


class SbcdarkError(Exception):
    """Base of every error that is told to the user in one message.

    Parameters
    ----------
    what : str
        What happened, and why, as one sentence.
    todo : str, optional
        What to do next: the command to type, where there is one.
    """

    def __init__(self, what: str, todo: str = "") -> None:
        self.what = what
        self.todo = todo
        super().__init__(f"{what} {todo}".strip())


class UsageError(SbcdarkError):
    """The user asked for something that cannot be meant: a wrong aperture, an unknown root name."""


class UnreachableError(SbcdarkError):
    """The catalog (or the archive) could not be reached."""


class SchemaError(SbcdarkError):
    """The database is older or newer than the program, or is no sbcdark catalog."""


class NothingMatchedError(SbcdarkError):
    """No dark passed the gates of the rule, or the archive has nothing of what was asked for."""


class BadFileError(SbcdarkError):
    """A file cannot be trusted: truncated, not FITS, or without what a measurement needs."""


class RejectedFilesError(SbcdarkError):
    """Some files were rejected or could not be fetched; the rest was done."""
