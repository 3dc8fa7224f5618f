"""Which darks do not fit the rate-temperature relation of their own run. Pure numbers.

A few high frames per campaign come from the edge of the South Atlantic Anomaly (ISR ACS 2009-02): they are high all
over the detector. The base, which is the rate where the glow does not reach, is almost the same at all temperatures of
a run. The glow itself rises by leaps that temperature does not foretell, so that a glow alone condemns no frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sbcdark.catalog.records import RunDark

LONGEST_GAP_DAYS = 0.125
"""Darks that start within 3 hours of each other are one run: a visit is gone through in steps of about 17 minutes."""

FEWEST = 6
"""A run of fewer darks tells no relation."""

OUTLYING_SIGMA = 5.0

SCATTER = 0.15
"""Relative scatter of a base about the median of its neighbours beyond Poisson noise: bases vary by 8 % from frame to
frame, and a median of six of them by 4 %; the rest is for a slow change with temperature."""

LEAK = 0.027
"""What of the glow's growth in the box falls on the quiet rows (darks of program 13961)."""

_NEIGHBOURS = 6


@dataclass(frozen=True, slots=True)
class Outlier:
    """A dark that does not fit, and why in words."""

    rootname: str
    reason: str


def runs(frames: Sequence[RunDark]) -> list[list[RunDark]]:
    """Split darks into runs: those that follow each other within `LONGEST_GAP_DAYS`."""
    ordered = sorted(frames, key=lambda frame: (frame.start_mjd, frame.rootname))
    found: list[list[RunDark]] = [ordered[:1]] if ordered else []
    for before, frame in pairwise(ordered):
        if frame.start_mjd - before.start_mjd > LONGEST_GAP_DAYS:
            found.append([])
        found[-1].append(frame)
    return found


def base_rate(frame: RunDark) -> tuple[float, float]:
    """Return the base of a dark and its Poisson error, count/s/pixel: the quiet rate without the glow that leaks in."""
    scale = 1.0 / (1.0 - LEAK)
    rate = (frame.quiet_rate - LEAK * frame.box_rate) * scale
    return rate, math.hypot(frame.quiet_rate_err, LEAK * frame.box_rate_err) * scale


def outliers(run: Sequence[RunDark]) -> list[Outlier]:
    """Return the darks of one run whose base lies off that of their neighbours in temperature by more than 5 sigma.

    The base (`base_rate`) of each dark is compared with the median base of the six others nearest in temperature, so
    that two bad neighbours do not condemn it. sigma is the Poisson error with 15 % of that median in quadrature. The
    worst is taken out and the rest is judged again, until all fit or under `FEWEST` are left.

    Parameters
    ----------
    run : sequence of RunDark
        The darks of one run, in any order.
    """
    left = sorted(run, key=lambda frame: (frame.temperature_mean_c, frame.start_mjd, frame.rootname))
    found = []
    while len(left) >= FEWEST:
        judged = [_deviation(left, frame) for frame in left]
        index = max(range(len(left)), key=lambda place: abs(judged[place][0]))
        sigma, rate, expected = judged[index]
        if abs(sigma) <= OUTLYING_SIGMA:
            break
        frame = left.pop(index)
        found.append(
            Outlier(
                frame.rootname,
                f"its base of {rate:.2e} count/s/pixel is {abs(sigma):.1f} sigma {'above' if sigma > 0 else 'below'} "
                f"the {expected:.2e} that darks of its run have near {frame.temperature_mean_c:.1f} C",
            )
        )
    return found


def _deviation(run: Sequence[RunDark], frame: RunDark) -> tuple[float, float, float]:
    """Return how far a dark's base is off in sigma, the base, and what its neighbours have."""
    others = sorted(
        (other for other in run if other is not frame),
        key=lambda other: (abs(other.temperature_mean_c - frame.temperature_mean_c), other.rootname),
    )
    expected = median(base_rate(other)[0] for other in others[:_NEIGHBOURS])
    rate, error = base_rate(frame)
    sigma = math.hypot(error, SCATTER * expected)
    return (rate - expected) / sigma if sigma > 0 else 0.0, rate, expected
