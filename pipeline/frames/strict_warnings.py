"""Warnings of astropy that mean a broken file, as errors, in all threads that read."""

from __future__ import annotations

import threading
import warnings
from contextlib import ExitStack


class _StrictWarnings:
    """The warnings of astropy that are errors here, as long as any thread reads a file.

    The filters of warnings belong to the whole process, so that the first thread sets them and the last resets them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._before = ExitStack()

    def __enter__(self) -> None:
        from astropy.utils.exceptions import AstropyUserWarning  # noqa: PLC0415  needed only to read files

        with self._lock:
            if self._readers == 0:
                self._before.enter_context(warnings.catch_warnings())
                # "File may have been truncated" is a warning in astropy and a reason to refuse here; remarks on style
                # (a card that could be written better) are not.
                warnings.simplefilter("ignore")
                warnings.filterwarnings("error", message="(?s).*truncated.*", category=AstropyUserWarning)
                warnings.filterwarnings("error", message="(?s).*Error validating header.*", category=AstropyUserWarning)
            self._readers += 1

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._readers -= 1
            if self._readers == 0:
                self._before.close()


STRICT_WARNINGS = _StrictWarnings()
