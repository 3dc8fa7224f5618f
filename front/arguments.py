"""The arguments of the methods of a catalog, checked by their annotations in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import wraps
from inspect import Parameter, getmembers, isfunction, signature
from math import inf
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar

from sbcdark.catalog.errors import ArgumentError, InterruptedCallError
from sbcdark.keywords import wrong_type

Class = TypeVar("Class", bound=type)

_A_PATH = ("a path (str or Path)", lambda value: isinstance(value, str | Path))
_EXPECTED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "bool": ("True or False", lambda value: isinstance(value, bool)),
    "int": ("an integer", lambda value: isinstance(value, Integral) and not isinstance(value, bool)),
    "int | str": ("an integer or a str", lambda value: isinstance(value, Integral | str) and value is not True),
    "float": ("a number", lambda value: isinstance(value, Real) and not isinstance(value, bool)),
    "str": ("a str", lambda value: isinstance(value, str)),
    "str | Rule": ("a rule such as 'glow'", lambda value: isinstance(value, str)),
    "str | Combine": ("a method such as 'model'", lambda value: isinstance(value, str)),
    "str | Path": _A_PATH,
    "Folder": _A_PATH,
    "Callable[[str], None]": ("a function of a message", callable),
    "Iterable[float]": ("numbers", lambda value: isinstance(value, Iterable) and not isinstance(value, str)),
    "Mapping[str, str | Sequence[str]]": (
        "a dict such as {'jcmc11e6q': 'jcrx01ixq'}",
        lambda value: isinstance(value, Mapping),
    ),
}
"""What an annotation means to a user. The methods check what may be given in more ways: names, times, apertures."""

_RANGES: dict[str, tuple[float, float]] = {
    "apertures": (2, 1000),
    "max_days": (0, inf),
    "max_sigma": (0, inf),
    "min_exptime_s": (0, inf),
    "port": (0, 65535),
    "seed": (0, inf),
    "top": (1, inf),
    "workers": (1, inf),
}
"""The least and the largest value of numbers, as of the options of the command line."""


def checked(kind: Class) -> Class:
    """Check the arguments of the methods of a class, and shorten what an interrupt shows."""
    for name, method in getmembers(kind, isfunction):
        if not name.startswith("_"):
            setattr(kind, name, _checked(name, method))
    return kind


def _checked(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(*given: Any, **named: Any) -> Any:
        try:
            _check(name, method, given, named)
            return method(*given, **named)
        except ArgumentError as error:
            error.todo = error.todo or f"help(Catalog.{name}) describes the arguments."
            raise
        except InterruptedCallError:
            raise
        except KeyboardInterrupt:
            raise InterruptedCallError from None

    return call


def _check(name: str, method: Callable[..., Any], given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Check the arguments of a call.

    Raises
    ------
    ArgumentError
        One is unknown or missing, or has the wrong type.
    """
    wanted = signature(method)
    known = [one for one in wanted.parameters if one != "self"]
    for keyword in named:
        if keyword not in known:
            near = get_close_matches(keyword, known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ArgumentError(
                f"There is no keyword {keyword!r}.{hint}", f"{name} takes: {', '.join(known) or 'none'}."
            )
    try:
        bound = wanted.bind(*given, **named)
    except TypeError as error:
        raise ArgumentError(f"{name}: {error}.", f"{name} takes: {', '.join(known) or 'none'}.") from None
    for keyword, value in bound.arguments.items():
        own = wanted.parameters[keyword]
        if value is None and own.default is not Parameter.empty:
            continue
        expected, fits = _EXPECTED.get(str(own.annotation).removesuffix(" | None"), ("", lambda _: True))
        if not fits(value):
            raise wrong_type(keyword, expected, value)
        least, most = _RANGES.get(keyword, (-inf, inf))
        if isinstance(value, Real) and not least <= float(value) <= most:
            limits = f"at least {least}" if most == inf else f"from {least} to {most}"
            raise ArgumentError(f"{keyword}: {value} is not {limits}.")
