"""What a command works on: names, --program, --association, --target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from sbcdark.pipeline.selection.names import Selector

NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="Exposures, associations, or their files.")
]
ProgramOption = Annotated[
    list[int] | None,
    typer.Option("--program", metavar="N", min=1, max=999_999, help="Exposures of a program; repeatable."),
]
AssociationOption = Annotated[
    list[str] | None, typer.Option("--association", metavar="A", help="Exposures of an association; repeatable.")
]
TargetOption = Annotated[
    list[str] | None,
    typer.Option("--target", metavar="NAME", help="Exposures of a target, by its TARGNAME; repeatable."),
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
        return Selector(
            tuple(self.names or ()),
            program=tuple(self.program or ()),
            association=tuple(self.association or ()),
            target=tuple(self.target or ()),
        )
