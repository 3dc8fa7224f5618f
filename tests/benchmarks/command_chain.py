"""Does a source over real darks come out as it went in? The whole job by the command line, with and without a sky.

Real darks of program 13961 are put into FLTs, alone or in pairs, as they are and with a uniform sky, both with four
simulated sources of 50 to 5,000 counts: Poisson counts on the detector, seen through the flat. The other darks are
ingested, and ``sbcdark photometry`` drizzles, subtracts and measures six blank apertures and the four sources, with
``--sky fit`` and with ``--sky annulus``. Blank apertures should give 0, the sources their own counts, both scattered by
their errors. Run it in the folder tests as ``python -m benchmarks.command_chain [--products N] [--frames K]``, with
SBCDARK_SHARED naming the folder that holds ``data/`` where that is not beside the checkout.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from benchmarks.chain import CARRIER, SMOOTH, apertures, dark_paths, shared_folder, unpacked_flat, write_as_science
from commands import Commands
from sky_geometry import area_factor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SKIES = (0.0, 5e-6)
"""Uniform sky, count/s/pixel: none, and two thirds of the base of a cold dark."""

METHODS = ("fit", "annulus@3,5")
SOURCES = (50.0, 300.0, 1500.0, 5000.0)
"""Counts of the sources in each exposure."""

_SIGMA_PIX = 4.0  # of the sources; the smallest aperture holds all but 1e-8 of them


@dataclass(frozen=True)
class Measured:
    """One aperture of one product.

    Attributes
    ----------
    product : int
        Number of the product.
    sky : float
        The sky that was added, count/s/pixel.
    method : str
        The option --sky.
    counts : float
        Counts of the source in each exposure; 0 in a blank aperture.
    true : float
        The source's rate on the product, count/s.
    measured, error : float
        `source_count_s`, and its error with the expected counts in place of those that were seen: with mu expected
        counts the mean of (n - mu) / sqrt(n) is about -1 / (2 sqrt(mu)).
    shared : float
        The part of the error's square that dark and sky have, which the apertures of a product share.
    expected : float
        Expected counts on the detector.
    """

    product: int
    sky: float
    method: str
    counts: float
    true: float
    measured: float
    error: float
    shared: float
    expected: float

    @property
    def pull(self) -> float:
        """The difference from the truth in units of the error."""
        return (self.measured - self.true) / self.error


def measure_product(
    commands: Commands, number: int, darks: Sequence[int], data: Path, flat: Path, folder: Path
) -> list[Measured]:
    """Take some darks for the exposures of a product, and measure it with each sky and method."""
    rng = np.random.default_rng(1000 + number)
    paths = dark_paths(data)
    folder.mkdir()
    pixels = np.nan_to_num(np.asarray(fits.getdata(flat, 1), dtype=np.float64))
    counts = np.zeros(len(SMOOTH))
    # Sources change places, so that each place is blank in some products. Dead rows would take a part of one.
    places = np.array([index for index, place in enumerate(SMOOTH) if place.name != "dead rows"])
    counts[places[(number + np.array([0, 2, 4, 6])) % len(places)]] = rng.permutation(SOURCES)
    names: dict[float, list[str]] = {sky: [] for sky in SKIES}
    seconds = []
    for index in darks:
        seconds.append(float(fits.getheader(paths[index], 0)["EXPTIME"]))
        for sky, prefix in zip(SKIES, ("jzzz", "jzzy"), strict=True):
            mean = (_sources(counts) + sky * seconds[-1]) * pixels
            names[sky].append(write_as_science(paths[index], data, flat, folder, prefix, rng.poisson(mean)))
    known = [path for index, path in enumerate(paths) if index not in darks]
    database = f"sqlite:///{folder / 'catalog.db'}"
    done = commands.run(folder, database, "ingest", *known, *sorted(folder.glob("*_flt.fits")))
    assert done.code == 0, done.stderr
    rates = counts * _area_factors(data) * len(darks) / sum(seconds)
    found = []
    for sky in SKIES:
        for method in METHODS:
            given = [word for spec in apertures(data, SMOOTH) for word in ("--aperture", spec)]
            to = folder / f"{names[sky][0]}_{method[:3]}"
            done = commands.run(
                folder, database, "photometry", *names[sky], "-o", to, "--flat", flat, "--sky", method, "--json", *given
            )
            assert done.code == 0, done.stderr
            for row, own, rate in zip(done.json(), counts, rates, strict=True):
                found.append(_measured(number, sky, method, row, float(own), float(rate)))
    return found


def _sources(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the expected counts of the sources without the flat, shape (1024, 1024)."""
    y, x = np.indices((1024, 1024), dtype=np.float64)
    total = np.zeros((1024, 1024))
    for place, number in zip(SMOOTH, counts, strict=True):
        if number:
            profile = np.exp(-((x - place.x) ** 2 + (y - place.y) ** 2) / (2 * _SIGMA_PIX**2))
            total += number * profile / profile.sum()
    return total


