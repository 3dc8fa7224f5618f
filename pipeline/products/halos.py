"""Halos around large apertures on a product: what the fit of the dark leaves out, and the error of what it does not."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.pipeline.apertures.pixel_shapes import PixelEllipse, PixelRing
from sbcdark.pipeline.model.halos import HALO_RADII, halo_leak

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sbcdark.pipeline.apertures.pixel_shapes import PixelShape
    from sbcdark.pipeline.drizzling.drizzled_product import DrizzledProduct, FrameMapping
    from sbcdark.pipeline.model.combination import Exposure
    from sbcdark.pipeline.products.records import Built, PlacedAperture

HALO_FROM_PIX = 100.0
"""Effective radius, product pixels, from which an aperture is expected to hold a source with a halo."""


def has_halo(shape: PixelShape) -> bool:
    """Whether an aperture is so large that its source may have a halo."""
    return not isinstance(shape, PixelRing) and math.sqrt(shape.area_pix / math.pi) > HALO_FROM_PIX


def without_halos(
    exposures: Sequence[Exposure], placed: Sequence[PlacedAperture], product: DrizzledProduct
) -> list[Exposure]:
    """Return the exposures of a fit without the pixels within `HALO_RADII` of large apertures."""
    return [
        exposure if mask is None else replace(exposure, good=exposure.good & ~mask)
        for exposure, mask in zip(exposures, halo_masks(placed, product), strict=True)
    ]


def halo_masks(placed: Sequence[PlacedAperture], product: DrizzledProduct) -> list[NDArray[np.bool_] | None]:
    """Return the pixels of each exposure within `HALO_RADII` of large apertures; None without any."""
    large = [one.shape for one in placed if has_halo(one.shape)]
    if not large:
        return [None] * len(product.frames)
    return [np.any([_radius(shape, frame) <= HALO_RADII for shape in large], axis=0) for frame in product.frames]


def halo_leaks(built: Built, shape: PixelShape) -> list[NDArray[np.float64] | None]:
    """Return by how much the halo of an aperture's source has raised the parameters of each exposure's fit.

    Returns
    -------
    list of (ndarray, shape (k,), or None)
        From `model.halos.halo_leak`; None without a fit, or for a small aperture.
    """
    templates = built.estimate.templates
    if templates is None or not has_halo(shape):
        return [None] * len(built.inputs)
    return [
        None if dark.fit is None else halo_leak(one.counts, one.good, _radius(shape, frame), dark.fit, templates)
        for one, dark, frame in zip(built.inputs, built.estimate.exposures, built.product.frames, strict=True)
    ]


def halo_error(
    built: Built,
    leaks: Sequence[NDArray[np.float64] | None],
    weights: Sequence[NDArray[np.float64]],
    *,
    include_sky: bool,
) -> float:
    """Return the error of an aperture's dark, or dark plus sky, from halos outside the mask.

    Parameters
    ----------
    leaks : sequence of (ndarray or None)
        From `halo_leaks`.
    weights : sequence of ndarray, shape (1024, 1024)
        The aperture's weights on detector rates, by exposure.
    include_sky : bool
        Whether the fitted sky is subtracted too.
    """
    templates = built.estimate.templates
    total = 0.0
    for leak, image, dark in zip(leaks, weights, built.estimate.exposures, strict=True):
        if leak is None or templates is None or dark.fit is None:
            continue
        total += float(leak[0] * (image * templates.base_map).sum() + leak[1] * (image * templates.glow_map).sum())
        if include_sky and dark.fit.sky is not None:
            flat = 1.0 if dark.fit.flat is None else np.nan_to_num(dark.fit.flat)
            total += float(leak[2] * (image * flat).sum())
    return abs(total)


def _radius(shape: PixelShape, frame: FrameMapping) -> NDArray[np.float64]:
    """Return the distance of native pixels from the centre of a shape, in units of its radius (or its axes).

    Other shapes count as a circle of their area. The first corner of a pixel stands for the pixel.
    """
    ny, nx = frame.weight.shape
    step = frame.stride
    dx, dy = frame.corner_x[::step, ::step][:ny, :nx] - shape.x, frame.corner_y[::step, ::step][:ny, :nx] - shape.y
    if not isinstance(shape, PixelEllipse):
        return np.asarray(np.hypot(dx, dy) / math.sqrt(shape.area_pix / math.pi))
    angle = math.radians(shape.theta_deg)
    along = (dx * math.cos(angle) + dy * math.sin(angle)) / shape.a
    across = (dy * math.cos(angle) - dx * math.sin(angle)) / shape.b
    return np.asarray(np.hypot(along, across))
