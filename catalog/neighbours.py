"""Exposures close in time, and how the base of the darks scatters between programs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import sqlalchemy as sa

from sbcdark.catalog import models, queries

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import MatchValues

_COLD_BELOW_C = 24.0  # without glow
_FEWEST_PROGRAMS = 3


def exposures_near(session: Session, rootname: str, mjd: float, days: float) -> list[MatchValues]:
    """Return the other exposures that start within some days and can be fitted, in order of time.

    Parameters
    ----------
    rootname : str
        The exposure itself, which is left out.
    mjd : float
        Its start.
    days : float
        Largest distance in time.
    """
    table = models.Exposure
    query = (
        sa.select(table.rootname)
        .where(
            table.start_mjd.between(mjd - days, mjd + days),
            table.rootname != rootname,
            table.quality.in_(("good", "untested")),
        )
        .order_by(table.start_mjd, table.rootname)
    )
    found = [queries.match_values(session, name) for name in session.scalars(query).all()]
    return [one for one in found if one is not None]


def base_scatter(session: Session) -> float | None:
    """Return the relative scatter of the base of the darks from program to program.

    It is the standard deviation of the programs' mean rates in the quiet rows (cold darks), over their mean, raised by
    the error of a standard deviation from n values, 1 / sqrt(2 (n - 1)).

    Returns
    -------
    float or None
        None with darks of fewer than three programs.
    """
    table = models.Exposure
    means = session.scalars(
        sa.select(sa.func.avg(table.quiet_rate_count_s_pix))
        .where(
            table.kind == "dark",
            table.quality == "good",
            table.temperature_mean_c < _COLD_BELOW_C,
            table.temperature_mean_c != 0.0,  # it was not read
            table.quiet_rate_count_s_pix.is_not(None),
            table.program.is_not(None),
        )
        .group_by(table.program)
    )
    rates = sorted(means)  # in one order on both engines
    number = len(rates)
    if number < _FEWEST_PROGRAMS:
        return None
    mean = sum(rates) / number
    spread = math.sqrt(sum((rate - mean) ** 2 for rate in rates) / (number - 1))
    return spread / mean * (1 + 1 / math.sqrt(2 * (number - 1))) if mean > 0 else None
