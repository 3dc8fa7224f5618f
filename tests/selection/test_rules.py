"""The rules: scores by hand, ties, gates, the ladder of tolerances, warnings. Pure numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sbcdark.catalog.records import FileRecord, MatchValues
from sbcdark.pipeline.selection import match_warnings, rules
from sbcdark.pipeline.selection.rules import FORCED, MIN_EXPTIME_S, Requirements, Rule

RAW = FileRecord(1, "RAW", "file:///d_raw.fits", 2_134_080, 0, "0", "present")
FLT = FileRecord(2, "FLT", "file:///s_flt.fits", 10_500_000, 0, "0", "present", dark_correction="OMIT")
SUBTRACTED = replace(FLT, dark_correction="COMPLETE", mean_dark_count=0.01)

SCIENCE = MatchValues(
    rootname="jcmc11e6q",
    kind="science",
    program=13655,
    filter="F165LP",
    target="IRAS",
    association="jcmc11010",
    start_mjd=57125.0,
    exptime_s=1200.0,
    temperature_mean_c=26.0,
    box_count=2400.0,
    box_rate_count_s_pix=5.0e-5,
    box_rate_err_count_s_pix=3.0e-6,
    quiet_rate_count_s_pix=1.0e-5,
    quiet_rate_err_count_s_pix=4.0e-7,
    contrast_count_s_pix=4.0e-5,
    contrast_err_count_s_pix=3.0e-6,
    quality="good",
    quality_reason=None,
    exposure_flag="NORMAL",
    file=FLT,
)


def dark(rootname: str = "jcrx01ixq", **values: Any) -> MatchValues:
    common: dict[str, Any] = {
        "rootname": rootname,
        "kind": "dark",
        "program": 13961,
        "exptime_s": 1000.0,
        "start_mjd": 57084.0,
        "filter": "BLOCK1",
        "box_count": 2000.0,
        "contrast_err_count_s_pix": 4.0e-6,
        "box_rate_err_count_s_pix": 4.0e-6,
        "file": RAW,
    }
    return replace(SCIENCE, **common | values)


def chosen(
    rule: Rule, darks: list[MatchValues], wanted: Requirements | None = None
) -> tuple[str, list[str], list[str]]:
    scored = [(terms, one) for one in darks if (terms := rules.score(rule, SCIENCE, one)) is not None]
    tier, kept, left = rules.choose(rule, scored, wanted or Requirements())
    assert [one.rank for one in kept] == list(range(1, len(kept) + 1))
    assert sum(one.weight for one in kept) == pytest.approx(1.0) or not kept
    return tier, [one.dark for one in kept], [one.rootname for _, one in left]


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        # (4e-5 - 3e-5) / hypot(3e-6, 4e-6) = 1e-5 / 5e-6
        (Rule.GLOW, {"contrast_count_s_pix": 3.0e-5}, 2.0),
        (Rule.GLOW, {"contrast_count_s_pix": 5.5e-5}, -3.0),
        (Rule.BOX, {"box_rate_count_s_pix": 3.0e-5}, 4.0),
        (Rule.TEMPERATURE, {"temperature_mean_c": 25.0}, 2.0),
        (Rule.TEMPERATURE, {"temperature_mean_c": 26.75}, -1.5),
    ],
)
def test_scores_by_hand(rule: Rule, values: dict[str, Any], expected: float) -> None:
    terms = rules.score(rule, SCIENCE, dark(**values))
    assert terms is not None
    # Two subtractions, a hypot and a division: a few units in the last place.
    assert terms.delta_sigma == pytest.approx(expected, rel=1e-12)
    # hypot(delta, 4e-6) / 3e-6, delta being z x 5e-6; temperature has one error for all.
    score = abs(expected) if rule is Rule.TEMPERATURE else math.hypot(expected * 5e-6, 4e-6) / 3e-6
    assert terms.score == pytest.approx(score, rel=1e-12)


def test_own_noise_of_a_dark_makes_it_no_better_match() -> None:
    """The same difference with a larger error is a larger score, though a smaller z."""
    scores = [
        terms
        for error in (0.0, 1e-6, 4e-6, 2e-5, 1e-4)
        if (terms := rules.score(Rule.GLOW, SCIENCE, dark(contrast_count_s_pix=2e-5, contrast_err_count_s_pix=error)))
    ]
    assert [one.score for one in scores] == sorted({one.score for one in scores})
    assert [abs(one.delta_sigma or 0) for one in scores] == sorted(abs(one.delta_sigma or 0) for one in scores)[::-1]


TRIALS = 400


@pytest.mark.parametrize("rule", [Rule.GLOW, Rule.BOX])
def test_short_darks_seldom_win(rule: Rule) -> None:
    """Of 30 darks of 1000 s and 30 of 300 s of the same glow, one of 300 s comes first in about 2 % of catalogs.

    By |z| it does in about half: all are compatible alike. The number of wins is binomial.
    """
    generator = np.random.default_rng(400)
    quiet, glow, pixels = 7.5e-6, 1e-5, (40_000, 131_072)
    wins = by_z = 0
    for _ in range(TRIALS):
        frames = []
        for seconds in (1000.0,) * 31 + (300.0,) * 30:
            box, low = generator.poisson([(quiet + glow) * pixels[0] * seconds, quiet * pixels[1] * seconds])
            rates = box / (pixels[0] * seconds), low / (pixels[1] * seconds)
            errors = math.sqrt(box) / (pixels[0] * seconds), math.sqrt(low) / (pixels[1] * seconds)
            frames.append(
                dark(
                    f"jcrx{len(frames):04d}q",
                    exptime_s=seconds,
                    box_rate_count_s_pix=rates[0],
                    box_rate_err_count_s_pix=errors[0],
                    contrast_count_s_pix=rates[0] - rates[1],
                    contrast_err_count_s_pix=math.hypot(*errors),
                )
            )
        science, *darks = frames
        scored = [(terms, one) for one in darks if (terms := rules.score(rule, science, one)) is not None]
        _, (best, *_), _ = rules.choose(rule, scored, Requirements())
        wins += best.exptime_s == 300.0
        by_z += min(scored, key=lambda pair: abs(pair[0].delta_sigma or 0.0))[1].exptime_s == 300.0
    expected = 0.02 * TRIALS
    assert wins <= expected + 3 * math.sqrt(expected)
    assert by_z > TRIALS / 2 - 4 * math.sqrt(TRIALS / 4)


def test_every_difference_is_science_minus_dark() -> None:
    terms = rules.score(
        Rule.NOTEBOOK,
        SCIENCE,
        dark(
            box_count=2000.0,
            box_rate_count_s_pix=3e-5,
            contrast_count_s_pix=1e-5,
            temperature_mean_c=24.5,
            start_mjd=57100.0,
        ),
    )
    assert terms is not None
    assert terms.score == 400.0
    assert terms.delta_sigma == pytest.approx(2e-5 / 5e-6, rel=1e-12)
    assert terms.delta_box_rate_count_s_pix == 5e-5 - 3e-5
    assert terms.delta_contrast_count_s_pix == 4e-5 - 1e-5
    assert terms.delta_temperature_c == 1.5
    assert terms.delta_days == 25.0


def test_notebook_compares_raw_sums_whatever_the_exposure_time() -> None:
    # Half the time at twice the rate: the same sum, so the notebook's procedure cannot tell them apart.
    short = dark(box_count=2400.0, exptime_s=500.0, box_rate_count_s_pix=1.2e-4)
    terms = rules.score(Rule.NOTEBOOK, SCIENCE, short)
    rates = rules.score(Rule.BOX, SCIENCE, short)
    assert terms is not None
    assert rates is not None
    assert terms.score == 0.0
    assert rates.score > 5


@pytest.mark.parametrize("rule", Rule)
def test_what_was_not_measured_has_no_score(rule: Rule) -> None:
    unmeasured = dark(contrast_count_s_pix=None, box_rate_count_s_pix=None, box_count=None)
    terms = rules.score(rule, SCIENCE, unmeasured)
    if rule is Rule.TEMPERATURE:
        assert terms is not None
        assert terms.delta_contrast_count_s_pix is None
    else:
        assert terms is None
        assert rules.metric(rule, unmeasured) is None


def test_values_without_an_error_are_infinitely_far_or_equal() -> None:
    exact = replace(SCIENCE, contrast_err_count_s_pix=0.0)
    for contrast, expected in ((4.0e-5, 0.0), (3.0e-5, math.inf), (5.0e-5, -math.inf)):
        one = dark(contrast_count_s_pix=contrast, contrast_err_count_s_pix=0.0)
        terms = rules.score(Rule.GLOW, exact, one)
        assert terms is not None
        assert terms.delta_sigma == expected


def test_ties_go_to_temperature_then_to_time_then_to_the_name() -> None:
    # Quarters of a degree are exact in binary, on either side of the science exposure's 26 C.
    ranked = [
        dark("jcrx01izq", contrast_count_s_pix=4.0e-5, temperature_mean_c=30.0),
        dark("jcrx01iyq", contrast_count_s_pix=4.1e-5, temperature_mean_c=26.25, start_mjd=57000.0),
        dark("jcrx01ixq", contrast_count_s_pix=4.1e-5, temperature_mean_c=26.5, start_mjd=57124.0),
        dark("jcrx01iwq", contrast_count_s_pix=4.1e-5, temperature_mean_c=25.5, start_mjd=57127.0),
        dark("jcrx01iaq", contrast_count_s_pix=4.1e-5, temperature_mean_c=26.75, start_mjd=57130.0),
        dark("jcrx01ibq", contrast_count_s_pix=4.1e-5, temperature_mean_c=25.25, start_mjd=57120.0),
    ]
    names = [one.rootname for one in ranked]
    wanted = Requirements(top=6)
    for order in (ranked, ranked[::-1], ranked[3:] + ranked[:3]):
        assert chosen(Rule.GLOW, order, wanted)[1] == names


def test_ladder_uses_the_first_tolerance_that_any_dark_passes() -> None:
    at = {sigma: dark(f"jcrx01i{sigma}q", contrast_count_s_pix=4e-5 - sigma * 5e-6) for sigma in (1, 3, 4, 7, 9)}
    assert chosen(Rule.GLOW, list(at.values())) == (
        "2 sigma",
        ["jcrx01i1q"],
        ["jcrx01i3q", "jcrx01i4q", "jcrx01i7q", "jcrx01i9q"],
    )
    assert chosen(Rule.GLOW, [at[9], at[4], at[7], at[3]]) == (
        "5 sigma",
        ["jcrx01i3q", "jcrx01i4q"],
        ["jcrx01i7q", "jcrx01i9q"],
    )
    assert chosen(Rule.GLOW, [at[9], at[7]]) == ("any", ["jcrx01i7q", "jcrx01i9q"], [])
    assert chosen(Rule.GLOW, [at[9], at[7]], Requirements(top=1)) == ("any", ["jcrx01i7q"], [])
    assert chosen(Rule.GLOW, []) == ("none", [], [])


def test_noisy_dark_sets_no_tier() -> None:
    """A dark whose large error makes it compatible with everything does not rank first, and so sets no tolerance."""
    noisy = dark("jcrx01inq", contrast_count_s_pix=9e-5, contrast_err_count_s_pix=3e-5)
    near = dark("jcrx01iaq", contrast_count_s_pix=2.5e-5, contrast_err_count_s_pix=4e-6)
    terms = rules.score(Rule.GLOW, SCIENCE, noisy)
    assert terms is not None
    assert abs(terms.delta_sigma or 0.0) < 2
    assert chosen(Rule.GLOW, [noisy, near]) == ("5 sigma", ["jcrx01iaq", "jcrx01inq"], [])
    assert chosen(Rule.GLOW, [noisy, near], Requirements(top=1)) == ("5 sigma", ["jcrx01iaq"], [])


def test_limit_of_the_user_stands_alone() -> None:
    at = {sigma: dark(f"jcrx01i{sigma}q", contrast_count_s_pix=4e-5 - sigma * 5e-6) for sigma in (1, 3, 4, 7)}
    far = [at[3], at[4], at[7]]
    assert chosen(Rule.GLOW, far, Requirements(max_sigma=3.5)) == (
        "3.5 sigma",
        ["jcrx01i3q"],
        ["jcrx01i4q", "jcrx01i7q"],
    )
    assert chosen(Rule.GLOW, [at[4]], Requirements(max_sigma=3.5)) == ("none", [], ["jcrx01i4q"])
    assert chosen(Rule.GLOW, [at[7]], Requirements(max_sigma=8)) == ("8 sigma", ["jcrx01i7q"], [])
    assert chosen(Rule.GLOW, [at[1], at[3]], Requirements(max_sigma=8))[:2] == ("8 sigma", ["jcrx01i1q", "jcrx01i3q"])
    assert [step for step, _ in rules.ladder(Rule.GLOW, None)] == ["2 sigma", "5 sigma", "any"]
    assert rules.ladder(Rule.GLOW, 2.5) == (("2.5 sigma", 2.5),)
    assert rules.ladder(Rule.NOTEBOOK, None) == (("any", math.inf),)
    assert rules.ladder(Rule.NOTEBOOK, 4.0) == (("4 sigma", 4.0),)


def test_weights_are_shares_of_the_exposure_time() -> None:
    darks = [dark("jcrx01iaq", exptime_s=1000.0), dark("jcrx01ibq", exptime_s=3000.0)]
    scored = [(terms, one) for one in darks if (terms := rules.score(Rule.GLOW, SCIENCE, one)) is not None]
    _, kept, _ = rules.choose(Rule.GLOW, scored, Requirements())
    assert [one.weight for one in kept] == [0.25, 0.75]
    assert [one.uri for one in kept] == [RAW.uri, RAW.uri]


@pytest.mark.parametrize(
    ("values", "wanted", "reason"),
    [
        ({"quality": "suspect", "quality_reason": "outlier"}, Requirements(), "quality suspect: outlier"),
        ({"quality": "retired"}, Requirements(), "quality retired"),
        ({"file": replace(RAW, state="missing")}, Requirements(), "its RAW is missing: file:///d_raw.fits"),
        ({"file": replace(RAW, state="changed")}, Requirements(), "its RAW changed after the ingest: file:///d_raw"),
        # sigma = hypot(1e-5 x 0.05, 4e-7 x 2^0.5, sqrt(2) x 0.08 x 1e-5) = 1.33e-6 where both have errors of 4e-7.
        ({"quiet_rate_count_s_pix": 1.7e-5}, Requirements(), "its quiet rows are brighter than the exposure's by 5."),
        ({"box_rate_count_s_pix": 1.2e-4}, Requirements(), "its box is brighter than the exposure's by 1"),
        ({"file": None}, Requirements(), "its RAW is not present"),
        ({"contrast_count_s_pix": None}, Requirements(), "not measured"),
        ({"exptime_s": 299.0}, Requirements(), f"EXPTIME = 299 s is below {MIN_EXPTIME_S:g} s"),
        ({"start_mjd": 57000.0}, Requirements(max_days=100.0), "125.0 days away, more than 100"),
        ({"rootname": "jcmc11e6q"}, Requirements(), "itself"),
    ],
)
def test_gates_say_why(values: dict[str, Any], wanted: Requirements, reason: str) -> None:
    (told,) = rules.gate_reasons(SCIENCE, dark(**values), wanted)
    assert reason in told
    assert rules.gate_reasons(SCIENCE, dark(), wanted) == []


def test_untested_darks_may_be_taken() -> None:
    untested = dark(quality="untested", quality_reason="its run has 3 darks")
    assert rules.gate_reasons(SCIENCE, untested, Requirements()) == []


@pytest.mark.parametrize("region", ["box", "quiet"])
def test_brightness_gate_stands_at_five_sigma(region: str) -> None:
    """By hand: Poisson errors of both, 8 % of the smaller base twice, in the box 5 % of the exposure's rate."""
    column, error = f"{region}_rate_count_s_pix", f"{region}_rate_err_count_s_pix"
    ours, theirs = getattr(SCIENCE, error), getattr(dark(), error)
    base = math.sqrt(2) * 0.08 * 1.0e-5
    flat = 0.05 * 5.0e-5 if region == "box" else 0.0
    limit = getattr(SCIENCE, column) + 5 * math.sqrt(ours**2 + theirs**2 + base**2 + flat**2)
    for factor, number in ((1 - 1e-9, 0), (1 + 1e-9, 1)):
        assert len(rules.gate_reasons(SCIENCE, dark(**{column: limit * factor}), Requirements())) == number
    # A dark that is fainter than the exposure is never too bright, and what was not measured has no ceiling.
    assert rules.too_bright(SCIENCE, dark(**{column: 0.0})) == []
    assert rules.too_bright(SCIENCE, dark(**{column: None})) == []
    assert rules.too_bright(replace(SCIENCE, **{column: None}), dark(**{column: 1.0})) == []


