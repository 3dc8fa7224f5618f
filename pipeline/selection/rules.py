"""Ranking of darks for an exposure: rules, gates and the ladder of tolerances. Numbers only."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sbcdark.catalog.criteria import USABLE, Ceiling, Gates, Ranking
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.records import ScoredDark

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sbcdark.catalog.records import MatchValues


class Rule(StrEnum):
    """The quantity that a rule compares between the science exposure and a dark."""

    GLOW = "glow"
    """The contrast rate(box) - rate(quiet): the size of the glow, independent of a uniform sky."""
    BOX = "box"
    """The rate in the box."""
    TEMPERATURE = "temperature"
    """The mean temperature, in units of 0.5 C."""
    NOTEBOOK = "notebook"
    """The raw sum of the box, as in STScI's notebook; for comparison."""


class Combine(StrEnum):
    """How darks are combined to the dark of an exposure."""

    MODEL = "model"
    """base x L + amplitude x G with templates from the darks, fitted to the exposure itself."""
    MEAN = "mean"
    """The sum of the darks' counts divided by the sum of their exposure times."""
    NEAREST = "nearest"
    """The first dark of the selection."""


@dataclass(frozen=True, slots=True)
class _Metric:
    column: str
    error_column: str | None
    fixed_error: float = 0.0


_METRICS = {
    Rule.GLOW: _Metric("contrast_count_s_pix", "contrast_err_count_s_pix"),
    Rule.BOX: _Metric("box_rate_count_s_pix", "box_rate_err_count_s_pix"),
    Rule.TEMPERATURE: _Metric("temperature_mean_c", None, fixed_error=0.5),
    Rule.NOTEBOOK: _Metric("box_count", None),
}

LADDER = (("2 sigma", 2.0), ("5 sigma", 5.0), ("any", math.inf))
"""Tolerances on |z|, tried in order; the tier is the first that the best dark passes."""

FORCED = "forced"
"""Rule and tier of a dark named by the user."""

MIN_EXPTIME_S = 300.0
"""Default exposure-time gate. A shorter dark has fewer than 90 counts in the cold box: too few to know its glow."""

BASE_SCATTER = 0.08
"""Relative scatter of the base from frame to frame, common to the whole detector (darks of program 13961)."""

FLAT_BIAS = 0.05
"""Relative bias in the box: an FLT is divided by the flat, which is 4 % above its mean there; a RAW dark is not."""

BRIGHTER_SIGMA = 5.0
"""A dark brighter than the exposure by more than this, in the box or the quiet rows, cannot be its dark."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """Requirements on the darks, besides the rule.

    Attributes
    ----------
    top : int
        Largest number of darks.
    max_sigma : float or None
        Largest |z|; None uses the ladder.
    max_days : float or None
        Largest separation in time, days.
    min_exptime_s : float
        Shortest exposure time, seconds.
    """

    top: int = 5
    max_sigma: float | None = None
    max_days: float | None = None
    min_exptime_s: float = MIN_EXPTIME_S


def rule_of(rule: str | Rule) -> Rule:
    """Return the rule with this name.

    Raises
    ------
    UsageError
        There is no such rule.
    """
    try:
        return Rule(rule)
    except ValueError:
        raise UsageError(f"There is no rule {rule!r}.", f"Use one of: {', '.join(Rule)}") from None


def combine_of(combine: str | Combine) -> Combine:
    """Return the way of combining darks with this name.

    Raises
    ------
    UsageError
        There is no such way.
    """
    try:
        return Combine(combine)
    except ValueError:
        raise UsageError(
            f"There is no way {combine!r} to combine darks.", f"Use one of: {', '.join(Combine)}"
        ) from None


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one dark for one exposure. Every difference is science minus dark.

    Attributes
    ----------
    score : float
        The ranking value: smaller is better (see `score`).
    delta_sigma : float or None
        z, the difference divided by the combined error.
    """

    score: float
    delta_sigma: float | None
    delta_box_rate_count_s_pix: float | None
    delta_contrast_count_s_pix: float | None
    delta_temperature_c: float
    delta_days: float


def metric_column(rule: Rule) -> str:
    """Return the column of `exposures` that a rule compares."""
    return _METRICS[rule].column


def error_column(rule: Rule) -> str | None:
    """Return the column with the error of the compared value; None if the rule has one common error."""
    return _METRICS[rule].error_column


def metric(rule: Rule, values: MatchValues) -> float | None:
    """Return the value that a rule compares; None if it was not measured."""
    value: float | None = getattr(values, metric_column(rule))
    return value


def _error(rule: Rule, values: MatchValues) -> float:
    column = error_column(rule)
    error: float | None = None if column is None else getattr(values, column)
    return error or 0.0


def difference(science: float | None, dark: float | None) -> float | None:
    """Return science minus dark; None if either was not measured."""
    return None if science is None or dark is None else science - dark


