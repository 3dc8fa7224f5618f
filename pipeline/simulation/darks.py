"""Simulated RAW darks with known truth.

The dark is the sum of noise-free components common to all files (see `base_map`, `glow_map`, `HOT_RATES`), as measured
on the 20 darks of program 13961: dark = base x L(x, y) + amplitude x G(x, y) + hot pixels. Counts are Poisson events
from numpy's Generator, seeded for each file by the seed and the file's own number, so a file does not depend on the
others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.catalog.times import utc_of_mjd
from sbcdark.pipeline.detector.dark_shape import base_map, glow_map
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE, HOT_PIXELS_XY
from sbcdark.pipeline.simulation import headers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from sbcdark.pipeline.simulation.headers import Card, Value

BASE_RATE = 7.5e-6
"""Mean cold dark, count/s/pixel (program 13961)."""

HOT_RATES = (1.59, 0.76, 0.028, 0.040, 0.067, 0.059)
"""Mean rates of `HOT_PIXELS_XY`, count/s; they vary by a quarter from frame to frame (program 13961)."""

FLAGGED_ROWS = slice(599, 604)
"""Rows that simulated FLTs flag with 4: the dead ones; DQ does not flag row 604, which reads high."""

RUN_TEMPERATURE_C = (18.2, 24.5, 25.0, 25.5, 26.0, 26.4, 26.6, 27.0, 27.2, 27.5, 27.8, 27.9, 28.1, 28.3)
RUN_BOX_RATE = (0.0, 0.0, 4.8e-6, 8.6e-6, 1.19e-5, 1.71e-5, 2.33e-5, 3.08e-5, 4.01e-5, 4.74e-5, 5.36e-5, 6.56e-5)
GLOW_AT_TEMPERATURE = (RUN_TEMPERATURE_C, (*RUN_BOX_RATE, 7.1e-5, 8.17e-5))
"""Mean glow of the box (count/s/pixel) against mean temperature (C), from the box sums of program 13961."""

TEMPERATURE_ZERO_C, TEMPERATURE_STEP_C = 16.4715, 0.2442
"""Steps of MDECODT1 and MDECODT2."""

GLOBAL_RATE_WINDOW_S = 0.061
"""GLOBRATE is the count in this short window divided by its length: coarse, and often 0."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters of a simulation. The darks rise evenly through the temperatures, in runs of `darks_per_run`.

    `dark_program` is their program, and `dark_code` the program's letters in their root names, so that darks of several
    simulations make one archive. `base_rate` (count/s/pixel) and `glow_scale` are those of the epoch.
    """

    seed: int = 13961
    number_of_darks: int = 24
    darks_per_run: int = 12
    lowest_temperature_c: float = 18.2
    highest_temperature_c: float = 28.3
    dark_exposure_s: float = 1000.0
    science_exposure_s: float = 1200.0
    first_dark_mjd: float = 57084.088
    first_science_mjd: float = 57125.256
    base_scatter: float = 0.08
    glow_scatter: float = 0.3
    associations: bool = True
    dark_program: int = 99961
    dark_code: str = "zzd"
    base_rate: float = BASE_RATE
    glow_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension: its cards (including EXTNAME and EXTVER) and its image, table (structured array) or None."""

    cards: tuple[Card, ...]
    data: NDArray[Any] | None


@dataclass(frozen=True, slots=True)
class SimulatedFile:
    """The contents of a FITS file: name, primary cards, extensions."""

    name: str
    cards: tuple[Card, ...]
    extensions: tuple[Extension, ...]


@dataclass(frozen=True, slots=True)
class Exposure:
    """Truth of one exposure: base and glow_box (its mean over the box) in count/s/pixel, hot in count/s."""

    number: int
    rootname: str
    start_mjd: float
    exposure_s: float
    temperature_start_c: float
    temperature_end_c: float
    base: float
    glow_box: float
    hot: tuple[float, ...]


def coarse_temperature(temperature_c: float) -> float:
    """Round a temperature to the steps of MDECODT1 and MDECODT2."""
    steps = round((temperature_c - TEMPERATURE_ZERO_C) / TEMPERATURE_STEP_C)
    return round(TEMPERATURE_ZERO_C + steps * TEMPERATURE_STEP_C, 4)


