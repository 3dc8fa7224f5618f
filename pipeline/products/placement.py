"""Apertures and masked regions on a product and on the detector, and the check of a product in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.apertures.pixel_shapes import PixelEllipse, PixelRing, aperture_sum, to_pixels
from sbcdark.pipeline.apertures.sky import Sky
from sbcdark.pipeline.drizzling.footprints import NativeWeights, check_weights, native_weights
from sbcdark.pipeline.products.records import PlacedAperture

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from sbcdark.pipeline.apertures.apertures import ApertureSpec
    from sbcdark.pipeline.apertures.pixel_shapes import PixelShape
    from sbcdark.pipeline.drizzling.drizzled_product import DrizzledProduct


def placed_apertures(
    product: DrizzledProduct,
    specs: Sequence[ApertureSpec],
    sky: Sky,
    warnings: list[str],
    growth: Sequence[float] = (),
) -> tuple[PlacedAperture, ...]:
    """Place apertures, each with the region of its sky and its growth, and warn of those that cannot be projected."""
    placed = []
    for spec in specs:
        try:
            shape = to_pixels(spec, product.wcs)
            own = None if spec.background is None else to_pixels(spec.background, product.wcs)
        except UsageError as error:
            warnings.append(f"{spec.label} is not measured: {error.what}")
            continue
        method = sky.text if spec.background is None else spec.background.text
        ring = own or sky.ring(shape, product.wcs)
        sky_weights = None if ring is None else native_weights(ring, product)
        wider = []
        for radius in growth:
            grown = spec.grown(radius)
            place = to_pixels(grown, product.wcs)
            wider.append(PlacedAperture(grown, place, native_weights(place, product), sky_weights, method))
        weights = native_weights(shape, product)
        there = sum(bool(one.touched.any()) for one in weights)
        if 0 < there < len(weights):
            warnings.append(
                f"{spec.label} lies on {there} of {len(weights)} exposures, but exptime_s of its row is that of all"
            )
        left_out = [_whole(shape, weights, product), *(one.weights for one in wider)]
        if ring is not None and sky_weights is not None:
            left_out.append(_whole(ring, sky_weights, product))
        placed.append(PlacedAperture(spec, shape, weights, sky_weights, method, tuple(wider), tuple(left_out)))
    return tuple(placed)


def _whole(
    shape: PixelShape, weights: tuple[NativeWeights, ...], product: DrizzledProduct
) -> tuple[NativeWeights, ...]:
    """Return the weights of a shape with its hole, if it is an annulus."""
    if isinstance(shape, PixelRing) and shape.inner is not None:
        return native_weights(shape.outer, product)
    return weights


def masked_regions(
    product: DrizzledProduct, specs: Sequence[ApertureSpec], warnings: list[str]
) -> list[tuple[NativeWeights, ...]]:
    """Return the pixels that each region of --mask excludes, and warn of regions that exclude none."""
    masks = []
    for spec in specs:
        found = [one.weights for one in placed_apertures(product, [spec], Sky("none"), [])]
        masks += found
        if not any(one.touched.any() for exposures in found for one in exposures):
            warnings.append(outside(spec))
    return masks


def outside(spec: ApertureSpec) -> str:
    """Return the warning about a region of --mask without any pixel of the exposures."""
    return f"--mask: {spec.label} lies outside the exposures and masks nothing"


_PROBE_RADIUS_PIX = 60.0


def probes(product: DrizzledProduct) -> list[tuple[PixelEllipse, tuple[NativeWeights, ...]]]:
    """Return a circle at the centre of each frame, with its weights: checked in addition to the apertures."""
    probes = []
    for mapping in product.frames:
        middle = tuple(side // 2 * mapping.stride for side in mapping.weight.shape)
        x, y = float(mapping.corner_x[middle]), float(mapping.corner_y[middle])
        probes.append(PixelEllipse(x, y, _PROBE_RADIUS_PIX, _PROBE_RADIUS_PIX, 0.0, "a circle at a frame's centre"))
    return [(probe, native_weights(probe, product)) for probe in probes]


def check_product(
    image: NDArray[np.float32],
    rates: Sequence[NDArray[np.float64]],
    what: str,
    apertures: Sequence[tuple[PixelShape, Sequence[NativeWeights]]],
) -> None:
    """Check an image on the product's pixels against its native pixels in every aperture."""
    for shape, weights in apertures:
        check_weights(aperture_sum(image, shape).total, weights, rates, f"{shape.label} of {what}")
