"""What a command works on: names, --program, --association, --target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from sbcdark.pipeline.selection.names import Selector

ProgramOption = Annotated[
    int | None, typer.Option("--program", metavar="N", min=1, max=999_999, help="All science of a program.")
]
AssociationOption = Annotated[
    str | None, typer.Option("--association", metavar="A", help="All exposures of an association.")
]
TargetOption = Annotated[
    str | None, typer.Option("--target", metavar="NAME", help="All science of a target, by its TARGNAME.")
]
OfProgramOption = Annotated[
    int | None, typer.Option("--program", metavar="N", min=1, max=999_999, help="All exposures of a program.")
]
OfTargetOption = Annotated[
    str | None, typer.Option("--target", metavar="NAME", help="All exposures of a target, by its TARGNAME.")
]
NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Exposures, associations, or their files.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectorOptions:
    """The options that select exposures, science exposures and darks alike."""

    names: NamesArgument = None
    program: OfProgramOption = None
    association: AssociationOption = None
    target: OfTargetOption = None

    @property
    def selector(self) -> Selector:
        """What is selected."""
        return Selector(tuple(self.names or ()), self.program, self.association, self.target)
