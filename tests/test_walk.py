"""The walk through an index finds what ranking every dark finds, and reads little, on both engines."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sqlalchemy as sa
from helpers import every_dark_row, insert_darks, insert_science, rootname

from sbcdark.catalog import models, queries
from sbcdark.catalog.engine import reading
from sbcdark.pipeline import matching
from sbcdark.pipeline.matching import Requirements, Rule
from sbcdark.pipeline.select import match

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMBER = 5_000
PAGE = queries._PAGE
SCIENCE_VALUES = 10
TIES = 150
"""Darks that are equal in all that a rule compares, in each of three groups."""


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
        connection.execute(sa.text("ANALYZE"))  # as a server does by itself, in time
    with reading(empty_catalog) as session:
        rows = session.execute(sa.select(models.Exposure.contrast_count_s_pix, models.Exposure.box_count)).all()
    values = rng.permutation(np.array(rows, dtype=float))[:SCIENCE_VALUES]
    values[0] = (contrast[0], rows[0][1])
    values[1] = (1.0, 1e7)  # far from every dark
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


def every_dark(engine: sa.Engine) -> dict[str, NDArray[Any]]:
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


def ranked_by_brute_force(rule: Rule, science: Any, darks: dict[str, NDArray[Any]], wanted: Requirements) -> list[str]:
    """Rank every dark of the catalog in one sweep, by the definition of the rules."""
    columns = {
        Rule.GLOW: ("contrast_count_s_pix", "contrast_err_count_s_pix"),
        Rule.BOX: ("box_rate_count_s_pix", "box_rate_err_count_s_pix"),
    }
    delta_temperature = np.abs(science.temperature_mean_c - darks["temperature_mean_c"])
    delta_days = np.abs(science.start_mjd - darks["start_mjd"])

    def sigmas(value: str, error: str) -> NDArray[Any]:
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


@pytest.mark.slow
def test_walk_finds_what_ranking_every_dark_finds(large_catalog: sa.Engine) -> None:
    darks = every_dark(large_catalog)
    names = [rootname("s", number) for number in range(SCIENCE_VALUES)]
    with reading(large_catalog) as session:
        science = {name: queries.match_values(session, name) for name in names}
    for wanted, number in (
        (Requirements(), SCIENCE_VALUES),
        (Requirements(top=1, max_days=400.0), 5),
        (Requirements(top=20, max_sigma=0.7), 3),
    ):
        found_any = 0
        for rule in Rule:
            for one in match(large_catalog, names[:number], rule=rule, wanted=wanted):
                expected = ranked_by_brute_force(rule, science[one.exposure], darks, wanted)
                assert [dark.dark for dark in one.darks] == expected, f"{rule} of {one.exposure}, {wanted}"
                assert (one.tier == "none") == (not expected)
                found_any += bool(expected)
        assert found_any >= 2 * number


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


def test_walk_reads_a_small_part_of_the_catalog(large_catalog: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
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
    before = {rule: rows_read(monkeypatch, large_catalog, "jcmc11e6q", rule) for rule in Rule}
    # A few darks each way settle the ranking, and as many again find the nearest that a gate keeps out. Where
    # temperatures are equal (90 darks each) all of them are read, to be told apart.
    assert max(before.values()) < NUMBER / 20
    # Darks too short to be chosen have errors thirty times larger: they must not widen the walk.
    short = np.full(50, 1.0)
    insert_darks(large_catalog, np.linspace(0, 1e-4, 50), short, np.full(50, 20.0), np.full(50, 52_000.0), "e")
    for rule in Rule:
        assert rows_read(monkeypatch, large_catalog, "jcmc11e6q", rule) <= before[rule] + 2 * PAGE


INDEXES = {
    matching.metric_column(Rule.GLOW): "ix_exposures_kind_contrast",
    matching.metric_column(Rule.BOX): "ix_exposures_kind_box_rate",
    matching.metric_column(Rule.NOTEBOOK): "ix_exposures_kind_box_count",
    matching.metric_column(Rule.TEMPERATURE): "ix_exposures_kind_temperature",
    "start_mjd": "ix_exposures_kind_start",
}


def plan_of(connection: sa.Connection, query: sa.Select[Any, Any]) -> list[str]:
    text = str(query.compile(connection, compile_kwargs={"literal_binds": True})).replace("%", "%%")
    explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    return [str(row[-1]).strip() for row in connection.exec_driver_sql(f"{explain} {text}")]


def test_every_page_of_a_walk_comes_from_its_index(large_catalog: sa.Engine) -> None:
    rows = every_dark_row(large_catalog)
    sqlite = large_catalog.dialect.name == "sqlite"
    with large_catalog.begin() as connection:
        for (column, index), upward, after, gates in product(
            INDEXES.items(), (True, False), (None, NUMBER // 2), (None, queries.Gates(300.0))
        ):
            middle = float(np.median(np.array([getattr(row, column) for row in rows])))
            plan = plan_of(
                connection, queries.outward_page(column, middle, 57_000.0, gates, upward=upward, after=after)
            )
            if sqlite:
                assert any(line.startswith(f"SEARCH exposures USING INDEX {index} (kind=? AND") for line in plan), plan
                assert not any("SCAN" in line for line in plan), plan
            else:
                assert any(f"using {index} on exposures" in line for line in plan), plan
                assert not any("Seq Scan" in line for line in plan), plan


def test_page_near_in_time_comes_from_an_index_too(large_catalog: sa.Engine) -> None:
    # Which of two indexes serves better depends on how many darks the time leaves: that is the engine's choice.
    gates = queries.Gates(300.0, 200.0, (18.0, 29.0))
    with large_catalog.begin() as connection:
        for column, upward in product(INDEXES, (True, False)):
            plan = plan_of(connection, queries.outward_page(column, 0.0, 57_000.0, gates, upward=upward, after=None))
            assert any("ix_exposures_kind_" in line for line in plan), plan
            assert not any("SCAN exposures" in line or "Seq Scan on exposures" in line for line in plan), plan


def test_largest_error_is_looked_up_in_its_index(large_catalog: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    darks = [row for row in every_dark_row(large_catalog) if row.exptime_s >= 300]
    asked: list[Any] = []
    with reading(large_catalog) as session:
        scalar = session.scalar

        def noted(query: Any) -> Any:
            asked.append(query)
            return scalar(query)

        monkeypatch.setattr(session, "scalar", noted)
        for column in ("contrast_err_count_s_pix", "box_rate_err_count_s_pix"):
            assert queries.largest_error(session, column, 300.0) == max(getattr(row, column) for row in darks)
        for query in asked:
            plan = plan_of(session.connection(), query)
            assert any("_err" in line and "ix_exposures_kind_" in line for line in plan), plan
            assert not any("TEMP B-TREE" in line or "Sort" in line or "Seq Scan" in line for line in plan), plan
