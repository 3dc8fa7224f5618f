"""Choosing on both engines, with the real darks: names, rules, reasons, what is stored."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sqlalchemy as sa
from astropy.io import fits
from helpers import dump, every_dark_row, insert_science

from sbcdark.catalog import models, queries
from sbcdark.catalog.engine import reading, writing
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.records import FileReading
from sbcdark.catalog.result_listings import selections_of
from sbcdark.catalog.writes import write_batch
from sbcdark.pipeline.detector.rates import count_error
from sbcdark.pipeline.detector.regions import BOX, REGIONS
from sbcdark.pipeline.frames.exposure_files import read_file
from sbcdark.pipeline.ingest.quality import flag_outliers, restore, retire
from sbcdark.pipeline.selection import rules
from sbcdark.pipeline.selection.choice import forced_match, match, matches_for_templates
from sbcdark.pipeline.selection.names import Selector, resolve_exposure, resolve_target
from sbcdark.pipeline.selection.reasons import why
from sbcdark.pipeline.selection.rules import Requirements, Rule
from sbcdark.pipeline.views.listings import exposures

if TYPE_CHECKING:
    from pathlib import Path

    from sbcdark.catalog.records import Match, RegionMeasurement


@pytest.fixture(scope="module")
def real_readings(shared_data: Path) -> list[FileReading]:
    """Return what an ingest reads of the real files, once for all tests."""
    files = [path for kind in ("raw", "asn", "flt") for path in sorted(shared_data.resolve().glob(f"*/*_{kind}.fits*"))]
    readings = [one for path in files if isinstance(one := read_file(path), FileReading)]
    assert len(readings) == 32
    return readings


@pytest.fixture
def real_catalog(empty_catalog: sa.Engine, real_readings: list[FileReading]) -> sa.Engine:
    regions = [asdict(region) for region in REGIONS]
    with writing(empty_catalog) as session:
        write_batch(session, real_readings, [], regions, run_id=None, action="test", software_version="0")
    return empty_catalog


def test_notebook_rule_names_the_published_dark(real_catalog: sa.Engine, shared_data: Path) -> None:
    (one,) = match(real_catalog, ["jcmc11e6q"], rule=Rule.NOTEBOOK)
    with fits.open(shared_data / "science_13655_standin" / "jcmc11e6q_flt.fits.gz") as hdus:
        box = float(hdus["SCI"].data[BOX.slices].sum(dtype=np.float64))
    assert box == pytest.approx(2319.9, abs=0.05)
    best = one.darks[0]
    assert best.dark == "jcrx01ixq"
    # 40,000 additions in double precision, in whatever order.
    assert best.score == pytest.approx(abs(box - 2196), rel=1e-9)
    assert one.tier == "any"
    assert best.uri is not None
    assert best.uri.endswith("/jcrx01ixq_raw.fits.gz")


def test_all_of_the_real_program_are_answered_by_every_rule(real_catalog: sa.Engine) -> None:
    found = [(rule, one) for rule in Rule for one in match(real_catalog, Selector(program=(13655,)), rule=rule)]
    assert len(found) == 8 * len(Rule)
    for rule, one in found:
        assert 1 <= len(one.darks) <= 5
        assert one.rule == rule
        assert sum(dark.weight for dark in one.darks) == pytest.approx(1.0)
        assert [dark.score for dark in one.darks] == sorted(dark.score for dark in one.darks)
        if one.tier == "2 sigma":
            assert all(abs(dark.delta_sigma or 0) <= 2 for dark in one.darks)


def test_warm_science_frame_gets_darks_of_its_glow_and_not_of_its_temperature(real_catalog: sa.Engine) -> None:
    (by_glow,) = match(real_catalog, ["jcmc11e6q"], rule=Rule.GLOW)
    (by_temperature,) = match(real_catalog, ["jcmc11e6q"], rule=Rule.TEMPERATURE)
    assert by_glow.darks[0].dark == "jcrx01ixq"
    assert abs(by_glow.darks[0].delta_sigma or 0) < abs(by_temperature.darks[0].delta_contrast_count_s_pix or 0) / 1e-6
    assert any("--rule glow" in text for text in by_temperature.warnings)


def test_association_program_and_names_are_resolved(real_catalog: sa.Engine) -> None:
    def names(**how: Any) -> list[str]:
        return [one.exposure for one in match(real_catalog, **how)]

    pair = ["jcmc11ctq", "jcmc11e6q"]
    assert names(names=Selector(association=("JCMC11010",))) == pair
    assert names(names=["jcmc11010"]) == pair
    assert names(names=["JCMC11E6Q"]) == names(names=["jcmc11e6"]) == names(names=[" JCMC11E6 "]) == ["jcmc11e6q"]
    assert names(names=["jcmc11e6q", "JCMC11E6"]) == ["jcmc11e6q"]
    assert names(names=["jcmc11de", "jcmc11deq", "jcmc11e6", " JCMC11DEQ"]) == ["jcmc11deq", "jcmc11e6q"]
    assert sorted(names(names=Selector(["jcmc11e6q"], association=("jcmc11010",)))) == pair
    assert len(names(names=Selector(program=(13655,)))) == 8
    assert names(names=["jcrx01ixq"]) == ["jcrx01ixq"]
    with reading(real_catalog) as session:
        (target,) = resolve_target(session, ["JCMC11010"])
        assert (target.name, target.exposures, target.absent) == ("jcmc11010", tuple(sorted(pair)), ())
        targets = resolve_target(session, ["jcmc11010", "jcmc11dt", "JCMC11DSQ"])
        assert [one.exposures for one in targets] == [tuple(sorted(pair)), ("jcmc11dtq", "jcmc11dsq")]
        # One exposure in two spellings is one member of the product.
        (target,) = resolve_target(session, ["jcmc11de", "jcmc11deq", "JCMC11DE"])
        assert (target.name, target.exposures) == ("jcmc11deq", ("jcmc11deq",))


def test_unknown_names_suggest_near_ones(real_catalog: sa.Engine) -> None:
    for name in ("jcmc11e7q", "jcmc11e", "jcmc", "JCMC11XXQ"):
        with pytest.raises(UsageError, match="Did you mean jcmc11") as caught:
            match(real_catalog, [name])
        assert caught.value.todo == "List them: sbcdark exposures"


@pytest.mark.parametrize(
    ("name", "meant"),
    [("jcmc1101", "jcmc11010"), ("jcmc11011", "jcmc11010"), ("JCMC11050", "jcmc11010"), ("jcmc11e5q", "jcmc11e6q")],
)
def test_associations_are_suggested_too(real_catalog: sa.Engine, name: str, meant: str) -> None:
    with pytest.raises(UsageError, match="Did you mean") as caught:
        match(real_catalog, [name])
    suggested = caught.value.what.partition("Did you mean ")[2].rstrip("?").split(", ")
    assert meant in suggested
    assert len(suggested) == len(set(suggested)) <= 3
    # What is suggested can be named.
    for one in suggested:
        match(real_catalog, [one])


NAMES_OF_NOTHING = ["", "%", "_________", "x' OR 1=1", "zzzz", "\x1b[31m", "jcrx01i%", "\u0661\u0662\u0663"]


def test_names_that_are_none_find_nothing(real_catalog: sa.Engine) -> None:
    for name in NAMES_OF_NOTHING:
        with pytest.raises(UsageError, match="has no exposure") as caught:
            match(real_catalog, [name])
        assert "Did you mean" not in str(caught.value)
        assert str(caught.value).isprintable()


def test_name_of_eight_characters_that_fits_two_is_not_guessed(real_catalog: sa.Engine) -> None:
    insert_science(real_catalog, "jcmc11e6r")
    with reading(real_catalog) as session, pytest.raises(UsageError, match="Did you mean jcmc11e6q, jcmc11e6r"):
        resolve_exposure(session, "jcmc11e6")


def test_nothing_named_is_a_usage_error(real_catalog: sa.Engine) -> None:
    with pytest.raises(UsageError, match="No exposure is given"):
        match(real_catalog)
    with pytest.raises(UsageError, match="no science exposure of program 1"):
        match(real_catalog, Selector(program=(1,)))


def test_near_darks_that_are_not_taken_have_reasons(real_catalog: sa.Engine) -> None:
    with real_catalog.begin() as connection:
        for statement in (
            "UPDATE exposures SET quality = 'retired', quality_reason = 'SAA' WHERE rootname = 'jcrx01ixq'",
            "UPDATE files SET state = 'missing' WHERE uri LIKE '%jcrx01iyq%'",
            "UPDATE exposures SET has_raw = false WHERE rootname = 'jcrx01iyq'",
        ):
            connection.execute(sa.text(statement))
    (one,) = match(real_catalog, ["jcmc11e6q"])
    reasons = {rejected.dark: rejected.reason for rejected in one.nearest_rejected}
    assert set(reasons) >= {"jcrx01ixq", "jcrx01iyq"}
    assert reasons["jcrx01ixq"] == "quality retired: SAA"
    assert reasons["jcrx01iyq"] == "its RAW is not present"
    assert {dark.dark for dark in one.darks}.isdisjoint(reasons)
    (one,) = match(real_catalog, ["jcmc11e6q"], wanted=Requirements(max_days=1.0))
    assert (one.tier, one.darks) == ("none", ())
    assert all("days away, more than 1" in rejected.reason for rejected in one.nearest_rejected)
    (one,) = match(real_catalog, ["jcmc11e6q"], wanted=Requirements(max_sigma=1e-6))
    assert (one.tier, one.darks) == ("none", ())
    assert any(rejected.reason.endswith("sigma away, more than 1e-06") for rejected in one.nearest_rejected)


def test_catalog_without_darks_answers_none(empty_catalog: sa.Engine) -> None:
    insert_science(empty_catalog, "jcmc11e6q")
    for rule in Rule:
        (one,) = match(empty_catalog, ["jcmc11e6q"], rule=rule, save=True)
        assert (one.tier, one.darks, one.nearest_rejected, one.selection_id) == ("none", (), (), None)
    assert dump(empty_catalog)["selections"] == []


def test_exposure_without_measurements_is_told(empty_catalog: sa.Engine) -> None:
    insert_science(empty_catalog, "jcmc11e6q", contrast_count_s_pix=None)
    with pytest.raises(UsageError, match="no measured regions"):
        match(empty_catalog, ["jcmc11e6q"])


def test_limits_that_are_none_are_refused(empty_catalog: sa.Engine) -> None:
    insert_science(empty_catalog, "jcmc11e6q")
    for value in (float("inf"), float("nan")):
        for wanted in (Requirements(max_sigma=value), Requirements(max_days=value), Requirements(min_exptime_s=value)):
            with pytest.raises(UsageError, match="is not a finite number"):
                match(empty_catalog, ["jcmc11e6q"], wanted=wanted, save=True)


def saved_terms(one: Match) -> list[tuple[Any, ...]]:
    return [
        (
            one.selection_id,
            dark.rank,
            dark.file_id,
            dark.score,
            dark.weight,
            dark.delta_sigma,
            dark.delta_box_rate_count_s_pix,
            dark.delta_contrast_count_s_pix,
            dark.delta_temperature_c,
            dark.delta_days,
        )
        for dark in one.darks
    ]


def test_saved_selections_hold_every_term(real_catalog: sa.Engine) -> None:
    before = dump(real_catalog)
    found = match(real_catalog, Selector(program=(13655,)), save=True, wanted=Requirements(top=3, max_days=100.0))
    assert [one.selection_id for one in found] == list(range(1, 9))
    with reading(real_catalog) as session:
        columns = [column for column in models.SelectionDark.__table__.columns if column.name != "dark_id"]
        names = [column.name for column in columns]
        stored = [tuple(row) for row in session.execute(sa.select(*columns))]
        assert names[:3] == ["selection_id", "rank", "file_id"]
        assert sorted(stored) == sorted(row for one in found for row in saved_terms(one))
        for one in found:
            selection = session.get_one(models.Selection, one.selection_id)
            assert (selection.rule, selection.tier) == (one.rule, one.tier)
            assert selection.parameters == {"top": 3, "max_sigma": None, "max_days": 100.0, "min_exptime_s": 300.0}
            assert selection.warnings == list(one.warnings)
            assert selection.catalog_revision == queries.catalog_revision(session) == 1
            assert selection.software_version
            assert session.get_one(models.File, selection.file_id).kind == "FLT"
            (entry,) = selections_of(session, one.exposure)
            assert entry["darks"] == [dark.dark for dark in one.darks]
    # Choosing again stores again and changes nothing that is stored.
    after = dump(real_catalog)
    match(real_catalog, ["jcmc11e6q"], save=True)
    again = dump(real_catalog)
    for table, rows in after.items():
        assert rows == before[table] or table in {"selections", "selection_darks"}
        assert set(map(repr, rows)) <= set(map(repr, again[table]))
    assert len(again["selections"]) == 9


def test_darks_for_templates_are_cold_and_warm_ones_too(real_catalog: sa.Engine) -> None:
    with reading(real_catalog) as session:
        one, other = matches_for_templates(session, ["jcmc11e6q", "jcmc11ctq"], Rule.GLOW, Requirements())
        chosen = {dark.dark for dark in one.darks}
        assert chosen == {dark.dark for dark in other.darks}
        temperatures = {row.rootname: row.temperature_mean_c for row in every_dark_row(real_catalog)}
        assert sum(temperatures[name] < 24 for name in chosen) >= 2
        assert sum(temperatures[name] > 25 for name in chosen) >= 2
        assert {dark.dark for dark in match(real_catalog, ["jcmc11e6q"])[0].darks} <= chosen
        (of_a_dark,) = matches_for_templates(session, ["jcrx01ixq"], Rule.GLOW, Requirements())
        assert "jcrx01ixq" not in {dark.dark for dark in of_a_dark.darks}


def test_an_unread_temperature_is_not_taken_for_a_cold_dark(real_catalog: sa.Engine) -> None:
    warm = "jcrx01j2q"
    with real_catalog.begin() as connection:
        connection.execute(
            sa.text(
                "UPDATE exposures SET temperature_mean_c = 0.0, exposure_flag = 'INDETERMINATE' WHERE rootname = :name"
            ),
            {"name": warm},
        )
    with reading(real_catalog) as session:
        (one,) = matches_for_templates(session, ["jcmc11deq"], Rule.GLOW, Requirements())
        assert {dark.role for dark in one.darks} == {"rule", "cold", "warm"}
        assert warm not in {dark.dark for dark in one.darks}
    # A dark of the templates that is in doubt is told, also where the rule did not choose it.
    with real_catalog.begin() as connection:
        connection.execute(sa.text("UPDATE exposures SET exposure_flag = 'LONG' WHERE rootname = 'jcrx01j1q'"))
    with reading(real_catalog) as session:
        (one,) = matches_for_templates(session, ["jcmc11deq"], Rule.GLOW, Requirements())
        (told,) = [text for text in one.warnings if "in doubt" in text]
        assert told.startswith("the dark jcrx01j1q is in doubt (EXPFLAG is LONG")


def test_forced_darks_stand_in_the_order_named(real_catalog: sa.Engine) -> None:
    with reading(real_catalog) as session:
        one = forced_match(session, "jcmc11e6q", ["JCRX01J2Q", "jcrx01ii"], Requirements())
        assert [dark.dark for dark in one.darks] == ["jcrx01j2q", "jcrx01iiq"]
        assert (one.rule, one.tier) == (rules.FORCED, rules.FORCED)
        with pytest.raises(UsageError, match="is not a dark"):
            forced_match(session, "jcmc11e6q", ["jcmc11ctq"], Requirements())
        with pytest.raises(UsageError, match="Did you mean"):
            forced_match(session, "jcmc11e6q", ["jcrx01zzq"], Requirements())
        # One dark in two spellings is one dark.
        one = forced_match(session, "jcmc11e6q", ["jcrx01j2", "JCRX01J2Q"], Requirements())
        assert [(dark.dark, dark.weight) for dark in one.darks] == [("jcrx01j2q", 1.0)]


def test_forced_darks_that_are_odd_are_told(real_catalog: sa.Engine) -> None:
    retire(real_catalog, "jcrx01ixq", "a lamp was on")
    with real_catalog.begin() as connection:
        connection.execute(
            sa.text("UPDATE exposures SET quality = 'suspect', quality_reason = 'high' WHERE rootname = 'jcrx01iwq'")
        )
        connection.execute(sa.text("UPDATE exposures SET quality = 'untested' WHERE rootname = 'jcrx01ivq'"))
    with reading(real_catalog) as session:
        one = forced_match(session, "jcmc11e6q", ["jcrx01ixq", "jcrx01iwq", "jcrx01ivq", "jcrx01iuq"], Requirements())
        assert len(one.darks) == 4
        assert one.warnings == (
            "jcrx01ixq is used because it is named, but: quality retired: a lamp was on",
            "jcrx01iwq is used because it is named, but: quality suspect: high",
        )
        (told,) = forced_match(session, "jcmc11deq", ["jcrx01j2q"], Requirements()).warnings
        assert "its box is brighter than the exposure's by" in told


def frame_of_the_issue(readings: list[FileReading], quiet: float) -> list[FileReading]:
    """Return three darks of a later run; in the second the whole detector is brighter, the quiet rows at a rate."""
    made = []
    for number, one in enumerate(readings[:3]):
        exposure = one.exposure
        assert exposure is not None
        measured = exposure.measurements
        if number == 1:
            rest = next(region for region in measured if region.region == "quiet")
            more = quiet - rest.rate_count_s_pix
            measured = tuple(_brighter(region, more, exposure.exptime_s) for region in measured)
        made.append(
            replace(
                one,
                uri=one.uri.replace("jcrx01", "jcry01"),
                exposure=replace(
                    exposure,
                    rootname=exposure.rootname.replace("jcrx01", "jcry01"),
                    start_mjd=exposure.start_mjd + 30.0,
                    measurements=measured,
                ),
            )
        )
    return made


def _brighter(measured: RegionMeasurement, rate: float, exptime_s: float) -> RegionMeasurement:
    scale = measured.good_pixels * exptime_s
    counts = measured.counts + rate * scale
    return replace(
        measured, counts=counts, rate_count_s_pix=counts / scale, rate_err_count_s_pix=count_error(counts) / scale
    )


def test_dark_with_a_raised_quiet_rate_fits_nothing(real_catalog: sa.Engine, real_readings: list[FileReading]) -> None:
    """The case of the issue: 5.9e-5 in the quiet rows, from a run of three, is suspect and gated for F125LP."""
    darks = [one for one in real_readings if one.exposure is not None and one.exposure.kind == "dark"]
    made = frame_of_the_issue(darks, 5.9e-5)
    assert made[1].exposure is not None
    bad = made[1].exposure.rootname
    with writing(real_catalog) as session:
        regions = [asdict(region) for region in REGIONS]
        write_batch(session, made, [], regions, run_id=None, action="test", software_version="0")
    assert flag_outliers(real_catalog, None) is not None
    found = {one.rootname: one.quality for one in exposures(real_catalog, queries.ExposureFilter(kind="dark"))}
    assert len(found) == 23
    assert {name for name, quality in found.items() if quality != "good"} == {bad}
    assert found[bad] == "suspect"
    # Let in by hand, it is still brighter than the whole exposure.
    restore(real_catalog, bad, "to see what the gate says")
    for rule in Rule:
        (one,) = match(real_catalog, ["jcmc11cwq"], rule=rule, wanted=Requirements(top=30, max_sigma=1000.0))
        assert bad not in {dark.dark for dark in one.darks}
        told = why(real_catalog, "jcmc11cwq", bad, rule=rule)
        assert "its box is brighter than the exposure's by" in told.summary
        assert "its quiet rows are brighter than the exposure's by" in told.summary
    with reading(real_catalog) as session:
        science = queries.match_values(session, "jcmc11cwq")
    assert science is not None
    assert science.filter == "F125LP"


def test_dark_of_an_empty_catalog_is_untested_and_usable(
    empty_catalog: sa.Engine, real_readings: list[FileReading]
) -> None:
    regions = [asdict(region) for region in REGIONS]
    darks = [one for one in real_readings if one.exposure is not None and one.exposure.kind == "dark"]
    science = [one for one in real_readings if one.exposure is not None and one.exposure.kind == "science"]
    with writing(empty_catalog) as session:
        write_batch(session, darks[:3] + science, [], regions, run_id=None, action="test", software_version="0")
    flag_outliers(empty_catalog, None)
    listed = exposures(empty_catalog, queries.ExposureFilter(kind="dark"))
    assert [one.quality for one in listed] == ["untested"] * 3
    (one,) = match(empty_catalog, ["jcmc11deq"], wanted=Requirements(max_sigma=100.0))
    assert {dark.dark for dark in one.darks} == {dark.rootname for dark in listed}
    told = why(empty_catalog, "jcmc11deq", listed[0].rootname)
    assert {check.check: check.passed for check in told.checks}["quality"] is True
    # With more darks to compare with they are tested.
    with writing(empty_catalog) as session:
        write_batch(session, darks[3:], [], regions, run_id=None, action="test", software_version="0")
    flag_outliers(empty_catalog, None)
    assert {one.quality for one in exposures(empty_catalog)} == {"good"}
