"""The picture of a fit, and the figures that are kept for the next picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.image import imread

from sbcdark.pipeline.apertures.pixel_shapes import PixelEllipse
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.views.drawing import own_style, save
from sbcdark.pipeline.views.plots import (
    FramePicture,
    _frame_sheet,
    _product_sheet,
    plot_exposure_and_dark,
    plot_products,
)
from sbcdark.pipeline.views.residuals import FitPicture, _fit_sheet, plot_fit

if TYPE_CHECKING:
    from pathlib import Path


def fit_with(name: str, level: float, chi2: float | None, source: tuple[slice, slice] | None) -> FitPicture:
    model = np.full(DETECTOR_SHAPE, level)
    counts = np.random.default_rng(8).poisson(model).astype(np.float64)
    sources, apertures, masks, halos = np.zeros((4, *DETECTOR_SHAPE), dtype=bool)
    if source is not None:
        sources[source] = apertures[source[1], source[0]] = True
    return FitPicture(name, counts, model, counts >= 0, sources, apertures, masks, halos, 1000.0, chi2)


def draw(folder: Path, fit: FitPicture) -> list[Path]:
    """Draw the three pictures of a fit: itself, its exposure beside a dark, its products with no or one aperture."""
    paths = [folder / f"{fit.rootname}{what}.png" for what in ("_fit", "", "_products")]
    plot_fit(paths[0], fit)
    plot_exposure_and_dark(paths[1], FramePicture(fit.rootname, fit.counts, 1000.0), FramePicture("d", fit.model, 9.0))
    apertures = [PixelEllipse(500.0, 400.0, 90.0, 60.0, 30.0, fit.rootname)] if fit.sources.any() else []
    plot_products(paths[2], fit.counts, fit.model, apertures, titles=(fit.rootname, "dark"))
    return paths


@pytest.mark.slow
def test_a_kept_figure_shows_nothing_of_the_picture_before(tmp_path: Path) -> None:
    """The pictures of one process are those of two processes to the last byte, whatever was drawn in between."""
    first = fit_with("first", 0.01, 1.02, (slice(100, 300), slice(400, 500)))
    second = fit_with("second", 0.3, None, None)
    third = fit_with("third", 0.02, 1.5, (slice(500, 550), slice(100, 200)))
    small = replace(second, rootname="small", counts=second.counts * 0, exptime_s=10.0)
    alone = []
    for fit in (first, second, third, small):
        for sheet in (_fit_sheet, _frame_sheet, _product_sheet):
            sheet.cache_clear()
        alone.append((fit, [path.read_bytes() for path in draw(tmp_path, fit)]))
    assert len({content for _, contents in alone for content in contents}) == 3 * len(alone)
    for fit, contents in (*alone, *alone[::-1]):
        assert [path.read_bytes() for path in draw(tmp_path, fit)] == contents, fit.rootname
    assert _fit_sheet.cache_info().misses == _frame_sheet.cache_info().misses == 1


def test_what_is_drawn_over_the_kept_ground_is_the_whole_figure(tmp_path: Path) -> None:
    """The ground is drawn once for many pictures; each looks as if it were drawn whole."""
    source = (slice(100, 300), slice(400, 500))
    for fit in (fit_with("first", 0.01, 1.02, source), fit_with("second", 0.3, None, source)):
        paths = draw(tmp_path, fit)
        sheets = (
            _fit_sheet(DETECTOR_SHAPE),
            _frame_sheet((DETECTOR_SHAPE, DETECTOR_SHAPE)),
            _product_sheet(DETECTOR_SHAPE, 1),
        )
        for sheet, path in zip(sheets, paths, strict=True):
            assert sheet.figure.ground is not None
            with own_style():
                save(sheet.figure, tmp_path / "whole.png")
            np.testing.assert_array_equal(imread(path), imread(tmp_path / "whole.png"))
