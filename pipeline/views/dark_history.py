"""The history of the dark: its darks over time, and what each program of darks tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.queries import HOT_ABOVE_C, ExposureFilter, list_exposures
from sbcdark.pipeline.detector.reference_glow import ReferenceGlow, reference_glow
from sbcdark.pipeline.selection.names import names_of
from sbcdark.pipeline.views.catalog_points import Group, by_program, measured, numbers_of, require
from sbcdark.pipeline.views.listings import RATE_UNIT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import sqlalchemy as sa
    from numpy.typing import NDArray

    from sbcdark.catalog.records import ExposureRecord
    from sbcdark.pipeline.selection.names import Selector

Range = tuple[float, float, float]
"""A value of a program, and the ends of the range of its single darks."""

_CONTRAST, _CONTRAST_ERROR = "contrast_count_s_pix", "contrast_err_count_s_pix"


@dataclass(frozen=True, slots=True)
class ProgramHistory:
    """What the good darks of a program tell; None for what they do not.

    Attributes
    ----------
    program : int or None
        The program.
    good_darks, hot_darks : int
        Number of good darks, and of those above 25 C.
    first_start_utc, last_start_utc : datetime
        Their first and last start.
    base_count_s_pix, base_scatter_count_s_pix : float or None
        Mean and standard deviation of the rate of the quiet rows, count/s/pixel, of darks below 25 C: a glow
        raises the quiet rows, too.
    glow_27c_count_s_pix, glow_27c_low_count_s_pix, glow_27c_high_count_s_pix : float or None
        Contrast at 27 C and the range of single darks, count/s/pixel: see
        `sbcdark.pipeline.detector.reference_glow.reference_glow`.
    hot_pixels_median, hot_pixels_scatter : float or None
        Median number of hot pixels, and the standard deviation s of the numbers N of the n darks,
        s^2 = sum (N - mean N)^2 / (n - 1): the error of a single dark's number, as its exposures repeat.
    """

    program: int | None
    good_darks: int
    hot_darks: int
    first_start_utc: datetime
    last_start_utc: datetime
    base_count_s_pix: float | None
    base_scatter_count_s_pix: float | None
    glow_27c_count_s_pix: float | None
    glow_27c_low_count_s_pix: float | None
    glow_27c_high_count_s_pix: float | None
    hot_pixels_median: float | None
    hot_pixels_scatter: float | None


@dataclass(frozen=True, slots=True)
class History:
    """The measured darks of a catalog, grouped for a picture, and the glow of programs at the reference temperature."""

    groups: tuple[Group, ...]
    programs: tuple[ProgramHistory, ...]
    glows: dict[int | None, ReferenceGlow]

    @property
    def glow_ranges(self) -> dict[int | None, Range]:
        """The glow of each program and the range of its single darks, in units of `RATE_UNIT`."""
        ranges = ((one.contrast_count_s_pix, one.low_count_s_pix, one.high_count_s_pix) for one in self.glows.values())
        scaled = ((value / RATE_UNIT, low / RATE_UNIT, high / RATE_UNIT) for value, low, high in ranges)
        return dict(zip(self.glows, scaled, strict=True))

    @property
    def hot_pixel_ranges(self) -> dict[int | None, Range]:
        """The median number of hot pixels of each program and the range of its single darks."""
        return {
            one.program: (middle, middle - scatter, middle + scatter)
            for one in self.programs
            if (middle := one.hot_pixels_median) is not None and (scatter := one.hot_pixels_scatter) is not None
        }

    def carried(self, darks: Sequence[ExposureRecord]) -> NDArray[np.float64]:
        """Return the factors that carry each dark's contrast to the reference temperature; NaN where none can."""
        factors = np.full(len(darks), np.nan)
        temperatures = numbers_of(darks, "temperature_mean_c")
        for program, glow in self.glows.items():
            of_program = np.array([dark.program == program for dark in darks], dtype=bool)
            factors[of_program] = glow.carried(temperatures[of_program])
        return factors


def history_of(engine: sa.Engine, selector: Selector | None = None) -> History:
    """Return the history of the dark, of all darks or of those among the selected exposures.

    Raises
    ------
    UsageError
        There is nothing to draw.
    """
    with reading(engine) as session:
        darks = measured(list_exposures(session, ExposureFilter("dark", names=names_of(session, selector))))
    if not darks and selector is not None and not selector.is_empty:
        raise UsageError("There is no dark among these exposures.", "List the darks: sbcdark darks")
    require(darks)
    programs: dict[int | None, list[ExposureRecord]] = {}
    for dark in darks:
        if dark.quality == "good":
            programs.setdefault(dark.program, []).append(dark)
    glows = {program: _glow(members) for program, members in programs.items()}
    told = [_told(program, members, glows[program]) for program, members in programs.items()]
    return History(
        by_program(darks),
        tuple(sorted(told, key=lambda one: one.first_start_utc)),
        {program: glow for program, glow in glows.items() if glow is not None},
    )


def _glow(darks: Sequence[ExposureRecord]) -> ReferenceGlow | None:
    temperature, contrast, error = (
        numbers_of(darks, name) for name in ("temperature_mean_c", _CONTRAST, _CONTRAST_ERROR)
    )
    return reference_glow(temperature, contrast, error)


def _told(program: int | None, darks: Sequence[ExposureRecord], glow: ReferenceGlow | None) -> ProgramHistory:
    starts = [dark.start_utc for dark in darks]
    cold = [dark for dark in darks if dark.temperature_mean_c <= HOT_ABOVE_C]
    base = numbers_of(cold, "quiet_rate_count_s_pix")
    hot_pixels = [dark.hot_pixels for dark in darks if dark.hot_pixels is not None]
    return ProgramHistory(
        program,
        len(darks),
        len(darks) - len(cold),
        min(starts),
        max(starts),
        float(base.mean()) if len(base) else None,
        float(base.std(ddof=1)) if len(base) > 1 else None,
        None if glow is None else glow.contrast_count_s_pix,
        None if glow is None else glow.low_count_s_pix,
        None if glow is None else glow.high_count_s_pix,
        float(np.median(hot_pixels)) if hot_pixels else None,
        float(np.std(hot_pixels, ddof=1)) if len(hot_pixels) > 1 else None,
    )
