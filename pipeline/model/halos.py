"""The halo of a large source: the light outside its aperture, which a fit takes for sky and glow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sbcdark.pipeline.detector.defects import block_sum
from sbcdark.pipeline.model.templates import BIN, BLOCK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sbcdark.pipeline.detector.defects import Image, Mask
    from sbcdark.pipeline.model.dark_fit import DarkFit
    from sbcdark.pipeline.model.templates import Templates

HALO_RADII = 2.5
"""Radii of a large aperture that the fit leaves out. A disc with a half-light radius of 0.8 apertures loses 13 % of its
counts to sky and glow if only the aperture is left out, and 1 to 2 % so; the mask may then leave little of the frame,
which the neighbours in time make good."""

_INNER, _MIDDLE = 1.5, 2.0  # radii of the two rings within the mask whose light is measured
_STEEPEST, _SHALLOWEST = 8.0, 2.0  # powers of the radius: a disc's edge, and a halo that falls like its area grows


def halo_leak(
    counts: NDArray[np.generic], good: Mask, radius: Image, fit: DarkFit, templates: Templates
) -> NDArray[np.float64]:
    """Estimate by how much the light of a halo outside the mask has raised the parameters of a fit.

    The light in two rings inside the mask, from 1.5 to 2 and from 2 to 2.5 radii, gives a power of the radius, which
    is continued outside. Its counts in the bins of the fit change the parameters by the fit's linear influence.

    Parameters
    ----------
    counts : ndarray, shape (1024, 1024)
        Raw counts.
    good : ndarray of bool, shape (1024, 1024)
        Pixels with data.
    radius : ndarray of float64, shape (1024, 1024)
        Distance from the centre of the aperture in units of its radius.
    fit : DarkFit
        The fit outside `HALO_RADII`.
    templates : Templates
        Its templates.

    Returns
    -------
    ndarray, shape (k,)
        Change of (base, amplitude[, sky]), count/s/pixel.
    """
    mean = fit.base * templates.base_map + fit.amplitude * templates.glow_map
    if fit.sky is not None:
        mean = mean + fit.sky * (1.0 if fit.flat is None else np.nan_to_num(fit.flat))
    excess = np.asarray(counts, dtype=np.float64) - mean * fit.exptime_s
    use = good & templates.good
    light, error = zip(
        *(_mean_light(excess, counts, use & (radius > low) & (radius <= high))
          for low, high in ((_INNER, _MIDDLE), (_MIDDLE, HALO_RADII))),
        strict=True,
    )  # fmt: skip
    outer = max(light[1], error[1])
    places = (_INNER + _MIDDLE) / 2, (_MIDDLE + HALO_RADII) / 2
    power = np.log(max(light[0], outer) / outer) / np.log(places[1] / places[0]) if outer > 0 else _STEEPEST
    power = float(np.clip(power, _SHALLOWEST, _STEEPEST))
    far = block_sum(radius, BLOCK) / BLOCK**2
    outside = outer * (np.maximum(far, HALO_RADII) / places[1]) ** -power * fit.block_pixels
    return np.asarray(np.tensordot(fit.influence, block_sum(outside, BIN // BLOCK), 2))


def _mean_light(excess: Image, counts: NDArray[np.generic], where: Mask) -> tuple[float, float]:
    """Return the mean excess counts per pixel and its Poisson error; 0 without pixels."""
    number = int(where.sum())
    if number == 0:
        return 0.0, 0.0
    return float(excess[where].mean()), float(np.sqrt(max(counts[where].sum(), 1.0))) / number
