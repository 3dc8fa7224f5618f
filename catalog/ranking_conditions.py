"""The conditions and the sort key of a ranking in SQL, with named parameters, so that each statement is made once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sbcdark.catalog import models
from sbcdark.catalog.criteria import USABLE

if TYPE_CHECKING:
    from sbcdark.catalog.criteria import Ceiling, Gates, Ranking

EXPOSURES = models.Exposure.__table__


def number(name: str) -> sa.BindParameter[float]:
    """Return a named parameter for a floating-point number."""
    return sa.bindparam(name, type_=sa.Double())


def whole(name: str) -> sa.BindParameter[int]:
    """Return a named parameter for an integer."""
    return sa.bindparam(name, type_=sa.BigInteger())


@dataclass(frozen=True, slots=True)
class GateForm:
    """What the gates depend on besides numbers: which limits there are, and the columns of the ceilings."""

    limits: frozenset[str]
    ceilings: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Form:
    """What the statements of a ranking depend on besides numbers: its columns, gates and tolerances."""

    column: str
    error_column: str | None
    z_column: str
    z_error_column: str | None
    has_within: bool
    has_beyond: bool
    gates: GateForm


def gate_form(gates: Gates) -> GateForm:
    """Return the form of gates."""
    low, high = gates.temperature_c
    limits = {"max_days": gates.max_days, "low": low, "high": high, "other_than": gates.other_than}
    return GateForm(
        frozenset(name for name, limit in limits.items() if limit is not None),
        tuple((ceiling.column, ceiling.error_column) for ceiling in gates.ceilings),
    )


def form_of(ranking: Ranking, gates: Gates, within: float, beyond: float | None) -> Form:
    """Return the form of a ranking."""
    return Form(
        ranking.column,
        ranking.error_column,
        ranking.z_column,
        ranking.z_error_column,
        not math.isinf(within),
        beyond is not None and not math.isinf(beyond),
        gate_form(gates),
    )


def gate_values(gates: Gates, near_mjd: float) -> dict[str, Any]:
    """Return the values of the parameters of gates, for an exposure at a time."""
    low, high = gates.temperature_c
    days = math.inf if gates.max_days is None else gates.max_days
    values: dict[str, Any] = {
        "min_exptime": gates.min_exptime_s,
        "after": near_mjd - days,
        "before": near_mjd + days,
        "low": low,
        "high": high,
        "other_than": gates.other_than,
    }
    for place, ceiling in enumerate(gates.ceilings):
        values |= _ceiling_values(place, ceiling)
    return values


def parameters(ranking: Ranking, gates: Gates, within: float, beyond: float | None) -> dict[str, Any]:
    """Return the values of the parameters of a ranking; a statement takes those that it has."""
    return gate_values(gates, ranking.start_mjd) | {
        "value": ranking.value,
        "z_value": ranking.z_value,
        "z_variance": ranking.z_variance,
        "temperature": ranking.temperature_c,
        "start": ranking.start_mjd,
        "within_2": within * within,
        "beyond_2": 0.0 if beyond is None else beyond * beyond,
    }


def _ceiling_values(place: int, ceiling: Ceiling) -> dict[str, float]:
    return {
        f"value_{place}": ceiling.value,
        f"quiet_{place}": ceiling.quiet,
        f"share_2_{place}": ceiling.base_share**2,
        f"variance_{place}": ceiling.variance,
        f"sigma_2_{place}": ceiling.sigma**2,
    }


def gated(form: GateForm, table: Any = EXPOSURES.c) -> sa.ColumnElement[bool]:
    """Return the condition that a dark passes every gate; any present RAW counts, whichever copy is preferred."""
    conditions = [
        # Not kind = 'dark', which would offer an index on something else to a query by id.
        table.kind != "science",
        table.quality.in_(USABLE),
        table.exptime_s >= number("min_exptime"),
        table.contrast_count_s_pix.is_not(None),
        table.has_raw,
    ]
    if "low" in form.limits:
        conditions.append(table.temperature_mean_c >= number("low"))
    if "high" in form.limits:
        conditions.append(table.temperature_mean_c <= number("high"))
    if not form.limits.isdisjoint({"low", "high"}):
        conditions.append(table.temperature_mean_c != 0.0)  # it was not read
    if "max_days" in form.limits:
        conditions.append(table.start_mjd.between(number("after"), number("before")))
    if "other_than" in form.limits:
        conditions.append(table.rootname != sa.bindparam("other_than", type_=sa.String()))
    for place, (column, error_column) in enumerate(form.ceilings):
        error, quiet = table[error_column], number(f"quiet_{place}")
        delta = table[column] - number(f"value_{place}")
        base = sa.case((table.quiet_rate_count_s_pix < quiet, table.quiet_rate_count_s_pix), else_=quiet)
        variance = error * error + number(f"share_2_{place}") * base * base + number(f"variance_{place}")
        conditions.append((delta <= 0) | (delta * delta <= number(f"sigma_2_{place}") * variance))
    return sa.and_(*conditions)


def gated_columns(form: Form) -> sa.Select[Any]:
    """Return the query for what the gates and the ranking ask of each dark; the indexes of a ranking have all of it."""
    names = {form.column, form.error_column, "rootname", "kind", "quality", "has_raw", "exptime_s", "start_mjd"}
    names |= {"temperature_mean_c", "contrast_count_s_pix", "quiet_rate_count_s_pix"}
    names |= {name for ceiling in form.gates.ceilings for name in ceiling}
    return sa.select(*(column for column in EXPOSURES.c if column.name in names)).where(EXPOSURES.c.kind == "dark")


def tolerated(form: Form, table: Any = EXPOSURES.c) -> sa.ColumnElement[bool]:
    """Return the condition that |z| of a dark is within or beyond the tolerance."""
    delta = table[form.z_column] - number("z_value")
    variance: Any = number("z_variance")
    if form.z_error_column is not None:
        error = table[form.z_error_column]
        variance = error * error + number("z_variance")
    conditions = []
    if form.has_within:
        conditions.append(delta * delta <= number("within_2") * variance)
    if form.has_beyond:
        conditions.append(delta * delta > number("beyond_2") * variance)
    return sa.and_(sa.true(), *conditions)


def cost(form: Form, table: Any) -> sa.ColumnElement[float]:
    """Return what ranks first, as a column of a table or alias: (column - value)^2 + error^2."""
    delta: sa.ColumnElement[float] = table[form.column] - number("value")
    if form.error_column is None:
        return delta * delta
    error: sa.ColumnElement[float] = table[form.error_column]
    return delta * delta + error * error


def place(form: Form, table: Any) -> tuple[Any, ...]:
    """Return the sort key of darks."""
    return (
        cost(form, table),
        sa.func.abs(table.temperature_mean_c - number("temperature")),
        sa.func.abs(table.start_mjd - number("start")),
        table.rootname,
    )
