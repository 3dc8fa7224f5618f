"""Exposures close in time, and the scatter of the base from program to program, on both engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import sqlalchemy as sa
from helpers import insert_darks, insert_science

from sbcdark.catalog import models
from sbcdark.catalog.engine import reading, writing
from sbcdark.catalog.neighbours import base_scatter, exposures_near

if TYPE_CHECKING:
    from numpy.typing import NDArray


def put(engine: sa.Engine, mjds: list[float], prefix: str, temperature_c: float = 20.0) -> None:
    number = len(mjds)
    same: NDArray[np.float64] = np.full(number, temperature_c)
    insert_darks(engine, np.zeros(number), np.full(number, 1000.0), same, np.array(mjds), prefix)


def test_exposures_near_are_in_order_of_time_without_the_bad_ones(empty_catalog: sa.Engine) -> None:
    put(empty_catalog, [57125.2, 57124.95, 57124.5, 57125.05], "d")
    insert_science(empty_catalog, "jcmc11e6q", start_mjd=57125.0)
    insert_science(empty_catalog, "jcmc11dsq", start_mjd=57125.01)
    with writing(empty_catalog) as session:
        session.execute(
            sa.update(models.Exposure).where(models.Exposure.rootname == "d0000004q").values(quality="suspect")
        )
    with reading(empty_catalog) as session:
        found = exposures_near(session, "jcmc11e6q", 57125.0, 0.1)
    assert [one.rootname for one in found] == ["d0000002q", "jcmc11dsq"]
    assert [one.kind for one in found] == ["dark", "science"]


def test_base_scatter_needs_three_programs(empty_catalog: sa.Engine) -> None:
    put(empty_catalog, [57000.0, 57001.0], "a")
    put(empty_catalog, [57400.0], "b")
    put(empty_catalog, [57800.0], "c")
    put(empty_catalog, [57801.0], "h", temperature_c=27.0)  # its quiet rows hold some glow
    put(empty_catalog, [57802.0], "u", temperature_c=0.0)  # its temperature was not read
    rates = {"a": (13961, 7e-6), "b": (14404, 8e-6), "c": (14513, 9e-6), "h": (14955, 3e-5), "u": (14956, 3e-5)}

    def move(*prefixes: str) -> None:
        with writing(empty_catalog) as session:
            for prefix in prefixes:
                program, rate = rates[prefix]
                session.execute(
                    sa.update(models.Exposure)
                    .where(models.Exposure.rootname.startswith(prefix))
                    .values(program=program, quiet_rate_count_s_pix=rate)
                )

    move("a", "b", "h", "u")
    with reading(empty_catalog) as session:
        assert base_scatter(session) is None  # c is of 13961 still
    move("c")
    with reading(empty_catalog) as session:
        # A standard deviation of 1/8, and its error from three values, 1 / sqrt(4).
        assert base_scatter(session) == pytest.approx(0.125 * 1.5)
