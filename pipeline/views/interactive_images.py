"""The fit of an exposure and the templates of its dark as pages to zoom and hover in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.pipeline.model.dark_error import template_errors
from sbcdark.pipeline.model.templates import BLOCK
from sbcdark.pipeline.views.drawing import PALETTE, block_mean, plain_text, stretch
from sbcdark.pipeline.views.interactive_page import (
    INK,
    add_colour_bar,
    draw_map,
    draw_points,
    new_map,
    new_plot,
    outline,
    place_legend,
    write_page,
)
from sbcdark.pipeline.views.listings import RATE_UNIT
from sbcdark.pipeline.views.residuals import PROFILE, SIGMAS

if TYPE_CHECKING:
    from pathlib import Path

    from bokeh.plotting import figure as Figure  # noqa: N812  a class with the name of a function

    from sbcdark.pipeline.model.templates import Templates
    from sbcdark.pipeline.views.residuals import FitPicture, Profile

_NAME = 24
_FINE, _COARSE = 8, 16  # block sides of rates and of residuals, pixels
_RATES = "1e-5 count/s/pixel"
_DATA, _LEFT_OUT, _MODEL = PALETTE[0], PALETTE[1], PALETTE[5]


def page_of_fit(path: Path, fit: FitPicture) -> None:
    """Write the page of science, model and residual of an exposure, with profiles: see `residuals.plot_fit`.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    rates, _ = fit.blocks(_FINE)
    _, sigma = fit.blocks(_COARSE)
    limits = stretch(rates)
    science = new_map(plain_text(fit.rootname, _NAME))
    model, residual = (new_map(title, science) for title in ("dark + sky", fit.residual_title))
    for plot, image in zip((science, model), rates, strict=True):
        draw_map(plot, image, _FINE, limits, "Viridis256", f"{_RATES}, means of {_FINE} by {_FINE}")
    sigmas = f"(science - model) / sqrt(model), {_COARSE} by {_COARSE}"
    draw_map(residual, sigma, _COARSE, (-SIGMAS, SIGMAS), "RdBu11", sigmas)
    for plot, ground in ((science, "white"), (model, "white"), (residual, "black")):
        for _, style, mask in fit.left_out:
            outline(plot, mask, *((_LEFT_OUT, "solid") if style == "orange" else (ground, style)))
    profiles = [_profile(line, name) for line, name in zip(fit.profiles(), "xy", strict=True)]
    note = f"{text[0].upper()}{text[1:]}." if (text := fit.left_out_text) else ""
    write_page(
        path, f"Fit of the dark of {plain_text(fit.rootname, _NAME)}", [science, model, residual, *profiles], note
    )


def page_of_templates(path: Path, exposure: str, templates: Templates) -> None:
    """Write the page of the templates of an exposure's dark: see `template_plot.plot_templates`.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    name = plain_text(exposure, _NAME)
    plots: list[Figure] = []
    maps = (("base L", templates.base_map), ("glow G", templates.glow_map))
    for row, ((what, image), error) in enumerate(zip(maps, template_errors(templates), strict=True)):
        if row == 1 and not templates.glow:
            continue
        mean = block_mean(np.where(templates.good, image, np.nan), _FINE, 1.0)
        titles = (f"{what} (mean 1{' over the box' if row else ''})", f"1-sigma error of {what}")
        for title, drawn, block in zip(titles, (mean, error), (_FINE, BLOCK), strict=True):
            plot = new_map(title, plots[0] if plots else None)
            draw_map(plot, drawn, block, stretch([drawn]), "Viridis256", f"relative, means of {block} by {block}")
            plots.append(plot)
        plots.append(_hot_pixels(templates, plots[0]) if row == 0 else _darks(templates))
    if not templates.glow:
        plots.append(_darks(templates))
    note = f"From {len(templates.darks)} darks."
    if not templates.glow:
        note += " They show no varying glow."
    write_page(path, f"Templates of the dark of {name}", plots, note)


def _profile(line: Profile, name: str) -> Figure:
    plot = new_plot(f"detector {name} (pixel), means of {PROFILE}", _RATES, height=280, place="half")
    columns = {"x": line.place, "y": line.seen, "error": line.error, "model": line.expected}
    columns |= {"low": line.seen - line.error, "high": line.seen + line.error}
    tips = [(f"{name} (pixel)", "@x{0}"), ("science", "@y{0.00} +- @error{0.00}"), ("dark + sky", "@model{0.00}")]
    draw_points(plot, columns, "science", _DATA, "circle", tips, size=5)
    plot.line(line.place, line.expected, line_color=_MODEL, line_width=2, legend_label="dark + sky")
    place_legend(plot)
    return plot


def _hot_pixels(templates: Templates, like: Figure) -> Figure:
    from bokeh.models import ColumnDataSource, HoverTool  # noqa: PLC0415 - bokeh is slow to load
    from bokeh.transform import log_cmap  # noqa: PLC0415

    hot = templates.hot
    plot = new_map(f"{len(hot.x)} hot pixels", like)
    if (hot.rate > 0).any():
        rate = np.maximum(hot.rate, hot.rate[hot.rate > 0].min())
        colours = log_cmap("rate", "Cividis256", rate.min(), rate.max())
        order = np.argsort(rate)  # the brightest above its neighbours
        source = ColumnDataSource({"x": hot.x[order], "y": hot.y[order], "rate": rate[order]})
        drawn = plot.scatter("x", "y", source=source, size=7, fill_color=colours, line_color=INK, line_width=0.5)
        drawn.tags = ["line_color:ink"]
        tips = [("x, y", "@x, @y"), ("count/s", "@rate{0.0000}")]
        plot.add_tools(HoverTool(tooltips=tips, renderers=[drawn], visible=False))
        add_colour_bar(plot, colours["transform"], "excess over the smooth dark (count/s)")
    return plot


def _darks(templates: Templates) -> Figure:
    errors = np.sqrt(np.diagonal(templates.covariances, axis1=1, axis2=2)) / RATE_UNIT
    glow, base = templates.amplitudes / RATE_UNIT, templates.bases / RATE_UNIT
    plot = new_plot(
        "glow in the box (1e-6 count/s/pixel)",
        "base (1e-6 count/s/pixel)",
        height=470,
        place="third",
        title="the darks",
    )
    columns: dict[str, Any] = {
        "x": glow,
        "y": base,
        "low": base - errors[:, 0],
        "high": base + errors[:, 0],
        "error": errors[:, 0],
    }
    columns |= {"across": errors[:, 1], "name": [plain_text(name, _NAME) for name in templates.darks]}
    plot.segment(glow - errors[:, 1], base, glow + errors[:, 1], base, line_color=PALETTE[0])
    tips = [("dark", "@name"), ("glow", "@x{0.00} +- @across{0.00}"), ("base", "@y{0.00} +- @error{0.00}")]
    draw_points(plot, columns, "darks", PALETTE[0], "circle", tips)
    plot.legend.visible = False
    return plot
