"""Does a uniform sky bias the net rate? Real darks as science, with and without a Poisson sky, by all methods.

Each of the 20 darks of program 13961 in turn is a science exposure, its counts divided by the stand-ins' flat; the
other 19 are the darks. A sky of 1e-5 count/s/pixel, seen through the flat, is added as Poisson counts. What changes in
the net rate of an aperture beyond the sky counts that were added there is what the sky did to the dark that was
subtracted. Native pixels, no drizzling. Run it in the folder tests as ``python -m benchmarks.sky [--realisations 3]
[--sky 1e-5]``, with SBCDARK_SHARED naming the folder that holds ``data/`` where that is not beside the checkout.
"""

from __future__ import annotations

import argparse
import math
import time
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from benchmarks.accuracy import load_darks
from benchmarks.chain import SMOOTH, shared_folder

from sbcdark.catalog.records import MatchValues
from sbcdark.pipeline.detector.rates import measure_regions
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.model.combination import Exposure, combine_darks
from sbcdark.pipeline.model.dark_error import aperture_dark
from sbcdark.pipeline.model.sources import fit_dark_with_sources
from sbcdark.pipeline.model.templates import build_templates
from sbcdark.pipeline.selection.rules import Combine, Requirements, Rule, choose, score

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sbcdark.pipeline.detector.defects import Image
    from sbcdark.pipeline.model.templates import DarkFrame, Templates

MODEL = "model"
METHODS = (MODEL, *(rule.value for rule in (Rule.GLOW, Rule.TEMPERATURE, Rule.BOX, Rule.NOTEBOOK)))
WARM_C = 24.3
"""The glow is seen in the darks of program 13961 that are warmer."""


def footprints(good: Image) -> list[Image]:
    """Return the apertures of the chain on native pixels (about 0.0316 arcsec a side), without hot pixels."""
    y, x = np.indices(DETECTOR_SHAPE, dtype=np.float64)
    found = []
    for place in SMOOTH:
        angle = math.radians(place.angle)
        dx, dy = (x - place.x) * 0.0336, (y - place.y) * 0.0297
        along, across = dx * math.cos(angle) + dy * math.sin(angle), dy * math.cos(angle) - dx * math.sin(angle)
        found.append(((along / place.a) ** 2 + (across / place.b) ** 2 <= 1) * good)
    return found


def values(rootname: str, kind: str, counts: Image, exptime_s: float, celsius: float) -> MatchValues:
    """Measure a frame as an ingest does; raw counts of a dark, flat-fielded ones of a science exposure."""
    regions = {one.region: one for one in measure_regions(counts, exptime_s)}
    box, quiet = regions["box"], regions["quiet"]
    return MatchValues(
        rootname=rootname, kind=kind, program=None, filter=None, target=None, association=None, start_mjd=57084.0,
        exptime_s=exptime_s, temperature_mean_c=celsius, box_count=box.counts,
        box_rate_count_s_pix=box.rate_count_s_pix, box_rate_err_count_s_pix=box.rate_err_count_s_pix,
        quiet_rate_count_s_pix=quiet.rate_count_s_pix, quiet_rate_err_count_s_pix=quiet.rate_err_count_s_pix,
        contrast_count_s_pix=box.rate_count_s_pix - quiet.rate_count_s_pix,
        contrast_err_count_s_pix=math.hypot(box.rate_err_count_s_pix, quiet.rate_err_count_s_pix),
        quality="good", quality_reason=None, exposure_flag=None, file=None,
    )  # fmt: skip


