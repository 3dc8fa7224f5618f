"""The database's ranking is what ranking every dark gives, and little is read for it, on both engines."""

from __future__ import annotations

import math
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sqlalchemy as sa
from helpers import insert_darks, insert_science, rootname

from sbcdark.catalog import models, nearest_darks, queries
from sbcdark.catalog.criteria import Gates
from sbcdark.catalog.engine import reading
from sbcdark.pipeline.selection import choice, rules
from sbcdark.pipeline.selection.choice import match
from sbcdark.pipeline.selection.reasons import why
from sbcdark.pipeline.selection.rules import Requirements, Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

NUMBER = 5_000
PAGE = nearest_darks._PAGE
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
        connection.execute(sa.text("UPDATE exposures SET quality = 'untested' WHERE id % 19 = 0 AND id % 17 <> 0"))
        connection.execute(sa.text("UPDATE files SET state = 'missing' WHERE exposure_id % 23 = 0"))
        connection.execute(sa.text("UPDATE exposures SET has_raw = false WHERE id % 23 = 0"))
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
            table.quiet_rate_count_s_pix,
            table.quiet_rate_err_count_s_pix,
        )
        .join(models.File)
        .where(table.kind == "dark", table.quality != "retired", models.File.state == "present", table.exptime_s >= 300)
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

    def difference(value: str, error: str) -> tuple[NDArray[Any], NDArray[Any]]:
        delta = getattr(science, value) - darks[value]
        expected = np.hypot(delta, darks[error]) / getattr(science, error)
        return np.asarray(expected), np.abs(delta) / np.hypot(getattr(science, error), darks[error])

    if rule in columns:
        score, z = difference(*columns[rule])
    elif rule is Rule.TEMPERATURE:
        score = z = delta_temperature / 0.5
    else:
        score, z = np.abs(science.box_count - darks["box_count"]), difference(*columns[Rule.BOX])[1]
    gate = delta_days <= wanted.max_days if wanted.max_days is not None else np.ones_like(z, dtype=bool)
    base = np.minimum(science.quiet_rate_count_s_pix, darks["quiet_rate_count_s_pix"])
    for region, bias in (("box", 0.05), ("quiet", 0.0)):
        rate, error = f"{region}_rate_count_s_pix", f"{region}_rate_err_count_s_pix"
        parts = (getattr(science, error), darks[error], np.sqrt(2) * 0.08 * base, bias * getattr(science, rate))
        gate &= darks[rate] - getattr(science, rate) <= 5 * np.sqrt(sum(np.square(part) for part in parts))
    order = np.lexsort((darks["rootname"], delta_days, delta_temperature, score))
    order = order[gate[order]]
    if wanted.max_sigma is None:
        steps = [np.inf] if rule is Rule.NOTEBOOK else [2.0, 5.0, np.inf]
        tolerance = next((step for step in steps if len(order) and z[order[0]] <= step), np.inf)
    else:
        tolerance = wanted.max_sigma
    return [str(darks["rootname"][index]) for index in order if z[index] <= tolerance]


