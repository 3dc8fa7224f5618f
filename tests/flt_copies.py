"""Copies of an FLT with other counts in it, for AstroDrizzle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def copy_with_counts(
    source: Path, target: Path, counts: NDArray[np.float64] | None = None, **cards: object
) -> tuple[float, NDArray[np.int16]]:
    """Write an FLT with other counts and other cards (None removes one); return its exposure time and DQ array."""
    with fits.open(source) as hdus:
        if counts is not None:
            hdus["SCI"].data = counts.astype(np.float32)
        for keyword, value in cards.items():
            header = hdus[0].header if keyword in hdus[0].header else hdus["SCI"].header
            if value is None:
                del header[keyword]
            else:
                header[keyword] = value
        hdus.writeto(target, overwrite=True)
        return float(hdus[0].header["EXPTIME"]), hdus["DQ"].data.copy()
