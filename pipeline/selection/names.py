"""What a user names: exposures, associations, programs, targets, as people type them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sbcdark.catalog import queries
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.text import listed, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import ExposureRecord

_FILE = re.compile(r"(?:.*[/\\])?([A-Za-z0-9]{8,9})(?:_[A-Za-z0-9]+)?\.fits(?:\.(?:gz|bz2|xz))?", re.DOTALL)
"""A file of the archive: its name begins with the root name of its exposure or association."""

NAME_THEM = "Give root names, --program N, --association NAME or --target NAME."

_SELECTION_DIGITS = 3
"""Programs with SBC data have numbers of four or five digits."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Which exposures a command works on; what is given adds up.

    Attributes
    ----------
    names : sequence of str
        Root names of exposures and associations, in upper or lower case, with 8 or 9 characters, or names of their
        files.
    program : tuple of int
        All science exposures of these programs.
    association : tuple of str
        All exposures of these associations.
    target : tuple of str
        All science exposures of these targets, by their names in the header (TARGNAME), in upper or lower case; of both
        `program` and `target` those that are of one of these programs and one of these targets.
    everything : bool
        All science exposures of the catalog.
    """

    names: Sequence[str] = ()
    program: tuple[int, ...] = ()
    association: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    everything: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is selected."""
        return not (self.names or self.everything or self.program or self.association or self.target)


def selector_of(names: Selector | str | Sequence[str]) -> Selector:
    """Return a selector; a name or several select themselves."""
    if isinstance(names, Selector):
        return names
    return Selector([names] if isinstance(names, str) else names)


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
    raise _unknown(session, name, wanted, plain=plain)


