"""A dark with a source in it is found among the others, and none else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.detector.dark_shape import base_map, glow_map
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.model import spots
from sbcdark.pipeline.model.spots import compare_darks
from sbcdark.pipeline.model.templates import DarkFrame, build_templates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sbcdark.pipeline.model.spots import Comparison

PLACE = (400, 500)


def with_spot(dark: DarkFrame, number: float, sigma: float, place: tuple[int, int] = PLACE) -> DarkFrame:
    """Return a dark with Poisson counts of a Gaussian source."""
    y, x = np.indices(DETECTOR_SHAPE)
    source = np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / 2 / sigma**2) * number / (2 * np.pi * sigma**2)
    return replace(dark, counts=dark.counts + np.random.default_rng(5).poisson(source))


def compared(darks: Sequence[DarkFrame]) -> Comparison:
    return compare_darks(darks, build_templates(darks))


def test_good_darks_have_no_spot(darks: list[DarkFrame]) -> None:
    assert compared(darks) == ((), ())


@pytest.mark.parametrize(
    ("which", "number", "sigma"),
    [(0, 100, 0.85), (0, 2000, 10), (0, 100_000, 60), (19, 2000, 3), (19, 2000, 60), (19, 100_000, 10)],
)
def test_a_spot_is_found(darks: list[DarkFrame], which: int, number: float, sigma: float) -> None:
    spotted = [*darks]
    spotted[which] = with_spot(darks[which], number, sigma)
    (spot,), alone = compared(spotted)
    assert spot.dark == darks[which].rootname
    # Where a bright spot counts as hot pixels, its edge is what is found.
    assert np.hypot(spot.x - PLACE[0], spot.y - PLACE[1]) < 3 + 2 * sigma
    assert spot.sigma > 6
    assert spot.counts - spot.expected > 0.4 * number or number == 100_000
    assert alone == ()


def test_two_spots_in_one_place(darks: list[DarkFrame]) -> None:
    spotted = [*darks]
    for which in (3, 14):
        spotted[which] = with_spot(darks[which], 2000, 10)
    assert {spot.dark for spot in compared(spotted).spots} == {darks[3].rootname, darks[14].rootname}


def test_few_darks(darks: list[DarkFrame]) -> None:
    """Two alike can be compared; a warm one among cold ones cannot, nor can one alone."""
    assert compared(darks[:1]).alone == (darks[0].rootname,)
    assert [spot.dark for spot in compared([with_spot(darks[0], 500, 10), darks[1]]).spots] == [darks[0].rootname]
    assert compared([*darks[:3], darks[-1]]) == ((), (darks[-1].rootname,))


def test_darks_without_a_common_shape(darks: list[DarkFrame]) -> None:
    with pytest.raises(UsageError, match="no common shape"):
        build_templates([*darks[:19], with_spot(darks[19], 1e6, 30)])


@pytest.mark.slow
@pytest.mark.parametrize("number", [5, 20])
def test_false_alarms_are_fewer_than_stated(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In sets of simulated darks without a spot, at the 1000-fold chance: at most one spot per set is expected."""
    monkeypatch.setattr(spots, "FALSE_ALARM", 1.0)
    rng = np.random.default_rng(41)
    found = 0
    trials = 30
    for _ in range(trials):
        amplitudes = np.linspace(0, 8e-5, number)
        rates = [rng.normal(7.5e-6, 6e-7) * base_map() + amplitude * glow_map() for amplitude in amplitudes]
        frames = [DarkFrame(f"dark{j}", rng.poisson(rate * 1000), 1000.0) for j, rate in enumerate(rates)]
        templates = build_templates(frames)
        found += spots._brightest(frames, templates)[0] is not None
        monkeypatch.setattr(spots, "FALSE_ALARM", 1e-3)
        assert compare_darks(frames, templates).spots == ()
        monkeypatch.setattr(spots, "FALSE_ALARM", 1.0)
    # At one per set 63 % have one.
    assert found < trials * 0.63
