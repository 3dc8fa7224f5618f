"""What a user names: exposures, associations, programs, targets, as people type them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sbcdark.catalog import queries
from sbcdark.catalog.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

_FILE = re.compile(r"(?:.*[/\\])?([A-Za-z0-9]{8,9})(?:_[A-Za-z0-9]+)?\.fits(?:\.(?:gz|bz2|xz))?", re.DOTALL)
"""A file of the archive: its name begins with the root name of its exposure or association."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Which exposures a command works on; what is given adds up.

    Attributes
    ----------
    names : sequence of str
        Root names of exposures and associations, in upper or lower case, with 8 or 9 characters, or names of their
        files.
    program : int or None
        All science exposures of a program.
    association : str or None
        All exposures of an association.
    target : str or None
        All science exposures of a target, by its name in the header (TARGNAME), in upper or lower case.
    everything : bool
        All science exposures of the catalog.
    """

    names: Sequence[str] = ()
    program: int | None = None
    association: str | None = None
    target: str | None = None
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A target: an association with its exposures, or single exposures."""

    name: str
    exposures: tuple[str, ...]
    absent: tuple[str, ...] = ()


def resolve_exposure(session: Session, name: str) -> str:
    """Return the root name of an exposure given in upper or lower case, with 8 or 9 characters.

    Raises
    ------
    UsageError
        The catalog has no such exposure; the message suggests similar names.
    """
    wanted = as_root_name(name)
    if wanted.isalnum() and len(wanted) == 9 and queries.has_exposure(session, wanted):
        return wanted
    plain = wanted.isalnum() and wanted.isascii()
    if plain and len(wanted) == 8:
        complete = queries.completions(session, wanted)
        if len(complete) == 1:
            return complete[0]
    near = queries.similar_names(session, wanted) if plain else []
    hint = f" Did you mean {', '.join(near)}?" if near else ""
    raise UsageError(f"The catalog has no exposure {name!r}.{hint}", "List them: sbcdark exposures")


def resolve_target(session: Session, selector: Selector | Sequence[str]) -> list[Target]:
    """Return the targets of a selector, without duplicates.

    Each association is a target. Exposures that are named one by one are one target together; those of a program or a
    target that belong to no association are a target each.

    Parameters
    ----------
    session : Session
        A session.
    selector : Selector or sequence of str
        What is selected; a sequence stands for names.

    Raises
    ------
    UsageError
        A name is neither an association nor an exposure; the program or target has no science exposure; nothing is
        selected.
    """
    wanted = selector if isinstance(selector, Selector) else Selector(selector)
    names = [wanted.names] if isinstance(wanted.names, str) else wanted.names
    targets: dict[str, Target] = {}
    exposures: dict[str, None] = {}
    for name in dict.fromkeys(as_root_name(name) for name in [*names, *filter(None, [wanted.association])]):
        association = queries.find_association(session, name) if name.isalnum() else None
        if association is not None:
            targets[name] = Target(name, association.present, association.absent)
        else:
            exposures.setdefault(resolve_exposure(session, name))
    if exposures:
        first = next(iter(exposures))
        targets[first] = Target(first, tuple(exposures))
    if wanted.everything or wanted.program is not None or wanted.target is not None:
        for one in _of_program_or_target(session, wanted):
            targets.setdefault(one.name, one)
    if not targets:
        raise UsageError("No exposure is given.", "Give root names, --program N, --association NAME or --target NAME.")
    return list(targets.values())


def _of_program_or_target(session: Session, wanted: Selector) -> list[Target]:
    found = queries.science_names(session, program=wanted.program, target=wanted.target)
    if not found:
        what = " and ".join(
            text
            for text in (
                None if wanted.program is None else f"of program {wanted.program}",
                None if wanted.target is None else f"of target {wanted.target!r}",
            )
            if text is not None
        )
        what = f"The catalog has no science exposure{f' {what}' if what else ''}."
        raise UsageError(what, "Ingest its FLT files: sbcdark ingest PATH")
    targets: dict[str, Target] = {}
    for rootname, name in found:
        association = None if name is None else queries.find_association(session, name)
        if association is not None and rootname in association.present:
            targets.setdefault(association.name, Target(association.name, association.present, association.absent))
        else:
            targets[rootname] = Target(rootname, (rootname,))
    return list(targets.values())


def as_root_name(text: str) -> str:
    """Return the root name that a user typed, by itself or as the name or path of a file, in lower case."""
    match = _FILE.fullmatch(text.strip())
    return (text.strip() if match is None else match[1]).lower()


def named_exposures(session: Session, selector: Selector) -> list[str]:
    """Return the exposures of a selector.

    Raises
    ------
    UsageError
        As for `resolve_target`.
    """
    found = [name for target in resolve_target(session, selector) for name in target.exposures]
    if not found:
        raise UsageError(
            "None of the exposures given is in the catalog.", "Ingest their FLT files: sbcdark ingest PATH"
        )
    return list(dict.fromkeys(found))
