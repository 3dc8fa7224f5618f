"""Stored selections that the current catalog would make differently."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from sbcdark.catalog import results
from sbcdark.catalog.engine import reading
from sbcdark.catalog.opening import as_engine
from sbcdark.pipeline.selection import choice, rules
from sbcdark.pipeline.selection.names import names_of
from sbcdark.pipeline.selection.rules import Combine, Requirements, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import sqlalchemy as sa
    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import Match
    from sbcdark.catalog.result_records import StoredSelection
    from sbcdark.pipeline.selection.names import Selector


@dataclass(frozen=True, slots=True)
class Change:
    """A stored selection that the current catalog would make differently."""

    selection: int
    exposure: str
    rule: str
    tier: str
    tier_today: str
    darks: tuple[str, ...]
    darks_today: tuple[str, ...]
    reasons: tuple[str, ...]


def changes(catalog: sa.Engine | str | Path, selector: Selector | None = None) -> list[Change]:
    """Return the stored selections that the current catalog would make differently, and why.

    Each one is repeated with its own rule and parameters; for a selection forced by the user, only the files are
    checked.

    Parameters
    ----------
    selector : Selector, optional
        Only the selections of these exposures.
    """
    found = []
    with reading(as_engine(catalog)) as session:
        named = names_of(session, selector)
        for stored in results.stored_selections(session):
            if named is not None and stored.exposure not in named:
                continue
            change = _change(session, stored)
            if change is not None:
                found.append(change)
    return found


def _change(session: Session, stored: StoredSelection) -> Change | None:
    reasons = [
        f"the content of {dark.dark}'s file has changed" if state == "changed" else f"{dark.dark}'s file is missing"
        for dark, state in zip(stored.darks, stored.file_states, strict=True)
        if state != "present"
    ]
    before = tuple(dark.dark for dark in stored.darks)
    today, tier = before, stored.tier
    if stored.rule != rules.FORCED:
        match = _again(session, stored)
        today, tier = tuple(dark.dark for dark in match.darks), match.tier
        rejected = {one.dark: one.reason for one in match.nearest_rejected}
        reasons += [
            f"{name} is no longer selected: {rejected.get(name, 'others fit better')}"
            for name in _without(before, today)
        ]
        reasons += [f"{name} is now selected" for name in _without(today, before)]
        if set(before) == set(today) and before != today:
            reasons.append("the order is different")
        if tier != stored.tier:
            reasons.append(f"the tier is {tier}, it was {stored.tier}")
    if not reasons:
        return None
    return Change(stored.id, stored.exposure, stored.rule, stored.tier, tier, before, today, tuple(reasons))


def _without(names: Sequence[str], others: Sequence[str]) -> list[str]:
    return [name for name in names if name not in others]


def _again(session: Session, stored: StoredSelection) -> Match:
    parameters: dict[str, Any] = dict(stored.parameters)
    known = {field.name for field in fields(Requirements)}
    wanted = replace(Requirements(), **{key: value for key, value in parameters.items() if key in known})
    rule = Rule(stored.rule)
    if "combine" not in parameters:
        return choice.match_exposure(session, stored.exposure, rule, wanted)
    matches = choice.choose_for(session, parameters["exposures"], Combine(parameters["combine"]), rule, wanted)
    return next(match for match in matches if match.exposure == stored.exposure)
