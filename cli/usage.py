"""Mistyped commands and options: what is wrong, and what to type instead, in the form of all other errors."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import typer

from sbcdark.catalog.errors import UsageError
from sbcdark.cli.commands import argument_form

if TYPE_CHECKING:
    from collections.abc import Sequence

MISTYPED: Any = typer.BadParameter.__base__
"""The class of what typer says of a mistyped command line; typer keeps it to itself."""

_SAID = (
    ("Input should be a valid integer, unable to parse string as an integer", "it is not an integer"),
    ("Input should be a valid number, unable to parse string as a number", "it is not a number"),
    ("Input should be greater than or equal to", "it is less than"),
    ("Input should be less than or equal to", "it is more than"),
    ("Value error, ", ""),
)
_OTHER_COMMANDS = {
    "coverage": "plot coverage",
    "delete": "retire",
    "drizzle": "run",
    "files": "verify",
    "fit": "plot fit",
    "history": "plot history",
    "info": "show",
    "list": "exposures",
    "log": "status",
    "remove": "retire",
    "science": "exposures",
    "select": "match",
    "templates": "plot templates",
    "upgrade": "db upgrade",
}
"""Words that people try, and the command that does it."""


def usage_error(mistyped: Any) -> UsageError:
    """Return the error of a mistyped command line.

    Parameters
    ----------
    mistyped : MISTYPED
        What typer raised: it has a message, the context of the command and perhaps the parameter.
    """
    what = re.sub(r"\s+", " ", mistyped.format_message()).strip()
    for theirs, ours in _SAID:
        what = what.replace(theirs, ours)
    context = mistyped.ctx
    if context is None:
        return UsageError(what, "sbcdark -h lists the commands.")
    todo = f"{context.command_path} -h lists the {'commands' if hasattr(context.command, 'commands') else 'options'}."
    what = re.sub(r" \(Possible options?: .*\)", "", what)  # also those that are hardly alike
    hint = None if "Did you mean" in what else _instead(context, mistyped)
    if hint is not None:
        what = f"{what.rstrip('.')}. Did you mean {hint}?"
    if (more := re.fullmatch(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)\.?", what)) is not None:
        what = f"{context.command_path} does not take {more[1]}."
        todo = f"Write {_form(context)}; put text with blanks in quotes; {todo}"
    parameter = getattr(mistyped, "param", None)
    if parameter is not None and what.startswith("Missing argument"):
        todo = f"Write {_form(context)}; {todo}"
    if parameter is not None and what.startswith("Missing option"):
        todo = f"Give {max(parameter.opts, key=len)} {parameter.metavar or parameter.name.upper()}; {todo}"
    return UsageError(what, todo)


def _form(context: Any) -> str:
    """Return a command with its arguments: "sbcdark why EXPOSURE DARK"."""
    arguments = [one for one in context.command.params if one.param_type_name == "argument"]
    return " ".join([context.command_path, *map(argument_form, arguments)])


def _alike(option: str, known: Sequence[str]) -> str | None:
    """Return the option that is most like a mistyped one; one that is only its beginning, or begins with it, is."""
    begins = [name for name in known if len(name) > 3 and (option.startswith(name) or name.startswith(option))]
    if begins:
        return begins[0]
    near = get_close_matches(option.lstrip("-"), [name.lstrip("-") for name in known], 1)
    return f"--{near[0]}" if near else None


def _instead(context: Any, mistyped: Any) -> str | None:
    """Return the command or option that is most like a mistyped one."""
    option = getattr(mistyped, "option_name", None)
    if option is not None:
        known = [name for parameter in context.command.params for name in parameter.opts if name.startswith("--")]
        letters = [name for parameter in context.command.params for name in parameter.opts if len(name) == 2]
        return option[1:] if option[1:] in letters else _alike(option, known)
    word = re.fullmatch(r"No such command '(.*)'\.?", mistyped.format_message())
    if word is None:
        return None
    if word[1] in _OTHER_COMMANDS and context.command_path == "sbcdark":
        return f"sbcdark {_OTHER_COMMANDS[word[1]]}"
    near = get_close_matches(word[1], context.command.commands, 1)
    return f"{context.command_path} {near[0]}" if near else None
