"""How darks are ranked for an exposure: rules, gates, the ladder of tolerances, and what looks wrong. Pure numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sbcdark.catalog.records import ScoredDark

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sbcdark.catalog.records import MatchValues


class Rule(StrEnum):
    """What a rule compares between the science exposure and a dark."""

    GLOW = "glow"
    """The contrast rate(box) - rate(quiet): the size of the glow, free of a uniform sky."""
    BOX = "box"
    """The rate in the box."""
    TEMPERATURE = "temperature"
    """The mean temperature, in units of 0.5 C."""
    NOTEBOOK = "notebook"
    """The raw sum of the box, as STScI's notebook does; for comparison."""


class Combine(StrEnum):
    """How darks become the dark of an exposure."""

    MODEL = "model"
    """base x L + amplitude x G with templates from the darks, fitted to the exposure itself."""
    MEAN = "mean"
    """The sum of the darks' counts over the sum of their times."""
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
"""Tolerances on |z|, tried in order; the first at which a dark passes is the tier."""

FORCED = "forced"
"""The rule and tier of a dark that the user named."""

MIN_EXPTIME_S = 300.0
"""Default of the exposure-time gate. A shorter dark has under 90 counts in the cold box: its error alone would let
it pass as anything."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """What is asked of the darks beside the rule.

    Attributes
    ----------
    top : int
        At most so many darks.
    max_sigma : float or None
        Largest |z|; None leaves it to the ladder.
    max_days : float or None
        Largest distance in time, days.
    min_exptime_s : float
        Shortest dark, seconds.
    """

    top: int = 5
    max_sigma: float | None = None
    max_days: float | None = None
    min_exptime_s: float = MIN_EXPTIME_S


@dataclass(frozen=True, slots=True)
class Score:
    """One dark against one exposure. Every difference is science minus dark."""

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
    """Return the column that holds the compared value's error; None where the rule has one error for all."""
    return _METRICS[rule].error_column


def metric(rule: Rule, values: MatchValues) -> float | None:
    """Return what a rule compares of one exposure; None where it was not measured."""
    value: float | None = getattr(values, metric_column(rule))
    return value


def _error(rule: Rule, values: MatchValues) -> float:
    column = error_column(rule)
    if column is None:
        return _METRICS[rule].fixed_error / math.sqrt(2.0)
    error: float | None = getattr(values, column)
    return error or 0.0


def difference(science: float | None, dark: float | None) -> float | None:
    """Return science minus dark; None where one of them was not measured."""
    return None if science is None or dark is None else science - dark


def score(rule: Rule, science: MatchValues, dark: MatchValues) -> Score | None:
    """Compare a dark with an exposure.

    z = (m_science - m_dark) / sqrt(sigma_science^2 + sigma_dark^2), m being the rule's value; for `temperature` the
    denominator is 0.5 C; for `notebook` the score is the difference of the raw sums and z that of the box rates.

    Returns
    -------
    Score or None
        None where a value was not measured.
    """
    delta = difference(metric(rule, science), metric(rule, dark))
    if delta is None:
        return None
    if rule is Rule.NOTEBOOK:
        rates = score(Rule.BOX, science, dark)
        z = None if rates is None else rates.delta_sigma
        size = abs(delta)
    else:
        sigma = math.hypot(_error(rule, science), _error(rule, dark))
        z = delta / sigma if sigma > 0 else math.copysign(math.inf, delta) if delta else 0.0
        size = abs(z)
    return Score(
        size,
        z,
        difference(science.box_rate_count_s_pix, dark.box_rate_count_s_pix),
        difference(science.contrast_count_s_pix, dark.contrast_count_s_pix),
        science.temperature_mean_c - dark.temperature_mean_c,
        science.start_mjd - dark.start_mjd,
    )


def farther_scores(rule: Rule, science: MatchValues, distance: float, largest_error: float) -> float:
    """Return the smallest score that a dark at this distance or farther can still have.

    Parameters
    ----------
    distance : float
        |m_science - m_dark| of the nearest dark not looked at yet.
    largest_error : float
        Largest error of the value among all darks.
    """
    if rule is Rule.NOTEBOOK:
        return distance
    column = error_column(rule)
    sigma = math.hypot(_error(rule, science), largest_error if column is not None else _error(rule, science))
    return distance / sigma if sigma > 0 else math.inf


