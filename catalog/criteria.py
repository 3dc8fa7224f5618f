"""What darks are ranked and gated by for one exposure, as plain numbers, for SQL and for Python alike."""

from __future__ import annotations

from dataclasses import dataclass

USABLE = ("good", "untested")
"""The qualities of a dark that may be taken."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """How the darks of a catalog are ordered for one exposure.

    The order is that of (column - value)^2 + error_column^2, then of the distance in temperature, then in time, then of
    the root name. Whether a dark lies within a tolerance is another question: that of
    |z| = |z_column - z_value| / sqrt(z_variance + z_error_column^2).

    Attributes
    ----------
    column : str
        The column of `exposures` that is compared; indexed.
    error_column : str or None
        The dark's own error of it; None where the distance alone ranks.
    value : float
        The exposure's own value.
    z_column, z_error_column, z_value, z_variance : str, str or None, float, float
        The same for z; the variance is that of the exposure, or of the difference where the darks have no error.
    temperature_c, start_mjd : float
        The exposure's mean temperature, deg C, and start, days UTC: ties go by these.
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
    """How bright a dark of an exposure can be in one region; all rates in count/s/pixel.

    A dark is too bright where (column - value) > sigma x sqrt(variance + error_column^2 + (base_share x base)^2), the
    base being the smaller of the quiet rates of both.

    Attributes
    ----------
    region : str
        The region in words.
    value, variance : float
        The exposure's own rate, and the variance of what the exposure adds to the difference.
    quiet : float
        The exposure's quiet rate.
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
    """What a dark must be before any score counts.

    Attributes
    ----------
    min_exptime_s : float
        Shorter darks hold too few counts to be told apart.
    max_days : float or None
        Largest distance in time from the science exposure, in days.
    temperature_c : tuple of (float or None, float or None)
        Range of the mean temperature, deg C.
    ceilings : tuple of Ceiling
        Regions in which the dark may not be brighter than the exposure.
    other_than : str or None
        A root name that is left out: the exposure itself.
    """

    min_exptime_s: float
    max_days: float | None = None
    temperature_c: tuple[float | None, float | None] = (None, None)
    ceilings: tuple[Ceiling, ...] = ()
    other_than: str | None = None
