"""The picture of curves of growth: the source within each radius, with its error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sbcdark.pipeline.views.drawing import PALETTE, new_figure, own_style, plain_text, save

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from sbcdark.pipeline.products.photometry import GrowthPoint

_SHOWN = 6  # apertures, a panel each
_LABEL = 50  # characters


def plot_growth(path: Path, growth: Sequence[GrowthPoint]) -> None:
    """Draw the curves of growth of an association.

    Parameters
    ----------
    path : Path
        The PNG to write; an old one is replaced once the new one is complete.
    growth : sequence of GrowthPoint
        At least one.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    with own_style():
        save(_growth_figure(growth), path)


def _growth_figure(growth: Sequence[GrowthPoint]) -> Figure:
    labels = list(dict.fromkeys(point.aperture for point in growth))
    shown = labels[:_SHOWN]
    columns = min(len(shown), 2)
    rows = -(-len(shown) // columns)
    figure = new_figure(1.0 + 4.5 * columns, 1.2 + 3.2 * rows, "constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    scale = growth[0].radius_pix / growth[0].radius_arcsec
    for axes, label in zip(panels, shown, strict=False):
        points = [point for point in growth if point.aperture == label]
        axes.errorbar(
            [point.radius_arcsec for point in points],
            [point.record.source_count_s for point in points],
            [point.record.source_err_count_s for point in points],
            color=PALETTE[0],
            marker="o",
            markersize=4,
            linewidth=1.2,
            capsize=2,
        )
        axes.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
        axes.set_xlim(left=0.0)
        axes.set_ylabel("source (count/s)")
        axes.set_title(plain_text(label, _LABEL), fontsize=10, parse_math=False)
        above = axes.secondary_xaxis("top", functions=(lambda x: np.multiply(x, scale), lambda x: np.divide(x, scale)))
        above.tick_params(labelsize=8)
        above.set_xlabel("product pixels", fontsize=8)
    for number, axes in enumerate(panels):
        axes.set_visible(number < len(shown))
        if number + columns >= len(shown):  # nothing below it has the numbers of the shared axis
            axes.tick_params(labelbottom=True)
    figure.supxlabel("radius or semi-major axis (arcsec)", fontsize=10)
    first = growth[0].record
    title = " ".join(text for text in (first.association, first.target, first.filter) if text)
    more = f" ({len(labels) - _SHOWN} more apertures are in the table)" if len(labels) > _SHOWN else ""
    figure.suptitle(plain_text(f"Curves of growth, {title}{more}", 90), fontsize=11, parse_math=False)
    return figure
