"""How IPython and notebooks show an error of the user: where it happened in their code, and the message."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from sbcdark.catalog.python_words import in_python

_OURS = __name__.partition(".")[0]
_SHELL = ("IPython", "ipykernel")


def shown_error(error: Exception, what: str, todo: str) -> list[str]:
    """Return the lines that tell of an error: those of the user's code, without those of this package, and the message.

    Parameters
    ----------
    what, todo : str
        As for `SbcdarkError`.
    """
    lines = [_line(*place) for place in _users_places(error)]
    lines.append(f"{type(error).__name__}: {in_python(what)}")
    return [*lines, in_python(todo)] if todo else lines


def _users_places(error: Exception) -> list[tuple[str, int, str]]:
    """Return file, number and text of the lines of the user's code, from the outermost to that of the call."""
    places = []
    for frame, number in traceback.walk_tb(error.__traceback__):
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if package == _OURS:
            break
        if package not in _SHELL:
            summary = traceback.FrameSummary(frame.f_code.co_filename, number, frame.f_code.co_name)
            places.append((summary.filename, number, summary.line or ""))
    return places


def _line(file: str, number: int, text: str) -> str:
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    name = getattr(getattr(shell, "compile", None), "format_code_name", lambda _: None)(file)
    where = f"File {file}" if name is None else " ".join(name)  # a cell has the name of its input: Cell In[3]
    return f"{where}, line {number}\n----> {text}\n"