def _area_factors(data: Path) -> NDArray[np.float64]:
    """Return the drizzled counts for one native count at each place."""
    with fits.open(data / "science_13655_standin" / f"{CARRIER}_flt.fits.gz") as hdus, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on how the header could be written better
        wcs = WCS(hdus[1].header)
    return np.array([area_factor(wcs, place.x, place.y) for place in SMOOTH])


def _measured(number: int, sky: float, method: str, row: dict[str, Any], counts: float, true: float) -> Measured:
    expected = row["dark_count_s"] + row["sky_count_s"] + true
    science = row["science_err_count_s"] ** 2
    background = row["source_err_count_s"] ** 2 - science
    error = np.sqrt(science * expected / row["science_count_s"] + background)
    native = expected * row["native_count"] / row["science_count_s"]
    shared = float(background / error**2)
    return Measured(number, sky, method, counts, true, row["source_count_s"], float(error), shared, native)


def pull_table(found: Sequence[Measured], *, blank: bool) -> NDArray[np.float64]:
    """Return pulls by product and aperture: the blank apertures, or the sources."""
    products = sorted({(one.product, one.sky, one.method) for one in found})
    return np.array(
        [
            [one.pull for one in found if (one.product, one.sky, one.method) == key and (one.counts == 0) == blank]
            for key in products
        ]
    )


def summary(pulls: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Return mean and width (rms) of pulls (products, apertures), each with the error from the products' scatter.

    The apertures of a product share its fit, so products are what is independent.
    """
    means, squares = pulls.mean(axis=1), (pulls**2).mean(axis=1)
    root, width = np.sqrt(len(pulls)), float(np.sqrt(squares.mean()))
    return (
        float(means.mean()),
        float(means.std(ddof=1) / root),
        width,
        float(squares.std(ddof=1) / root / 2 / width),
    )


def variances(found: Sequence[Measured]) -> tuple[float, float]:
    """Return the variances of the mean pull of one product's apertures and of its mean square, if its errors are right.

    A pull has variance 1. Counts of apertures are independent; their dark and sky are taken as wholly correlated: the
    correlation of two pulls is at most the root of the product of their shared parts, and that of their squares its
    square. A Poisson number's square adds 1 / mu to the 2 of a Gaussian's.
    """
    shared, number = np.array([one.shared for one in found]), len(found)
    mean = (number - shared.sum() + np.sqrt(shared).sum() ** 2) / number**2
    square = 2 * (number - (shared**2).sum() + shared.sum() ** 2) + sum(1 / one.expected for one in found)
    return float(mean), float(square / number**2)


def recovered(found: Sequence[Measured]) -> tuple[float, float]:
    """Return the ratio of measured to true rates of some sources, weighted by the true rates, and its error."""
    true = sum(one.true for one in found)
    return sum(one.measured for one in found) / true, float(np.sqrt(sum(one.error**2 for one in found))) / true


def products_of(number: int, frames: int, darks: int) -> list[list[int]]:
    """Return the darks of each product: spread over the run, so that a pair is of a cold and a warm one."""
    start = np.linspace(0, darks // frames - 1, number).round().astype(int)
    return [[int(first) + part * (darks // frames) for part in range(frames)] for first in start]


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description="Sources over real darks by the command line.")
    parser.add_argument("--products", type=int, default=20, help="number of products")
    parser.add_argument("--frames", type=int, default=1, help="exposures of a product")
    arguments = parser.parse_args()
    data, start = shared_folder(), time.perf_counter()
    found: list[Measured] = []
    with tempfile.TemporaryDirectory() as name, Commands({}) as commands:
        flat = unpacked_flat(data, Path(name))
        for number, darks in enumerate(products_of(arguments.products, arguments.frames, len(dark_paths(data)))):
            found += measure_product(commands, number, darks, data, flat, Path(name) / str(number))
    frames = f"{arguments.frames} exposure{'s' if arguments.frames > 1 else ''}"
    print(f"{arguments.products} products of {frames}, {len(SMOOTH) - len(SOURCES)} blank apertures in each")
    print("sky        method         blank: mean pull       width             sources: mean pull     width")
    for sky in SKIES:
        for method in METHODS:
            some = [one for one in found if (one.sky, one.method) == (sky, method)]
            cells = [summary(pull_table(some, blank=blank)) for blank in (True, False)]
            texts = [f"{cell[0]:+.3f} +- {cell[1]:.3f}   {cell[2]:.3f} +- {cell[3]:.3f}" for cell in cells]
            print(f"{sky:<9.0e}  {method:12}   {'      '.join(texts)}")
    print("\ncounts in each exposure, sky, method: measured / true")
    for counts in SOURCES:
        for sky in SKIES:
            for method in METHODS:
                some = [one for one in found if (one.counts, one.sky, one.method) == (counts, sky, method)]
                ratio, error = recovered(some)
                print(f"{counts:<9.0f}  {sky:<9.0e}  {method:12}   {ratio:.4f} +- {error:.4f}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
