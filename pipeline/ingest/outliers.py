"""Test for darks that differ from the others of their run or of the catalog. Numbers only.

Near the edge of the South Atlantic Anomaly, a few frames per campaign are high all over the detector (ISR ACS 2009-02).
The base, the rate outside the glow, is almost the same at all temperatures of a run. The glow itself jumps in ways that
temperature does not predict, so a bright glow alone does not make a frame suspect.

Sensitivity in simulated runs of darks of 1000 s with a base scatter of 8 %: the test finds a base raised by 50 % in
72 % of cases in a run of 20 and in half of the cases in a run of 6, and one raised by 70 % in 96 % and 80 %. It flags
about one good dark in 25,000. With a base scatter of 11 %, as in program 13961, it finds 52 % and 83 % in a run of 20,
and flags one good dark in 2,000. A run of 20 with a base raised by 25 % is found in nine of ten cases beside another
run of 20.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.catalog.text import number

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from numpy.typing import NDArray

    from sbcdark.catalog.records import RunDark

LONGEST_GAP_DAYS = 0.125
"""Darks that start within 3 hours of each other form a run: the exposures of a visit are about 17 minutes apart."""

FEWEST = 6
"""Smallest number of darks to compare with."""

EPOCH_DAYS = 365.25
"""Darks within this time are preferred for the comparison."""

OUTLYING_SIGMA = 4.0
"""One good dark in 16,000 is beyond this, if the scatter is known and Gaussian."""

LEAST_SCATTER = 0.08
"""Smallest relative scatter of the base from frame to frame (darks of program 13961)."""

RUN_EXCESS, RUN_SIGMA = 0.2, 5.0
"""A run is suspect if its base exceeds that of other runs by both. Contamination only adds counts, so the lower of two
runs is the good one."""

HOT_PIXEL_SIGMA = 5.0

LEAK = 0.027
"""Fraction of the growth of the glow in the box that leaks into the quiet rows (darks of program 13961)."""

_MEDIAN = math.sqrt(math.pi / 2.0)
"""Standard error of a median divided by that of a mean."""

_MAD = 1.4826
"""Standard deviation divided by the median absolute deviation, for a Gaussian."""

_ROUNDS = 5
"""Number of times that the remaining darks are judged again without the suspect ones."""


@dataclass(frozen=True, slots=True)
class Outlier:
    """A dark that does not fit, and the reason as text."""

    rootname: str
    reason: str


@dataclass(slots=True)
class Verdicts:
    """Results of the test by root name, with the reason as text; all other darks are good.

    Attributes
    ----------
    suspect : dict of str to str
        Darks that do not fit.
    untested : dict of str to str
        Darks without enough others to compare with.
    """

    suspect: dict[str, str] = field(default_factory=dict)
    untested: dict[str, str] = field(default_factory=dict)


def runs(frames: Sequence[RunDark]) -> list[list[RunDark]]:
    """Split darks into runs, in which each starts within `LONGEST_GAP_DAYS` of the previous one."""
    ordered = sorted(frames, key=lambda frame: (frame.start_mjd, frame.rootname))
    found: list[list[RunDark]] = [ordered[:1]] if ordered else []
    for before, frame in pairwise(ordered):
        if frame.start_mjd - before.start_mjd > LONGEST_GAP_DAYS:
            found.append([])
        found[-1].append(frame)
    return found


def base_rate(frame: RunDark) -> tuple[float, float]:
    """Return the base of a dark and its Poisson error, count/s/pixel: the quiet rate minus the glow that leaks in."""
    scale = 1.0 / (1.0 - LEAK)
    rate = (frame.quiet_rate - LEAK * frame.box_rate) * scale
    return rate, math.hypot(frame.quiet_rate_err, LEAK * frame.box_rate_err) * scale


def base_scatter(parts: Sequence[Sequence[RunDark]]) -> float:
    """Return the relative scatter of the base within runs, beyond Poisson noise; at least `LEAST_SCATTER`.

    It comes from the median absolute deviation from each run's own median, over all runs that are long enough.
    """
    deviations: list[float] = []
    noise: list[float] = []
    for run in parts:
        if len(run) < FEWEST:
            continue
        bases = [base_rate(frame) for frame in run]
        middle = median(rate for rate, _ in bases)
        if middle > 0:
            # Each run has its own median, so its deviations are smaller by sqrt(1 - 1 / n).
            stretch = 1.0 / math.sqrt(1.0 - 1.0 / len(run))
            deviations += [abs(rate / middle - 1.0) * stretch for rate, _ in bases]
            noise += [error / middle for _, error in bases]
    if not deviations:
        return LEAST_SCATTER
    beyond = (_MAD * median(deviations)) ** 2 - median(noise) ** 2
    return max(LEAST_SCATTER, math.sqrt(max(beyond, 0.0)))


def outliers(run: Sequence[RunDark], scatter: float | None = None) -> list[Outlier]:
    """Return the darks of one run whose base differs from the others by more than `OUTLYING_SIGMA`.

    The base (`base_rate`) of each dark is compared with the median base of the others, so a few bad ones do not
    affect it. sigma combines the Poisson error, the scatter of the bases, and the error of the median. The worst dark
    is
    removed and the rest judged again, until all fit or fewer than `FEWEST` are left.

    Parameters
    ----------
    run : sequence of RunDark
        The darks of one run, in any order.
    scatter : float, optional
        The relative scatter of the bases beyond Poisson noise; by default that of this run.
    """
    left = sorted(run, key=lambda frame: (frame.start_mjd, frame.rootname))
    relative = base_scatter([left]) if scatter is None else scatter
    found = []
    while len(left) >= FEWEST:
        bases = [base_rate(frame)[0] for frame in left]
        judged = [_deviation(frame, bases[:place] + bases[place + 1 :], relative) for place, frame in enumerate(left)]
        index = max(range(len(left)), key=lambda place: abs(judged[place][0]))
        sigma, rate, expected = judged[index]
        if abs(sigma) <= OUTLYING_SIGMA:
            break
        frame = left.pop(index)
        found.append(Outlier(frame.rootname, _off(rate, sigma, expected, "the other darks of its run")))
    return found


def _deviation(frame: RunDark, others: Sequence[float], scatter: float) -> tuple[float, float, float]:
    """Return the deviation of a dark's base in sigma, the base, and the median base of the others."""
    expected = median(others)
    rate, error = base_rate(frame)
    spread = scatter * abs(expected)
    sigma = math.hypot(error, spread, _MEDIAN * spread / math.sqrt(len(others)))
    return (rate - expected) / sigma if sigma > 0 else 0.0, rate, expected


