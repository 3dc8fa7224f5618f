"""Pictures of a whole catalog: which exposures have darks nearby, how the dark changes over the years, one match."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.queries import HOT_ABOVE_C
from sbcdark.pipeline.views.drawing import PALETTE, new_figure, own_style, plain_text, save

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sbcdark.catalog.records import ExposureRecord, Match

_RATE = 1e-6  # rates are shown in this many count/s/pixel
_SCIENCE = "black"
_LISTED = len(PALETTE)
_LABEL = 24
_NAMED = 6  # darks of a match that are named


def plot_coverage(path: Path, darks: Sequence[ExposureRecord], science: Sequence[ExposureRecord]) -> None:
    """Draw all darks, coloured by program, and the science exposures on the plane of temperature and glow.

    A science exposure far from every dark lies in a hole: no dark of the catalog fits it.

    Parameters
    ----------
    path : Path
        The file; its ending says the format (PNG, PDF, SVG).
    darks, science : sequence of ExposureRecord
        What is drawn; those without a measured contrast are left out.

    Raises
    ------
    UsageError
        There is nothing to draw, or the ending is unknown.
    OSError
        The file cannot be written.
    """
    with own_style():
        figure = new_figure(7.0, 5.0)
        axes = figure.subplots()
        for label, colour, members in _by_program(_measured(darks, science, "darks")):
            _points(axes, members, colour, "o", label)
        _points(axes, [one for one in science if one.contrast_count_s_pix is not None], _SCIENCE, "*", "science")
        axes.axvline(HOT_ABOVE_C, color="0.6", linewidth=0.8, linestyle=":")
        axes.set_xlabel("mean temperature (C)")
        axes.set_ylabel("contrast, box - quiet rows (1e-6 count/s/pixel)")
        axes.set_yscale("symlog", linthresh=2.0)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.margins(0.06, 0.12)
        _finish(figure, axes, path)


def plot_history(path: Path, darks: Sequence[ExposureRecord]) -> None:
    """Draw the rate in the box and the contrast of the darks over time, one point a dark.

    Suspect and untested darks are open symbols, retired ones crosses.

    Parameters
    ----------
    path : Path
        The file; its ending says the format (PNG, PDF, SVG).
    darks : sequence of ExposureRecord
        What is drawn.

    Raises
    ------
    UsageError
        There is nothing to draw, or the ending is unknown.
    OSError
        The file cannot be written.
    """
    from matplotlib.dates import ConciseDateFormatter  # noqa: PLC0415 - matplotlib is slow to load

    with own_style():
        figure = new_figure(7.0, 6.0)
        upper, lower = figure.subplots(2, 1, sharex=True)
        shown = _measured(darks, (), "darks")
        for label, colour, members in _by_program(shown):
            for axes, value, error in (
                (upper, "box_rate_count_s_pix", "box_rate_err_count_s_pix"),
                (lower, "contrast_count_s_pix", "contrast_err_count_s_pix"),
            ):
                for quality, marker, face in (("good", "o", colour), ("", "o", "none"), ("retired", "x", colour)):
                    those = [one for one in members if _drawn_as(one.quality) == quality]
                    if not those:
                        continue
                    times = np.array([one.start_utc.replace(tzinfo=None) for one in those], dtype="datetime64[s]")
                    rates = [getattr(one, value) / _RATE for one in those]
                    errors = [getattr(one, error) / _RATE for one in those]
                    axes.errorbar(
                        times.astype(object), rates, errors, fmt=marker, color=colour, mfc=face, markersize=5,
                        linewidth=0.8, label=label if quality == "good" else None,
                    )  # fmt: skip
        upper.set_ylabel("box (1e-6 count/s/pixel)")
        lower.set_ylabel("contrast (1e-6 count/s/pixel)")
        lower.set_xlabel("start (UTC)")
        formatter: Any = ConciseDateFormatter
        lower.xaxis.set_major_formatter(formatter(lower.xaxis.get_major_locator()))
        _finish(figure, upper, path)


def plot_match(path: Path, match: Match, tier: str) -> None:
    """Draw the ranked darks of an exposure: their deviation in sigma over their distance in time, with temperatures.

    Parameters
    ----------
    path : Path
        The file; its ending says the format (PNG, PDF, SVG).
    match : Match
        The exposure and the darks nearest to it.
    tier : str
        The tier at which the rule finds its darks; its tolerance is shaded.

    Raises
    ------
    UsageError
        The match has no darks, or the ending is unknown.
    OSError
        The file cannot be written.
    """
    if not match.darks:
        raise UsageError(f"No dark fits {match.exposure}, so there is nothing to draw.", "Relax the match.")
    with own_style():
        figure = new_figure(7.0, 4.6)
        axes = figure.subplots()
        sigma = [dark.delta_sigma or 0.0 for dark in match.darks]
        drawn = axes.scatter(
            [dark.delta_days for dark in match.darks], sigma, c=[dark.delta_temperature_c for dark in match.darks],
            cmap="cividis", s=70, edgecolors="black", linewidths=0.6, zorder=3,
        )  # fmt: skip
        for dark in match.darks[:_NAMED]:
            axes.annotate(
                f"{dark.rank} {plain_text(dark.dark, _LABEL)}", (dark.delta_days, dark.delta_sigma or 0.0), fontsize=8,
                xytext=(6, 5), textcoords="offset points", parse_math=False,
            )  # fmt: skip
        word = tier.partition(" ")[0]
        if word.replace(".", "", 1).isdigit():
            axes.axhspan(-float(word), float(word), color="0.92", zorder=0)
        axes.axhline(0.0, color="0.5", linewidth=0.8)
        axes.set_xlabel("science - dark, time (days)")
        axes.set_ylabel("science - dark (sigma)")
        title = f"{plain_text(match.exposure, _LABEL)}: rule {match.rule}, tier {tier} (grey)"
        axes.set_title(title, fontsize=11, parse_math=False)
        figure.colorbar(drawn, ax=axes).set_label("science - dark, temperature (C)")
        axes.set_yscale("symlog", linthresh=5.0)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.margins(0.15)
        save(figure, path, _format(path))


def _measured(darks: Sequence[ExposureRecord], science: Sequence[ExposureRecord], what: str) -> list[ExposureRecord]:
    shown = [one for one in darks if one.contrast_count_s_pix is not None]
    if not shown and not science:
        raise UsageError(f"The catalog has no {what} to draw.", "Ingest some: sbcdark ingest PATH")
    return shown


def _by_program(darks: Sequence[ExposureRecord]) -> list[tuple[str, str, list[ExposureRecord]]]:
    """Group darks by program, the largest first; what is beyond the palette is one group."""
    groups: dict[int | None, list[ExposureRecord]] = {}
    for dark in darks:
        groups.setdefault(dark.program, []).append(dark)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    found = [
        (f"darks of {program}", colour, members)
        for (program, members), colour in zip(ordered, PALETTE[: _LISTED - 1], strict=False)
    ]
    rest = [dark for _, members in ordered[_LISTED - 1 :] for dark in members]
    return [*found, ("darks of other programs", PALETTE[-2], rest)] if rest else found


def _drawn_as(quality: str) -> str:
    return quality if quality in {"good", "retired"} else ""


def _points(axes: Axes, exposures: Sequence[ExposureRecord], colour: str, marker: str, label: str) -> None:
    if not exposures:
        return
    axes.errorbar(
        [one.temperature_mean_c for one in exposures],
        [(one.contrast_count_s_pix or 0.0) / _RATE for one in exposures],
        [(one.contrast_err_count_s_pix or 0.0) / _RATE for one in exposures],
        fmt=marker, color=colour, markersize=11 if marker == "*" else 5, linewidth=0.8, label=label,
        zorder=4 if marker == "*" else 2,
    )  # fmt: skip


def _finish(figure: Figure, axes: Axes, path: Path) -> None:
    axes.legend(frameon=False, fontsize=9)
    save(figure, path, _format(path))


def _format(path: Path) -> str:
    """Return the format that a file's ending names."""
    ending = path.suffix.lower().lstrip(".")
    if ending not in {"png", "pdf", "svg"}:
        raise UsageError(
            f"The ending of {path.name!r} gives no picture format.", "Use -o FILE.png, FILE.pdf or FILE.svg."
        )
    return ending
