"""What the fit of the dark leaves out for an aperture: the hole of an annulus too, whatever its size."""

from __future__ import annotations

import numpy as np
import pytest

from sbcdark.pipeline.apertures.apertures import parse_aperture
from sbcdark.pipeline.apertures.sky import Sky, parse_sky
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.drizzling.drizzled_product import DrizzledProduct, FrameMapping
from sbcdark.pipeline.products.placement import masked_regions, placed_apertures
from sbcdark.pipeline.selection.rules import Combine

CENTRE = 500.3, 480.7


def product() -> DrizzledProduct:
    """Return a product whose pixels are those of its only frame."""
    ones = np.ones(DETECTOR_SHAPE, np.float32)
    y, x = np.indices((1025, 1025)) - 0.5
    return DrizzledProduct(ones, ones, None, None, (FrameMapping(ones, x, y, 1.0, 1.0, 1.0),), "")


def distances() -> np.ndarray:
    y, x = np.indices(DETECTOR_SHAPE)
    return np.hypot(x - CENTRE[0], y - CENTRE[1])


@pytest.mark.parametrize(("inner", "outer"), [(20, 30), (30, 45), (60, 90), (120, 200)])
def test_hole_of_an_annulus_is_left_out_of_the_fit_but_not_masked(inner: int, outer: int) -> None:
    on, x, y = product(), *CENTRE
    sky = parse_sky(f"annulus:{inner},{outer}", Combine.MODEL)
    (source,) = placed_apertures(on, [parse_aperture(f"circle:{x},{y},10")], sky, [])
    ring = parse_aperture(f"annulus:{x},{y},{inner},{outer}")
    (alone,) = placed_apertures(on, [ring], Sky("none"), [])
    inside = distances() < outer - 1.0
    for placed in (source, alone):
        out = np.zeros(DETECTOR_SHAPE, dtype=bool)
        for (one,) in placed.left_out:
            out[one.where] |= one.touched
        assert out[inside].all()
        assert not out[distances() > outer + 1.0].any()
    ((masked,),) = masked_regions(on, [ring], [])
    out = np.zeros(DETECTOR_SHAPE, dtype=bool)
    out[masked.where] = masked.touched
    assert out[inside & (distances() > inner + 1.0)].all()
    assert not out[distances() < inner - 1.0].any()