def _off(rate: float, sigma: float, expected: float, whose: str) -> str:
    return (
        f"base of {rate:.2e} count/s/pixel is {abs(sigma):.1f} sigma {'above' if sigma > 0 else 'below'} the median "
        f"{expected:.2e} of {whose}"
    )


def judge(darks: Sequence[RunDark]) -> Verdicts:
    """Return which darks do not fit, and which cannot be tested.

    - A dark of a run of `FEWEST` or more is compared with the others of its run (`outliers`).
    - A run with a base higher than that of other runs (`RUN_EXCESS`, `RUN_SIGMA`) is suspect as a whole.
    - A dark of a smaller run is compared with the darks of all other runs, only those within `EPOCH_DAYS` if they are
      `FEWEST` or more. If the catalog has fewer, it is untested.
    - A dark with more hot pixels than other darks of its epoch is suspect.

    Parameters
    ----------
    darks : sequence of RunDark
        The darks that are not retired, in any order.
    """
    parts = runs(darks)
    scatter = base_scatter(parts)
    verdicts = Verdicts()
    for run in parts:
        verdicts.suspect |= {found.rootname: found.reason for found in outliers(run, scatter)}
    for _ in range(_ROUNDS):
        catalog = _Catalog(parts, scatter, verdicts.suspect)
        new = {name: reason for index in range(len(parts)) for name, reason in catalog.judged(index).items()}
        if not new:
            verdicts.untested = catalog.untested()
            break
        verdicts.suspect |= new
    else:
        verdicts.untested = _Catalog(parts, scatter, verdicts.suspect).untested()
    return verdicts


