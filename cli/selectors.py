"""What a command works on: names, --program, --association, --target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sbcdark.catalog.errors import UsageError
from sbcdark.keywords import selector_from
from sbcdark.pipeline.selection.names import Selector

if TYPE_CHECKING:
    from collections.abc import Sequence

_NUMBERED = {
    "program": (999_999, "Write e.g. --program 13655, or --program 13655,13961 for several."),
    "selection": (
        2**31 - 1,
        "`sbcdark show NAME` lists those of an exposure; write e.g. --selection 1,2 for several.",
    ),
}
"""The largest number after an option, and what to write."""

NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="Exposures, associations, or their files.")
]
ProgramOption = Annotated[
    list[str] | None,
    typer.Option("--program", metavar="N", help="Exposures of a program; several by commas."),
]
AssociationOption = Annotated[
    list[str] | None, typer.Option("--association", metavar="A", help="Exposures of an association; several by commas.")
]
TargetOption = Annotated[
    list[str] | None,
    typer.Option("--target", metavar="NAME", help="Exposures of a target, by its TARGNAME; several by commas."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectorOptions:
    """The options that select exposures: of a command on science exposures its science, else darks, too."""

    names: NamesArgument = None
    program: ProgramOption = None
    association: AssociationOption = None
    target: TargetOption = None

    @property
    def selector(self) -> Selector:
        """What is selected."""
        return selector_from(
            self.names or (),
            program=numbers_of("program", self.program or ()),
            association=self.association,
            target=self.target,
        )


def numbers_of(option: Literal["program", "selection"], texts: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers that a user typed after an option, several by commas.

    Raises
    ------
    UsageError
        One is not such a number.
    """
    largest, todo = _NUMBERED[option]
    words = [word.strip() for text in texts for word in text.split(",")]
    for word in words:
        if not (word.isascii() and word.isdecimal() and len(word) <= len(f"{largest}") and 1 <= int(word) <= largest):
            raise UsageError(f"--{option} {word!r} is not the number of a {option}.", todo)
    return tuple(map(int, words))