@lru_cache(maxsize=2)
def _cumulative(name: str) -> NDArray[np.float64]:
    return np.cumsum((base_map() if name == "base" else glow_map()).ravel())


def dark_rate(exposure: Exposure) -> NDArray[np.float64]:
    """Return the expected dark of an exposure, shape (1024, 1024), count/s/pixel."""
    rate = exposure.base * base_map() + exposure.glow_box * glow_map()
    for (x, y), hot in zip(HOT_PIXELS_XY, exposure.hot, strict=True):
        rate[y, x] += hot
    return rate


def dark_counts(exposure: Exposure, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw an exposure's dark counts, shape (1024, 1024).

    The number of events of each component is Poisson, and each event falls on a pixel in proportion to the component's
    shape. This equals a Poisson draw in each pixel, and is ten times as fast at 0.01 count per pixel.
    """
    pixels = [
        np.searchsorted(total, rng.random(rng.poisson(rate * exposure.exposure_s * total[-1])) * total[-1], "right")
        for rate, total in ((exposure.base, _cumulative("base")), (exposure.glow_box, _cumulative("glow")))
    ]
    counts = np.bincount(np.concatenate(pixels), minlength=math.prod(DETECTOR_SHAPE)).reshape(DETECTOR_SHAPE)
    for (x, y), hot in zip(HOT_PIXELS_XY, exposure.hot, strict=True):
        counts[y, x] += rng.poisson(hot * exposure.exposure_s)
    return counts


def raw_pixels(counts: NDArray[np.int64]) -> NDArray[np.int16]:
    """Return counts as stored in a RAW file: 16 bits without offset, so counts over 32767 wrap to negative values."""
    return counts.astype(np.uint16).view(np.int16)


def exposure_cards(exposure: Exposure) -> dict[str, Value]:
    """Return the primary cards of every exposure."""
    start = utc_of_mjd(exposure.start_mjd)
    return {
        "ROOTNAME": exposure.rootname,
        "DATE-OBS": f"{start:%Y-%m-%d}",
        "TIME-OBS": f"{start:%H:%M:%S}",
        "EXPSTART": exposure.start_mjd,
        "EXPEND": exposure.start_mjd + exposure.exposure_s / 86400.0,
        "EXPTIME": exposure.exposure_s,
    }


def draw_exposure(
    parameters: Parameters,
    number: int,
    rootname: str,
    start_mjd: float,
    temperature_c: float,
    *,
    exposure_s: float,
    glow_box: float | None = None,
) -> Exposure:
    """Draw the base, glow and hot pixels of an exposure; `glow_box` overrides the glow at its temperature."""
    rng = np.random.default_rng([parameters.seed, number, 0])
    base = parameters.base_rate * (1.0 + parameters.base_scatter * float(rng.standard_normal()))
    typical = parameters.glow_scale * float(np.interp(temperature_c, *GLOW_AT_TEMPERATURE))
    scattered = typical * math.exp(parameters.glow_scatter * float(rng.standard_normal()))
    spread = rng.lognormal(-(0.25**2) / 2, 0.25, len(HOT_RATES))
    return Exposure(
        number=number,
        rootname=rootname,
        start_mjd=start_mjd,
        exposure_s=exposure_s,
        temperature_start_c=coarse_temperature(temperature_c - 0.3),
        temperature_end_c=coarse_temperature(temperature_c + 0.3),
        base=max(base, 0.1 * parameters.base_rate),
        glow_box=scattered if glow_box is None else glow_box,
        hot=tuple(float(rate) for rate in HOT_RATES * spread),
    )


def darks(parameters: Parameters) -> tuple[Exposure, ...]:
    """Return the truth of the darks, in order of their start."""
    wanted = np.linspace(parameters.lowest_temperature_c, parameters.highest_temperature_c, parameters.number_of_darks)
    runs = -(-parameters.number_of_darks // parameters.darks_per_run)
    found: list[Exposure] = []
    for run in range(runs):
        # Each run takes every runs-th temperature, so every run goes from cold to warm.
        for step, temperature in enumerate(wanted[run::runs]):
            number = len(found)
            rootname = f"j{parameters.dark_code}{_two_digits(run + 1)}{_two_digits(step + 360)}q"
            # 11 s of overhead between exposures, one campaign in 30 days, as in program 13961.
            start = parameters.first_dark_mjd + 30.0 * run + step * (parameters.dark_exposure_s + 11.0) / 86400.0
            found.append(
                draw_exposure(
                    parameters, number, rootname, start, float(temperature), exposure_s=parameters.dark_exposure_s
                )
            )
    return tuple(found)


def _two_digits(number: int) -> str:
    """Return a number in the archive's notation of visits and exposures: digits, then letters."""
    return np.base_repr(number, 36).lower().zfill(2)


def raw_dark(parameters: Parameters, exposure: Exposure) -> SimulatedFile:
    """Make the RAW file of a dark.

    Parameters
    ----------
    parameters : Parameters
        One of `darks`.
    exposure : Exposure
        One of `darks`.

    Returns
    -------
    SimulatedFile
        As in the archive: int16, with constant ERR and DQ arrays that are not written out.
    """
    rng = np.random.default_rng([parameters.seed, exposure.number, 1])
    counts = dark_counts(exposure, rng)
    association = f"{exposure.rootname[:6]}010"
    primary: dict[str, Value] = {
        "PROPOSID": parameters.dark_program,
        "PROCTIME": exposure.start_mjd + 1.0,
        "NRPTEXP": parameters.darks_per_run,
    }
    return raw_file(exposure, counts, rng, association, primary)


def raw_file(
    exposure: Exposure,
    counts: NDArray[np.int64],
    rng: np.random.Generator,
    association: str,
    primary: dict[str, Value],
) -> SimulatedFile:
    """Make the RAW file of a dark with given counts.

    Parameters
    ----------
    exposure : Exposure
        Its name, times and temperatures.
    counts : ndarray of int64, shape (1024, 1024)
        Its counts.
    rng : numpy.random.Generator
        Draws GLOBRATE.
    association : str
        The association that it belongs to.
    primary : dict
        More primary cards.

    Returns
    -------
    SimulatedFile
        As the archive has them: int16, constant ERR and DQ arrays that are not written out.
    """
    pixels = raw_pixels(counts)
    name = f"{exposure.rootname}_raw.fits"
    primary = exposure_cards(exposure) | primary
    primary |= {"FILENAME": name, "ASN_ID": association.upper(), "ASN_TAB": f"{association}_asn.fits"}
    names: dict[str, Value] = {"ROOTNAME": exposure.rootname, "EXPNAME": exposure.rootname}
    total_rate = float(pixels.sum()) / exposure.exposure_s
    # The statistics of real RAW darks are offset by 32768.
    low, high, mean = (32768.0 + float(value) for value in (pixels.min(), pixels.max(), pixels.mean()))
    science = names | {
        "DATAMIN": low,
        "DATAMAX": high,
        "GOODMIN": low,
        "GOODMAX": high,
        "GOODMEAN": mean,
        "GLOBRATE": round(rng.poisson(total_rate * GLOBAL_RATE_WINDOW_S) / GLOBAL_RATE_WINDOW_S, 10),
        "MDECODT1": exposure.temperature_start_c,
        "MDECODT2": exposure.temperature_end_c,
    }
    return SimulatedFile(
        name=name,
        cards=headers.override(headers.PRIMARY, primary),
        extensions=(
            Extension(headers.override(headers.SCIENCE, science), pixels),
            Extension(headers.override(headers.NULL_ERROR, names | {"EXTNAME": "ERR"}), None),
            Extension(headers.override(headers.NULL_QUALITY, names | {"EXTNAME": "DQ", "BUNIT": "UNITLESS"}), None),
        ),
    )


def raw_darks(parameters: Parameters) -> Iterator[SimulatedFile]:
    """Yield the RAW darks one by one, each made on demand."""
    for exposure in darks(parameters):
        yield raw_dark(parameters, exposure)