@pytest.mark.slow
def test_database_ranks_as_the_definition_says(large_catalog: sa.Engine) -> None:
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
                taken = [dark.dark for dark in one.darks]
                assert taken == expected[: wanted.top], f"{rule} of {one.exposure}, {wanted}"
                assert (one.tier == "none") == (not expected)
                found_any += bool(expected)
                # A dark far down the list has the rank that counting every dark gives.
                for place in (0, len(expected) // 2, len(expected) - 1) if expected else ():
                    told = why(large_catalog, one.exposure, expected[place], rule=rule, wanted=wanted)
                    assert (told.rank, told.taken) == (place + 1, place < wanted.top)
        assert found_any >= 2 * number


@pytest.mark.slow
def test_nearby_darks_that_are_not_selected_do_not_depend_on_where_the_search_ends(
    large_catalog: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where those that a gate excludes are nearer than the tolerance, those beyond it are not searched."""
    names = [rootname("s", number) for number in range(SCIENCE_VALUES)]
    every = [Requirements(), Requirements(max_sigma=0.3), Requirements(min_exptime_s=600.0)]

    def found() -> list[Any]:
        return [match(large_catalog, names, rule=rule, wanted=wanted) for rule in Rule for wanted in every]

    searched = 0
    beyond = choice._Darks.beyond

    def counted(darks: Any, tolerance: float) -> Any:
        nonlocal searched
        searched += 1
        return beyond(darks, tolerance)

    monkeypatch.setattr(choice._Darks, "beyond", counted)
    quickly = found()
    assert 0 < searched < len(names) * len(Rule) * len(every)
    monkeypatch.setattr(rules, "may_precede", lambda *_: True)
    assert found() == quickly


def rows_fetched(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> int:
    """Return how many rows the database hands over, whatever for, while something is done."""
    fetched = 0

    def counted(method: str) -> Any:
        original = getattr(sa.CursorResult, method)

        def fetch(*arguments: Any, **how: Any) -> Any:
            nonlocal fetched
            rows = original(*arguments, **how)
            fetched += len(rows)
            return rows

        return fetch

    with monkeypatch.context() as patch:
        for method in ("_fetchall_impl", "_fetchmany_impl"):
            patch.setattr(sa.CursorResult, method, counted(method))
        do()
    return fetched


def test_little_of_the_catalog_is_read(large_catalog: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than some pages, in a catalog that holds twice as many darks as in one that holds half."""
    values: dict[str, Any] = {"box_count": 1500.0}
    for column, rate in (("contrast", 3e-5), ("box_rate", 3.75e-5)):
        values |= {f"{column}_count_s_pix": rate, f"{column}_err_count_s_pix": 1e-6}
    insert_science(large_catalog, "jcmc11e6q", **values)
    last = rootname("d", NUMBER)

    def read() -> dict[tuple[Rule, str], int]:
        found = {}
        for rule in Rule:
            found[rule, "match"] = rows_fetched(monkeypatch, partial(match, large_catalog, ["jcmc11e6q"], rule=rule))
            found[rule, "why"] = rows_fetched(monkeypatch, partial(why, large_catalog, "jcmc11e6q", last, rule=rule))
        return found

    before = read()
    assert max(rows for (_, what), rows in before.items() if what == "match") <= 1500
    assert max(before.values()) <= 4500
    generator = np.random.default_rng(1)
    insert_darks(
        large_catalog,
        generator.gamma(1.5, 2e-5, NUMBER),
        np.full(NUMBER, 1000.0),
        np.round(generator.uniform(16.0, 30.0, NUMBER) * 4) / 4,
        generator.uniform(52_400, 60_000, NUMBER),
        "e",
    )
    after = read()
    # Twice the darks are hardly more rows: pages are full either way.
    assert max(after[key] - before[key] for key in before) <= 512


INDEXES = {
    "contrast_count_s_pix": "ix_exposures_kind_contrast_block",
    "box_rate_count_s_pix": "ix_exposures_kind_box_rate_block",
    "box_count": "ix_exposures_kind_box_count",
    "temperature_mean_c": "ix_exposures_kind_temperature",
}


def plans_of(engine: sa.Engine, do: Callable[[], object], part: str) -> list[list[str]]:
    """Return the plans of the statements that contain a text, while something is done."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if part in statement:
            statements.append((statement, values))

    sa.event.listen(engine, "before_cursor_execute", note)
    do()
    sa.event.remove(engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    with engine.connect() as connection:
        return [
            [str(row[-1]).strip() for row in connection.exec_driver_sql(f"{explain} {statement}", values)]
            for statement, values in statements
        ]


@pytest.mark.parametrize("rule", Rule)
def test_candidates_come_from_an_index(large_catalog: sa.Engine, rule: Rule) -> None:
    """Those of the ranking search the index of what is compared; on SQLite, none scans a table."""
    insert_science(large_catalog, "jcmc11e6q", box_count=300.0)
    plans = plans_of(large_catalog, partial(match, large_catalog, ["jcmc11e6q"], rule=rule), "SELECT")
    lines = [line for plan in plans for line in plan]
    assert len(plans) <= 24
    # PostgreSQL may read so small a table through.
    assert not any("SCAN exposures" in line or "SCAN files" in line for line in lines), lines
    assert any(INDEXES[rules.metric_column(rule)] in line for line in lines), lines


def test_walk_in_time_comes_from_its_index(large_catalog: sa.Engine) -> None:
    def walk(gates: Gates) -> None:
        with reading(large_catalog) as session:
            list(islice(nearest_darks.nearest_in_time(session, 57_000.0, gates), 3 * PAGE))

    for gates in (Gates(300.0), Gates(300.0, 200.0, (18.0, 29.0))):
        plans = plans_of(large_catalog, partial(walk, gates), "SELECT")
        assert len(plans) >= 2
        for plan in plans:
            assert any("ix_exposures_kind_start" in line for line in plan), plan
            assert not any("SCAN exposures" in line or "Seq Scan on exposures" in line for line in plan), plan


@pytest.mark.parametrize("tied", [3, 300])
def test_walk_outward_breaks_ties_by_temperature_then_time(empty_catalog: sa.Engine, tied: int) -> None:
    """Darks of equal counts, rates and errors, few and more than a page, on both sides of the exposure."""
    rng = np.random.default_rng(tied)
    count = 12 * tied
    contrast = np.repeat(np.array([-2e-6, 1e-6, 1e-6, 2e-6, 5e-5, 9e-4]), 2 * tied)
    temperature = np.round(rng.uniform(20.0, 26.0, count))
    start = np.round(rng.uniform(57_000, 57_004, count))
    insert_darks(empty_catalog, contrast, np.full(count, 1000.0), temperature, start)
    insert_science(empty_catalog, "jcmc11e6q", temperature_mean_c=23.0, start_mjd=57_002.0)
    darks = every_dark(empty_catalog)
    with reading(empty_catalog) as session:
        science = queries.match_values(session, "jcmc11e6q")
    wanted = Requirements(top=count, max_sigma=1e9)
    for rule in Rule:
        (found,) = match(empty_catalog, ["jcmc11e6q"], rule=rule, wanted=wanted)
        expected = ranked_by_brute_force(rule, science, darks, wanted)
        assert [dark.dark for dark in found.darks] == expected, rule
        assert len(expected) >= 8 * tied


def test_far_away_darks_are_ranked_too(empty_catalog: sa.Engine) -> None:
    """Further from the exposure than all the blocks that are read one by one, on both sides, and short darks too."""
    rng = np.random.default_rng(5)
    contrast = np.concatenate([rng.uniform(-9e-4, -1e-4, 300), rng.uniform(1e-4, 9e-4, 300)])
    exptime = rng.choice([1.0, 300.0, 1000.0], 600)
    insert_darks(empty_catalog, np.abs(contrast), exptime, np.full(600, 25.0), rng.uniform(57_000, 57_900, 600))
    insert_science(empty_catalog, "jcmc11e6q", contrast_count_s_pix=5e-4, box_rate_count_s_pix=5e-4)
    insert_science(empty_catalog, "jcmc11e7q", contrast_count_s_pix=1.0, box_rate_count_s_pix=1.0)
    darks = every_dark(empty_catalog)
    for name in ("jcmc11e6q", "jcmc11e7q"):
        with reading(empty_catalog) as session:
            science = queries.match_values(session, name)
        for sigma in (None, 0.5, 40.0, 1e9):
            wanted = Requirements(top=400, max_sigma=sigma)
            for rule in (Rule.GLOW, Rule.BOX):
                (found,) = match(empty_catalog, [name], rule=rule, wanted=wanted)
                expected = ranked_by_brute_force(rule, science, darks, wanted)
                assert [dark.dark for dark in found.darks] == expected[:400], (name, sigma, rule)
                everything = ranked_by_brute_force(rule, science, darks, LOOSE)
                assert ranked_beyond(empty_catalog, rule, science, sigma) == [
                    dark for dark in everything if sigma is not None and dark not in expected
                ]


def ranked_beyond(engine: sa.Engine, rule: Rule, science: Any, sigma: float | None) -> list[str]:
    ranking, gates = rules.ranking(rule, science), rules.gates(science, Requirements())
    beyond = math.inf if sigma is None else sigma
    with reading(engine) as session:
        found = [dark.rootname for dark in nearest_darks.ranked_darks(session, ranking, gates, beyond=beyond)]
    return [] if sigma is None else found


LOOSE = Requirements(max_sigma=math.inf)
"""No limit on sigma: for brute force alone, since a user's limit is finite."""
