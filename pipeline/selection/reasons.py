"""Reasons for one pair of exposure and dark: every gate, every term, and what would admit the dark."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING

from sbcdark.catalog import nearest_darks, queries
from sbcdark.catalog.criteria import USABLE
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.opening import as_engine
from sbcdark.pipeline.frames.notebook_forms import ShownWithTable
from sbcdark.pipeline.selection import rules
from sbcdark.pipeline.selection.choice import match_exposure
from sbcdark.pipeline.selection.file_state import with_current_file
from sbcdark.pipeline.selection.names import resolve_exposure
from sbcdark.pipeline.selection.rules import Requirements, Rule

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa
    from astropy.table import QTable
    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import Match, MatchValues


_COUNTED = 10_000
"""Darks that fit better are counted up to this number."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table: the quantity, its value, the requirement, and whether it passes.

    `passed` is None if the line is for information only: a term that the rule does not rank by.
    """

    check: str
    value: str
    wanted: str
    passed: bool | None


@dataclass(frozen=True, slots=True, repr=False)
class Explanation(ShownWithTable):
    """Whether one dark is selected for one exposure, and why.

    Attributes
    ----------
    rank : int or None
        Its rank among all darks within the tier, using the catalog's state of the files ranked before it; 10,001
        stands for that rank or a later one. None if it is outside the tier.
    taken : bool
        Whether it is among the first `top`.
    relaxation : str or None
        The smallest change that would admit it: options of `match`, or a command; None if nothing is needed or
        nothing would help.
    summary : str
        The answer in one sentence.
    """

    exposure: str
    dark: str
    rule: str
    tier: str
    rank: int | None
    taken: bool
    checks: tuple[Check, ...]
    relaxation: str | None
    summary: str

    def __repr__(self) -> str:
        """Give the answer; `table` has the checks."""
        return f"<{type(self).__name__} {self.exposure}, {self.dark}: {self.summary}>"

    @property
    def table(self) -> QTable:
        """The checks in order: what is compared, the value (science - dark), what is wanted, and whether it passes."""
        from sbcdark.pipeline.frames.tables import to_qtable  # noqa: PLC0415  astropy is slow to import

        return to_qtable([asdict(check) for check in self.checks], [column.name for column in fields(Check)])


def why(
    catalog: sa.Engine | str | Path,
    exposure: str,
    dark: str,
    *,
    rule: Rule = Rule.GLOW,
    wanted: Requirements | None = None,
) -> Explanation:
    """Explain one pair.

    Raises
    ------
    UsageError
        A name is unknown, the second is not a dark, or one of them has no measured regions.
    """
    requirements = wanted or Requirements()
    with reading(as_engine(catalog)) as session:
        science = queries.match_values(session, resolve_exposure(session, exposure))
        candidate = queries.match_values(session, resolve_exposure(session, dark))
        if science is None or candidate is None:  # resolve_exposure just found them
            raise UsageError("An exposure was removed during the read.", "Run it again.")
        candidate = with_current_file(session, candidate)
        if candidate.kind != "dark":
            turned = science.kind == "dark"
            raise UsageError(
                f"{candidate.rootname} is not a dark{'; the exposure comes first' if turned else ''}.",
                f"Type: sbcdark why {candidate.rootname} {science.rootname}" if turned else "sbcdark darks lists them.",
            )
        terms = rules.score(rule, science, candidate)
        if terms is None:
            raise UsageError(
                f"{science.rootname} or {candidate.rootname} has no measured regions.", "Ingest its file again."
            )
        science = with_current_file(session, science)
        match = match_exposure(session, science.rootname, rule, requirements)
        rank = _rank(session, science, candidate, rule, match, requirements)
        taken = rank is not None and rank <= requirements.top
        relaxation = None if taken else _relaxation(session, science, candidate, rule, match, requirements, rank)
    reasons = rules.gate_reasons(science, candidate, requirements)
    return Explanation(
        science.rootname,
        candidate.rootname,
        rule.value,
        match.tier,
        rank,
        taken,
        tuple(_checks(rule, science, candidate, terms, match, requirements)),
        relaxation,
        _summary(candidate.rootname, match, rank, taken, reasons, terms),
    )


def _checks(
    rule: Rule,
    science: MatchValues,
    dark: MatchValues,
    terms: rules.Score,
    match: Match,
    wanted: Requirements,
) -> list[Check]:
    tolerance = _tolerance(rule, match, wanted)
    state = dark.file.state if dark.file is not None else "missing"
    days = abs(terms.delta_days)
    checks = [
        Check("another exposure", dark.rootname, f"not {science.rootname}", dark.rootname != science.rootname),
        Check("quality", dark.quality, " or ".join(USABLE), dark.quality in USABLE),
        Check("RAW file", state, "present", dark.is_present),
        Check("exposure time", f"{dark.exptime_s:g} s", f">= {wanted.min_exptime_s:g} s",
              dark.exptime_s >= wanted.min_exptime_s),
        Check("time apart", f"{days:.1f} days", "any" if wanted.max_days is None else f"<= {wanted.max_days:g} days",
              wanted.max_days is None or days <= wanted.max_days),
    ]  # fmt: skip
    for ceiling in rules.ceilings(science):
        above = rules.sigma_above(ceiling, dark)
        if above is not None:
            checks.append(
                Check(
                    f"{ceiling.region} of the dark above the exposure's",
                    f"{above:+.2f} sigma",
                    f"<= {ceiling.sigma:g} sigma",
                    above <= ceiling.sigma,
                )
            )
    for other in Rule:
        compared = rules.score(other, science, dark)
        z = None if compared is None else compared.delta_sigma
        ranks = other is rule
        limit = "any" if math.isinf(tolerance) else f"<= {tolerance:g} sigma"
        passed = None if not ranks else z is None or abs(z) <= tolerance
        checks.append(
            Check(
                _terms(other, science, dark),
                "not measured" if z is None else f"{z:+.2f} sigma",
                f"{limit} (the rule, tier {match.tier})" if ranks else "for information",
                passed,
            )
        )
    return checks


def _terms(rule: Rule, science: MatchValues, dark: MatchValues) -> str:
    ours, theirs = rules.metric(rule, science), rules.metric(rule, dark)
    if ours is None or theirs is None:
        return rule.value
    if rule is Rule.TEMPERATURE:
        return f"temperature {ours:.2f} - {theirs:.2f} C"
    if rule is Rule.NOTEBOOK:
        return f"box sum {ours:.1f} - {theirs:.1f} counts"
    name = "glow" if rule is Rule.GLOW else "box rate"
    return f"{name} {ours * 1e6:.2f} - {theirs * 1e6:.2f} e-6 count/s/pixel"


def _relaxation(
    session: Session,
    science: MatchValues,
    dark: MatchValues,
    rule: Rule,
    match: Match,
    wanted: Requirements,
    rank: int | None,
) -> str | None:
    """Return the options that would admit a dark, tested on the catalog, or the command to run first."""
    if dark.rootname == science.rootname:
        return None
    if (first := _before_options(science, dark)) is not None:
        return first
    options = []
    relaxed = wanted
    if dark.exptime_s < wanted.min_exptime_s:
        relaxed = replace(relaxed, min_exptime_s=dark.exptime_s)
        options.append(f"--min-exptime {dark.exptime_s:g}")
    days = abs(science.start_mjd - dark.start_mjd)
    if wanted.max_days is not None and days > wanted.max_days:
        days = math.ceil(days * 10) / 10
        relaxed = replace(relaxed, max_days=days)
        options.append(f"--max-days {days:g}")
    if options:
        match = match_exposure(session, science.rootname, rule, relaxed)
        rank = _rank(session, science, dark, rule, match, relaxed)
    terms = rules.score(rule, science, dark)
    if rank is None and terms is not None and terms.delta_sigma is not None:
        sigma = math.ceil(abs(terms.delta_sigma) * 100) / 100
        options.append(f"--max-sigma {sigma:g}")
        relaxed = replace(relaxed, max_sigma=sigma)
        fits = rules.within(terms, sigma)
        if fits and _number_before(session, science, dark, rule, relaxed, sigma) >= _COUNTED:
            return None
        match = match_exposure(session, science.rootname, rule, relaxed)
        rank = _rank(session, science, dark, rule, match, relaxed)
    if rank is not None and rank > _COUNTED:
        return None
    if rank is not None and rank > wanted.top:
        options.append(f"--top {rank}")
    return " ".join(options) or None


def _before_options(science: MatchValues, dark: MatchValues) -> str | None:
    """Return what to do about a dark that no option of `match` admits; None if options may help."""
    if rules.too_bright(science, dark):
        return f"only by name: --use {science.rootname}={dark.rootname} (masterdark, photometry, run)"
    if dark.quality not in USABLE:
        return f'sbcdark restore {dark.rootname} --reason "..."'
    if not dark.is_present:
        if dark.file is not None and dark.file.state == "changed":
            return "sbcdark ingest PATH, with its current RAW"
        return "sbcdark relocate DIR, with the folder where its RAW is now"
    return None


def _tolerance(rule: Rule, match: Match, wanted: Requirements) -> float:
    steps = dict(rules.ladder(rule, wanted.max_sigma))
    return steps.get(match.tier, max(steps.values()))


def _rank(
    session: Session, science: MatchValues, dark: MatchValues, rule: Rule, match: Match, wanted: Requirements
) -> int | None:
    """Return the rank of a dark within the tier; the database counts it if it is not among the first."""
    place = next((found.rank for found in match.darks if found.dark == dark.rootname), None)
    terms = rules.score(rule, science, dark)
    tolerance = _tolerance(rule, match, wanted)
    if place is not None or match.tier == "none" or terms is None:
        return place
    if rules.gate_reasons(science, dark, wanted) or not rules.within(terms, tolerance):
        return None
    better = _number_before(session, science, dark, rule, wanted, tolerance)
    # A missing file may let this one move up, but it was not selected.
    return max(better, len(match.darks)) + 1


def _number_before(
    session: Session, science: MatchValues, dark: MatchValues, rule: Rule, wanted: Requirements, tolerance: float
) -> int:
    """Return the number of darks within a tolerance that rank before a dark, by the catalog; at most `_COUNTED`."""
    ranking, gates = rules.ranking(rule, science), rules.gates(science, wanted)
    return nearest_darks.count_better(session, ranking, gates, dark.rootname, within=tolerance, most=_COUNTED)


def _summary(name: str, match: Match, rank: int | None, taken: bool, reasons: list[str], terms: rules.Score) -> str:
    if reasons:
        return f"{name} is not selected: {'; '.join(reasons)}."
    if taken and rank == 1:
        return f"{name} is the best dark for {match.exposure} by the rule {match.rule}."
    if rank is not None:
        word = "is selected" if taken else "fits, but is not among the first"
        later = " or later" if rank > _COUNTED else ""
        return f"{name} {word}: rank {rank}{later} within {match.tier}."
    sigma = abs(terms.delta_sigma or 0.0)
    if match.tier == "none":
        return f"{name} is not selected: it is {sigma:.1f} sigma away, and no dark fits."
    return (
        f"{name} is not selected: it is {sigma:.1f} sigma away, and {match.darks[0].dark} and others fit within "
        f"{match.tier}."
    )
