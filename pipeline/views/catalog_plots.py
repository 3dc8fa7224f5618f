"""Pictures of darks as points: which exposures have darks nearby, and the darks of one match."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sbcdark.catalog.queries import HOT_ABOVE_C
from sbcdark.pipeline.views.catalog_points import numbers_of
from sbcdark.pipeline.views.drawing import COLUMN, GREY, new_figure, plain_text
from sbcdark.pipeline.views.listings import RATE_UNIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sbcdark.catalog.records import ExposureRecord, ScoredDark
    from sbcdark.pipeline.views.catalog_points import Coverage, MatchPoints

_SCIENCE = "black"
_LABEL = 60
_NAMED = 3  # exposures in a hole that are named


def plot_coverage(coverage: Coverage) -> Figure:
    """Draw all darks, coloured by program, and the science exposures on the plane of temperature and glow.

    A science exposure far from every dark lies in a hole and is drawn open: no dark of the catalog fits it. The program
    of the archive that is nearest in time to it is named below.
    """
    figure = new_figure(COLUMN, 4.8)
    axes = figure.subplots()
    for group in coverage.groups:
        _points(axes, group.darks, group.colour, group.label)
    near = [one.exposure for one in coverage.science if not one.in_hole]
    _points(axes, near, _SCIENCE, "science", star=True)
    _points(axes, [one.exposure for one in coverage.holes], _SCIENCE, "science in a hole", star=True, filled=False)
    axes.axvline(HOT_ABOVE_C, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_xlabel(f"mean temperature (C; dotted: {HOT_ABOVE_C:g})")
    axes.set_ylabel("contrast, box - quiet rows\n(1e-6 count/s/pixel)")
    axes.set_yscale("symlog", linthresh=2.0)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.margins(0.06, 0.06)
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9, columnspacing=1.2)
    notes = [one.note for one in coverage.holes[:_NAMED]]
    if len(coverage.holes) > _NAMED:
        notes.append(f"and {len(coverage.holes) - _NAMED} more in a hole")
    if notes:
        text = "\n".join(plain_text(note, _LABEL + 20) for note in notes)
        figure.supxlabel(text, fontsize=8, parse_math=False, x=0.02, ha="left")
    return figure


def plot_match(points: MatchPoints) -> Figure:
    """Draw the ranked darks of an exposure: their deviation in sigma over their distance in time, with temperatures.

    The tolerance of the tier is shaded.
    """
    match = points.match
    figure = new_figure(COLUMN, 4.6)
    axes = figure.subplots()
    sigma = [dark.delta_sigma or 0.0 for dark in match.darks]
    drawn = axes.scatter(
        [dark.delta_days for dark in match.darks], sigma, c=[dark.delta_temperature_c for dark in match.darks],
        cmap="cividis", s=50, edgecolors="black", linewidths=0.6, zorder=3,
    )  # fmt: skip
    if points.tolerance is not None:
        axes.axhspan(-points.tolerance, points.tolerance, color="0.92", zorder=0)
    axes.axhline(0.0, color=GREY, linewidth=0.8)
    axes.set_xlabel("science - dark, time (days)")
    axes.set_ylabel("science - dark (sigma)")
    title = f"{plain_text(match.exposure, _LABEL)}: rule {match.rule}, tier {points.tier} (grey)"
    axes.set_title(title, fontsize=10, parse_math=False)
    figure.colorbar(drawn, ax=axes).set_label("science - dark, temperature (C)")
    axes.set_yscale("symlog", linthresh=5.0)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.margins(0.1, 0.15)
    names = [f"{dark.rank} {plain_text(dark.dark, _LABEL)}" for dark in match.darks]
    rows = "\n".join("   ".join(names[i : i + 4]) for i in range(0, len(names), 4))
    figure.supxlabel(rows, fontsize=8, parse_math=False, x=0.02, ha="left")
    _ranks(figure, axes, match.darks)
    return figure


_RADIUS = 4.0  # of a point with its edge, points of type
_BESIDE = ((6, 0), (-6, 0), (0, 5), (0, -5), (5, 5), (-5, 5), (5, -5), (-5, -5))
"""Offsets of a rank from its point, points of type; the first that is free is taken."""


def _ranks(figure: Figure, axes: Axes, darks: Sequence[ScoredDark]) -> None:
    """Write each rank beside its point, where it covers no point and no other rank; else on its right."""
    from matplotlib.transforms import Bbox  # noqa: PLC0415 - slow to load

    figure.draw_without_rendering()  # places the axes
    places = [(dark.delta_days, dark.delta_sigma or 0.0) for dark in darks]
    radius = _RADIUS * figure.dpi / 72.0
    taken = [Bbox([centre - radius, centre + radius]) for centre in axes.transData.transform(places)]
    for dark, place in zip(darks, places, strict=True):
        for dx, dy in (*_BESIDE, _BESIDE[0]):
            across = {-1: "right", 0: "center", 1: "left"}[np.sign(dx)]
            along = {-1: "top", 0: "center_baseline", 1: "bottom"}[np.sign(dy)]
            rank = axes.annotate(
                str(dark.rank), place, fontsize=8, xytext=(dx, dy), textcoords="offset points", ha=across, va=along
            )
            if rank.get_window_extent().count_overlaps(taken) == 0:
                break
            rank.remove()
        else:
            axes.add_artist(rank)
        taken.append(rank.get_window_extent())


def _points(
    axes: Axes, exposures: Sequence[ExposureRecord], colour: str, label: str, *, star: bool = False, filled: bool = True
) -> None:
    if not exposures:
        return
    axes.errorbar(
        [one.temperature_mean_c for one in exposures],
        numbers_of(exposures, "contrast_count_s_pix") / RATE_UNIT,
        numbers_of(exposures, "contrast_err_count_s_pix") / RATE_UNIT,
        fmt="*" if star else "o", color=colour, mfc=colour if filled else "white", markersize=11 if star else 5,
        linewidth=0.8, label=label, zorder=4 if star else 2,
    )  # fmt: skip
