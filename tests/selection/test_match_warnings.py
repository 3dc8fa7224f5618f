"""Odd exposures are told: what is odd and what to do; sound ones are left alone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from sbcdark.catalog.engine import reading
from sbcdark.catalog.opening import open_catalog
from sbcdark.catalog.queries import match_values
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.selection.match_warnings import warnings_about
from sbcdark.pipeline.selection.rules import Requirements, Rule, choose, score

if TYPE_CHECKING:
    from pathlib import Path

    from sbcdark.catalog.records import MatchValues


@pytest.fixture(scope="module")
def values(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, MatchValues]:
    engine = open_catalog(f"sqlite:///{tmp_path_factory.mktemp('catalog') / 'catalog.db'}", create=True)
    ingest(engine, [shared_data / "darks_13961", shared_data / "science_13655_standin"])
    names = ("jcmc11e6q", "jcmc11deq", "jcmc11dtq", "jcrx01ixq", "jcrx01inq", "jcrx01isq")
    with reading(engine) as session:
        found = {name: match_values(session, name) for name in names}
    return {name: one for name, one in found.items() if one is not None}


def _told(science: MatchValues, dark: MatchValues, rule: Rule = Rule.GLOW) -> list[str]:
    terms = score(rule, science, dark)
    assert terms is not None
    _, (best,), _ = choose(rule, [(terms, dark)], Requirements())
    return warnings_about(rule, science, [(best, dark)])


def test_sound_exposures_are_left_alone(values: dict[str, MatchValues]) -> None:
    assert _told(values["jcmc11e6q"], values["jcrx01ixq"]) == []
    assert _told(values["jcmc11deq"], values["jcrx01inq"]) == []


def test_sky_is_told_only_where_it_is_unusual_or_taken_for_dark(values: dict[str, MatchValues]) -> None:
    science, dark = values["jcmc11dtq"], values["jcrx01inq"]
    assert science.filter == "F125LP"
    assert _told(science, dark) == []
    (told,) = _told(replace(science, filter="F165LP"), dark)
    assert "sky or a halo; check the picture" in told
    for rule in (Rule.BOX, Rule.NOTEBOOK):
        assert any(f"the rule {rule} takes for dark; use --rule glow" in told for told in _told(science, dark, rule))


def test_source_in_the_box_is_told(values: dict[str, MatchValues]) -> None:
    """A cold exposure with the contrast of a hot one: a source in the box, or a surprise."""
    hot = values["jcmc11e6q"]
    cold = replace(hot, temperature_mean_c=18.0)
    (told,) = _told(cold, values["jcrx01ixq"])
    assert "was 9.5 C warmer: a source in the box can look like glow" in told


def test_source_in_the_quiet_rows_is_told(values: dict[str, MatchValues]) -> None:
    science = values["jcmc11deq"]
    odd = replace(science, contrast_count_s_pix=-10 * (science.contrast_err_count_s_pix or 0.0))
    assert any("a source there hides the glow" in told for told in _told(odd, values["jcrx01inq"]))


def test_temperature_that_misleads_is_told(values: dict[str, MatchValues]) -> None:
    """The dark at the same 26.00 C has a third of the glow."""
    (told,) = _told(values["jcmc11e6q"], values["jcrx01isq"], Rule.TEMPERATURE)
    assert "differs by 24.1 sigma" in told


def test_no_dark_within_five_sigma_is_told(values: dict[str, MatchValues]) -> None:
    assert any("no dark is within 5 sigma" in told for told in _told(values["jcmc11e6q"], values["jcrx01isq"]))


def test_every_warning_is_short(values: dict[str, MatchValues]) -> None:
    """One line of what, one of what to do, at 120 columns; the path of a file may be longer."""
    science, dark = values["jcmc11dtq"], values["jcrx01isq"]
    strange = replace(
        science, exposure_flag="INTERRUPTED", observation_quality="LOCKLOST", guide_star_lock="GYROS", filter="F165LP"
    )
    for rule in Rule:
        told = _told(strange, dark, rule)
        assert len(told) >= 4
        for warning in told:
            what, _, todo = warning.partition("; ")
            assert len(what) <= 108, warning
            assert len(todo) <= 118, warning


def test_interrupted_exposure_is_told(values: dict[str, MatchValues]) -> None:
    science = replace(values["jcmc11deq"], exposure_flag="INTERRUPTED")
    assert any("EXPFLAG is INTERRUPTED" in told for told in _told(science, values["jcrx01inq"]))


@pytest.mark.parametrize(
    ("fact", "value", "words"),
    [
        ("observation_quality", "LOCKLOST", "QUALITY is LOCKLOST: the observatory noted a fault"),
        ("guide_star_lock", "GYROS", "FGSLOCK is GYROS: without fine lock"),
        ("guide_star_lock", "UNKNOWN", "FGSLOCK is UNKNOWN"),
        ("temperature_start_c", 0.0, "MDECODT1 is 0.0: its mean temperature is the other reading alone"),
        ("temperature_end_c", 0.0, "MDECODT2 is 0.0: its mean temperature is the other reading alone"),
    ],
)
def test_what_the_header_says_of_the_observation_is_told(
    values: dict[str, MatchValues], fact: str, value: Any, words: str
) -> None:
    science = values["jcmc11deq"]
    assert science.guide_star_lock == "FINE"
    other = {"temperature_start_c": "temperature_end_c", "temperature_end_c": "temperature_start_c"}.get(fact)
    mean = science.temperature_mean_c if other is None else getattr(science, other)
    (told,) = _told(replace(science, **{fact: value}, temperature_mean_c=mean), values["jcrx01inq"])
    assert told.startswith(words)


def test_what_is_well_or_not_said_is_not_told(values: dict[str, MatchValues]) -> None:
    science = values["jcmc11deq"]
    for quality, lock in ((None, None), ("OK", "FINE")):
        sound = replace(science, observation_quality=quality, guide_star_lock=lock)
        assert _told(sound, values["jcrx01inq"]) == []
    # A dark needs no guide star.
    dark = values["jcrx01ixq"]
    assert dark.guide_star_lock == "GYROS"
    assert _told(dark, values["jcrx01isq"]) == [text for text in _told(dark, values["jcrx01isq"]) if "FGS" not in text]


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("exposure_flag", "INDETERMINATE", "EXPFLAG is INDETERMINATE, so its exposure time may be wrong"),
        ("filter", "F125LP", "FILTER1 is F125LP, which lets light through"),
    ],
)
def test_a_dark_in_doubt_is_told(values: dict[str, MatchValues], column: str, value: str, expected: str) -> None:
    (told,) = _told(values["jcmc11e6q"], replace(values["jcrx01ixq"], **{column: value}))
    assert told.startswith(f"the dark jcrx01ixq is in doubt ({expected}); exclude it with: sbcdark retire jcrx01ixq")


def test_an_unread_temperature_is_no_number(values: dict[str, MatchValues]) -> None:
    science = values["jcmc11e6q"]
    assert science.read_temperature_c == science.temperature_mean_c
    assert math.isnan(replace(science, temperature_mean_c=0.0).read_temperature_c)


def test_temperature_that_nobody_read_is_told(values: dict[str, MatchValues]) -> None:
    science = values["jcmc11deq"]
    unread = replace(science, temperature_start_c=0.0, temperature_end_c=0.0, temperature_mean_c=0.0)
    assert any("MDECODT1 and MDECODT2 are 0.0" in told for told in _told(unread, values["jcrx01inq"]))


def test_dark_that_was_subtracted_already_is_told(values: dict[str, MatchValues]) -> None:
    science = values["jcmc11deq"]
    assert science.file is not None
    subtracted = replace(science, file=replace(science.file, dark_correction="COMPLETE", mean_dark_count=0.0072))
    (told,) = _told(subtracted, values["jcrx01inq"])
    assert "would be subtracted twice" in told
    empty = replace(science, file=replace(science.file, dark_correction="COMPLETE", mean_dark_count=0.0))
    (told,) = _told(empty, values["jcrx01inq"])
    assert "MEANDARK of 0" in told
