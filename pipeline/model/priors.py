"""What is known of the dark of an exposure before its own counts: from the darks, and from exposures of its visit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sbcdark.pipeline.detector.defects import Image
    from sbcdark.pipeline.model.templates import Templates

NEIGHBOUR_DAYS = 0.1
"""Largest distance in time, days, of an exposure whose amplitude constrains that of another: the detector warms up
steadily for some hours after it is turned on."""

_STEP_SCATTER = 0.05
"""Relative scatter of the amplitude about an interpolation in temperature between the dark before and the one after
(darks of program 13961; tests/benchmarks/neighbours.py)."""

_CURVATURE = 0.04
"""The same per square of the logarithm of the two amplitudes' ratio, for wider gaps."""

_PER_DEGREE = 0.9
"""Growth of the logarithm of the amplitude per degree C: 0.4 to 1.4, mostly 0.8 to 0.9, in the same darks."""

_PER_DEGREE_ERROR = 0.35

_ONSET = 1e-6
"""Amplitude, count/s/pixel, below which the glow does not grow exponentially with temperature."""

_ONSET_ERROR = 0.5e-6
"""Scatter of the amplitude, count/s/pixel, about the interpolation where the glow begins, near 24 C."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An exposure whose amplitude is known.

    Attributes
    ----------
    rootname : str
    mjd : float
        Start of the exposure, days.
    temperature_c : float
        Mean temperature of the detector.
    amplitude, error : float
        Its glow and the 1-sigma error, count/s/pixel.
    """

    rootname: str
    mjd: float
    temperature_c: float
    amplitude: float
    error: float


@dataclass(frozen=True, slots=True)
class Prior:
    """Gaussian priors of the fit of one exposure that the darks of its templates do not give.

    Attributes
    ----------
    amplitude, amplitude_error : float or None
        Expected amplitude and its 1-sigma error, count/s/pixel; None if the exposure's own counts determine it.
    neighbours : tuple of str
        The exposures that the amplitude comes from.
    base_scatter : float
        Relative scatter of the base between programs, the limit of what part of a fitted sky may be base. With darks of
        less than three programs it is not known, and 1.
    """

    amplitude: float | None = None
    amplitude_error: float | None = None
    neighbours: tuple[str, ...] = ()
    base_scatter: float = 1.0


def amplitude_from_neighbours(mjd: float, temperature_c: float, neighbours: Sequence[Neighbour]) -> Prior | None:
    """Interpolate the amplitude of an exposure in temperature between its neighbours in time.

    The logarithm of (amplitude + 1e-6) is interpolated, in time if the two temperatures are equal. With neighbours on
    one side only it grows by 0.9 per degree C from the nearest. Where a temperature is unknown only time is left.

    Parameters
    ----------
    mjd, temperature_c : float
        Start and mean temperature of the exposure; NaN if unknown.
    neighbours : sequence of Neighbour
        Exposures around it; those more than `NEIGHBOUR_DAYS` away are not used.

    Returns
    -------
    Prior or None
        None without a neighbour, and with a single one if one of the temperatures is unknown.
    """
    near = sorted((one for one in neighbours if abs(one.mjd - mjd) <= NEIGHBOUR_DAYS), key=lambda one: one.mjd)
    before = [one for one in near if one.mjd <= mjd][-1:]
    after = [one for one in near if one.mjd > mjd][:1]
    used = before + after
    if not used or (len(used) == 1 and np.isnan(temperature_c - used[0].temperature_c)):
        return None
    logs = [float(np.log(max(one.amplitude, 0.0) + _ONSET)) for one in used]
    relative = [one.error / (max(one.amplitude, 0.0) + _ONSET) for one in used]
    if len(used) == 2:
        span = used[1].temperature_c - used[0].temperature_c
        share = (temperature_c - used[0].temperature_c) / span if span else 0.5
        if not 0 <= share <= 1:
            share = (mjd - used[0].mjd) / (used[1].mjd - used[0].mjd)
        log = logs[0] + share * (logs[1] - logs[0])
        spread = np.hypot(_STEP_SCATTER, _CURVATURE * (logs[1] - logs[0]) ** 2)
        spread = np.hypot(spread, np.hypot((1 - share) * relative[0], share * relative[1]))
    else:
        away = temperature_c - used[0].temperature_c
        log = logs[0] + _PER_DEGREE * away
        spread = np.hypot(np.hypot(_STEP_SCATTER, _PER_DEGREE_ERROR * away), relative[0])
    size = float(np.exp(log))
    error = float(np.hypot(spread * size, _ONSET_ERROR))
    return Prior(size - _ONSET, error, tuple(one.rootname for one in used))


def base_variance(templates: Templates, amplitude: float) -> float:
    """Variance of the base that the darks predict for an exposure of some amplitude, (count/s/pixel)^2.

    The bases of the darks are the residuals of a regression on their amplitudes (the gauge of the templates), so the
    prediction has the error of that regression, s^2 (1 + 1/n + (a - mean a)^2 / sum (a_j - mean a)^2). It does not
    depend on the gauge, and grows where the darks show no such glow.
    """
    scatter = float(templates.prior()[1][0, 0])
    number = len(templates.amplitudes)
    inflation = 1.0 + 1.0 / number
    deviations = templates.amplitudes - templates.amplitudes.mean()
    if number > 2 and templates.glow:
        inflation += float((amplitude - templates.amplitudes.mean()) ** 2 / (deviations @ deviations))
    return scatter * inflation


def prior_of(templates: Templates, prior: Prior, amplitude: float, use: tuple[bool, bool]) -> tuple[Image, Image]:
    """Return the mean (3,) and the precision (3, 3) of (base, amplitude, sky) before an exposure is seen.

    Parameters
    ----------
    amplitude : float
        The exposure's amplitude as far as it is known, for `base_variance`.
    use : tuple of bool
        Whether the darks constrain the base, and the amplitude. That of the neighbours always constrains it.
    """
    mean = np.append(templates.prior()[0], 0.0)
    precision = np.zeros((3, 3))
    if use[0]:
        precision[0, 0] = 1 / base_variance(templates, amplitude)
    variance = float(templates.prior()[1][1, 1])
    if prior.amplitude is not None and prior.amplitude_error is not None:
        mean[1], precision[1, 1] = prior.amplitude, prior.amplitude_error**-2
    elif use[1] and variance > 0:
        precision[1, 1] = 1 / variance
    return mean, precision
