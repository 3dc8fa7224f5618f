"""Choosing on both engines: the walk through the index gives what ranking every dark gives, and reads little."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sqlalchemy as sa
from astropy.io import fits
from helpers import dump, insert_darks, insert_science, rootname

from sbcdark.catalog import models, queries
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline import matching
from sbcdark.pipeline.ingest import ingest
from sbcdark.pipeline.matching import Requirements, Rule
from sbcdark.pipeline.regions import BOX
from sbcdark.pipeline.select import forced_match, match, match_for_templates, resolve_exposure, resolve_target

if TYPE_CHECKING:
    from pathlib import Path

    from sbcdark.catalog.records import Match

NUMBER = 5_000
SCIENCE_VALUES = 20
TIES = 150
"""Darks that are equal in all that a rule compares, in groups."""


@pytest.fixture
def real_catalog(empty_catalog: sa.Engine, shared_data: Path) -> sa.Engine:
    folders = ("darks_13961", "associations_13655", "science_13655_standin")
    ingest(empty_catalog, [shared_data / folder for folder in folders], workers=1)
    return empty_catalog


@pytest.fixture
def large_catalog(empty_catalog: sa.Engine) -> sa.Engine:
    """Return a catalog of 5,000 darks: most cold, exposures of 100 to 2000 s, some retired, some without a file."""
    rng = np.random.default_rng(15766)
    temperature = np.round(rng.uniform(16.0, 30.0, NUMBER) * 4) / 4
    contrast = np.where(temperature < 24, rng.normal(0, 4e-7, NUMBER), rng.gamma(1.5, 2e-5, NUMBER))
    exptime = rng.choice([100.0, 299.0, 300.0, 500.0, 1000.0, 1000.0, 1000.0, 2000.0], NUMBER)
    start = np.round(rng.uniform(52_400, 60_000, NUMBER), 3)
    for group in range(3):
        tied = slice(group * TIES, (group + 1) * TIES)
        contrast[tied] = contrast[group * TIES]
        exptime[tied] = 1000.0
    insert_darks(empty_catalog, contrast, exptime, temperature, start)
    with empty_catalog.begin() as connection:
        connection.execute(sa.text("UPDATE exposures SET quality = 'retired' WHERE id % 17 = 0"))
        connection.execute(sa.text("UPDATE files SET state = 'missing' WHERE exposure_id % 23 = 0"))
    with reading(empty_catalog) as session:
        rows = session.execute(sa.select(models.Exposure.contrast_count_s_pix, models.Exposure.box_count)).all()
    values = rng.permutation(np.array(rows, dtype=float))[:SCIENCE_VALUES]
    values[0] = (contrast[0], rows[0][1])
    values[1] = (-1e-4, 0.0)
    values[2] = (1.0, 1e7)
    for number, (glow, count) in enumerate(values):
        insert_science(
            empty_catalog,
            rootname("s", number),
            contrast_count_s_pix=float(glow),
            contrast_err_count_s_pix=float(rng.uniform(2e-7, 4e-6)),
            box_rate_count_s_pix=float(glow) + 7.5e-6,
            box_rate_err_count_s_pix=float(rng.uniform(2e-7, 4e-6)),
            box_count=float(count),
            temperature_mean_c=float(rng.choice(temperature)),
            start_mjd=float(rng.uniform(52_400, 60_000)),
        )
    return empty_catalog


def every_dark(engine: sa.Engine) -> dict[str, np.ndarray[Any, Any]]:
    table = models.Exposure
    query = (
        sa.select(
            table.rootname,
            table.exptime_s,
            table.temperature_mean_c,
            table.start_mjd,
            table.box_count,
            table.box_rate_count_s_pix,
            table.box_rate_err_count_s_pix,
            table.contrast_count_s_pix,
            table.contrast_err_count_s_pix,
        )
        .join(models.File)
        .where(table.kind == "dark", table.quality == "good", models.File.state == "present", table.exptime_s >= 300)
    )
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    names = [column.name for column in query.selected_columns]
    return {name: np.array([row[i] for row in rows]) for i, name in enumerate(names)}


def ranked_by_brute_force(
    rule: Rule, science: Any, darks: dict[str, np.ndarray[Any, Any]], wanted: Requirements
) -> list[str]:
    """Rank every dark of the catalog in one sweep, by the definition of the rules."""
    columns = {
        Rule.GLOW: ("contrast_count_s_pix", "contrast_err_count_s_pix"),
        Rule.BOX: ("box_rate_count_s_pix", "box_rate_err_count_s_pix"),
    }
    delta_temperature = np.abs(science.temperature_mean_c - darks["temperature_mean_c"])
    delta_days = np.abs(science.start_mjd - darks["start_mjd"])

    def sigmas(value: str, error: str) -> np.ndarray[Any, Any]:
        difference = np.abs(getattr(science, value) - darks[value])
        return np.asarray(difference / np.hypot(getattr(science, error), darks[error]))

    if rule in columns:
        score = z = sigmas(*columns[rule])
    elif rule is Rule.TEMPERATURE:
        score = z = delta_temperature / 0.5
    else:
        score, z = np.abs(science.box_count - darks["box_count"]), sigmas(*columns[Rule.BOX])
    steps = (
        [wanted.max_sigma]
        if wanted.max_sigma is not None
        else [np.inf]
        if rule is Rule.NOTEBOOK
        else [2.0, 5.0, np.inf]
    )
    gate = delta_days <= wanted.max_days if wanted.max_days is not None else np.ones_like(z, dtype=bool)
    order = np.lexsort((darks["rootname"], delta_days, delta_temperature, score))
    for step in steps:
        kept = [str(darks["rootname"][index]) for index in order if gate[index] and z[index] <= step]
        if kept:
            return kept[: wanted.top]
    return []


@pytest.mark.parametrize(
    "wanted",
    [Requirements(), Requirements(top=1, max_days=400.0), Requirements(top=20, max_sigma=0.7)],
    ids=["ladder", "near in time", "limit"],
)
def test_walk_gives_what_ranking_every_dark_gives(large_catalog: sa.Engine, wanted: Requirements) -> None:
    darks = every_dark(large_catalog)
    names = [rootname("s", number) for number in range(SCIENCE_VALUES)]
    with reading(large_catalog) as session:
        science = {name: queries.match_values(session, name) for name in names}
    found_any = 0
    for rule in Rule:
        for one in match(large_catalog, names, rule=rule, wanted=wanted):
            expected = ranked_by_brute_force(rule, science[one.exposure], darks, wanted)
            assert [dark.dark for dark in one.darks] == expected, f"{rule} of {one.exposure}"
            assert (one.tier == "none") == (not expected)
            found_any += bool(expected)
    assert found_any > SCIENCE_VALUES


def rows_read(monkeypatch: pytest.MonkeyPatch, engine: sa.Engine, name: str, rule: Rule) -> int:
    read = 0
    convert = queries._match_values

    def counted(*arguments: Any) -> Any:
        nonlocal read
        read += 1
        return convert(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(queries, "_match_values", counted)
        match(engine, [name], rule=rule)
    return read


@pytest.mark.parametrize("rule", Rule)
def test_walk_reads_a_small_part_of_the_catalog(
    large_catalog: sa.Engine, monkeypatch: pytest.MonkeyPatch, rule: Rule
) -> None:
    # Away from the ties: a glow of 3e-5 count/s/pixel, where some 40 darks lie within a sigma.
    insert_science(
        large_catalog,
        "jcmc11e6q",
        contrast_count_s_pix=3e-5,
        contrast_err_count_s_pix=1e-6,
        box_rate_count_s_pix=3.75e-5,
        box_rate_err_count_s_pix=1e-6,
        box_count=1500.0,
    )
    before = rows_read(monkeypatch, large_catalog, "jcmc11e6q", rule)
    # The nearest that a gate keeps out are looked for among 256 darks, in two directions of whole pages; the ranking
    # itself takes a few pages each way. Equal temperatures (4 a degree: 90 darks each) are all read, to be told apart.
    assert before < 256 + 2 * 64 + 8 * 64
    # Darks too short to be chosen have errors twenty times larger: they must not widen the walk.
    short = np.full(50, 1.0)
    insert_darks(large_catalog, np.linspace(0, 1e-4, 50), short, np.full(50, 20.0), np.full(50, 52_000.0), "e")
    assert rows_read(monkeypatch, large_catalog, "jcmc11e6q", rule) <= before + 64


@pytest.mark.parametrize(
    ("column", "index"),
    [
        (matching.metric_column(Rule.GLOW), "ix_exposures_kind_contrast"),
        (matching.metric_column(Rule.BOX), "ix_exposures_kind_box_rate"),
        (matching.metric_column(Rule.NOTEBOOK), "ix_exposures_kind_box_count"),
        (matching.metric_column(Rule.TEMPERATURE), "ix_exposures_kind_temperature"),
        ("start_mjd", "ix_exposures_kind_start"),
    ],
)
def test_every_page_of_a_walk_comes_from_its_index(large_catalog: sa.Engine, column: str, index: str) -> None:
    sqlite = large_catalog.dialect.name == "sqlite"
    middle = float(np.median(np.array([getattr(row, column) for row in every_row(large_catalog)])))
    with large_catalog.begin() as connection:
        connection.execute(sa.text("ANALYZE"))
        for upward in (True, False):
            for after in (None, 2500):
                for gates in (None, queries.Gates(300.0), queries.Gates(300.0, 2000.0, (18.0, 29.0))):
                    page = queries.outward_page(column, middle, 57_000.0, gates, upward=upward, after=after)
                    text = str(page.compile(large_catalog, compile_kwargs={"literal_binds": True}))
                    explain = "EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN "
                    plan = [str(row[-1]) for row in connection.exec_driver_sql(explain + text.replace("%", "%%"))]
                    if sqlite:
                        assert any(f"SEARCH exposures USING INDEX {index} (kind=? AND" in line for line in plan), plan
                        assert not any(line.startswith("SCAN") for line in plan), plan
                    else:
                        whole = "\n".join(plan)
                        assert f"using {index} on exposures" in whole, whole
                        assert "Seq Scan" not in whole, whole


def every_row(engine: sa.Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(sa.select(models.Exposure.__table__).where(models.Exposure.kind == "dark")))


def test_largest_error_is_looked_up_in_its_index(large_catalog: sa.Engine) -> None:
    darks = [row for row in every_row(large_catalog) if row.exptime_s >= 300]
    with reading(large_catalog) as session:
        for column in ("contrast_err_count_s_pix", "box_rate_err_count_s_pix"):
            assert queries.largest_error(session, column, 300.0) == max(getattr(row, column) for row in darks)


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


@pytest.mark.parametrize("rule", Rule)
def test_all_of_the_real_program_are_answered_by_every_rule(real_catalog: sa.Engine, rule: Rule) -> None:
    found = match(real_catalog, program=13655, rule=rule)
    assert len(found) == 8
    for one in found:
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
    assert names(association="JCMC11010") == pair
    assert names(names=["jcmc11010"]) == pair
    assert names(names=["JCMC11E6Q"]) == names(names=["jcmc11e6"]) == names(names=[" JCMC11E6 "]) == ["jcmc11e6q"]
    assert names(names=["jcmc11e6q", "JCMC11E6"]) == ["jcmc11e6q"]
    assert names(names=["jcmc11e6q"], association="jcmc11010") == ["jcmc11010"] or len(pair) == 2
    assert len(names(program=13655)) == 8
    assert names(names=["jcrx01ixq"]) == ["jcrx01ixq"]
    with reading(real_catalog) as session:
        (target,) = resolve_target(session, ["JCMC11010"])
        assert (target.name, target.exposures, target.absent) == ("jcmc11010", tuple(sorted(pair)), ())
        targets = resolve_target(session, ["jcmc11010", "jcmc11dt", "JCMC11DSQ"])
        assert [one.exposures for one in targets] == [tuple(sorted(pair)), ("jcmc11dtq", "jcmc11dsq")]


@pytest.mark.parametrize("name", ["jcmc11e7q", "jcmc11e", "jcmc", "JCMC11XXQ"])
def test_unknown_names_suggest_near_ones(real_catalog: sa.Engine, name: str) -> None:
    with pytest.raises(UsageError, match="Did you mean jcmc11") as caught:
        match(real_catalog, [name])
    assert caught.value.todo == "List what it has: sbcdark exposures"


@pytest.mark.parametrize("name", ["", "%", "_________", "x' OR 1=1", "zzzz", "\x1b[31m", "jcrx01i%", "\u0661\u0662\u0663"])
def test_names_that_are_none_find_nothing(real_catalog: sa.Engine, name: str) -> None:
    with pytest.raises(UsageError, match="has no exposure") as caught:
        match(real_catalog, [name])
    assert "Did you mean" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_name_of_eight_characters_that_fits_two_is_not_guessed(real_catalog: sa.Engine) -> None:
    insert_science(real_catalog, "jcmc11e6r")
    with reading(real_catalog) as session, pytest.raises(UsageError, match="Did you mean jcmc11e6q, jcmc11e6r"):
        resolve_exposure(session, "jcmc11e6")


def test_nothing_named_is_a_usage_error(real_catalog: sa.Engine) -> None:
    with pytest.raises(UsageError, match="No exposure is named"):
        match(real_catalog)
    with pytest.raises(UsageError, match="no science exposure of program 1"):
        match(real_catalog, program=1)


def test_near_darks_that_are_not_taken_have_reasons(real_catalog: sa.Engine) -> None:
    with real_catalog.begin() as connection:
        for statement in (
            "UPDATE exposures SET quality = 'retired', quality_reason = 'SAA' WHERE rootname = 'jcrx01ixq'",
            "UPDATE files SET state = 'missing' WHERE uri LIKE '%jcrx01iyq%'",
        ):
            connection.execute(sa.text(statement))
    (one,) = match(real_catalog, ["jcmc11e6q"])
    reasons = {rejected.dark: rejected.reason for rejected in one.nearest_rejected}
    assert len(reasons) == 3
    assert reasons["jcrx01ixq"] == "quality retired: SAA"
    assert reasons["jcrx01iyq"] == "its RAW is not present"
    assert {dark.dark for dark in one.darks}.isdisjoint(reasons)
    (one,) = match(real_catalog, ["jcmc11e6q"], wanted=Requirements(max_days=1.0))
    assert (one.tier, one.darks) == ("none", ())
    assert all("days away, over 1" in rejected.reason for rejected in one.nearest_rejected)
    (one,) = match(real_catalog, ["jcmc11e6q"], wanted=Requirements(max_sigma=1e-6))
    assert (one.tier, one.darks) == ("none", ())
    assert any(rejected.reason.endswith("sigma away, over 1e-06") for rejected in one.nearest_rejected)


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


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_limits_that_are_none_are_refused(real_catalog: sa.Engine, value: float) -> None:
    for wanted in (Requirements(max_sigma=value), Requirements(max_days=value), Requirements(min_exptime_s=value)):
        with pytest.raises(UsageError, match="is no limit"):
            match(real_catalog, ["jcmc11e6q"], wanted=wanted, save=True)


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
    found = match(real_catalog, program=13655, save=True, wanted=Requirements(top=3, max_days=100.0))
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
            (entry,) = queries.selections_of(session, one.exposure)
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
        one = match_for_templates(session, "jcmc11e6q", Rule.GLOW, Requirements())
        chosen = {dark.dark for dark in one.darks}
        temperatures = {row.rootname: row.temperature_mean_c for row in every_row(real_catalog)}
        assert sum(temperatures[name] < 24 for name in chosen) >= 2
        assert sum(temperatures[name] > 25 for name in chosen) >= 2
        assert {dark.dark for dark in match(real_catalog, ["jcmc11e6q"])[0].darks} <= chosen
        of_a_dark = match_for_templates(session, "jcrx01ixq", Rule.GLOW, Requirements())
        assert "jcrx01ixq" not in {dark.dark for dark in of_a_dark.darks}


def test_forced_darks_stand_in_the_order_named(real_catalog: sa.Engine) -> None:
    with reading(real_catalog) as session:
        one = forced_match(session, "jcmc11e6q", ["JCRX01J2Q", "jcrx01ii"], Requirements())
        assert [dark.dark for dark in one.darks] == ["jcrx01j2q", "jcrx01iiq"]
        assert (one.rule, one.tier) == (matching.FORCED, matching.FORCED)
        with pytest.raises(UsageError, match="is no dark"):
            forced_match(session, "jcmc11e6q", ["jcmc11ctq"], Requirements())
        with pytest.raises(UsageError, match="Did you mean"):
            forced_match(session, "jcmc11e6q", ["jcrx01zzq"], Requirements())
