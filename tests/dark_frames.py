"""The real darks as the model takes them, a run of them as exposures, and apertures on the detector."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.model.combination import Exposure
from sbcdark.pipeline.model.templates import DarkFrame

if TYPE_CHECKING:
    from numpy.typing import NDArray


def load_darks(folder: Path) -> list[DarkFrame]:
    """Read the darks of a folder in the order of their names."""
    frames = []
    for path in sorted(folder.glob("*_raw.fits.gz")):
        with fits.open(path) as hdus:
            counts = hdus[1].data.astype(np.int16).view(np.uint16)  # the raw int16 wraps above 32767
            frames.append(DarkFrame(path.name[:9], counts, float(hdus[0].header["EXPTIME"])))
    return frames


def tiles(side: int) -> list[NDArray[np.float64]]:
    """Disjoint square apertures, so that their counts are independent."""
    images = []
    for y in range(64, 1024 - side, 2 * side):
        for x in range(64, 1024 - side, 2 * side):
            image = np.zeros(DETECTOR_SHAPE)
            image[y : y + side, x : x + side] = 1
            images.append(image)
    return images


def run_of_darks(darks: list[DarkFrame]) -> list[Exposure]:
    """Return the 20 darks of a run as exposures, with times and temperatures."""
    with (Path(__file__).parent / "twin" / "darks_13961.csv").open() as table:
        rows = {row["rootname"]: row for row in csv.DictReader(table)}
    found = []
    for dark in darks:
        row = rows[dark.rootname]
        temperature = (float(row["temperature_start_c"]) + float(row["temperature_end_c"])) / 2
        mjd = float(row["start_mjd"])
        found.append(
            Exposure(
                dark.rootname,
                dark.counts,
                dark.exptime_s,
                np.ones(DETECTOR_SHAPE, dtype=bool),
                None,
                False,
                mjd,
                temperature,
            )
        )
    return found


def masked_to(exposure: Exposure, free: NDArray[np.bool_], *, sky: bool) -> Exposure:
    """Return an exposure of which only some pixels are free."""
    return Exposure(
        exposure.rootname, exposure.counts, exposure.exptime_s, free, None, sky, exposure.mjd, exposure.temperature_c
    )
