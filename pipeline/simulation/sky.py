"""The sky in a simulated SBC frame: distortion, pixel areas and the tangent plane.

The distortion is that of aperture JSBCFIX in the Science Instrument Aperture File (SIAF).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from sbcdark.pipeline.detector.constants import SCALE_ARCSEC
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE

Pixels = np.ndarray[Any, np.dtype[np.float64]]

SIP = (
    (0, 2, 3.71821555237665e-06, 1.00981371927943e-05),
    (1, 1, 1.17765426693205e-05, 2.42210207958487e-07),
    (2, 0, -1.4839331519955e-05, 4.22468863409883e-07),
    (0, 3, -4.0306483355903e-09, 1.62215599487466e-09),
    (1, 2, -2.6066790400029e-09, 5.06905636326707e-10),
    (2, 1, 1.34147466617803e-10, -7.4477954955806e-09),
    (3, 0, 4.3177245107307e-09, -3.1755218792993e-10),
    (0, 4, -2.7480185239175e-11, 2.49019937544957e-12),
    (1, 3, -1.1042554481245e-12, 6.52485110105891e-12),
    (2, 2, 3.32641035426319e-12, -3.0271501858702e-13),
    (3, 1, -8.7909737715255e-13, 4.43253679202868e-12),
    (4, 0, 1.4687247077543e-11, 7.43177650420735e-13),
)
"""SIP coefficients (p, q, A_p_q, B_p_q) of the SBC, pixel^(1-p-q), from the SIAF (aperture JSBCFIX)."""

CRPIX = (512.0, 512.0)
"""Reference pixel (x, y) of the distortion, 1-based."""

CD = ((-7.4202518214706e-06, -5.7115904732424e-06), (-5.7088460323484e-06, 6.09781102411943e-06))
"""Linear terms at `PA_V3`, degree/pixel: rows are (xi, eta), columns (x, y)."""

PA_V3 = 317.024
"""Position angle of HST's V3 axis of the simulated pointing, degree."""

IDCSCALE = SCALE_ARCSEC


def tangent_plane(x: Pixels, y: Pixels) -> tuple[Pixels, Pixels]:
    """Return (xi, eta), degrees east and north of the pointing, of 0-based pixels (SIP: Shupe et al. 2005)."""
    u, v = x + 1.0 - CRPIX[0], y + 1.0 - CRPIX[1]
    bent_u, bent_v = u.copy(), v.copy()
    powers_u, powers_v = _powers(u), _powers(v)
    for p, q, a, b in SIP:
        term = powers_u[p] * powers_v[q]
        bent_u += a * term
        bent_v += b * term
    (cd11, cd12), (cd21, cd22) = CD
    return cd11 * bent_u + cd12 * bent_v, cd21 * bent_u + cd22 * bent_v


@lru_cache(maxsize=1)
def native_plane() -> tuple[Pixels, Pixels]:
    """Return `tangent_plane` of every native pixel, two arrays of shape (1024, 1024)."""
    y, x = np.mgrid[: DETECTOR_SHAPE[0], : DETECTOR_SHAPE[1]].astype(np.float64)
    return tangent_plane(x, y)


def _powers(values: Pixels) -> list[Pixels]:
    """Return the powers 0 to 4 by multiplication, ten times as fast as ``**``."""
    powers = [np.ones_like(values)]
    for _ in range(4):
        powers.append(powers[-1] * values)
    return powers


def pixel_area_arcsec2(x: Pixels, y: Pixels) -> Pixels:
    """Return the sky area of native pixels: the determinant of the derivative of `tangent_plane`."""
    u, v = x + 1.0 - CRPIX[0], y + 1.0 - CRPIX[1]
    a_u, a_v, b_u, b_v = np.ones_like(u), np.zeros_like(u), np.zeros_like(u), np.ones_like(u)
    powers_u, powers_v = _powers(u), _powers(v)
    for p, q, a, b in SIP:
        along_u = p * powers_u[max(p - 1, 0)] * powers_v[q]
        along_v = q * powers_u[p] * powers_v[max(q - 1, 0)]
        a_u += a * along_u
        a_v += a * along_v
        b_u += b * along_u
        b_v += b * along_v
    (cd11, cd12), (cd21, cd22) = CD
    return np.asarray(np.abs((cd11 * cd22 - cd12 * cd21) * (a_u * b_v - a_v * b_u)) * 3600.0**2)


def plane_to_sky(xi_deg: float, eta_deg: float, pointing: tuple[float, float]) -> tuple[float, float]:
    """Return RA and Dec (degree) of a point of the tangent plane (gnomonic projection, Calabretta & Greisen 2002)."""
    xi, eta, dec0 = math.radians(xi_deg), math.radians(eta_deg), math.radians(pointing[1])
    away = math.cos(dec0) - eta * math.sin(dec0)
    ra = pointing[0] + math.degrees(math.atan2(xi, away))
    return ra % 360.0, math.degrees(math.atan2(math.sin(dec0) + eta * math.cos(dec0), math.hypot(xi, away)))


def sky_to_plane(ra_deg: float, dec_deg: float, pointing: tuple[float, float]) -> tuple[float, float]:
    """Return (xi, eta) in degrees of a sky position: the inverse of `plane_to_sky`."""
    ra, dec, dec0 = math.radians(ra_deg - pointing[0]), math.radians(dec_deg), math.radians(pointing[1])
    depth = math.sin(dec) * math.sin(dec0) + math.cos(dec) * math.cos(dec0) * math.cos(ra)
    eta = (math.sin(dec) * math.cos(dec0) - math.cos(dec) * math.sin(dec0) * math.cos(ra)) / depth
    return math.degrees(math.cos(dec) * math.sin(ra) / depth), math.degrees(eta)
