"""The picture of a fit: an exposure, the model of its dark and sky, and the residual, with profiles along both axes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.pipeline.views.drawing import (
    COLOUR_MAP,
    PALETTE,
    SIDE,
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
    redraw_image,
    save,
    stretch,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

SIGMAS = 4.0
"""Range of the colours of a residual."""

PROFILE = 32
"""Pixels per point of the profiles."""

_DATA, _LEFT_OUT, _MODEL = PALETTE[0], PALETTE[1], PALETTE[5]
_TITLE = 40
_MARGIN = 0.05  # above and below a profile, relative to its range


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Places (pixel) along an axis, and the mean rates there of the exposure, with errors, and of the model."""

    place: NDArray[np.float64]
    seen: NDArray[np.float64]
    error: NDArray[np.float64]
    expected: NDArray[np.float64]


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
    sources, apertures, masks, halos : ndarray of bool, shape (1024, 1024)
        Pixels excluded from the fit: detected sources, the apertures with their annuli, the masks of the user, and
        the surroundings of large apertures.
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
    masks: NDArray[np.bool_]
    halos: NDArray[np.bool_]
    exptime_s: float
    chi2_per_dof: float | None

    @property
    def fitted(self) -> NDArray[np.bool_]:
        """The pixels of the fit."""
        return self.good & ~self.sources & ~self.apertures & ~self.masks & ~self.halos

    @property
    def left_out(self) -> tuple[tuple[str, str, NDArray[np.bool_]], ...]:
        """The masks that leave something out but not everything: name, style of the outline, pixels."""
        masks = (
            ("sources", "orange", self.sources),
            ("apertures", "dashed", self.apertures),
            ("masks", "dashdot", self.masks),
            ("surroundings of large apertures", "dotted", self.halos),
        )
        return tuple((name, style, mask) for name, style, mask in masks if mask.any() and not mask.all())

    @property
    def left_out_text(self) -> str:
        """What the outlines mean; empty if nothing is left out."""
        drawn = ", ".join(f"{name} ({style.replace('dashdot', 'dash-dotted')})" for name, style, _ in self.left_out)
        return f"left out of the fit: {drawn}" if drawn else ""

    @property
    def residual_title(self) -> str:
        """The title of the residual, with chi2 per degree of freedom."""
        return "residual" if self.chi2_per_dof is None else f"residual, chi2/dof {self.chi2_per_dof:.2f}"

    def blocks(self, block: int) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
        """Return exposure and model as block means in units of `UNIT`, and the residual of their sums over blocks.

        The residual is (exposure - model) / sqrt(model). All are NaN where there is little data.
        """
        (seen, pixels), expected = block_sum(self.counts, block, self.good), block_sum(self.model, block, self.good)[0]
        means = [block_mean_of(sums, pixels, block, self.exptime_s * UNIT) for sums in (seen, expected)]
        sigma = np.full(seen.shape, np.nan)
        np.divide(seen - expected, np.sqrt(np.maximum(expected, 0.1)), out=sigma, where=pixels >= block**2 // 4)
        return means, sigma

    def profiles(self) -> tuple[Profile, Profile]:
        """Return the mean rates of the fitted pixels along x and along y."""
        use = self.fitted
        seen, pixels = block_sum(self.counts, PROFILE, use)
        sums: Any = np.array([seen, block_sum(self.model, PROFILE, use)[0], pixels])
        return self._profile(sums.sum(axis=1)), self._profile(sums.sum(axis=2))

    def _profile(self, sums: NDArray[np.float64]) -> Profile:
        filled = sums[2] > 0
        seen, expected, pixels = sums[:, filled]
        place = (np.arange(len(filled)) * PROFILE + 0.5 * (PROFILE - 1))[filled]
        unit = pixels * self.exptime_s * UNIT
        return Profile(place, seen / unit, np.sqrt(np.maximum(seen, 1.0)) / unit, expected / unit)


def plot_fit(path: Path | None, fit: FitPicture, *, written_as: str = "png") -> Figure:
    """Draw science, model and residual of an exposure, block-summed, and profiles of the fitted pixels.

    Parameters
    ----------
    path : Path or None
        The file to write; an old one is replaced once the new one is complete. None only draws the figure.
    fit : FitPicture
        The data.
    written_as : {"png", "pdf", "svg"}
        The format.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    with own_style():
        sheet = _fit_sheet(fit.counts.shape)
        return save(sheet.fill(fit), path, written_as, sheet.changing)


class _FitSheet:
    """The figure of a fit, kept for the next one: axes take longer to make than to fill."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.figure = new_figure(12.0, 7.0, None)
        self._panels = tuple(panel(self.figure, left, 3.65, 3.0, 3.0) for left in (0.8, 4.1, 8.2))
        science, model, residual = self._panels
        empty = np.zeros((-(-shape[0] // SIDE), -(-shape[1] // SIDE)))
        self._drawn = [
            draw_image(axes, empty, shape, SIDE, (0.0, 1.0), colours=colours)
            for axes, colours in ((science, COLOUR_MAP), (model, COLOUR_MAP), (residual, "RdBu_r"))
        ]
        for axes in self._panels:
            axes.set_xlabel("detector x (pixel)")
        science.set_ylabel("detector y (pixel)")
        for axes in (model, residual):
            axes.tick_params(labelleft=False)
        model.set_title("dark + sky", fontsize=11)
        science_bar, residual_bar = (panel(self.figure, left, 3.65, 0.12, 3.0) for left in (7.22, 11.32))
        colour_bar(self.figure, self._drawn[0], science_bar, rate_label(SIDE))
        colour_bar(self.figure, self._drawn[2], residual_bar, "(science - model) / sqrt(model)")
        self._bar = science_bar
        self._profiles = [
            _ProfilePanel(panel(self.figure, left, 0.6, 4.95, 2.15), side, name)
            for left, side, name in ((0.8, shape[1], "x"), (6.8, shape[0], "y"))
        ]
        self._of_one: list[Any] = []

    @property
    def changing(self) -> list[Artist]:
        """What differs from one fit to the next: the images and what lies on them, the profiles, the first scale."""
        frames = [spine for axes in self._panels for spine in axes.spines.values()]
        profiles = [artist for profile in self._profiles for artist in profile.changing]
        titles = [self._panels[0].title, self._panels[2].title]
        return [*self._drawn, *self._of_one, *frames, *titles, *profiles, self._bar]

    def fill(self, fit: FitPicture) -> Figure:
        """Return the figure with a fit."""
        while self._of_one:
            self._of_one.pop().remove()
        science, _, residual = self._panels
        means, sigmas = fit.blocks(SIDE)
        limits = stretch(means)
        for drawn, image, between in zip(
            self._drawn, (*means, sigmas), (limits, limits, (-SIGMAS, SIGMAS)), strict=True
        ):
            redraw_image(drawn, image, between)
        for _, style, mask in fit.left_out:
            self._of_one += _outlines(self._panels, mask, style)
        science.set_title(plain_text(fit.rootname, _TITLE), fontsize=11, parse_math=False)
        residual.set_title(fit.residual_title, fontsize=11)
        if text := fit.left_out_text:
            self._of_one.append(self.figure.text(0.5, 2.95 / 7.0, text, fontsize=9, ha="center"))
        for profile, line in zip(self._profiles, fit.profiles(), strict=True):
            profile.fill(line)
        return self.figure


_fit_sheet = lru_cache(maxsize=1)(_FitSheet)


def _outlines(panels: Sequence[Axes], mask: NDArray[np.bool_], style: str) -> list[Any]:
    """Outline a mask in each panel; return what is drawn."""
    # Only the part with the mask, and a pixel around it: the contour of a frame takes as long as the whole figure.
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, first = max(int(rows[0]) - 1, 0), max(int(columns[0]) - 1, 0)
    part = mask[top : int(rows[-1]) + 2, first : int(columns[-1]) + 2]
    if min(part.shape) < 2:  # a contour needs two pixels each way
        return []
    from matplotlib.collections import LineCollection  # noqa: PLC0415 - slow to load

    x, y = np.arange(part.shape[1]) + first, np.arange(part.shape[0]) + top
    contour = panels[0].contour(x, y, part, levels=[0.5])
    lines = contour.allsegs[0]
    contour.remove()  # it would keep several images of the part
    drawn = []
    for axes, ground in zip(panels, ("white", "white", "black"), strict=True):
        colour, line = (_LEFT_OUT, "solid") if style == "orange" else (ground, style)
        outline = LineCollection(lines, colors=[colour], linewidths=0.9, linestyles=[line], zorder=2)
        drawn.append(axes.add_collection(outline, autolim=False))
    return drawn


class _ProfilePanel:
    """The mean rate of the fitted pixels along x or y: data with errors over the model."""

    def __init__(self, axes: Axes, side: int, name: str) -> None:
        self._axes = axes
        data = axes.errorbar([0], [0], [1], fmt=".", color=_DATA, markersize=4, linewidth=1, label="science")
        self._points, _, (self._bars,) = data
        (self._model,) = axes.plot([0], [0], color=_MODEL, linewidth=1.5, label="dark + sky")
        axes.set_xlabel(f"detector {name} (pixel), means of {PROFILE}")
        axes.set_ylabel("1e-5 count/s/pixel")
        axes.set_xlim(-0.5, side - 0.5)
        self._legend = axes.legend(frameon=False, fontsize=9)

    @property
    def changing(self) -> list[Artist]:
        """What differs from one fit to the next."""
        lines = [self._bars, self._model, self._points]
        return [*lines, *self._axes.spines.values(), self._axes.yaxis, self._legend]

    def fill(self, line: Profile) -> None:
        """Put a profile into the panel."""
        low, high = line.seen - line.error, line.seen + line.error
        self._points.set_data(line.place, line.seen)
        self._bars.set_segments(np.stack([np.stack([line.place, end], axis=1) for end in (low, high)], axis=1))
        self._model.set_data(line.place, line.expected)
        if line.place.size:
            bottom, top = min(low.min(), line.expected.min()), max(high.max(), line.expected.max())
            margin = _MARGIN * (top - bottom)
            self._axes.set_ylim(bottom - margin, top + margin)