class Frame:
    """One dark as science, with the others to subtract from it.

    Parameters
    ----------
    index : int
        Which of the darks.
    """

    def __init__(
        self,
        index: int,
        darks: Sequence[DarkFrame],
        dark_values: Sequence[MatchValues],
        flat: Image,
        apertures: Sequence[Image],
    ) -> None:
        self.dark, self.celsius = darks[index], dark_values[index].temperature_mean_c
        self.others = [*darks[:index], *darks[index + 1 :]]
        self.other_values = [*dark_values[:index], *dark_values[index + 1 :]]
        self.flat = flat
        self.apertures = apertures
        self.outside = ~np.any([aperture > 0 for aperture in apertures], axis=0)

    @cached_property
    def templates(self) -> Templates:
        """Of the other darks."""
        return build_templates(self.others)

    def subtracted(self, counts: Image, methods: Sequence[str]) -> dict[str, tuple[Image, Image, Image]]:
        """Return, by method, what is subtracted in each aperture, its error, and the error of the science, counts.

        Parameters
        ----------
        counts : ndarray, shape (1024, 1024)
            Raw counts of the exposure.
        """
        seconds, weights = self.dark.exptime_s, [aperture / self.flat for aperture in self.apertures]
        science_error = np.sqrt([float((weight**2 * counts).sum()) for weight in weights])
        found = {}
        if MODEL in methods:
            fit, _ = fit_dark_with_sources(counts, seconds, self.templates, self.outside, flat=self.flat, sky=True)
            modelled = [aperture_dark([(fit, weight)], self.templates) for weight in weights]
            found[MODEL] = (
                np.array([one.rate * seconds for one in modelled]),
                np.array([one.error * seconds for one in modelled]),
                science_error,
            )
        exposure = Exposure(
            self.dark.rootname,
            counts,
            seconds,
            self.outside,
            self.flat,
            sky=True,
            mjd=57084.0,
            temperature_c=self.celsius,
        )
        science = values(self.dark.rootname, "science", counts / self.flat, seconds, self.celsius)
        by_name = {dark.rootname: dark for dark in self.others}
        for name in methods:
            if name == MODEL:
                continue
            scored = [(score(Rule(name), science, dark), dark) for dark in self.other_values]
            _, ranked, _ = choose(
                Rule(name), [(terms, dark) for terms, dark in scored if terms is not None], Requirements(top=1)
            )
            nearest = combine_darks(Combine.NEAREST, [exposure], [[by_name[ranked[0].dark]]])
            found[name] = (
                np.array([float((weight * nearest.exposures[0].rate).sum()) * seconds for weight in weights]),
                np.array([nearest.aperture_error([weight]) * seconds for weight in weights]),
                science_error,
            )
        return found

    def shifts(
        self, sky: float, realisations: int, rng: np.random.Generator, methods: Sequence[str] = METHODS
    ) -> dict[str, tuple[Image, Image, Image]]:
        """Add skies and see what they change.

        Returns
        -------
        by method : (ndarray, ndarray, ndarray)
            Shift of the net counts less the sky counts, in units of the photon noise, shape (realisations, apertures);
            (net - sky) / error without a sky, shape (apertures,), and with it, shape (realisations, apertures).
        """
        counts = self.dark.counts.astype(np.float64)
        weights = [aperture / self.flat for aperture in self.apertures]
        truth = np.array([float((weight * counts).sum()) for weight in weights])
        plain = self.subtracted(counts, methods)
        shifted: dict[str, list[Image]] = {name: [] for name in methods}
        pulls: dict[str, list[Image]] = {name: [] for name in methods}
        for _ in range(realisations):
            added = rng.poisson(sky * self.flat * self.dark.exptime_s)
            for name, (dark, error, science_error) in self.subtracted(counts + added, methods).items():
                net_error = np.hypot(error, science_error)
                shifted[name].append((plain[name][0] - dark) / science_error)
                pulls[name].append((truth - dark) / net_error)
        return {
            name: (
                np.array(shifted[name]),
                (truth - plain[name][0]) / np.hypot(plain[name][1], plain[name][2]),
                np.array(pulls[name]),
            )
            for name in methods
        }


def load(data: Path) -> tuple[list[DarkFrame], list[MatchValues], Image, list[Image]]:
    """Return the darks, what is measured of them, the stand-ins' flat, and the apertures without hot pixels."""
    darks, temperatures = load_darks(data / "darks_13961")
    measured = [
        values(one.rootname, "dark", one.counts.astype(np.float64), one.exptime_s, float(celsius))
        for one, celsius in zip(darks, temperatures, strict=True)
    ]
    flat = fits.getdata(data / "science_13655_standin" / "sbc_standin_pfl.fits.gz", 1).astype(np.float64)
    hot = build_templates(darks).hot
    good = np.ones(DETECTOR_SHAPE)
    good[hot.y, hot.x] = 0
    return darks, measured, flat, footprints(good)


def mean_and_error(each: Image) -> tuple[float, float]:
    """Return the mean of (frames, ...) and its standard error from the scatter of the frames' means."""
    frames = each.reshape(len(each), -1).mean(axis=1)
    return float(frames.mean()), float(frames.std(ddof=1) / np.sqrt(len(frames)))


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description="What a uniform sky does to the net rate.")
    parser.add_argument("--realisations", type=int, default=3, help="skies for each dark")
    parser.add_argument("--sky", type=float, default=1e-5, help="count/s/pixel")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    start = time.perf_counter()
    darks, dark_values, flat, apertures = load(shared_folder())
    temperatures = np.array([one.temperature_mean_c for one in dark_values])
    rng = np.random.default_rng(arguments.seed)
    found = [
        Frame(j, darks, dark_values, flat, apertures).shifts(arguments.sky, arguments.realisations, rng)
        for j in range(len(darks))
    ]
    print(
        f"sky {arguments.sky:g} count/s/pixel, {len(darks)} darks x {arguments.realisations} skies x {len(apertures)} "
        "apertures; +-: standard error from the scatter between frames\n"
        "shift: of the net less the sky that was added, in units of the photon noise; pull: (net - sky) / net error"
    )
    print(
        f"{'method':12s} {'frames':7s} {'shift':>15s} {'rms':>6s} {'pull without':>15s} {'with sky':>15s} {'rms':>6s}"
    )
    for name in METHODS:
        shifts, without, with_sky = (np.array([one[name][k] for one in found]) for k in range(3))
        for label, part in (
            ("all", temperatures > -99),
            ("cold", temperatures < WARM_C),
            ("warm", temperatures > WARM_C),
        ):
            shift, before, after = (mean_and_error(each[part]) for each in (shifts, without, with_sky))
            print(
                f"{name:12s} {label:7s} {shift[0]:+6.3f} +- {shift[1]:.3f} {np.sqrt((shifts[part] ** 2).mean()):6.3f} "
                f"{before[0]:+6.2f} +- {before[1]:.2f}  {after[0]:+6.2f} +- {after[1]:.2f}  "
                f"{np.sqrt((with_sky[part] ** 2).mean()):6.2f}"
            )
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
