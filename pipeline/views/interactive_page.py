"""What the interactive pages have in common: Bokeh figures, points, images, and a page that holds all that it needs."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.models.mappers import ColorMapper
    from bokeh.models.renderers import GlyphRenderer
    from bokeh.plotting import figure as Figure  # noqa: N812  a class with the name of a function
    from numpy.typing import NDArray

_TEMPLATE = Path(__file__).with_name("interactive.html")

_LEGEND_ROW = 20  # pixels

INK = "#1B1F24"
"""The colour of letters and of points without a colour of their own; in the dark scheme it is light."""


def new_plot(x: str, y: str, *, height: int = 480, place: str = "whole", **options: Any) -> Figure:
    """Return an empty figure; `place` is its share of a row on a wide screen: whole, half or third."""
    from bokeh.plotting import figure  # noqa: PLC0415 - bokeh is slow to load

    plot = figure(
        x_axis_label=x, y_axis_label=y, height=height, sizing_mode="stretch_width", tags=[place],
        tools="pan,wheel_zoom,box_zoom,reset,save", **options,
    )  # fmt: skip
    plot.toolbar.logo = None
    plot.update(background_fill_color=None, border_fill_color=None)  # until the page knows its scheme
    for axis in plot.axis:
        axis.axis_label_text_font_style = "normal"
    return plot


def draw_points(
    plot: Figure,
    columns: dict[str, Any],
    label: str,
    colour: str,
    marker: str,
    tips: Sequence[tuple[str, str]],
    *,
    size: int = 8,
    filled: bool = True,
    edge: str | None = None,
) -> list[GlyphRenderer[Any]]:
    """Draw points with error bars and return what was drawn.

    Parameters
    ----------
    plot : Figure
        The figure.
    columns : dict
        ``x``, ``y``, ``low`` and ``high`` (the ends of the bars), what `tips` name, and perhaps ``alpha``.
    label : str
        In the legend.
    colour, marker : str
        The colour (`INK` follows the scheme of the page) and the shape.
    tips : sequence of (str, str)
        What a point tells.
    size : int
        Of the points, pixels.
    filled : bool
        Whether points are filled.
    edge : str, optional
        Another colour for the edge of points.
    """
    from bokeh.models import ColumnDataSource, HoverTool  # noqa: PLC0415 - bokeh is slow to load

    source = ColumnDataSource(columns)
    alpha: Any = "alpha" if "alpha" in columns else 1.0
    bars = plot.segment("x", "low", "x", "high", source=source, color=colour, alpha=alpha, legend_label=label)
    drawn = plot.scatter(
        "x", "y", source=source, size=size, marker=marker, line_color=edge or colour, alpha=alpha,
        fill_color=colour if filled else "white", legend_label=label,
    )  # fmt: skip
    bars.tags = ["line_color:ink"] if colour == INK else []
    drawn.tags = [
        *(["line_color:ink"] if INK in {edge, colour} else []),
        *([] if filled and colour != INK else ["fill_color:ink" if filled else "fill_color:ground"]),
    ]
    plot.add_tools(HoverTool(tooltips=list(tips), renderers=[drawn], visible=False))
    return [bars, drawn]


def place_legend(plot: Figure, also: Sequence[Figure] = ()) -> None:
    """Put one legend above a figure. A click hides what is drawn there and in the figures `also`, which have none."""
    from bokeh.models.annotations import Legend, LegendItem  # noqa: PLC0415 - bokeh is slow to load

    named: dict[str, list[Any]] = {}
    for one in (plot, *also):
        for own in list(one.legend):
            items: Any = own.items
            for item in items:
                named.setdefault(item.label.value, []).extend(item.renderers)
            one.center.remove(own)
    plot.height = (plot.height or 0) + _LEGEND_ROW * math.ceil(len(named) / 2)
    legend = Legend(
        items=[LegendItem(label=label, renderers=drawn) for label, drawn in named.items()],
        click_policy="hide", ncols=2, label_text_font_size="12px", border_line_color=None, spacing=4,
        label_height=16, glyph_height=16, margin=2, location="left",
    )  # fmt: skip
    plot.add_layout(legend, "above")


def draw_map(
    plot: Figure, image: NDArray[np.float64], block: int, limits: tuple[float, float], palette: str, label: str
) -> None:
    """Draw a block-summed image in the original pixels, with its colour bar and the value under the pointer."""
    from bokeh.models import HoverTool  # noqa: PLC0415 - bokeh is slow to load
    from bokeh.models.mappers import LinearColorMapper  # noqa: PLC0415

    mapper = LinearColorMapper(palette=palette, low=limits[0], high=limits[1], nan_color="rgba(0, 0, 0, 0)")
    ny, nx = image.shape[0] * block, image.shape[1] * block
    values = [np.asarray(image, dtype=np.float32)]
    draw: Any = plot.image  # its types lack the mapper
    drawn = draw(image=values, x=-0.5, y=-0.5, dw=nx, dh=ny, color_mapper=mapper)
    tips = [("x, y", "$x{0}, $y{0}"), ("value", "@image{0.000}")]
    plot.add_tools(HoverTool(tooltips=tips, renderers=[drawn], visible=False))
    add_colour_bar(plot, mapper, label)


def add_colour_bar(plot: Figure, mapper: ColorMapper, label: str) -> None:
    """Draw a colour bar below a figure."""
    from bokeh.models.annotations import ColorBar  # noqa: PLC0415 - bokeh is slow to load

    bar = ColorBar(color_mapper=mapper, title=label, height=12, padding=4, title_text_font_style="normal")
    plot.add_layout(bar, "below")


def new_map(title: str, like: Figure | None = None) -> Figure:
    """Return an empty figure of the detector, a third of a row, that moves with another one.

    It keeps its shape, so that the detector is a square on a wide and on a narrow screen.
    """
    ranges: dict[str, Any] = {} if like is None else {"x_range": like.x_range, "y_range": like.y_range}
    plot = new_plot(
        "detector x (pixel)", "detector y (pixel)", place="third", title=title, match_aspect=like is None, **ranges
    )
    plot.update(sizing_mode="scale_width", width=400, height=435)
    if like is None:
        for along in (plot.x_range, plot.y_range):
            along.update(range_padding=0)
    plot.grid.visible = False
    return plot


def outline(plot: Figure, mask: NDArray[np.bool_], colour: str, dash: str) -> None:
    """Outline a mask, shape (ny, nx), on a figure of the detector."""
    y, x = (np.arange(side, dtype=np.float64) for side in mask.shape)
    plot.contour(x, y, mask.astype(np.float64), levels=[0.5], line_color=colour, line_width=1.5, line_dash=dash)


def write_page(path: Path, title: str, plots: Sequence[Figure], note: str = "") -> None:
    """Write a page with Bokeh's own code inside: nothing is loaded from elsewhere. It has a light and a dark scheme.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    from bokeh.embed import file_html  # noqa: PLC0415 - bokeh is slow to load
    from bokeh.resources import Resources  # noqa: PLC0415

    template = _TEMPLATE.read_text(encoding="utf-8")
    page = file_html(plots, Resources(mode="inline"), title, template=template, template_variables={"note": note})
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