class _Catalog:
    """The darks of a catalog in order of time, by run, without suspect ones."""

    def __init__(self, parts: Sequence[Sequence[RunDark]], scatter: float, suspect: Collection[str]) -> None:
        self._scatter = scatter
        self._kept = [[frame for frame in run if frame.rootname not in suspect] for run in parts]
        self._sizes = [len(run) for run in parts]
        ends = np.cumsum([len(run) for run in self._kept])
        self._own = [slice(int(end) - len(run), int(end)) for end, run in zip(ends, self._kept, strict=True)]
        frames = [frame for run in self._kept for frame in run]
        self._mjd = np.array([frame.start_mjd for frame in frames])
        self._base = np.array([base_rate(frame)[0] for frame in frames])
        self._hot = np.array([math.nan if frame.hot_pixels is None else frame.hot_pixels for frame in frames])
        self._run_mjd = np.array([median(frame.start_mjd for frame in run) for run in parts])
        self._run_base = np.array(
            [
                median(self._base[own]) if len(run) > 2 else math.nan
                for own, run in zip(self._own, self._kept, strict=True)
            ]
        )

    def _others(self, index: int) -> NDArray[np.intp]:
        """Return the darks to compare a run with: those of other runs, only of its epoch if they are enough."""
        own = self._own[index]
        start = self._run_mjd[index]
        return _of_epoch(self._mjd, start, lambda which: which[(which < own.start) | (which >= own.stop)])

    def judged(self, index: int) -> dict[str, str]:
        """Return the darks of a run that do not fit the catalog, with the reason."""
        run = self._kept[index]
        if not run:
            return {}
        found = self._too_hot(index)
        others = self._others(index)
        if len(others) < FEWEST:
            return found
        bases = self._base[others]
        expected = float(np.median(bases))
        spread = max(self._scatter * abs(expected), _MAD * float(np.median(np.abs(bases - expected))))
        if self._sizes[index] < FEWEST and expected > 0:
            for frame in run:
                sigma, rate, _ = _deviation(frame, bases.tolist(), spread / expected)
                if abs(sigma) > OUTLYING_SIGMA:
                    found[frame.rootname] = _off(rate, sigma, expected, f"{len(bases)} darks of other runs")
        # The median of two darks is no better than either of them.
        if not found and len(run) > 2 and (reason := self._high_run(index, len(bases), expected, spread)):
            return {frame.rootname: reason for frame in run}
        return found

    def _high_run(self, index: int, others: int, expected: float, spread: float) -> str | None:
        run = self._kept[index]
        base = float(np.median(self._base[self._own[index]]))
        noise = median(base_rate(frame)[1] for frame in run)
        # Runs may differ from each other by more than their darks do; three other runs show it.
        elsewhere = _of_epoch(
            self._run_mjd,
            self._run_mjd[index],
            lambda which: which[(which != index) & ~np.isnan(self._run_base[which])],
            fewest=3,
        )
        apart = 0.0
        if len(elsewhere) >= 3:
            medians = self._run_base[elsewhere]
            apart = _MAD * float(np.median(np.abs(medians - np.median(medians))))
        sigma = math.hypot(
            _MEDIAN * math.hypot(spread, noise) / math.sqrt(len(run)), _MEDIAN * spread / math.sqrt(others), apart
        )
        excess = base - expected
        if excess <= RUN_EXCESS * expected or excess <= RUN_SIGMA * sigma:
            return None
        return (
            f"whole run is high: the median base of {number(len(run), 'dark')}, {base:.2e} count/s/pixel, is "
            f"{100 * excess / expected:.0f} % ({excess / sigma:.1f} sigma) above the {expected:.2e} of "
            f"{number(others, 'dark')} of other runs"
        )

    def _too_hot(self, index: int) -> dict[str, str]:
        near = _of_epoch(self._mjd, self._run_mjd[index], lambda which: which[~np.isnan(self._hot[which])])
        if len(near) < FEWEST:
            return {}
        counts = self._hot[near]
        expected = float(np.median(counts))
        sigma = max(math.sqrt(expected + 1.0), _MAD * float(np.median(np.abs(counts - expected))))
        return {
            frame.rootname: f"{number(frame.hot_pixels, 'hot pixel')}; darks of its epoch have {expected:.0f}"
            for frame in self._kept[index]
            if frame.hot_pixels is not None and frame.hot_pixels > expected + HOT_PIXEL_SIGMA * sigma
        }

    def untested(self) -> dict[str, str]:
        """Return the darks that cannot be compared with their own run or the catalog, with the reason."""
        # No numbers that grow with the catalog: the reason stays the same until the dark can be tested.
        reason = f"run has fewer than {FEWEST} darks, and the catalog has fewer than {FEWEST} others to compare with"
        return {
            frame.rootname: reason
            for run, size in zip(self._kept, self._sizes, strict=True)
            if size < FEWEST and len(self._mjd) - len(run) < FEWEST
            for frame in run
        }


def _of_epoch(
    mjd: NDArray[np.float64],
    start_mjd: float,
    kept: Callable[[NDArray[np.intp]], NDArray[np.intp]],
    fewest: int = FEWEST,
) -> NDArray[np.intp]:
    """Return the places in ascending times that are near one and `kept`, or all that are kept if those are few."""
    low = np.searchsorted(mjd, start_mjd - EPOCH_DAYS)
    high = np.searchsorted(mjd, start_mjd + EPOCH_DAYS, side="right")
    near = kept(np.arange(low, high, dtype=np.intp))
    return near if len(near) >= fewest else kept(np.arange(len(mjd), dtype=np.intp))
