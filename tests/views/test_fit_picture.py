"""The picture of a fit shows what the fit left out, the surroundings of large apertures among it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sbcdark import Catalog
from sbcdark.pipeline.apertures.apertures import parse_aperture
from sbcdark.pipeline.detector.defects import block_sum
from sbcdark.pipeline.estimation.options import BuildOptions
from sbcdark.pipeline.model.halos import HALO_RADII
from sbcdark.pipeline.model.templates import BLOCK
from sbcdark.pipeline.products.halos import halo_masks
from sbcdark.pipeline.products.job import Job
from sbcdark.pipeline.products.run import make
from sbcdark.pipeline.views.product_pictures import draw_products
from sbcdark.pipeline.views.residuals import PROFILE, FitPicture

if TYPE_CHECKING:
    import sqlalchemy as sa

    from sbcdark.pipeline.products.product_files import ProductFiles
    from sbcdark.pipeline.products.records import Built

_SIDE = 1024
_RADIUS = 120.0


def test_a_profile_has_only_the_pixels_of_the_fit() -> None:
    none = np.zeros((_SIDE, _SIDE), dtype=bool)
    counts, halos = np.ones((_SIDE, _SIDE)), none.copy()
    halos[:, 320:640] = True
    counts[halos] = 1e6
    fit = FitPicture("jcmc11e6q", counts, np.full_like(counts, 2.0), ~none, none, none, none, halos, 1000.0, None)
    assert [name for name, _, _ in fit.left_out] == ["surroundings of large apertures"]
    along, across = fit.profiles()
    assert len(along.place) == (_SIDE - 320) // PROFILE
    np.testing.assert_allclose(along.seen, 1.0 / (1000.0 * 1e-5))
    np.testing.assert_allclose(along.expected, 2 * along.seen)
    np.testing.assert_allclose(across.seen, along.seen[0])
    assert replace(fit, halos=none).profiles()[0].seen.max() > 1e3


@pytest.mark.slow
def test_the_surroundings_of_a_large_aperture_are_those_that_the_fit_left_out(
    sqlite_catalog: sa.Engine, shared_data: Path, tmp_path: Path
) -> None:
    seen: list[Built] = []

    def draw(built: Built, files: ProductFiles) -> tuple[str, ...]:
        seen.append(built)
        return draw_products(built, files)

    aperture = parse_aperture(f"circle:735,710,{_RADIUS:g}")
    options = BuildOptions(flat=shared_data / "science_13655_standin")
    (outcome,) = make(sqlite_catalog, ["jcmc11e6q"], Job(tmp_path, options, (aperture,), True, draw), workers=1)
    assert outcome.failure is None
    (built,) = seen
    (mask,) = halo_masks(built.placed, built.product)
    assert mask is not None
    # Native pixels are larger by the area factor, 1.6 at the centre within 2 % over the field.
    assert mask.sum() == pytest.approx(np.pi * (HALO_RADII * _RADIUS) ** 2 / 1.6, rel=0.05)
    fit = built.estimate.exposures[0].fit
    assert fit is not None
    inside = block_sum(mask, BLOCK) == BLOCK**2
    assert inside.sum() > 100
    assert not fit.block_pixels[inside].any()
    assert fit.block_pixels[~inside].any()
    assert any(path.name.endswith("_fit.png") for path in outcome.pictures)


@pytest.mark.slow
def test_the_picture_of_plot_is_that_of_run(sqlite_catalog: sa.Engine, shared_data: Path, tmp_path: Path) -> None:
    """To the last byte, first with what is left out named again, then with what the catalog has stored."""
    catalog, regions, said = Catalog(sqlite_catalog), tmp_path / "masks.reg", list[str]()
    regions.write_text('image\ncircle(401,421,50)\nicrs\ncircle(10,10,1")\n')
    left_out: dict[str, Any] = {"apertures": "ellipse:735,710,70,40,90", "mask": regions}
    flat = shared_data / "science_13655_standin"

    def drawn(**wanted: Any) -> bytes:
        path = catalog.plot("fit", "jcmc11e6q", tmp_path / "fit.png", flat=flat, overwrite=True, **wanted)
        assert isinstance(path, Path)
        return path.read_bytes()

    alone = drawn()
    named = drawn(**left_out, talk=said.append)
    made = catalog.run("jcmc11010", tmp_path / "products", flat=flat, **left_out)
    (of_run,) = (path.read_bytes() for path in made.pictures if path.name.endswith("jcmc11e6q_fit.png"))
    assert named == of_run
    assert ["masks nothing" in text for text in said] == [True]
    assert drawn() == of_run
    assert drawn(apertures=()) == alone != of_run


def test_masks_are_drawn_and_named() -> None:
    none = np.zeros((_SIDE, _SIDE), dtype=bool)
    mask = none.copy()
    mask[100:200, 300:400] = True
    counts = np.ones((_SIDE, _SIDE))
    fit = FitPicture("jcmc11e6q", counts, counts, ~none, none, none, mask, none, 1000.0, None)
    assert fit.left_out_text == "left out of the fit: masks (dash-dotted)"
    assert not fit.fitted[mask].any()