def test_raised_base_of_a_dark_widens_no_gate() -> None:
    """The allowance is a share of the smaller base: what a dark adds to its own base does not let it in."""
    for rate in (1.7e-5, 3e-5, 1e-4, 1e-3):
        assert rules.too_bright(SCIENCE, dark(quiet_rate_count_s_pix=rate))


def test_gates_stand_at_their_limits() -> None:
    assert rules.gate_reasons(SCIENCE, dark(exptime_s=300.0), Requirements()) == []
    assert rules.gate_reasons(SCIENCE, dark(start_mjd=57125.0 - 41.0), Requirements(max_days=41.0)) == []
    assert len(rules.gate_reasons(SCIENCE, dark(file=None, exptime_s=1.0, quality="retired"), Requirements())) == 3


def warned(rule: Rule, science: MatchValues, one: MatchValues | None) -> str:
    if one is None:
        return " | ".join(match_warnings.warnings_about(rule, science, []))
    terms = rules.score(rule, science, one)
    assert terms is not None
    (named,) = rules.as_named([(terms, one)])
    return " | ".join(match_warnings.warnings_about(rule, science, [(named, one)]))


def test_nothing_is_warned_of_where_all_fits() -> None:
    for rule in Rule:
        assert warned(rule, SCIENCE, dark()) == ""