def _unknown(session: Session, name: str, wanted: str, *, plain: bool) -> UsageError:
    """Return the error of a name that is no exposure: what it may be instead, and what to type."""
    what = f"The catalog has no exposure {name!r}."
    if wanted.isdecimal():
        return UsageError(
            what,
            f"A program is given by --program {wanted}."
            if len(wanted) > _SELECTION_DIGITS
            else "A list of numbers has commas and no blanks: 10,20,30. A stored selection: sbcdark show --selection N",
        )
    if "*" in name or "?" in name:
        return UsageError(f"{what} Root names take no wildcards.", f"Name several by commas. {NAME_THEM}")
    if wanted in {target.lower() for target in queries.target_names(session)}:
        return UsageError(what, f"A target is given by --target {name}.")
    members = queries.association_members(session, wanted) if plain else []
    if members:
        first = queries.find_exposure(session, members[0])
        of = "the darks " if first is not None and first.kind == "dark" else ""
        what = f"{wanted} is an association of {of}{listed(members)}."
        return UsageError(what, f"Name one of them, e.g. {members[0]}.")
    near = queries.similar_names(session, wanted) if plain else []
    hint = f" Did you mean {', '.join(near)}?" if near else ""
    return UsageError(f"{what}{hint}", "List them: sbcdark exposures")


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
        A name is neither an association nor an exposure; a program or target has no science exposure; nothing is
        selected.
    """
    wanted = selector_of(selector)
    names = [wanted.names] if isinstance(wanted.names, str) else wanted.names
    targets: dict[str, Target] = {}
    exposures: dict[str, None] = {}
    for name in dict.fromkeys(as_root_name(name) for name in [*names, *wanted.association]):
        # Most names are those of exposures, and no association has the name of one.
        if queries.has_exposure(session, name):
            exposures.setdefault(name)
            continue
        association = queries.find_association(session, name) if name.isalnum() else None
        if association is not None:
            targets[name] = Target(name, association.present, association.absent)
            continue
        try:
            exposures.setdefault(resolve_exposure(session, name))
        except UsageError:
            if members := queries.association_members(session, name):
                raise _without_table(session, name, members) from None
            raise
    if exposures:
        first = next(iter(exposures))
        targets[first] = Target(first, tuple(exposures))
    for record in _beside_names(session, wanted, "science"):
        own = _target_of(session, record.rootname, record.association)
        targets.setdefault(own.name, own)
    if not targets:
        raise UsageError("No exposure is given.", NAME_THEM)
    return list(targets.values())


def _without_table(session: Session, name: str, members: Sequence[str]) -> UsageError:
    """Return the error of an association that exposures name, but whose table the catalog has not, as of darks."""
    first = queries.find_exposure(session, members[0])
    if first is not None and first.kind == "dark":
        return UsageError(
            f"{name} is an association of {number(len(members), 'dark')}; science exposures are needed.",
            f"Name them, or their associations: sbcdark exposures lists them. The darks: sbcdark darks {name}",
        )
    return UsageError(
        f"The catalog has exposures of the association {name}, {listed(members)}, but not its table.",
        "Ingest the ASN file: sbcdark ingest PATH. Or name the exposures.",
    )


def _beside_names(session: Session, wanted: Selector, kind: str | None = None) -> list[ExposureRecord]:
    """Return the exposures of the programs and targets of a selector, or all of them, in the order of time.

    Raises
    ------
    UsageError
        One of the programs or targets has none, which may be mistyped.
    """
    if not (wanted.everything or wanted.program or wanted.target):
        return []
    found = queries.list_exposures(session, queries.ExposureFilter(kind, program=wanted.program, target=wanted.target))
    programs, targets = {one.program for one in found}, {(one.target or "").lower() for one in found}
    without = [number for number in wanted.program if number not in programs]
    nameless = [name for name in wanted.target if name.strip().lower() not in targets]
    if found and not without and not nameless:
        return found
    parts = [f"of program {' or '.join(map(str, without or wanted.program))}"] if wanted.program else []
    parts += [f"of target {' or '.join(map(repr, nameless or wanted.target))}"] if wanted.target else []
    what = " ".join(["The catalog has no", *([kind] if kind else []), "exposure", *" and ".join(parts).split()])
    there = queries.target_names(session) if wanted.target else []
    known = f" Its targets are: {listed(there)}." if there else ""
    if kind == "science" and (without or wanted.program):
        darks = queries.list_exposures(
            session, queries.ExposureFilter("dark", program=tuple(without) or wanted.program)
        )
        if darks and not wanted.target:
            raise UsageError(
                f"{what}, but {number(len(darks), 'dark')}.",
                "Name a science program: sbcdark status lists the programs.",
            )
    raise UsageError(f"{what}.{known}", "Ingest its FLT files: sbcdark ingest PATH" if kind else NAME_THEM)


def product_target(session: Session, rootname: str) -> Target:
    """Return the target whose product an exposure belongs to: its association, or itself alone."""
    values = queries.match_values(session, rootname)
    return _target_of(session, rootname, None if values is None else values.association)


def _target_of(session: Session, rootname: str, name: str | None) -> Target:
    association = None if name is None else queries.find_association(session, name)
    if association is None or rootname not in association.present:
        return Target(rootname, (rootname,))
    return Target(association.name, association.present, association.absent)


def as_root_name(text: str) -> str:
    """Return the root name that a user typed, by itself or as the name or path of a file, in lower case."""
    match = _FILE.fullmatch(text.strip())
    return (text.strip() if match is None else match[1]).lower()


def selected_exposures(session: Session, selector: Selector) -> list[str]:
    """Return the exposures of a selector, science exposures and darks, in the order of the names, then of time.

    An association stands for its exposures, also one of darks, whose table the archive does not ship.

    Raises
    ------
    UsageError
        A name is neither an association nor an exposure; an association, program or target has no exposure.
    """
    names = [selector.names] if isinstance(selector.names, str) else selector.names
    found: dict[str, None] = {}
    for name in [*names, *selector.association]:
        members = queries.association_members(session, as_root_name(name))
        found |= dict.fromkeys(members or [resolve_exposure(session, name)])
    found |= dict.fromkeys(record.rootname for record in _beside_names(session, selector))
    return list(found)


def names_of(session: Session, selector: Selector | None) -> frozenset[str] | None:
    """Return the exposures of a selector as `selected_exposures` does; None, for all, where it selects nothing."""
    return None if selector is None or selector.is_empty else frozenset(selected_exposures(session, selector))


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
