"""The picture of a fit, and the figures that are kept for the next picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.image import imread

from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.views.drawing import own_style, save
from sbcdark.pipeline.views.plots import FramePicture, _pair_sheet, plot_exposure_and_dark
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


@pytest.mark.slow
def test_a_kept_figure_shows_nothing_of_the_picture_before(tmp_path: Path) -> None:
    """The pictures of one process are those of two processes to the last byte, whatever was drawn in between."""
    first = fit_with("first", 0.01, 1.02, (slice(100, 300), slice(400, 500)))
    second = fit_with("second", 0.3, None, None)
    small = replace(second, rootname="small", counts=second.counts * 0, exptime_s=10.0)
    alone = []
    for number, fit in enumerate((first, second, small)):
        _fit_sheet.cache_clear()
        _pair_sheet.cache_clear()
        fits, pair = tmp_path / f"{number}.png", tmp_path / f"{number}p.png"
        plot_fit(fits, fit)
        plot_exposure_and_dark(pair, FramePicture(fit.rootname, fit.counts, 1000.0), FramePicture("d", fit.model, 9.0))
        alone.append((fit, fits.read_bytes(), pair.read_bytes()))
    assert len({content for _, content, _ in alone}) == len(alone)
    for fit, picture, both in (*alone, *alone[::-1]):
        fits, pair = tmp_path / "again.png", tmp_path / "again_p.png"
        plot_fit(fits, fit)
        plot_exposure_and_dark(pair, FramePicture(fit.rootname, fit.counts, 1000.0), FramePicture("d", fit.model, 9.0))
        assert (fits.read_bytes(), pair.read_bytes()) == (picture, both), fit.rootname
    assert _fit_sheet.cache_info().misses == 1


def test_what_is_drawn_over_the_kept_ground_is_the_whole_figure(tmp_path: Path) -> None:
    """The ground is drawn once for many pictures; each looks as if it were drawn whole."""
    source = (slice(100, 300), slice(400, 500))
    for number, fit in enumerate((fit_with("first", 0.01, 1.02, source), fit_with("second", 0.3, None, None))):
        pair = FramePicture(fit.rootname, fit.counts, 1000.0), FramePicture("dark", fit.model, 9.0)
        plot_fit(tmp_path / f"{number}.png", fit)
        plot_exposure_and_dark(tmp_path / f"{number}p.png", *pair)
        fits, both = _fit_sheet(DETECTOR_SHAPE), _pair_sheet((DETECTOR_SHAPE, DETECTOR_SHAPE))
        for sheet, name in ((fits, f"{number}.png"), (both, f"{number}p.png")):
            assert sheet.figure.ground is not None
            with own_style():
                save(sheet.figure, tmp_path / "whole.png")
            np.testing.assert_array_equal(imread(tmp_path / name), imread(tmp_path / "whole.png"))