@pytest.mark.parametrize(
    ("rule", "science", "values", "words"),
    [
        (Rule.GLOW, {}, {"contrast_count_s_pix": 1e-5}, "no dark is within 5 sigma"),
        (Rule.TEMPERATURE, {}, {"contrast_count_s_pix": 1e-5}, "compare with --rule glow"),
        (Rule.GLOW, {"quiet_rate_count_s_pix": 3e-5}, {}, "above those of jcrx01ixq"),
        (Rule.GLOW, {}, {"temperature_mean_c": 19.0}, "7.0 C colder"),
        (Rule.BOX, {}, {"temperature_mean_c": 29.0}, "3.0 C warmer"),
        (Rule.GLOW, {"exposure_flag": "INTERRUPTED"}, {}, "EXPFLAG is INTERRUPTED"),
        (Rule.GLOW, {"file": None}, {}, "its FLT is not in the catalog"),
        (Rule.GLOW, {"file": SUBTRACTED}, {}, "subtracted twice"),
        (Rule.GLOW, {"file": replace(FLT, mean_dark_count=0.01)}, {}, "MEANDARK 0.01 counts"),
    ],
)
def test_what_is_odd_is_told(rule: Rule, science: dict[str, Any], values: dict[str, Any], words: str) -> None:
    assert words in warned(rule, replace(SCIENCE, **science), dark(**values))


def test_odd_files_are_told_without_darks_too() -> None:
    assert "EXPFLAG" in warned(Rule.GLOW, replace(SCIENCE, exposure_flag="ABORTED"), None)
    assert FORCED not in set(Rule)
