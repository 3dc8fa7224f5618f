"""Which darks do not fit the rate-temperature relation of their own run. Pure numbers.

A few high frames per campaign come from the edge of the South Atlantic Anomaly (ISR ACS 2009-02). Within one run, where
the detector warms steadily, the rate is a smooth function of temperature; from run to run it is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_GAP_DAYS = 0.125
"""Darks that start within 3 hours of each other are one run: a visit is gone through in steps of about 17 minutes."""

FEWEST = 6
"""A run of fewer darks tells no relation."""

OUTLYING_SIGMA = 5.0

SCATTER = 0.15
"""Relative scatter of a rate about its interpolation beyond Poisson noise: the base varies by 8 % from frame to frame,
which makes 10 % against the line through two neighbours, and the glow rises by leaps."""


@dataclass(frozen=True, slots=True)
class RunFrame:
    """One dark as the test sees it: rates and their Poisson errors in count/s/pixel, temperature in deg C."""

    rootname: str
    start_mjd: float
    temperature_mean_c: float
    box_rate: float
    box_rate_err: float
    quiet_rate: float
    quiet_rate_err: float


@dataclass(frozen=True, slots=True)
class Outlier:
    """A dark that does not fit, and why in words."""

    rootname: str
    reason: str


def runs(frames: Sequence[RunFrame]) -> list[list[RunFrame]]:
    """Split darks into runs: those that follow each other within `LONGEST_GAP_DAYS`."""
    ordered = sorted(frames, key=lambda frame: (frame.start_mjd, frame.rootname))
    found: list[list[RunFrame]] = [ordered[:1]] if ordered else []
    for before, frame in pairwise(ordered):
        if frame.start_mjd - before.start_mjd > LONGEST_GAP_DAYS:
            found.append([])
        found[-1].append(frame)
    return found


def outliers(run: Sequence[RunFrame]) -> list[Outlier]:
    """Return the darks of one run that lie off its rate-temperature relation by more than 5 sigma.

    Each dark's box and quiet rates are compared with the median of the lines through pairs of its nearest neighbours in
    temperature (two colder, two warmer), so that one bad neighbour does not condemn it. sigma is the Poisson error with
    15 % of the rate in quadrature. The worst is taken out and the rest is judged again, until all fit or under
    `FEWEST` are left.

    Parameters
    ----------
    run : sequence of RunFrame
        The darks of one run, in any order.
    """
    left = sorted(run, key=lambda frame: (frame.temperature_mean_c, frame.start_mjd, frame.rootname))
    found = []
    while len(left) >= FEWEST:
        judged = [(_worst(left, index), index) for index in range(len(left))]
        (sigma, region, rate, expected), index = max(judged, key=lambda entry: abs(entry[0][0]))
        if abs(sigma) <= OUTLYING_SIGMA:
            break
        frame = left.pop(index)
        found.append(
            Outlier(
                frame.rootname,
                f"its {region} rate of {rate:.2e} count/s/pixel is {abs(sigma):.1f} sigma "
                f"{'above' if sigma > 0 else 'below'} the {expected:.2e} that the darks of its run have at "
                f"{frame.temperature_mean_c:.1f} C",
            )
        )
    return found


def _worst(ordered: Sequence[RunFrame], index: int) -> tuple[float, str, float, float]:
    """Return the larger deviation of one dark's two rates: sigma, region, rate and expected rate."""
    frame = ordered[index]
    neighbours = [*ordered[max(0, index - 2) : index], *ordered[index + 1 : index + 3]]
    found = []
    for region, values, error in (
        ("box", [(one.temperature_mean_c, one.box_rate) for one in neighbours], frame.box_rate_err),
        ("quiet", [(one.temperature_mean_c, one.quiet_rate) for one in neighbours], frame.quiet_rate_err),
    ):
        rate = frame.box_rate if region == "box" else frame.quiet_rate
        expected = _expected(values, frame.temperature_mean_c)
        # A rate that falls short is judged by what was expected, else an empty frame would have no error.
        sigma = math.hypot(error, SCATTER * expected)
        found.append(((rate - expected) / sigma if sigma > 0 else 0.0, region, rate, expected))
    return max(found, key=lambda entry: abs(entry[0]))


def _expected(neighbours: Sequence[tuple[float, float]], temperature: float) -> float:
    """Interpolate to a temperature: the median of the lines through pairs on both sides, or of all at an end."""
    colder = [one for one in neighbours if one[0] <= temperature]
    warmer = [one for one in neighbours if one[0] > temperature]
    if not colder or not warmer:
        return median(rate for _, rate in neighbours)
    lines = [
        low[1] + (high[1] - low[1]) * (temperature - low[0]) / (high[0] - low[0]) for low in colder for high in warmer
    ]
    return median(lines)
