"""The pictures of a catalog as pages to zoom and hover in, by Bokeh; each page holds all that it needs."""

from __future__ import annotations

from datetime import UTC, datetime
from statistics import fmean
from typing import TYPE_CHECKING, Any

from sbcdark.catalog.queries import HOT_ABOVE_C
from sbcdark.pipeline.detector.reference_glow import REFERENCE_C
from sbcdark.pipeline.views.catalog_points import numbers_of
from sbcdark.pipeline.views.drawing import GREY, plain_text
from sbcdark.pipeline.views.history_plot import FAINT
from sbcdark.pipeline.views.interactive_page import INK, add_colour_bar, draw_points, new_plot, place_legend, write_page
from sbcdark.pipeline.views.listings import RATE_UNIT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from bokeh.plotting import figure as Figure  # noqa: N812  a class with the name of a function
    from numpy.typing import NDArray

    from sbcdark.catalog.records import ExposureRecord
    from sbcdark.pipeline.views.catalog_points import Coverage, Group, MatchPoints
    from sbcdark.pipeline.views.dark_history import History, Range

_NAME = 24
_RATES = "1e-6 count/s/pixel"
_HEAD = [("exposure", "@name"), ("program", "@program"), ("start (UTC)", "@start")]
_MARKS = {"good": "circle", "suspect": "square", "untested": "circle", "retired": "x"}


def page_of_coverage(path: Path, coverage: Coverage) -> None:
    """Write the page of the plane of temperature and glow: see `catalog_plots.plot_coverage`.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    from bokeh.models.annotations import Span  # noqa: PLC0415 - bokeh is slow to load

    plot = new_plot("mean temperature (C)", f"contrast, box - quiet rows ({_RATES})")
    tips = [*_HEAD, ("temperature (C)", "@x{0.00}"), ("contrast", "@y{0.00} +- @error{0.00}"), ("quality", "@quality")]
    for group in coverage.groups:
        columns = _columns(group.darks) | {"x": [one.temperature_mean_c for one in group.darks]}
        columns |= _value(group.darks, "contrast_count_s_pix", "contrast_err_count_s_pix")
        draw_points(plot, columns, group.label, group.colour, "circle", tips)
    for label, filled, members in (
        ("science", True, [one for one in coverage.science if not one.in_hole]),
        ("science in a hole", False, list(coverage.holes)),
    ):
        exposures = [one.exposure for one in members]
        columns = _columns(exposures) | {"x": [one.temperature_mean_c for one in exposures]}
        columns |= _value(exposures, "contrast_count_s_pix", "contrast_err_count_s_pix")
        columns |= {"fits": [one.note if one.in_hole else f"darks within {one.tier}" for one in members]}
        if members:
            draw_points(plot, columns, label, INK, "star", [*tips, ("darks", "@fits")], size=16, filled=filled)
    plot.add_layout(Span(location=HOT_ABOVE_C, dimension="height", line_color=GREY, line_dash="dotted"))
    place_legend(plot)
    note = "Stars are science exposures. A click on the legend hides points; the dotted line is at 25 C."
    write_page(path, "Coverage of a catalog of SBC darks", [plot], note)


def page_of_history(path: Path, history: History) -> None:
    """Write the page of base, glow and hot pixels over time: see `history_plot.plot_history`.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    from bokeh.models.tickers import BasicTicker  # noqa: PLC0415 - bokeh is slow to load

    labels = (f"base\n({_RATES})", f"glow at {REFERENCE_C:g} C\n({_RATES})", "hot pixels\n(number)")
    plots = [
        new_plot(
            "start (UTC)", label, x_axis_type="datetime", height=260, y_axis_type="log" if "glow" in label else "auto"
        )
        for label in labels
    ]
    for plot in plots:
        plot.x_range = plots[0].x_range
        formatter: Any = plot.xaxis[0].formatter
        formatter.update(days="%m-%d", months="%Y-%m")
        formatter.context.update(**dict.fromkeys(("seconds", "minsec", "minutes", "hourmin", "hours"), "%Y-%m-%d"))
    plots[2].yaxis.ticker = BasicTicker(min_interval=1, mantissas=[1, 2, 5], num_minor_ticks=0)
    head = [*_HEAD, ("temperature (C)", "@temperature{0.00}"), ("quality", "@quality")]
    tips = [[*head, (name, "@y{0.00} +- @error{0.00}")] for name in ("base", "glow")] + [
        [*head, ("hot pixels", "@y{0}")]
    ]
    for group in history.groups:
        for quality, marker in _MARKS.items():
            those = [one for one in group.darks if one.quality == quality]
            if not those:
                continue
            values = [
                _value(those, "quiet_rate_count_s_pix", "quiet_rate_err_count_s_pix"),
                _value(those, "contrast_count_s_pix", "contrast_err_count_s_pix", factor=history.carried(those)),
                _value(those, "hot_pixels", None, unit=1.0),
            ]
            hot = [one.temperature_mean_c > HOT_ABOVE_C for one in those]
            values[0]["alpha"] = [FAINT if warm else 1.0 for warm in hot]
            shared = _columns(those) | {"x": [one.start_utc.replace(tzinfo=None) for one in those]}
            label = _short(group) if quality == "good" else f"{_short(group)}, {quality}"
            for plot, value, shown in zip(plots, values, tips, strict=True):
                filled = quality not in {"untested", "suspect"}
                draw_points(plot, shared | value, label, group.colour, marker, shown, filled=filled)
    _programs(plots[1], history.groups, history.glow_ranges, (f"glow at {REFERENCE_C:g} C", "@y{0.00}"), "{0.00}")
    _programs(plots[2], history.groups, history.hot_pixel_ranges, ("hot pixels, median", "@y{0.0}"), "{0.0}")
    place_legend(plots[0], plots[1:])
    note = f"Programs of darks. Bases above {HOT_ABOVE_C:g} C are faint: the glow raises them. "
    if history.glows or history.hot_pixel_ranges:
        note += "Diamonds are programs, with the scatter of their darks. "
    if not history.glows:
        note += f"No program has three good darks that surround {REFERENCE_C:g} C, so no glow is shown. "
        del plots[1]
    write_page(path, "History of the SBC dark", plots, f"{note}A click on the legend hides points.")