def score(rule: Rule, science: MatchValues, dark: MatchValues) -> Score | None:
    """Compare a dark with an exposure.

    With m the rule's value and delta = m_science - m_dark, the score is sqrt(delta^2 + sigma_dark^2) / sigma_science:
    the expected distance of the exposure's own dark from this frame. Noise in the frame makes the score worse, never
    better. z = delta / sqrt(sigma_science^2 + sigma_dark^2) measures whether the two are compatible. For `temperature`
    both are |delta| / 0.5 C; for `notebook` the score is the difference of the raw sums and z that of the box rates.

    Returns
    -------
    Score or None
        None if a value was not measured.
    """
    delta = difference(metric(rule, science), metric(rule, dark))
    if delta is None:
        return None
    if rule is Rule.NOTEBOOK:
        rates = score(Rule.BOX, science, dark)
        z = None if rates is None else rates.delta_sigma
        size = abs(delta)
    else:
        ours, theirs = _error(rule, science), _error(rule, dark)
        fixed = _METRICS[rule].fixed_error
        z = _in_units(delta, fixed or math.hypot(ours, theirs))
        # The same expression as in SQL, so both give the same order.
        size = abs(z) if fixed else _in_units(math.sqrt(delta * delta + theirs * theirs), ours)
    return Score(
        size,
        z,
        difference(science.box_rate_count_s_pix, dark.box_rate_count_s_pix),
        difference(science.contrast_count_s_pix, dark.contrast_count_s_pix),
        science.temperature_mean_c - dark.temperature_mean_c,
        science.start_mjd - dark.start_mjd,
    )


def _in_units(delta: float, sigma: float) -> float:
    return delta / sigma if sigma > 0 else math.copysign(math.inf, delta) if delta else 0.0


def ranking(rule: Rule, science: MatchValues) -> Ranking:
    """Return the catalog's ranking of the darks for a measured exposure."""
    compared = Rule.BOX if rule is Rule.NOTEBOOK else rule
    return Ranking(
        column=metric_column(rule),
        error_column=error_column(rule),
        value=metric(rule, science) or 0.0,
        z_column=metric_column(compared),
        z_error_column=error_column(compared),
        z_value=metric(compared, science) or 0.0,
        z_variance=(_METRICS[compared].fixed_error or _error(compared, science)) ** 2,
        temperature_c=science.temperature_mean_c,
        start_mjd=science.start_mjd,
    )


def ceilings(science: MatchValues) -> tuple[Ceiling, ...]:
    """Return the upper limits on the brightness of a dark in the box and in the quiet rows.

    sigma combines the Poisson errors of both, the scatter of both bases (`BASE_SCATTER`), and in the box the flat
    (`FLAT_BIAS`). A region that was not measured has no limit.
    """
    flat_fielded = science.file is None or science.file.is_flat_fielded
    regions = (
        ("box", "box_rate_count_s_pix", "box_rate_err_count_s_pix", FLAT_BIAS * flat_fielded),
        ("quiet rows", "quiet_rate_count_s_pix", "quiet_rate_err_count_s_pix", 0.0),
    )
    found = []
    for region, column, error_name, bias in regions:
        value: float | None = getattr(science, column)
        if value is None or science.quiet_rate_count_s_pix is None:
            continue
        variance = (getattr(science, error_name) or 0.0) ** 2 + (bias * value) ** 2
        quiet = max(science.quiet_rate_count_s_pix, 0.0)
        found.append(
            Ceiling(region, column, error_name, value, variance, quiet, math.sqrt(2.0) * BASE_SCATTER, BRIGHTER_SIGMA)
        )
    return tuple(found)


def sigma_above(ceiling: Ceiling, dark: MatchValues) -> float | None:
    """Return by how many sigma a dark is brighter than an exposure in a region; negative if it is fainter.

    None if the dark was not measured.
    """
    rate: float | None = getattr(dark, ceiling.column)
    if rate is None or dark.quiet_rate_count_s_pix is None:
        return None
    base = min(dark.quiet_rate_count_s_pix, ceiling.quiet)
    error = getattr(dark, ceiling.error_column) or 0.0
    return _in_units(rate - ceiling.value, math.sqrt(error**2 + (ceiling.base_share * base) ** 2 + ceiling.variance))


def gates(science: MatchValues, wanted: Requirements) -> Gates:
    """Return the gates that the catalog applies before ranking; `gate_reasons` decides."""
    return Gates(wanted.min_exptime_s, wanted.max_days, ceilings=ceilings(science), other_than=science.rootname)


