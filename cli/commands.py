"""How every command reads its options, each of them once, and shows them, in words of the field."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from sbcdark.catalog.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

_TYPE = re.compile(r" <[^>]*>$")
"""What typer adds to the name of an argument: the type in Python."""

_RANGES = (
    (re.compile(r"([-0-9.]+)<=x<=([-0-9.]+)(?=\])"), r"from \1 to \2"),
    (re.compile(r"x>=([-0-9.]+)(?=\])"), r"at least \1"),
    (re.compile(r"\b([0-9]+)\.0(?=[\];])"), r"\1"),
)
"""How typer writes ranges and numbers, and how people do."""


class _ReadsOptionsOnce:
    """Refuse options that are given twice with different values, of which the last would count silently."""

    def make_parser(self, ctx: Any) -> Any:
        parser: Any = super().make_parser(ctx)  # type: ignore[misc]
        options = [*parser._long_opt.values(), *parser._short_opt.values()]  # noqa: SLF001  nothing else tells of them
        for option in dict.fromkeys(options):
            if option.action in {"store", "store_const"}:
                option.process = _once(option)
        return parser


def _once(option: Any) -> Callable[[Any, Any], None]:
    """Return how the parser takes an option: as before, but a second value is an error."""
    take = option.process

    def process(value: Any, state: Any) -> None:
        before, given = state.opts.get(option.dest), option.dest in state.opts
        take(value, state)
        now = state.opts[option.dest]
        if not given or now == before:
            return
        own = option.obj
        if option.action == "store_const":
            pair = " and ".join([*own.opts, *own.secondary_opts])
            raise UsageError(f"{pair} exclude each other.", "Give only one of them.")
        raise UsageError(f"{own.opts[0]} is given twice: {before!r} and {now!r}.", "Give it once.")

    return process


class Command(_ReadsOptionsOnce, TyperCommand):
    """A command."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the line on how to use it."""
        return ["[OPTIONS]", *(argument_form(one) for one in self.get_params(ctx) if one.param_type_name == "argument")]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write what each argument and each option is."""
        for kind in ("argument", "option"):
            shown = [one for one in self.get_params(ctx) if one.param_type_name == kind]
            records = [record for one in shown if (record := one.get_help_record(ctx)) is not None]
            if records:
                with formatter.section(f"{kind.capitalize()}s"):
                    formatter.write_dl([(_TYPE.sub("", name), _plain(text)) for name, text in records])


def argument_form(argument: Any) -> str:
    """Return an argument as a command line has it: "PATH...", "[NAME]..."."""
    name = argument.metavar or argument.name.upper()
    return f"{name if argument.required else f'[{name}]'}{'' if argument.nargs == 1 else '...'}"


def _plain(text: str) -> str:
    for theirs, ours in _RANGES:
        text = theirs.sub(ours, text)
    return text


class _Group(_ReadsOptionsOnce, TyperGroup):
    """The program, or a command with commands."""


class App(typer.Typer):
    """Commands that are read and shown in this way."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=_Group, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[F], F]:
        """Register a command."""
        return super().command(name, cls=Command, **settings)