def _short(group: Group) -> str:
    """Return the label of a group for a legend that has to fit a narrow screen."""
    return group.label.removeprefix("darks ")


def _programs(
    plot: Figure, groups: Sequence[Group], ranges: dict[int | None, Range], tip: tuple[str, str], form: str
) -> None:
    """Draw a diamond for a value of each program, with the scatter of its darks."""
    for group in groups:
        for program, (value, low, high) in ranges.items():
            darks = [one for one in group.darks if one.program == program]
            if not darks:
                continue
            middle = datetime.fromtimestamp(fmean(one.start_utc.timestamp() for one in darks), UTC)
            columns = {"x": [middle.replace(tzinfo=None)], "y": [value], "low": [low], "high": [high]}
            tips = [("program", str(program)), tip, ("scatter of its darks", f"@low{form} to @high{form}")]
            draw_points(plot, columns, _short(group), group.colour, "diamond", tips, size=16, edge=INK)


def page_of_match(path: Path, points: MatchPoints) -> None:
    """Write the page of the darks nearest to an exposure: see `catalog_plots.plot_match`.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    from bokeh.models import ColumnDataSource, HoverTool  # noqa: PLC0415 - bokeh is slow to load
    from bokeh.models.annotations import BoxAnnotation  # noqa: PLC0415
    from bokeh.models.tickers import BasicTicker  # noqa: PLC0415
    from bokeh.transform import linear_cmap  # noqa: PLC0415

    match = points.match
    plot = new_plot("science - dark, time (days)", "science - dark (sigma)")
    plot.xaxis.ticker = BasicTicker(desired_num_ticks=5)  # they have room on a narrow screen, too
    for ends in (plot.x_range, plot.y_range):  # the ranks stand right of the points
        ends.update(range_padding=0.2)
    if points.tolerance is not None:
        plot.add_layout(BoxAnnotation(bottom=-points.tolerance, top=points.tolerance, fill_color=GREY, fill_alpha=0.2))
    temperatures = [dark.delta_temperature_c for dark in match.darks]
    source = ColumnDataSource({
        "x": [dark.delta_days for dark in match.darks],
        "y": [dark.delta_sigma or 0.0 for dark in match.darks],
        "temperature": temperatures,
        "rank": [dark.rank for dark in match.darks],
        "name": [plain_text(dark.dark, _NAME) for dark in match.darks],
        "program": ["" if dark.program is None else str(dark.program) for dark in match.darks],
        "exptime": [dark.exptime_s for dark in match.darks],
    })  # fmt: skip
    colours = linear_cmap("temperature", "Cividis256", min(temperatures), max(temperatures))
    drawn = plot.scatter("x", "y", source=source, size=12, color=colours, line_color=INK)
    ranks = plot.text("x", "y", text="rank", source=source, x_offset=9, text_baseline="middle", text_font_size="12px")
    drawn.tags, ranks.tags = ["line_color:ink"], ["text_color:ink"]
    tips = [("rank", "@rank"), ("dark", "@name"), ("program", "@program"), ("sigma", "@y{0.00}")]
    tips += [("time (days)", "@x{0.00}"), ("temperature (C)", "@temperature{0.00}"), ("exposure (s)", "@exptime{0}")]
    plot.add_tools(HoverTool(tooltips=tips, renderers=[drawn]))
    add_colour_bar(plot, colours["transform"], "science - dark, temperature (C)")
    note = f"Rule {match.rule}, tier {points.tier} (shaded). The numbers are the ranks of the darks."
    write_page(path, f"Darks for {plain_text(match.exposure, _NAME)}", [plot], note)


def _columns(exposures: Sequence[ExposureRecord]) -> dict[str, Any]:
    return {
        "name": [plain_text(one.rootname, _NAME) for one in exposures],
        "program": ["" if one.program is None else str(one.program) for one in exposures],
        "start": [f"{one.start_utc:%Y-%m-%d %H:%M}" for one in exposures],
        "temperature": [one.temperature_mean_c for one in exposures],
        "quality": [one.quality for one in exposures],
    }


def _value(
    exposures: Sequence[ExposureRecord],
    value: str,
    error: str | None,
    unit: float = RATE_UNIT,
    factor: NDArray[np.float64] | float = 1.0,
) -> dict[str, Any]:
    """Return the columns of a value, times a factor, and the ends of its error bar; NaN is not drawn."""
    y = numbers_of(exposures, value) * factor / unit
    e = 0.0 * y if error is None else numbers_of(exposures, error) * factor / unit
    return {"y": y, "error": e, "low": y - e, "high": y + e}