def gate_reasons(science: MatchValues, dark: MatchValues, wanted: Requirements) -> list[str]:
    """Return the reasons that exclude a dark; empty if it passes."""
    reasons = []
    if dark.rootname == science.rootname:
        reasons.append("it is the exposure itself")
    if dark.quality not in USABLE:
        reasons.append(describe_quality(dark))
    if dark.file is None:
        reasons.append("its RAW is not present")
    elif dark.file.state == "missing":
        reasons.append(f"its RAW is missing: {dark.file.uri}")
    elif dark.file.state == "changed":
        reasons.append(f"its RAW changed after the ingest: {dark.file.uri}")
    if dark.contrast_count_s_pix is None:
        reasons.append("its regions are not measured")
    if dark.exptime_s < wanted.min_exptime_s:
        reasons.append(f"EXPTIME = {dark.exptime_s:g} s is below {wanted.min_exptime_s:g} s")
    days = abs(science.start_mjd - dark.start_mjd)
    if wanted.max_days is not None and days > wanted.max_days:
        reasons.append(f"{days:.1f} days away, more than {wanted.max_days:g}")
    return reasons + too_bright(science, dark)


def describe_quality(dark: MatchValues) -> str:
    """Return a dark's quality and its reason as text."""
    return f"quality {dark.quality}" + (f": {dark.quality_reason}" if dark.quality_reason else "")


def too_bright(science: MatchValues, dark: MatchValues) -> list[str]:
    """Return, as text, the regions in which a dark is brighter than the whole exposure."""
    above = [(ceiling, sigma_above(ceiling, dark)) for ceiling in ceilings(science)]
    return [
        f"its {ceiling.region} {'are' if ceiling.region.endswith('s') else 'is'} brighter than the exposure's by "
        f"{sigma:.1f} sigma"
        for ceiling, sigma in above
        if sigma is not None and sigma > ceiling.sigma
    ]


def ladder(rule: Rule, max_sigma: float | None) -> tuple[tuple[str, float], ...]:
    """Return the tolerances to try, in order; a limit given by the user replaces the ladder."""
    if max_sigma is not None:
        return ((f"{max_sigma:g} sigma", max_sigma),)
    return LADDER[-1:] if rule is Rule.NOTEBOOK else LADDER


def tier_of(rule: Rule, best: Score, max_sigma: float | None) -> tuple[str, float]:
    """Return the tier and its tolerance: the first that the best-ranked dark passes.

    A dark that is compatible only because of its large errors does not rank first, so it does not set the tier.
    """
    steps = ladder(rule, max_sigma)
    return next((step for step in steps if within(best, step[1])), steps[-1])


def within(terms: Score, tolerance: float) -> bool:
    """Return whether |z| is within a tolerance; an unknown z is."""
    return terms.delta_sigma is None or abs(terms.delta_sigma) <= tolerance


def may_precede(rule: Rule, tolerance: float, terms: Score) -> bool:
    """Return whether a dark outside a tolerance can rank before one with these terms.

    The score is at least |z|, except by `notebook`, which ranks by the raw sum.
    """
    return rule is Rule.NOTEBOOK or not terms.score < tolerance * (1 - 1e-9)


def in_order(pair: tuple[Score, MatchValues]) -> tuple[float, float, float, str]:
    """Return the sort key of darks: the score, then temperature, then time, then the root name."""
    terms, dark = pair
    return terms.score, abs(terms.delta_temperature_c), abs(terms.delta_days), dark.rootname


def choose(
    rule: Rule, scored: Iterable[tuple[Score, MatchValues]], wanted: Requirements
) -> tuple[str, tuple[ScoredDark, ...], tuple[tuple[Score, MatchValues], ...]]:
    """Rank scored darks and keep those within the tolerance that the best one passes.

    Returns
    -------
    tier : str
        The tolerance used; ``"none"`` if no dark passes.
    darks : tuple of ScoredDark
        At most `wanted.top`; the weight is each dark's share of the total exposure time.
    left : tuple of (Score, MatchValues)
        The darks outside the tolerance, best first.
    """
    ordered = sorted(scored, key=in_order)
    allowed = [pair for pair in ordered if wanted.max_sigma is None or within(pair[0], wanted.max_sigma)]
    if not allowed:
        return "none", (), tuple(ordered)
    tier, tolerance = tier_of(rule, allowed[0][0], wanted.max_sigma)
    passing = [pair for pair in ordered if within(pair[0], tolerance)]
    left = tuple(pair for pair in ordered if not within(pair[0], tolerance))
    return tier, as_named(passing[: wanted.top]), left


def as_named(scored: Sequence[tuple[Score, MatchValues]]) -> tuple[ScoredDark, ...]:
    """Return scored darks ranked in the given order, weighted by exposure time."""
    total = sum(dark.exptime_s for _, dark in scored)
    return tuple(
        ScoredDark(
            rank=rank,
            dark=dark.rootname,
            program=dark.program,
            weight=dark.exptime_s / total,
            exptime_s=dark.exptime_s,
            uri=None if dark.file is None else dark.file.uri,
            file_id=None if dark.file is None else dark.file.id,
            file=dark.file,
            **asdict(terms),
        )
        for rank, (terms, dark) in enumerate(scored, 1)
    )
