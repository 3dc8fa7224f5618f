"""The picture of a fit: an exposure, the model of its dark and sky, and the residual, with profiles along both axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.pipeline.views.drawing import (
    PALETTE,
    UNIT,
    block_mean_of,
    block_sum,
    colour_bar,
    draw_image,
    new_figure,
    own_style,
    panel,
    plain_text,
    rate_label,
    save,
    stretch,
)

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_SIGMAS = 4.0  # range of the residual's colours
_PROFILE = 32  # pixels per point of the profiles
_DATA, _LEFT_OUT, _MODEL = PALETTE[0], PALETTE[1], PALETTE[5]
_TITLE = 40


@dataclass(frozen=True, slots=True, eq=False)
class FitPicture:
    """The data of the picture of a fit.

    Attributes
    ----------
    rootname : str
        The exposure.
    counts : ndarray of float64, shape (1024, 1024)
        Its raw counts.
    model : ndarray of float64, shape (1024, 1024)
        Expected counts of dark and sky.
    good : ndarray of bool, shape (1024, 1024)
        Pixels with data.
    sources, apertures : ndarray of bool, shape (1024, 1024)
        Pixels excluded from the fit: detected sources, and the apertures, annuli and masks of the user.
    exptime_s : float
        Exposure time, s.
    chi2_per_dof : float or None
        chi2 per degree of freedom of the fit.
    """

    rootname: str
    counts: NDArray[np.float64]
    model: NDArray[np.float64]
    good: NDArray[np.bool_]
    sources: NDArray[np.bool_]
    apertures: NDArray[np.bool_]
    exptime_s: float
    chi2_per_dof: float | None


def plot_fit(path: Path, fit: FitPicture, *, block: int = 16, written_as: str = "png") -> None:
    """Draw science, model and residual of an exposure, block-summed, and profiles of the fitted pixels.

    Parameters
    ----------
    path : Path
        The file to write; an old one is replaced once the new one is complete.
    fit : FitPicture
        The data.
    block : int
        Side of the summed blocks in pixels.
    written_as : {"png", "pdf", "svg"}
        The format.

    Raises
    ------
    OSError
        The file cannot be written.
    ValueError
        `block` is below 1.
    """
    with own_style():
        save(_fit_figure(fit, block), path, written_as)


def _fit_figure(fit: FitPicture, block: int) -> Figure:
    figure = new_figure(12.0, 7.0, None)
    science, model, residual = (panel(figure, left, 3.65, 3.0, 3.0) for left in (0.8, 4.0, 8.0))
    along_x, along_y = (panel(figure, left, 0.6, 4.95, 2.15) for left in (0.8, 6.8))
    images = [np.where(fit.good, image, np.nan) for image in (fit.counts, fit.model)]
    (seen, _), (expected, pixels) = (block_sum(image, block) for image in images)
    means = [block_mean_of(sums, pixels, block, fit.exptime_s * UNIT) for sums in (seen, expected)]
    limits = stretch(means)
    shape = fit.counts.shape
    drawn = [draw_image(axes, mean, shape, block, limits) for axes, mean in zip((science, model), means, strict=True)]
    sigma = np.full(seen.shape, np.nan)
    np.divide(seen - expected, np.sqrt(np.maximum(expected, 0.1)), out=sigma, where=pixels >= block**2 // 4)
    left = draw_image(residual, sigma, shape, block, (-_SIGMAS, _SIGMAS), colours="RdBu_r")
    for axes, ground in ((science, "white"), (model, "white"), (residual, "black")):
        _outline(axes, fit.sources, _LEFT_OUT, "-")
        _outline(axes, fit.apertures, ground, "--")
        axes.set_xlabel("detector x (pixel)")
    science.set_ylabel("detector y (pixel)")
    for axes in (model, residual):
        axes.tick_params(labelleft=False)
    chi2 = "" if fit.chi2_per_dof is None else f", chi2/dof {fit.chi2_per_dof:.2f}"
    science.set_title(plain_text(fit.rootname, _TITLE), fontsize=11, parse_math=False)
    model.set_title("dark + sky", fontsize=11)
    residual.set_title(f"residual{chi2}", fontsize=11)
    colour_bar(figure, drawn[0], panel(figure, 7.12, 3.65, 0.12, 3.0), rate_label(block))
    colour_bar(figure, left, panel(figure, 11.12, 3.65, 0.12, 3.0), "(science - model) / sqrt(model)")
    masks = [
        words
        for words, mask in (("sources (orange)", fit.sources), ("apertures (dashed)", fit.apertures))
        if mask.any() and not mask.all()
    ]
    if masks:
        figure.text(0.5, 2.95 / 7.0, f"left out of the fit: {', '.join(masks)}", fontsize=9, ha="center")
    _profile(along_x, fit, axis=0, name="x")
    _profile(along_y, fit, axis=1, name="y")
    return figure


def _outline(axes: Axes, mask: NDArray[np.bool_], colour: str, style: str) -> None:
    if not mask.any() or mask.all():
        return
    # Only the part with the mask, and a pixel around it: the contour of a frame takes as long as the whole figure.
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, first = max(int(rows[0]) - 1, 0), max(int(columns[0]) - 1, 0)
    part = mask[top : int(rows[-1]) + 2, first : int(columns[-1]) + 2]
    if min(part.shape) < 2:  # a contour needs two pixels each way
        return
    x, y = np.arange(part.shape[1]) + first, np.arange(part.shape[0]) + top
    axes.contour(x, y, part, levels=[0.5], colors=[colour], linewidths=0.9, linestyles=[style])


def _profile(axes: Axes, fit: FitPicture, *, axis: int, name: str) -> None:
    """Draw the mean rate of the fitted pixels along x (summed over axis 0) or y: data with errors over the model."""
    use = fit.good & ~fit.sources & ~fit.apertures
    points = []
    for image in (np.where(use, fit.counts, 0.0), np.where(use, fit.model, 0.0), use.astype(np.float64)):
        line: NDArray[Any] = image.sum(axis=axis)
        points.append(line.reshape(-1, _PROFILE).sum(axis=1))
    seen, expected, pixels = points
    filled = pixels > 0
    place = (np.arange(len(pixels)) * _PROFILE + 0.5 * (_PROFILE - 1))[filled]
    unit = pixels[filled] * fit.exptime_s * UNIT
    error = np.sqrt(np.maximum(seen[filled], 1.0)) / unit
    axes.errorbar(place, seen[filled] / unit, error, fmt=".", color=_DATA, markersize=4, linewidth=1, label="science")
    axes.plot(place, expected[filled] / unit, color=_MODEL, linewidth=1.5, label="dark + sky")
    axes.set_xlabel(f"detector {name} (pixel), means of {_PROFILE}")
    axes.set_ylabel("1e-5 count/s/pixel")
    axes.set_xlim(-0.5, fit.counts.shape[1 - axis] - 0.5)
    axes.legend(frameon=False, fontsize=9)
