"""Arrays and products as astropy images, with unit, error and WCS."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from astropy.nddata import CCDData
    from numpy.typing import NDArray


def detector_image(rate: NDArray[np.float64], error: NDArray[np.float64]) -> CCDData:
    """Return an image in detector pixels, shape (1024, 1024), from a rate and its 1-sigma error, count/s/pixel."""
    from astropy.nddata import CCDData, StdDevUncertainty  # noqa: PLC0415  slow to import

    return CCDData(rate, uncertainty=StdDevUncertainty(error), unit="ct / (s pix)")


def product_image(path: Path) -> CCDData:
    """Return the SCI array of a product in count/s, with its WCS, and its ERR array as the error if there is one."""
    from astropy.io import fits  # noqa: PLC0415  slow to import
    from astropy.nddata import CCDData, StdDevUncertainty  # noqa: PLC0415
    from astropy.wcs import WCS  # noqa: PLC0415

    with fits.open(path) as hdus:
        science, names = hdus["SCI"], {hdu.name for hdu in hdus}
        error = StdDevUncertainty(hdus["ERR"].data.copy()) if "ERR" in names else None
        header = science.header.copy()
        return CCDData(science.data.copy(), uncertainty=error, unit="ct / s", wcs=WCS(header), header=header)
