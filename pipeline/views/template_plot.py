"""The picture of the templates of the dark model: base L, glow G, their errors, hot pixels, and their darks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sbcdark.pipeline.model.dark_error import template_errors
from sbcdark.pipeline.model.templates import BLOCK
from sbcdark.pipeline.views.drawing import PALETTE, draw_image, new_figure, plain_text, stretch
from sbcdark.pipeline.views.listings import RATE_UNIT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from sbcdark.pipeline.model.templates import Templates

_TITLE = 40


def plot_templates(exposure: str, templates: Templates) -> Figure:
    """Draw the templates of the dark of an exposure."""
    figure = new_figure(12.0, 7.4, "constrained")
    panels = figure.subplots(2, 3)
    errors = template_errors(templates)
    maps = (("base L", templates.base_map), ("glow G", templates.glow_map))
    for row, ((name, image), error) in enumerate(zip(maps, errors, strict=True)):
        known = np.where(templates.good, image, np.nan)
        if row == 1 and not templates.glow:
            for axes in panels[row, :2]:
                axes.set_axis_off()
            panels[row, 0].text(0.5, 0.5, "the darks show no varying glow", ha="center", fontsize=11)
            continue
        _map(figure, panels[row, 0], known, 1, f"{name} (mean 1 {'over the box' if row else ''})".replace(" )", ")"))
        _map(figure, panels[row, 1], error, BLOCK, f"1-sigma error of {name}")
    _hot_pixels(figure, panels[0, 2], templates)
    _darks(panels[1, 2], templates)
    figure.suptitle(plain_text(f"Templates of the dark of {exposure}, from {len(templates.darks)} darks", 2 * _TITLE))
    return figure


def _map(figure: Figure, axes: Axes, image: NDArray[np.float64], block: int, title: str) -> None:
    shape = (image.shape[0] * block, image.shape[1] * block)
    drawn = draw_image(axes, image, shape, block, stretch([image]))
    _on_detector(axes, title)
    figure.colorbar(drawn, ax=axes, extend="both", pad=0.02, aspect=30).set_label("relative")


def _hot_pixels(figure: Figure, axes: Axes, templates: Templates) -> None:
    from matplotlib.colors import LogNorm  # noqa: PLC0415 - slow to load

    hot = templates.hot
    axes.set_aspect("equal")
    axes.set_xlim(-0.5, templates.good.shape[1] - 0.5)
    axes.set_ylim(-0.5, templates.good.shape[0] - 0.5)
    _on_detector(axes, f"{len(hot.x)} hot pixels")
    if not (hot.rate > 0).any():
        return
    rate = np.maximum(hot.rate, hot.rate[hot.rate > 0].min())
    order = np.argsort(rate)  # the brightest above its neighbours
    drawn = axes.scatter(
        hot.x[order],
        hot.y[order],
        c=rate[order],
        s=16,
        cmap="cividis",
        norm=LogNorm(),
        edgecolors="black",
        linewidths=0.4,
    )
    figure.colorbar(drawn, ax=axes, pad=0.02, aspect=30).set_label("excess over the smooth dark (count/s)")


def _darks(axes: Axes, templates: Templates) -> None:
    errors = np.sqrt(np.diagonal(templates.covariances, axis1=1, axis2=2)) / RATE_UNIT
    axes.errorbar(
        templates.amplitudes / RATE_UNIT, templates.bases / RATE_UNIT, xerr=errors[:, 1], yerr=errors[:, 0], fmt="o",
        color=PALETTE[0], markersize=4, linewidth=0.8,
    )  # fmt: skip
    axes.set_xscale("symlog", linthresh=2.0)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("glow in the box (1e-6 count/s/pixel)")
    axes.set_ylabel("base (1e-6 count/s/pixel)")
    axes.set_title("the darks", fontsize=11)


def _on_detector(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("detector x (pixel)")
    axes.set_ylabel("detector y (pixel)")
