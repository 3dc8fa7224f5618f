"""Signatures that show the keywords of a method."""

from __future__ import annotations

from inspect import Parameter, get_annotations, signature
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Method = TypeVar("Method", bound="Callable[..., Any]")


class _Default:
    def __repr__(self) -> str:
        return "..."


_DEFAULT = _Default()
"""Stands for the default, which the job knows."""


def _written(annotation: Any) -> Any:
    return getattr(annotation, "__forward_arg__", annotation)  # a TypedDict wraps the text of an annotation


def with_keywords(kind: type) -> Callable[[Method], Method]:
    """Show the keywords of a TypedDict in place of ``**options``, in help, completion and documentation.

    Checkers of types read ``Unpack`` instead; a shell does not.
    """

    def shown(method: Method) -> Method:
        own = signature(method)
        named = [one for one in own.parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
        more = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=_DEFAULT, annotation=_written(annotation))
            for name, annotation in get_annotations(kind).items()
        ]
        method.__signature__ = own.replace(parameters=[*named, *more])  # type: ignore[attr-defined]
        return method

    return shown
