"""Twins of real files: simulated ones with the names, times, temperatures and counts of real exposures.

Counts are drawn around the simulated dark, with one condition: the box and the quiet rows hold what they hold in the
real file, so that the twins are ranked as the real exposures are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.pipeline.detector.dark_shape import base_map, glow_map, row_sensitivity
from sbcdark.pipeline.detector.regions import BOX, DETECTOR_SHAPE, QUIET, good_pixels
from sbcdark.pipeline.simulation.darks import (
    BASE_RATE,
    Exposure,
    Parameters,
    SimulatedFile,
    dark_rate,
    draw_exposure,
    raw_file,
)
from sbcdark.pipeline.simulation.simulated_archive import association_file, flat, flat_file, flt_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from sbcdark.pipeline.detector.regions import Region
    from sbcdark.pipeline.simulation.headers import Value

SEED = 13655

FLAT_NAME = "sbc_standin_pfl.fits"

SOURCE_SIGMA_PIX = 9.0
"""The source of a science exposure is a round Gaussian of this sigma, native pixels."""

HOT_ROW, HOT_ROW_SENSITIVITY = 1, 1.64
"""Row 1 reads high (program 13961)."""

FAINT_HOT_PIXELS_XY = ((843, 81), (420, 698), (842, 82), (216, 556), (78, 654), (0, 1023))
FAINT_HOT_RATE = 0.001
"""Hot pixels that only the sum of all darks shows (program 13961), and their rate in the twins, count/s."""

SEVENTH_HOT_PIXEL_XY, SEVENTH_HOT_RATE = (300, 400), 0.06
"""Beside the six hot pixels that every dark has, real darks have one to three that come and go; count/s."""

_DRAWS = 200
"""How often the counts of a region of an FLT are drawn; the draw nearest to the wanted sum is taken."""


@dataclass(frozen=True, slots=True)
class RealExposure:
    """What is taken over from a real exposure.

    `box_count` and `quiet_count` are the sums over the box and over the good pixels of the quiet rows, in the units of
    the file: counts (RAW) or flat-fielded counts (FLT).
    """

    rootname: str
    association: str
    start_mjd: float
    exptime_s: float
    temperature_start_c: float
    temperature_end_c: float
    box_count: float
    quiet_count: float


@dataclass(frozen=True, slots=True)
class RealScience(RealExposure):
    """A science exposure: its pointing, and the truth of sky, glow, base and source.

    `base_scale` is in units of `BASE_RATE`; `source_x` and `source_y` are native pixels and lie at `ra_deg`, `dec_deg`;
    `source_count_s` is the whole source in native counts.
    """

    filter: str
    crval1_deg: float
    crval2_deg: float
    sky_count_s_pix: float
    glow_box_count_s_pix: float
    base_scale: float
    source_count_s: float
    source_x: float
    source_y: float
    ra_deg: float
    dec_deg: float


def twin_files(
    darks: Sequence[RealExposure], science: Sequence[RealScience], dark_program: int, science_program: int, target: str
) -> Iterator[SimulatedFile]:
    """Yield the twins one by one: RAW darks, FLTs, association tables and the flat."""
    for number, real in enumerate(darks):
        yield _dark(number, real, dark_program)
    programs: dict[str, Value] = {"PROPOSID": science_program, "TARGNAME": target}
    for number, exposure in enumerate(science, len(darks)):
        yield _science(number, exposure, programs)
    for name in sorted({exposure.association for exposure in science}):
        members = [exposure for exposure in science if exposure.association == name]
        where: dict[str, Value] = {"RA_TARG": members[0].ra_deg, "DEC_TARG": members[0].dec_deg}
        yield association_file(name, [exposure.rootname for exposure in members], programs | where)
    yield flat_file(Parameters(seed=SEED), FLAT_NAME)


def _exposure(number: int, real: RealExposure, base: float, glow_box: float) -> Exposure:
    temperature = (real.temperature_start_c + real.temperature_end_c) / 2
    drawn = draw_exposure(
        Parameters(seed=SEED),
        number,
        real.rootname,
        real.start_mjd,
        temperature,
        exposure_s=real.exptime_s,
        glow_box=glow_box,
    )
    return replace(
        drawn, base=base, temperature_start_c=real.temperature_start_c, temperature_end_c=real.temperature_end_c
    )


def _dark(number: int, real: RealExposure, program: int) -> SimulatedFile:
    """Make a RAW dark whose base and glow follow from its sums in the quiet rows and the box."""
    quiet = _quiet_pixels()
    in_box = real.box_count / (base_map()[BOX.slices].size * real.exptime_s)
    in_quiet = real.quiet_count / (quiet.sum() * real.exptime_s)
    base_box, base_quiet = base_map()[BOX.slices].mean(), base_map()[quiet].mean()
    glow_quiet = glow_map()[quiet].mean()
    glow = max((in_box - in_quiet * base_box / base_quiet) / (1.0 - glow_quiet * base_box / base_quiet), 0.0)
    exposure = _exposure(number, real, (in_quiet - glow * glow_quiet) / base_quiet, glow)
    rng = np.random.default_rng([SEED, number, 1])
    rate = dark_rate(exposure)
    rate[HOT_ROW] *= HOT_ROW_SENSITIVITY
    for x, y in FAINT_HOT_PIXELS_XY:
        rate[y, x] += FAINT_HOT_RATE
    rate[SEVENTH_HOT_PIXEL_XY[::-1]] += SEVENTH_HOT_RATE
    counts = rng.poisson(rate * exposure.exposure_s)
    for pixels, total in ((_box_pixels(), real.box_count), (quiet, real.quiet_count)):
        counts[pixels] = _events(rng, np.cumsum(rate[pixels]), round(total))
    return raw_file(exposure, counts, rng, real.association, {"PROPOSID": program})


def _science(number: int, real: RealScience, primary: dict[str, Value]) -> SimulatedFile:
    """Make an FLT: the dark and, through the flat, a uniform sky and the source."""
    exposure = _exposure(number, real, BASE_RATE * real.base_scale, real.glow_box_count_s_pix)
    sensitivity = flat(SEED)
    y, x = np.ogrid[: DETECTOR_SHAPE[0], : DETECTOR_SHAPE[1]]
    squared = ((x - real.source_x) ** 2 + (y - real.source_y) ** 2) / SOURCE_SIGMA_PIX**2
    source = real.source_count_s / (2.0 * math.pi * SOURCE_SIGMA_PIX**2) * np.exp(-0.5 * squared)
    rate = dark_rate(exposure) + (real.sky_count_s_pix + source) * sensitivity * row_sensitivity()
    rng = np.random.default_rng([SEED, number, 1])
    counts = rng.poisson(rate * exposure.exposure_s)
    for pixels, total in ((_box_pixels(), real.box_count), (_quiet_pixels(), real.quiet_count)):
        shares, per_count = rate[pixels], 1.0 / sensitivity[pixels]
        events = round(total / float(np.average(per_count, weights=shares)))
        cumulative = np.cumsum(shares)
        draws = [_events(rng, cumulative, events) for _ in range(_DRAWS)]
        counts[pixels] = min(draws, key=lambda draw: abs(float((draw * per_count).sum()) - total))
    primary = primary | {
        "RA_TARG": real.ra_deg,
        "DEC_TARG": real.dec_deg,
        "FILTER1": real.filter,
        "PFLTFILE": f"jref${FLAT_NAME}",
    }
    pointing = (real.crval1_deg, real.crval2_deg)
    return flt_file(exposure, counts, sensitivity, pointing, real.association, primary, (0.0, 0.0))


def _events(rng: np.random.Generator, cumulative: NDArray[np.float64], number: int) -> NDArray[np.int64]:
    """Spread so many events over pixels of given, cumulated rates: given their sum, Poisson counts are multinomial."""
    places = np.searchsorted(cumulative, rng.random(number) * cumulative[-1], "right")
    return np.bincount(places, minlength=cumulative.size)


def _box_pixels() -> NDArray[np.bool_]:
    return _pixels(BOX)


def _quiet_pixels() -> NDArray[np.bool_]:
    return _pixels(QUIET) & good_pixels()


def _pixels(region: Region) -> NDArray[np.bool_]:
    inside = np.zeros(DETECTOR_SHAPE, dtype=bool)
    inside[region.slices] = True
    return inside
