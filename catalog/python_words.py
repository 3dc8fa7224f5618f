"""What to type, in Python: the methods and keywords of `Catalog` for the commands and options that messages name."""

from __future__ import annotations

import re

_SAME = (
    *("changes", "darks", "exposures", "fetch", "ingest", "match", "plot", "programs", "relocate", "replay", "report"),
    *("restore", "retire", "run", "serve", "show", "status", "subtract", "validate", "verify", "why"),
)
METHODS = dict(zip(_SAME, _SAME, strict=True)) | {
    "db export": "export",
    "db import": "import_",
    "masterdark": "run",
    "photometry": "run",
}
"""The method of each command; a command without one stays a command."""

KEYWORDS = {"aperture": "apertures", "darks": "darks", "min-exptime": "min_exptime_s", "temp": "temperature_c"} | {
    name: name.replace("-", "_")
    for name in (
        *("apertures", "association", "checksum", "combine", "dry-run", "filter", "final-kernel", "final-pixfrac"),
        *("final-refimage", "final-rot", "final-scale", "flat", "growth", "host", "hot", "mask", "max-days"),
        *("max-sigma", "mixed", "near", "overwrite", "port", "program", "quality", "reason", "regions", "renew"),
        *("rule", "save", "scheduler", "science", "seed", "since", "sky", "sort", "target", "top", "until", "update"),
        *("use", "visit", "where", "workers"),
    )
}
"""The keyword of each option."""

_FLAGS = {name: f"{KEYWORDS[name]}=True" for name in ("checksum", "dry-run", "hot", "mixed", "overwrite", "renew")}
_FLAGS |= {"darks": "science=False", "science": "darks=False", "save": "save=True", "update": "update=True"}
_WORD = re.compile(r"""(?:(?<!\w)'[^']*'(?!\w)|(?<!\w)"[^"]*"(?!\w)|\S)+""")
_PARTS = re.compile(r"([(`]*)(.*?)([.,;:)`]*)")
_VALUE = re.compile(
    r"'.*'|\".*\"|[A-Z][A-Z0-9_.]*|-?[0-9].*|.*[a-z]\d.*|.*[/:@=].*|"
    r"box|fit|glow|mean|model|nearest|none|notebook|temperature"
)
"""What an option takes: quoted text, a word in capitals that stands for it, a number, a root name, a path, a choice."""

_NAME = re.compile(r"'.*'|[A-Z]{2,}|[a-z0-9]{9}|(?=.*[/.]).+|fit|match|templates")
"""What a command takes: a word in capitals that stands for it, a root name, a path, a kind of picture."""


def in_python(text: str) -> str:
    """Return a message that has, for the commands and options that it names, the methods and keywords of `Catalog`."""
    if "sbcdark " not in text and "-o" not in text and "--" not in text:
        return text
    words = _WORD.findall(text.replace(" with -o", ""))
    said: list[str] = []
    while words:
        said += _next(words)
    return " ".join(said)


def _next(words: list[str]) -> list[str]:
    """Take a word, or those of a command or an option, and return it in Python."""
    begin, word, end = _parts(words.pop(0))
    if word == "sbcdark" and not end:
        following = [_parts(one) for one in words[:2]]
        for command in (" ".join(one[1] for one in following), *(one[1] for one in following[:1])):
            if command in METHODS:
                return [begin + _call(command, words)]
    if word == "-o":
        return []
    if word == "--db":
        value, end = _value(words, end)
        return [f"{begin}Catalog{'' if value is None else f'({_quoted(value)})'}{end}"]
    if word.startswith("--") and word[2:] in KEYWORDS:
        said, end = _keyword(word[2:], words, end)
        return [begin + said + end]
    return [begin + word + end]


def _parts(word: str) -> tuple[str, str, str]:
    """Return the signs before a word, the word, and the signs behind it."""
    found = _PARTS.fullmatch(word)
    return ("", word, "") if found is None else (found[1], found[2], found[3])


def _value(words: list[str], end: str) -> tuple[str | None, str]:
    """Take what an option has behind it; return it, or None, and the signs behind."""
    if not words or end:
        return None, end
    begin, value, behind = _parts(words[0])
    if begin or not _VALUE.fullmatch(value):
        return None, end
    del words[0]
    return value, behind


def _keyword(option: str, words: list[str], end: str, *, in_call: bool = False) -> tuple[str, str]:
    """Return an option as a keyword with its value, and the signs behind."""
    name = KEYWORDS[option]
    if option in _FLAGS:
        return _FLAGS[option], end
    value, end = _value(words, end)
    if value is None:
        return (f"{name}=True" if in_call else f"`{name}`"), end
    exposure, equals, dark = value.partition("=")
    if option == "use":
        return f"use={{{_quoted(exposure)}: {_quoted(dark)}}}" if equals else f"use={_quoted(value)}", end
    return f"{name}={_quoted(value)}", end


def _quoted(value: str) -> str:
    """Return a value as Python has it: a number, N, or text in quotes."""
    if value == "N" or re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
        return value
    return '"' + value.strip("'\"") + '"'


def _call(command: str, words: list[str]) -> str:
    """Take the arguments of a command, and return the call with the signs behind."""
    end = ""
    for _ in command.split():
        end = _parts(words.pop(0))[2]
    method, names, named = METHODS[command], list[str](), list[str]()
    while words and not end:
        begin, word, behind = _parts(words[0])
        option = word.removeprefix("--")
        if begin or (word not in {"-o", "--selection"} and option not in KEYWORDS and not _NAME.fullmatch(word)):
            break
        del words[0]
        end = behind
        if word == "-o":
            value = None if end or not words else words.pop(0)
            _, value, end = ("", None, end) if value is None else _parts(value)
            named.append(f"{'path' if method == 'plot' else 'folder'}={_quoted(value or 'DIR')}")
        elif word == "--selection":
            value, end = _value(words, end)
            method, names = "selection", [_quoted(value or "N")]
        elif word.startswith("--"):
            said, end = _keyword(option, words, end, in_call=True)
            named.append(said)
        else:
            names.append(_quoted(word))
    return f"catalog.{method}({', '.join([*names, *named])}){end}"
