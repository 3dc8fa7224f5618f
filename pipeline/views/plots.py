"""Pictures of an exposure with its dark and of drizzled products, summed over blocks to make single counts visible.

They use matplotlib's object API on the Agg canvas, without pyplot's global state and the user's style. Names and labels
come from headers and region files: they are drawn as plain text, never as mathematics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.pipeline.apertures.pixel_shapes import PixelEllipse, PixelRing
from sbcdark.pipeline.detector.regions import BOX, QUIET
from sbcdark.pipeline.views.drawing import (
    SIDE,
    UNIT,
    block_mean,
    colour_bar,
    draw_image,
    new_figure,
    outlined,
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
    from matplotlib.patches import Patch
    from numpy.typing import NDArray

    from sbcdark.pipeline.apertures.pixel_shapes import PixelShape
    from sbcdark.pipeline.detector.regions import Region


LISTED_APERTURES = 8
_TITLE = 50  # characters of 11 points above one of two panels
_SIDE = 4.8  # of a panel, inches


@dataclass(frozen=True, slots=True)
class FramePicture:
    """A native frame to draw.

    Attributes
    ----------
    rootname : str
        Its name, drawn verbatim.
    counts : ndarray, shape (ny, nx)
        Counts per native pixel.
    exptime_s : float
        Exposure time, s.
    temperature_c : float or None
        Mean temperature, C.
    box_rate : float or None
        Rate in the box, count/s/pixel.
    """

    rootname: str
    counts: NDArray[Any]
    exptime_s: float
    temperature_c: float | None = None
    box_rate: float | None = None


def _draw_region(axes: Axes, region: Region, style: str) -> None:
    """Outline a region. Rectangle takes the corner; the first pixel begins half a pixel before its centre."""
    from matplotlib.patches import Rectangle  # noqa: PLC0415 - slow to load

    axes.add_patch(
        Rectangle(
            (region.x0 - 0.5, region.y0 - 0.5),
            region.x1 - region.x0,
            region.y1 - region.y0,
            fill=False,
            edgecolor="white",
            linewidth=1.3,
            linestyle=style,
            path_effects=outlined(2.6),
            label=region.name,
        )
    )
    label = axes.text(region.x0 + 10, region.y1 + 8, region.name, color="white", fontsize=9, va="bottom", clip_on=True)
    label.set_path_effects(outlined(2.0))
    label.set_in_layout(False)  # outside a small image it would shrink the axes


def _frame_title(kind: str, frame: FramePicture) -> str:
    facts = [f"{frame.exptime_s:.0f} s"]
    if frame.temperature_c is not None and math.isfinite(frame.temperature_c):
        facts.append(f"{frame.temperature_c:.2f} °C")
    if frame.box_rate is not None and math.isfinite(frame.box_rate):
        facts.append(f"box {frame.box_rate / UNIT:.2f}e-5 count/s/pixel")
    return f"{kind} {plain_text(frame.rootname, _TITLE - len(kind))}\n{', '.join(facts)}"


class _PairSheet:
    """The figure of two images side by side with one scale, kept for the next pair: axes take longer to make than fill.

    Parameters
    ----------
    shapes : tuple of tuple of int
        The shapes of the images.
    name : str
        What the pixels are of, for the labels of the axes.
    bottom, top : float
        Height of what is below and above the panels, inches.
    """

    def __init__(self, shapes: tuple[tuple[int, ...], ...], name: str, bottom: float, top: float) -> None:
        self.figure = new_figure(12.0, bottom + _SIDE + top, None)
        self.panels = tuple(panel(self.figure, left, bottom, _SIDE, _SIDE) for left in (0.8, 5.95))
        self.below: list[Artist] = []
        self._drawn = []
        for axes, shape in zip(self.panels, shapes, strict=True):
            empty = np.zeros([-(-side // SIDE) for side in shape])
            self._drawn.append(draw_image(axes, empty, shape, SIDE, (0.0, 1.0)))
            axes.set_xlabel(f"{name} x (pixel)")
        self.panels[0].set_ylabel(f"{name} y (pixel)")
        self.panels[1].tick_params(labelleft=False)
        self._bar = panel(self.figure, 10.9, bottom, 0.17, _SIDE)
        colour_bar(self.figure, self._drawn[1], self._bar, rate_label(SIDE))

    @property
    def changing(self) -> list[Artist]:
        """What differs from one pair to the next: the images and what lies on them, titles and scale."""
        over: list[Artist] = []
        for axes in self.panels:
            over += [*axes.patches, *axes.texts, *axes.spines.values(), axes.title]
        return [*self._drawn, *over, *self.below, self._bar]

    def fill(self, images: Sequence[NDArray[np.float64]], titles: Sequence[str]) -> None:
        """Put two images and their titles into the figure."""
        limits = stretch(images)
        for axes, drawn, image, title in zip(self.panels, self._drawn, images, titles, strict=True):
            redraw_image(drawn, image, limits)
            axes.set_title(title, fontsize=11, parse_math=False)


@lru_cache(maxsize=1)
def _frame_sheet(shapes: tuple[tuple[int, ...], ...]) -> _PairSheet:
    sheet = _PairSheet(shapes, "detector", 0.6, 0.6)
    for axes in sheet.panels:
        _draw_region(axes, BOX, "-")
        _draw_region(axes, QUIET, "--")
    return sheet


@lru_cache(maxsize=1)
def _product_sheet(shape: tuple[int, ...], lines: int) -> _PairSheet:
    """Return the sheet of two products of one shape, with room for lines of names of apertures."""
    return _PairSheet((shape, shape), "product", 0.6 + 0.18 * lines, 0.4)  # whole pixels


def plot_exposure_and_dark(path: Path, science: FramePicture, dark: FramePicture) -> None:
    """Draw an exposure and its dark side by side with one stretch, with the box and the quiet rows.

    Parameters
    ----------
    path : Path
        The PNG to write; an old one is replaced once the new one is complete.
    science, dark : FramePicture
        Native frames, shape (1024, 1024).

    Raises
    ------
    OSError
        The file cannot be written.
    """
    with own_style():
        sheet = _filled_frames(science, dark)
        save(sheet.figure, path, changing=sheet.changing)


def _filled_frames(science: FramePicture, dark: FramePicture) -> _PairSheet:
    frames = (science, dark)
    images = [block_mean(frame.counts, SIDE, frame.exptime_s * UNIT) for frame in frames]
    sheet = _frame_sheet((science.counts.shape, dark.counts.shape))
    sheet.fill(images, [_frame_title(kind, frame) for kind, frame in zip(("Exposure", "Dark"), frames, strict=True)])
    return sheet


def _draw_apertures(axes: Axes, apertures: Sequence[PixelShape]) -> None:
    """Draw apertures, numbered from 1 just above them."""
    for number, aperture in enumerate(apertures, start=1):
        for patch in _outlines(aperture):
            axes.add_patch(patch)
        label = axes.annotate(
            str(number),
            (aperture.x, aperture.top),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color="white",
            fontsize=10,
            annotation_clip=True,
            path_effects=outlined(2.4),
        )
        label.set_in_layout(False)


def _outlines(aperture: PixelShape) -> list[Patch]:
    """Return the outline of an aperture; of an annulus both edges."""
    from matplotlib.patches import Ellipse, Polygon  # noqa: PLC0415 - slow to load

    if isinstance(aperture, PixelRing):
        edges = [aperture.outer] if aperture.inner is None else [aperture.inner, aperture.outer]
        return [patch for edge in edges for patch in _outlines(edge)]
    style: dict[str, Any] = {"fill": False, "edgecolor": "white", "linewidth": 1.3, "path_effects": outlined(2.6)}
    if isinstance(aperture, PixelEllipse):
        size = (2 * aperture.a, 2 * aperture.b)
        return [Ellipse((aperture.x, aperture.y), *size, angle=aperture.theta_deg, **style)]
    return [Polygon(list(zip(aperture.xs, aperture.ys, strict=True)), closed=True, **style)]


def _aperture_list(apertures: Sequence[PixelShape]) -> str:
    """Name the numbered apertures, two a line."""
    names = [f"{number}  {plain_text(aperture.label, _TITLE)}" for number, aperture in enumerate(apertures, start=1)]
    if len(names) > LISTED_APERTURES:
        names[LISTED_APERTURES - 1 :] = [f"and {len(names) - LISTED_APERTURES + 1} more"]
    return "\n".join("      ".join(names[i : i + 2]) for i in range(0, len(names), 2))


def plot_products(
    path: Path,
    science: NDArray[Any],
    masterdark: NDArray[Any],
    apertures: Sequence[PixelShape] = (),
    *,
    titles: tuple[str, str] = ("Science", "Masterdark"),
) -> None:
    """Draw a science product and its masterdark side by side with one stretch, with the apertures.

    Parameters
    ----------
    path : Path
        The PNG to write; an old one is replaced once the new one is complete.
    science, masterdark : ndarray of float, shape (ny, nx)
        Drizzled products on one pixel grid, count/s per product pixel; NaN (no data) is left blank.
    apertures : sequence of PixelShape
        Numbered in the picture; the first `LISTED_APERTURES` are named below it.
    titles : (str, str)
        The two titles, for example the names of the association and the masterdark.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    with own_style():
        sheet = _filled_products(science, masterdark, apertures, titles)
        save(sheet.figure, path, changing=sheet.changing)


def _filled_products(
    science: NDArray[Any], masterdark: NDArray[Any], apertures: Sequence[PixelShape], titles: tuple[str, str]
) -> _PairSheet:
    names = _aperture_list(apertures)
    images = [block_mean(product, SIDE, UNIT) for product in (science, masterdark)]
    sheet = _product_sheet(science.shape, names.count("\n") + 1 if names else 0)
    sheet.fill(images, [plain_text(title, _TITLE) for title in titles])
    for axes in sheet.panels:
        for artist in (*axes.patches, *axes.texts):
            artist.remove()
        _draw_apertures(axes, apertures)
    if names:
        sheet.below = [sheet.figure.supxlabel(names, fontsize=9, parse_math=False)]
    return sheet
