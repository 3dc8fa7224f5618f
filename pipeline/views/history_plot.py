"""The picture of the dark over the years: base, glow at a reference temperature, hot pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.catalog.queries import HOT_ABOVE_C
from sbcdark.pipeline.detector.reference_glow import REFERENCE_C
from sbcdark.pipeline.views.catalog_points import numbers_of
from sbcdark.pipeline.views.drawing import COLUMN, GREY, new_figure
from sbcdark.pipeline.views.listings import RATE_UNIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sbcdark.catalog.records import ExposureRecord
    from sbcdark.pipeline.views.dark_history import History, Range

FAINT = 0.35
"""Opacity of bases that a glow raises."""

_MARKS = (("good", "o", True), ("suspect", "s", False), ("untested", "o", False), ("retired", "x", True))
"""Quality, marker, and whether the marker is filled."""


def plot_history(history: History) -> Figure:
    """Draw base (the rate of the quiet rows), glow at a reference temperature and number of hot pixels over time.

    A dark has one point in each panel, and in that of the glow if it is within the window of the reference
    temperature. A diamond is the glow of a program at the reference temperature, or its median number of hot pixels,
    with the scatter of its darks. Bases of darks above 25 C are faint. Suspect darks are open squares, untested ones
    open circles, retired ones crosses.

    The number of hot pixels N of a single dark has no bar. Pixel p, with a rate of its own, exceeds the threshold with
    a chance q_p, so that Var N = sum q_p (1 - q_p) <= sum q_p = E N. A pixel that is always hot adds nothing; only the
    counts of the pixels near the threshold could tell the sum, and the catalog has none of them. The bound sqrt(E N)
    would be three times the scatter in program 13961.
    """
    from matplotlib.dates import ConciseDateFormatter  # noqa: PLC0415 - matplotlib is slow to load
    from matplotlib.lines import Line2D  # noqa: PLC0415
    from matplotlib.ticker import LogFormatter, MaxNLocator  # noqa: PLC0415

    figure = new_figure(COLUMN, 6.0)
    panels = figure.subplots(3, 1, sharex=True)
    drawn = set()
    handles = []
    for group in history.groups:
        for quality, marker, filled in _MARKS:
            those = [one for one in group.darks if one.quality == quality]
            if those:
                drawn.add(quality)
                face = group.colour if filled else "none"
                _over_time(panels, history, those, {"fmt": marker, "color": group.colour, "mfc": face})
        for axes, ranges in ((panels[1], history.glow_ranges), (panels[2], history.hot_pixel_ranges)):
            _programs(axes, ranges, group.darks, group.colour)
        handles.append(Line2D([], [], marker="o", linestyle="", color=group.colour, label=group.label))
    handles += [
        Line2D([], [], marker=marker, linestyle="", color=GREY, mfc=GREY if filled else "none", label=quality)
        for quality, marker, filled in _MARKS
        if quality in drawn and quality != "good"
    ]
    if history.glows or history.hot_pixel_ranges:
        label = "program ± scatter"
        handles.append(Line2D([], [], marker="D", linestyle="-", color=GREY, mec="black", label=label))
    if history.glows:
        panels[1].set_yscale("log")
        for set_formatter in (panels[1].yaxis.set_major_formatter, panels[1].yaxis.set_minor_formatter):
            set_formatter(LogFormatter(labelOnlyBase=False))
    else:
        panels[1].text(
            0.5, 0.5, "no program has three good darks\nthat surround it", ha="center", va="center",
            transform=panels[1].transAxes, fontsize=9,
        )  # fmt: skip
        panels[1].set_yticks([])
    panels[0].set_ylabel(f"base (faint: > {HOT_ABOVE_C:g} C)\n(1e-6 count/s/pixel)")
    panels[1].set_ylabel(f"glow at {REFERENCE_C:g} C\n(1e-6 count/s/pixel)")
    panels[2].set_ylabel("hot pixels\n(number)")
    panels[2].set_xlabel("start (UTC)")
    formatter: Any = ConciseDateFormatter
    panels[2].xaxis.set_major_formatter(formatter(panels[2].xaxis.get_major_locator()))
    figure.align_ylabels(panels)
    low, high = panels[2].get_ylim()
    panels[2].set_ylim(min(low, (low + high) / 2 - 1.5), max(high, (low + high) / 2 + 1.5))
    panels[2].yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(handles=handles, loc="outside upper left", ncols=3, frameon=False, fontsize=9, columnspacing=1.2)
    return figure


def _over_time(
    panels: Sequence[Axes], history: History, darks: Sequence[ExposureRecord], style: dict[str, Any]
) -> None:
    carried = history.carried(darks) / RATE_UNIT
    hot = numbers_of(darks, "temperature_mean_c") > HOT_ABOVE_C
    times = _times(darks)
    base, base_error = (
        numbers_of(darks, f"quiet_rate_{end}") / RATE_UNIT for end in ("count_s_pix", "err_count_s_pix")
    )
    for those, alpha in ((~hot, 1.0), (hot, FAINT)):
        _points(panels[0], times[those], base[those], base_error[those], style | {"alpha": alpha})
    glow, glow_error = (numbers_of(darks, f"contrast_{end}") for end in ("count_s_pix", "err_count_s_pix"))
    there = glow * carried > 0
    _points(panels[1], times[there], (glow * carried)[there], (glow_error * carried)[there], style)
    _points(panels[2], times, numbers_of(darks, "hot_pixels"), None, style)


def _points(axes: Axes, times: Any, values: Any, errors: Any, style: dict[str, Any]) -> None:
    if len(times):
        axes.errorbar(times, values, errors, markersize=5, linewidth=0.8, **style)


def _programs(axes: Axes, ranges: dict[int | None, Range], darks: Sequence[ExposureRecord], colour: str) -> None:
    """Draw a diamond for each program of a group at the mean time of its darks."""
    for program, (value, low, high) in ranges.items():
        times = [one.start_utc.timestamp() for one in darks if one.program == program]
        if not times:
            continue
        middle = np.array([np.mean(times)], dtype="datetime64[s]").astype(object)
        axes.errorbar(
            middle, [value], [[value - low], [high - value]], fmt="D", color=colour, mec="black", markersize=7,
            linewidth=1.6, capsize=4, zorder=4,
        )  # fmt: skip


def _times(darks: Sequence[ExposureRecord]) -> Any:
    return np.array([one.start_utc.replace(tzinfo=None) for one in darks], dtype="datetime64[s]").astype(object)
