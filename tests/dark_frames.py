"""The real darks as the model takes them, and apertures on the detector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.model.templates import DarkFrame

if TYPE_CHECKING:
    from pathlib import Path

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
