"""Words for messages."""

import os
import re

_NO_CHARACTER = re.compile("[\\udc80-\\udcff]")


def number(count: int, noun: str) -> str:
    """Return a count with its noun: "1 file", "2 files", "1 match", "2 matches"."""
    if count == 1:
        return f"{count} {noun}"
    return f"{count} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def characters(text: str) -> str:
    """Return text with bytes that are not UTF-8 (in file names; Python uses surrogates) as escape sequences."""
    return os.fsencode(text).decode("utf-8", "backslashreplace") if _NO_CHARACTER.search(text) else text
