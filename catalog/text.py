"""Words for messages."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_NO_CHARACTER = re.compile("[\\udc80-\\udcff]")


def number(count: int, noun: str) -> str:
    """Return a count with its noun: "1 file", "2 files", "1 match", "2 matches"."""
    if count == 1:
        return f"{count} {noun}"
    return f"{count} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def listed(words: Sequence[str], most: int = 8) -> str:
    """Return words separated by commas, the first few of many."""
    more = len(words) - most
    return ", ".join(words) if more <= 0 else f"{', '.join(words[:most])} and {more} more"


def characters(text: str) -> str:
    """Return text with bytes that are not UTF-8 (in file names; Python uses surrogates) as escape sequences."""
    return os.fsencode(text).decode("utf-8", "backslashreplace") if _NO_CHARACTER.search(text) else text
