"""Ranking and gating criteria of one exposure as plain numbers, for SQL and Python alike."""

from __future__ import annotations

from dataclasses import dataclass

USABLE = ("good", "untested")
"""Qualities of a dark that can be selected."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """How the darks of a catalog are ordered for one exposure.

    The order is by (column - value)^2 + error_column^2, then by difference in temperature, then in time, then by root
    name. The tolerance is a separate test on |z| = |z_column - z_value| / sqrt(z_variance + z_error_column^2).

    Attributes
    ----------
    column : str
        The compared column of `exposures`; indexed.
    error_column : str or None
        Column with the dark's own error; None if only the difference ranks.
    value : float
        Value of the exposure.
    z_column, z_error_column, z_value, z_variance : str, str or None, float, float
        The same for z. The variance is that of the exposure, or of the difference if the darks have no error.
    temperature_c, start_mjd : float
        Mean temperature (deg C) and start (days, UTC) of the exposure; they break ties.
    """

    column: str
    error_column: str | None
    value: float
    z_column: str
    z_error_column: str | None
    z_value: float
    z_variance: float
    temperature_c: float
    start_mjd: float


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Upper limit on the brightness of a dark in one region; all rates in count/s/pixel.

    A dark is too bright if (column - value) > sigma x sqrt(variance + error_column^2 + (base_share x base)^2), where
    base is the smaller of the two quiet rates.

    Attributes
    ----------
    region : str
        Name of the region in words.
    value, variance : float
        Rate of the exposure, and the variance that the exposure adds to the difference.
    quiet : float
        Quiet rate of the exposure.
    """

    region: str
    column: str
    error_column: str
    value: float
    variance: float
    quiet: float
    base_share: float
    sigma: float


@dataclass(frozen=True, slots=True)
class Gates:
    """Conditions that a dark must meet before it is scored.

    Attributes
    ----------
    min_exptime_s : float
        Shortest exposure time in s; shorter darks have too few counts to be distinguished.
    max_days : float or None
        Largest separation in time from the science exposure, in days.
    temperature_c : tuple of (float or None, float or None)
        Range of the mean temperature in deg C.
    ceilings : tuple of Ceiling
        Regions in which the dark must not be brighter than the exposure.
    other_than : str or None
        Root name to exclude: the exposure itself.
    """

    min_exptime_s: float
    max_days: float | None = None
    temperature_c: tuple[float | None, float | None] = (None, None)
    ceilings: tuple[Ceiling, ...] = ()
    other_than: str | None = None
