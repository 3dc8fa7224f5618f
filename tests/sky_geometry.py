"""Where native pixels lie on a product, from the WCS alone: what the tests hold AstroDrizzle's mapping against."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MARGIN = 256.0  # native pixels around the frame within which the distortion is still inverted


def native_pixels(
    product_wcs: Any, native_wcs: Any, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take positions on a product to a frame's native pixels.

    Parameters
    ----------
    product_wcs, native_wcs : astropy.wcs.WCS
        Of the drizzled product and of the frame's SCI extension.
    x, y : ndarray of float64, shape (n,)
        0-based pixels of the product.

    Returns
    -------
    x, y : ndarray of float64, shape (n,)
        0-based native pixels, distortion included. More than 256 pixels off the frame the distortion, a polynomial
        that means nothing there, is left out: such points are outside with and without it.
    """
    ra, dec = product_wcs.all_pix2world(x, y, 0)
    native_x, native_y = (np.array(side, dtype=np.float64) for side in native_wcs.wcs_world2pix(ra, dec, 0))
    ny, nx = (1024, 1024)
    near = (native_x > -_MARGIN) & (native_x < nx + _MARGIN) & (native_y > -_MARGIN) & (native_y < ny + _MARGIN)
    if near.any():
        native_x[near], native_y[near] = native_wcs.all_world2pix(
            ra[near], dec[near], 0, tolerance=1e-5, maxiter=50, quiet=True
        )
    return native_x, native_y


def area_factor(native_wcs: Any, x: float, y: float, scale_arcsec: float = 0.025) -> float:
    """Return a native pixel's area on the sky divided by scale^2: drizzled counts per native count.

    From the local Jacobian of the WCS with its distortion, by central differences over one pixel.

    Parameters
    ----------
    native_wcs : astropy.wcs.WCS
        Of the SCI extension.
    x, y : float
        0-based native pixel.
    scale_arcsec : float
        The scale that the drizzle takes for native: IDCSCALE.

    Returns
    -------
    float
        About 1.6 for the SBC.
    """
    ra, dec = native_wcs.all_pix2world([x - 0.5, x + 0.5, x, x], [y, y, y - 0.5, y + 0.5], 0)
    # Differences of right ascension may go round through 360 degrees.
    d_ra = (np.array([ra[1] - ra[0], ra[3] - ra[2]]) + 180.0) % 360.0 - 180.0
    d_ra *= math.cos(math.radians(float(np.mean(dec))))
    d_dec = np.array([dec[1] - dec[0], dec[3] - dec[2]])
    return float(abs(d_ra[0] * d_dec[1] - d_ra[1] * d_dec[0])) * 3600.0**2 / scale_arcsec**2
