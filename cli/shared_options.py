"""Options that several commands share: the fields of one record."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable


def with_options(shared: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the fields of a record as options; the command itself receives the record.

    typer reads the signature of a command, so this one is assembled.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        # A record may have fields of a record of another file, whose annotations are texts of that file.
        hints = get_type_hints(shared, include_extras=True)
        fields = inspect.signature(shared).parameters.values()
        options = [one.replace(annotation=hints[one.name]) for one in fields]

        @wraps(command)
        def filled(**given: Any) -> None:
            command(shared(**{one.name: given.pop(one.name) for one in options}), **given)

        del filled.__wrapped__
        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in [*options, *own]]
        filled.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        filled.__annotations__ = {one.name: one.annotation for one in parameters}
        return filled

    return decorate
