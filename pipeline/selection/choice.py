"""Selection of the darks that fit an exposure, with the reasons for nearby darks that are not selected."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from itertools import islice
from typing import TYPE_CHECKING

from sbcdark.catalog import nearest_darks, queries, results
from sbcdark.catalog.criteria import Gates
from sbcdark.catalog.engine import reading, writing
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.opening import as_engine
from sbcdark.catalog.records import Match, RejectedDark
from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.pipeline.selection import file_state, match_warnings, rules
from sbcdark.pipeline.selection.names import named_exposures, resolve_exposure, resolve_target, selector_of
from sbcdark.pipeline.selection.rules import Combine, Requirements, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import sqlalchemy as sa
    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import MatchValues, ScoredDark
    from sbcdark.pipeline.selection.names import Selector

_REJECTED_SHOWN = 3
"""Number of nearby rejected darks that are reported with their reason."""

_REJECTED_SEARCHED = 256
"""Number of nearest darks in which rejected ones are searched."""


def match_exposure(session: Session, rootname: str, rule: Rule, wanted: Requirements) -> Match:
    """Rank the darks of the catalog for one exposure.

    Parameters
    ----------
    rootname : str
        An exposure in the catalog.

    Returns
    -------
    Match
        Without darks (tier "none") if no dark passes; `nearest_rejected` then gives the reasons.

    Raises
    ------
    UsageError
        The exposure is not in the catalog, or its regions are not measured.
    """
    return _Ranked(session, rootname, rule, wanted).match(wanted.top)


class _Ranked:
    """The darks of a catalog for one exposure, ranked once for selections of several sizes.

    Parameters
    ----------
    rootname, rule
        As for `match_exposure`.
    wanted : Requirements
        With the largest of the sizes.
    """

    def __init__(self, session: Session, rootname: str, rule: Rule, wanted: Requirements) -> None:
        for name, limit_asked in asdict(wanted).items():
            if limit_asked is not None and not math.isfinite(limit_asked):
                raise UsageError(f"{name} = {limit_asked} is not a finite number.", "Leave it out for no limit.")
        science = _known(session, rootname)
        if rules.metric(rule, science) is None:
            raise UsageError(f"{rootname} has no measured regions.", "Ingest its FLT or RAW again.")
        self._session, self._rule, self._wanted = session, rule, wanted
        self._science = science = file_state.with_current_file(session, science)
        self._darks = darks = _Darks(session, science, rule, wanted)
        first = list(islice(darks.fitting(math.inf if wanted.max_sigma is None else wanted.max_sigma), wanted.top))
        self._tier, self._tolerance = "none", wanted.max_sigma if wanted.max_sigma is not None else math.inf
        if first:
            self._tier, self._tolerance = rules.tier_of(rule, first[0][0], wanted.max_sigma)
        self._kept = first
        if first and any(not rules.within(terms, self._tolerance) for terms, _ in (*first, *darks.gone.values())):
            darks.forget_after(first[0])
            self._kept = list(islice(darks.fitting(self._tolerance), wanted.top))

    def darks(self, top: int) -> tuple[ScoredDark, ...]:
        """Return the first darks."""
        return rules.as_named(self._kept[:top])

    def match(self, top: int) -> Match:
        """Return the match with the first darks."""
        chosen, kept = self.darks(top), self._kept[:top]
        gone = self._darks.gone
        if len(self._kept) > top:  # as if the others had not been looked at
            gone = {name: pair for name, pair in gone.items() if rules.in_order(pair) < rules.in_order(kept[-1])}
        return Match(
            exposure=self._science.rootname,
            rule=self._rule.value,
            tier=self._tier,
            darks=chosen,
            nearest_rejected=self._nearest_rejected(gone),
            warnings=(
                *_rivals(self._session, self._science),
                *match_warnings.warnings_about(
                    self._rule, self._science, [(dark, pair[1]) for dark, pair in zip(chosen, kept, strict=True)]
                ),
                *match_warnings.warnings_about_missing(list(gone.values()), chosen),
            ),
            parameters=asdict(replace(self._wanted, top=top)),
            file_id=None if self._science.file is None else self._science.file.id,
            catalog_revision=queries.catalog_revision(self._session),
        )

    def _nearest_rejected(self, gone: Mapping[str, tuple[rules.Score, MatchValues]]) -> tuple[RejectedDark, ...]:
        nearest = sorted(self._darks.gated(gone), key=lambda one: rules.in_order(one[0]))[:_REJECTED_SHOWN]
        if len(nearest) < _REJECTED_SHOWN or rules.may_precede(self._rule, self._tolerance, nearest[-1][0][0]):
            limit = f"the tier is {self._tier}" if self._kept else f"more than {self._tolerance:g}"
            beyond = [
                (pair, f"{abs(pair[0].delta_sigma or 0.0):.2f} sigma away, {limit}")
                for pair in self._darks.beyond(self._tolerance)
            ]
            nearest = sorted(nearest + beyond, key=lambda one: rules.in_order(one[0]))[:_REJECTED_SHOWN]
        return tuple(RejectedDark(dark.rootname, reason) for (_, dark), reason in nearest)


def tier_of_exposure(session: Session, rootname: str) -> str:
    """Return the tier of the dark whose glow fits an exposure best ("none" without any), without ranking the others.

    Raises
    ------
    UsageError
        The exposure is not in the catalog.
    """
    science = _known(session, rootname)
    if rules.metric(Rule.GLOW, science) is None:
        return "none"
    best = next(_Darks(session, science, Rule.GLOW, Requirements(top=1)).fitting(math.inf), None)
    return "none" if best is None else rules.tier_of(Rule.GLOW, best[0], None)[0]


def _known(session: Session, rootname: str) -> MatchValues:
    science = queries.match_values(session, rootname)
    if science is None:
        raise UsageError(f"The catalog has no exposure {rootname!r}.", "List them: sbcdark exposures")
    return science


def _rivals(session: Session, science: MatchValues) -> list[str]:
    """Return the warning about an exposure with two different files of the same processing time."""
    told = file_state.rival_of(session, science)
    return [] if told is None else [told]


class _Darks:
    """The darks of a catalog for one exposure and one rule; a file is checked once, when it could be selected."""

    def __init__(self, session: Session, science: MatchValues, rule: Rule, wanted: Requirements) -> None:
        self._session, self._science, self._rule, self._wanted = session, science, rule, wanted
        self._ranking = rules.ranking(rule, science)
        self._gates = rules.gates(science, wanted)
        self._here: dict[str, MatchValues] = {}
        self.gone: dict[str, tuple[rules.Score, MatchValues]] = {}
        """Darks that pass every gate except for their file, which is missing or changed."""

    def fitting(self, tolerance: float) -> Iterator[tuple[rules.Score, MatchValues]]:
        """Return the darks within a tolerance that pass every gate, best first."""
        for dark in nearest_darks.ranked_darks(self._session, self._ranking, self._gates, within=tolerance):
            terms = rules.score(self._rule, self._science, dark)
            if terms is None or rules.gate_reasons(self._science, dark, self._wanted):
                continue
            if dark.rootname not in self._here:
                self._here[dark.rootname] = file_state.with_current_file(self._session, dark)
            here = self._here[dark.rootname]
            if rules.gate_reasons(self._science, here, self._wanted):
                self.gone[dark.rootname] = (terms, here)
            else:
                yield terms, here

    def forget_after(self, best: tuple[rules.Score, MatchValues]) -> None:
        """Forget the missing darks that rank after the best one: the tolerance may exclude them."""
        last = rules.in_order(best)
        self.gone = {name: pair for name, pair in self.gone.items() if rules.in_order(pair) < last}

    def beyond(self, tolerance: float) -> list[tuple[rules.Score, MatchValues]]:
        """Return the first few darks that pass the gates but not the tolerance, according to the catalog."""
        if math.isinf(tolerance):
            return []
        walk = nearest_darks.ranked_darks(self._session, self._ranking, self._gates, beyond=tolerance)
        scored = ((rules.score(self._rule, self._science, dark), dark) for dark in walk)
        return list(islice(((terms, dark) for terms, dark in scored if terms is not None), _REJECTED_SHOWN))

    def gated(
        self, gone: Mapping[str, tuple[rules.Score, MatchValues]]
    ) -> list[tuple[tuple[rules.Score, MatchValues], str]]:
        """Return the nearest measured darks that a gate excludes, those in `gone` among them, with the reason.

        Only the files that `fitting` has checked are checked; for the others the catalog's state counts.
        """
        # A little more than the gates exclude: `gate_reasons` decides.
        ceilings = tuple(replace(one, sigma=one.sigma * (1 - 1e-9)) for one in self._gates.ceilings)
        found = []
        gates = replace(self._gates, ceilings=ceilings)
        for dark in nearest_darks.excluded_darks(
            self._session, self._ranking, gates, nearest=_REJECTED_SEARCHED, also=gone
        ):
            terms = rules.score(self._rule, self._science, dark)
            if terms is None or dark.rootname == self._science.rootname:
                continue
            here = self._here.get(dark.rootname, dark)
            if reasons := rules.gate_reasons(self._science, here, self._wanted):
                found.append(((terms, here), "; ".join(reasons)))
        return found


def match(
    catalog: sa.Engine | str | Path,
    names: str | Selector | Sequence[str] = (),
    *,
    rule: str | Rule = Rule.GLOW,
    wanted: Requirements | None = None,
    templates: int | None = None,
    save: bool = False,
) -> list[Match]:
    """Rank the darks for exposures given by name or by a selector.

    Parameters
    ----------
    catalog : Engine, str or Path
        An engine from `open_catalog`, a URL or a path.
    templates : int, optional
        Number of darks that the rule gives to the dark model, if each match is to hold the darks of its templates, too.
    save : bool
        Whether to store each selection; its id is then in `selection_id`.

    Returns
    -------
    list of Match
        One per exposure, in the given order.

    Raises
    ------
    UsageError
        A name, program, association or target is not in the catalog.
    """
    engine, rule = as_engine(catalog), rules.rule_of(rule)
    requirements = wanted or Requirements()
    with reading(engine) as session:
        selector = selector_of(names)
        exposures = named_exposures(session, selector)
        most = replace(requirements, top=max(requirements.top, templates or 0))
        ranked = {rootname: _Ranked(session, rootname, rule, most) for rootname in exposures}
        found = [one.match(requirements.top) for one in ranked.values()]
        if templates is not None:
            near = {one.exposure: replace(one, darks=ranked[one.exposure].darks(templates)) for one in found}
            found = _with_templates(session, found, near, selector, rule, replace(requirements, top=templates))
    if not save:
        return found
    with writing(engine) as session:
        return [
            replace(one, selection_id=results.write_selection(session, one, SOFTWARE_VERSION)) if one.darks else one
            for one in found
        ]


def _with_templates(
    session: Session,
    found: Sequence[Match],
    near: Mapping[str, Match],
    selector: Selector,
    rule: Rule,
    wanted: Requirements,
) -> list[Match]:
    """Add to each match the darks of the templates that a run of the same targets would use, from those of the rule."""
    by_exposure: dict[str, tuple[ScoredDark, ...]] = {}
    for target in resolve_target(session, selector):
        for one in matches_for_templates(session, target.exposures, rule, wanted, near):
            by_exposure.setdefault(one.exposure, one.darks)
    return [replace(one, templates=by_exposure[one.exposure]) for one in found]


COLD_BELOW_C = 24.0
"""Below this mean temperature a dark shows only the base (docs/science.md)."""

_FOR_TEMPLATES = 10
"""Number of cold and of warm darks, nearest in time, added to those of the rule to make the templates."""


def matches_for_templates(
    session: Session,
    rootnames: Sequence[str],
    rule: Rule,
    wanted: Requirements,
    known: Mapping[str, Match] | None = None,
) -> list[Match]:
    """Select the darks for the templates of the dark model, one common set for all exposures.

    For each exposure these are the darks that the rule ranks first (with a glow like the exposure's own), and the cold
    and warm darks nearest in time: cold darks determine the base, warm ones the glow, and recent ones the current hot
    pixels.

    Returns
    -------
    list of Match
        One per exposure: all darks of the set with their roles, in the order of the rule, with the tier of the rule's
        own darks. If the rule finds none for an exposure, its match has no darks.
    """
    known = known or {}
    near = [known.get(rootname) or match_exposure(session, rootname, rule, wanted) for rootname in rootnames]
    roles = {dark.dark: "rule" for match in near for dark in match.darks}
    exposures = [values for name in rootnames if (values := queries.match_values(session, name)) is not None]
    for science in exposures:
        for role, low, high in (("cold", None, COLD_BELOW_C), ("warm", queries.HOT_ABOVE_C, None)):
            gates = Gates(wanted.min_exptime_s, wanted.max_days, (low, high))
            walk = nearest_darks.nearest_in_time(session, science.start_mjd, gates)
            there = (dark.rootname for dark in walk if file_state.with_current_file(session, dark).is_present)
            for name in islice(there, _FOR_TEMPLATES):
                roles.setdefault(name, role)
    chosen = roles.keys() - set(rootnames)
    darks = [
        file_state.with_current_file(session, values) for values in queries.match_values_of(session, sorted(chosen))
    ]
    every = replace(wanted, top=max(len(darks), 1), max_sigma=math.inf)
    matches = []
    for match, science in zip(near, exposures, strict=True):
        scored = [(terms, dark) for dark in darks if (terms := rules.score(rule, science, dark)) is not None]
        _, ranked, _ = rules.choose(rule, scored, every)
        named = tuple(replace(dark, role=roles[dark.dark]) for dark in ranked)
        about = dict.fromkeys([*match.warnings, *match_warnings.warnings_about_darks(darks)])
        matches.append(replace(match, darks=named, warnings=tuple(about)) if match.darks else match)
    return matches


def forced_match(session: Session, rootname: str, names: Sequence[str], wanted: Requirements) -> Match:
    """Return the selection of the darks named by the user, in that order.

    Raises
    ------
    UsageError
        A name is not a dark in the catalog, or its RAW is not present.
    """
    science = _known(session, rootname)
    scored = []
    for resolved in dict.fromkeys(resolve_exposure(session, name) for name in names):
        dark = queries.match_values(session, resolved)
        dark = None if dark is None else file_state.with_current_file(session, dark)
        if dark is None or dark.kind != "dark" or dark.file is None:
            raise UsageError(f"{resolved!r} is not a dark with a present RAW.", "List the darks: sbcdark darks")
        if not dark.is_present:
            todo = "sbcdark ingest PATH" if dark.file.state == "changed" else "sbcdark relocate DIR"
            what = "changed after the ingest" if dark.file.state == "changed" else "is missing"
            raise UsageError(f"The RAW of {resolved} {what}: {dark.file.uri}", f"Update the catalog: {todo}")
        terms = rules.score(Rule.BOX, science, dark)
        if terms is None:
            raise UsageError(f"{resolved} or {rootname} has no measured regions.", "Ingest it again.")
        scored.append((terms, dark))
    science = file_state.with_current_file(session, science)
    return Match(
        exposure=rootname,
        rule=rules.FORCED,
        tier=rules.FORCED,
        darks=rules.as_named(scored),
        nearest_rejected=(),
        warnings=(
            *_rivals(session, science),
            *match_warnings.warnings_about_file(science),
            *match_warnings.warnings_about_forced(science, [dark for _, dark in scored]),
        ),
        parameters=asdict(wanted),
    )


TOP = {Combine.NEAREST: 1, Combine.MEAN: 3, Combine.MODEL: 8}
"""Default number of darks to combine."""


def choose_for(
    session: Session, rootnames: Sequence[str], combine: Combine, rule: Rule, wanted: Requirements, *, spare: int = 0
) -> list[Match]:
    """Select the darks for the exposures of one product, for one way of combining them.

    Parameters
    ----------
    spare : int
        Number of extra darks for nearest and mean, to replace darks whose file turns out to be missing.

    Returns
    -------
    list of Match
        One per exposure. `parameters` holds everything needed to repeat the selection.
    """
    if combine is Combine.MODEL:
        found = matches_for_templates(session, rootnames, rule, wanted)
    else:
        more = replace(wanted, top=wanted.top + spare)
        found = [match_exposure(session, rootname, rule, more) for rootname in rootnames]
    parameters = asdict(wanted) | {"combine": combine.value, "exposures": list(rootnames)}
    return [replace(match, parameters=parameters) for match in found]