def gate_reasons(science: MatchValues, dark: MatchValues, wanted: Requirements) -> list[str]:
    """Return why a dark may not be taken at all; empty where it may."""
    reasons = []
    if dark.rootname == science.rootname:
        reasons.append("it is the exposure itself")
    if dark.quality != "good":
        reasons.append(f"quality {dark.quality}" + (f": {dark.quality_reason}" if dark.quality_reason else ""))
    if dark.file is None:
        reasons.append("its RAW is not present")
    elif dark.file.state == "missing":
        reasons.append(f"its RAW is missing: {dark.file.uri}")
    if dark.contrast_count_s_pix is None:
        reasons.append("its regions are not measured")
    if dark.exptime_s < wanted.min_exptime_s:
        reasons.append(f"its {dark.exptime_s:g} s are under {wanted.min_exptime_s:g} s")
    days = abs(science.start_mjd - dark.start_mjd)
    if wanted.max_days is not None and days > wanted.max_days:
        reasons.append(f"{days:.1f} days away, over {wanted.max_days:g}")
    return reasons


def ladder(rule: Rule, max_sigma: float | None) -> tuple[tuple[str, float], ...]:
    """Return the tolerances that are tried in order; a limit that the user gives stands alone."""
    if max_sigma is not None:
        return ((f"{max_sigma:g} sigma", max_sigma),)
    return LADDER[-1:] if rule is Rule.NOTEBOOK else LADDER


def within(terms: Score, tolerance: float | None) -> bool:
    """Tell whether |z| is within a tolerance; None stands for any, and so does a z that is not known."""
    return tolerance is None or terms.delta_sigma is None or abs(terms.delta_sigma) <= tolerance


def choose(
    rule: Rule, scored: Iterable[tuple[Score, MatchValues]], wanted: Requirements
) -> tuple[str, tuple[ScoredDark, ...], tuple[tuple[Score, MatchValues], ...]]:
    """Rank scored darks and keep those within the first tolerance that any passes.

    Ties go to temperature, then to time, then to the root name.

    Returns
    -------
    tier : str
        The tolerance used; ``"none"`` where nothing passes.
    darks : tuple of ScoredDark
        At most `wanted.top`; the weight is each dark's share of the exposure time of all of them.
    left : tuple of (Score, MatchValues)
        Those outside the tolerance, nearest first.
    """
    ordered = sorted(
        scored,
        key=lambda pair: (pair[0].score, abs(pair[0].delta_temperature_c), abs(pair[0].delta_days), pair[1].rootname),
    )
    for tier, tolerance in ladder(rule, wanted.max_sigma):
        passing = [pair for pair in ordered if within(pair[0], tolerance)]
        if passing:
            left = tuple(pair for pair in ordered if not within(pair[0], tolerance))
            return tier, as_named(passing[: wanted.top]), left
    return "none", (), tuple(ordered)


def as_named(scored: Sequence[tuple[Score, MatchValues]]) -> tuple[ScoredDark, ...]:
    """Return scored darks ranked as they are given, with shares of the exposure time as weights."""
    total = sum(dark.exptime_s for _, dark in scored)
    return tuple(
        _scored_dark(rank, terms, dark, dark.exptime_s / total) for rank, (terms, dark) in enumerate(scored, 1)
    )


def _scored_dark(rank: int, terms: Score, dark: MatchValues, weight: float) -> ScoredDark:
    return ScoredDark(
        rank=rank,
        dark=dark.rootname,
        program=dark.program,
        score=terms.score,
        weight=weight,
        delta_sigma=terms.delta_sigma,
        delta_box_rate_count_s_pix=terms.delta_box_rate_count_s_pix,
        delta_contrast_count_s_pix=terms.delta_contrast_count_s_pix,
        delta_temperature_c=terms.delta_temperature_c,
        delta_days=terms.delta_days,
        exptime_s=dark.exptime_s,
        uri=None if dark.file is None else dark.file.uri,
        file_id=None if dark.file is None else dark.file.id,
        file=dark.file,
    )
