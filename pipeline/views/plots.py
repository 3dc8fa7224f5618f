"""Pictures of an exposure with its dark and of drizzled products, summed over blocks to make single counts visible.

They use matplotlib's object API on the Agg canvas, without pyplot's global state and the user's style. Names and labels
come from headers and region files: they are drawn as plain text, never as mathematics.
"""

from __future__ import annotations

import math
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.pipeline.detector.regions import BOX, QUIET
from sbcdark.pipeline.products.apertures import clean_label

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from sbcdark.pipeline.detector.regions import Region
    from sbcdark.pipeline.products.apertures import PixelEllipse

UNIT = 1e-5
"""Unit of the displayed rates in count/s/pixel: a cold SBC dark has 0.75 of it."""

COLOUR_MAP = "viridis"  # perceptually uniform and safe for colour-blind readers
LISTED_APERTURES = 8
_DPI = 150
_TITLE = 50  # characters of 11 points above one of two panels


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


def block_sum(image: NDArray[Any], block: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum an image over square blocks; blocks at the far edges may be smaller.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        NaN and infinities are ignored.
    block : int
        Side of a block in pixels.

    Returns
    -------
    sums : ndarray of float64, shape (ceil(ny / block), ceil(nx / block))
        In the unit of the image; they add up to its sum.
    pixels : ndarray of int64, of the same shape
        Number of pixels in each sum.

    Raises
    ------
    ValueError
        `block` is below 1, or the image is not two-dimensional.
    """
    if block < 1 or image.ndim != 2:
        raise ValueError(f"cannot sum blocks of {block} pixels in an image with {image.ndim} axes")
    values = np.asarray(image, dtype=np.float64)
    known = np.isfinite(values)
    missing = [(0, -side % block) for side in values.shape]
    rows, columns = ((side + block - 1) // block for side in values.shape)
    blocks = (rows, block, columns, block)
    sums = np.pad(np.where(known, values, 0.0), missing).reshape(blocks).sum(axis=(1, 3))
    return sums, np.pad(known, missing).reshape(blocks).sum(axis=(1, 3), dtype=np.int64)


def _block_mean(image: NDArray[Any], block: int, divisor: float) -> NDArray[np.float64]:
    """Return each block's mean per pixel in units of `divisor`; NaN if a block has little data.

    Blocks of few pixels (at the slanted edges of a product) are too noisy to show.
    """
    sums, pixels = block_sum(image, block)
    mean = np.full(sums.shape, np.nan)
    np.divide(sums / divisor, pixels, out=mean, where=pixels >= max(1, block**2 // 4))
    return mean


def _stretch(images: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Return one stretch for several images: the level of the darks fills it; hot pixels and sources saturate."""
    lows, highs = [], []
    for image in images:
        known = image[np.isfinite(image)]
        if known.size:
            low, high = np.percentile(known, [0.5, 99.0])
            lows.append(float(low))
            highs.append(float(high))
    low, high = (min(lows), max(highs)) if lows else (0.0, 1.0)
    if not high > low:  # centre the only value of a constant image
        margin = abs(low) / 2 or 1.0
        low, high = low - margin, high + margin
    return low, high


def _plain(text: str, longest: int) -> str:
    """Make untrusted text drawable: one line of limited length, in characters of the font."""
    drawn = "".join(char if ord(char) < 0x250 or 0x370 <= ord(char) < 0x400 else "?" for char in clean_label(text))
    return drawn if len(drawn) <= longest else f"{drawn[: longest - 3]}..."


@contextmanager
def _own_style() -> Iterator[None]:
    """Draw in matplotlib's default style, whatever the user's matplotlibrc sets (usetex would parse names as TeX)."""
    from matplotlib import style  # noqa: PLC0415 - matplotlib is slow to load

    with style.context("default"):
        yield


def _save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; the file appears once it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        figure.savefig(temporary, format="png", dpi=_DPI)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - matplotlib is slow to load
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(width, height), layout="compressed")
    FigureCanvasAgg(figure)
    return figure


def _draw(
    axes: Axes, image: NDArray[np.float64], shape: tuple[int, ...], block: int, limits: tuple[float, float]
) -> Any:
    """Draw a block-summed image in the original pixels; pixel (0, 0) is centred on (0, 0)."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to load

    colours = mpl.colormaps[COLOUR_MAP].with_extremes(bad="white")
    ny, nx = image.shape[0] * block, image.shape[1] * block
    drawn = axes.imshow(
        np.ma.masked_invalid(image),
        origin="lower",
        extent=(-0.5, nx - 0.5, -0.5, ny - 0.5),
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        interpolation="nearest",
    )
    # The last blocks may extend beyond the edge of the image.
    axes.set_xlim(-0.5, shape[1] - 0.5)
    axes.set_ylim(-0.5, shape[0] - 0.5)
    return drawn


def _colour_bar(figure: Figure, drawn: Any, axes: Sequence[Axes], block: int) -> None:
    bar = figure.colorbar(drawn, ax=list(axes), extend="both", pad=0.015, aspect=30)
    bar.set_label(f"mean rate of {block} by {block} pixels (1e-5 count/s/pixel)")


def _outlined(width: float) -> list[Any]:
    """Return the effect of a dark outline, so that white lines and letters show on any background."""
    from matplotlib import patheffects  # noqa: PLC0415 - slow to load

    return [patheffects.withStroke(linewidth=width, foreground="black")]


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
            path_effects=_outlined(2.6),
            label=region.name,
        )
    )
    label = axes.text(region.x0 + 10, region.y1 + 8, region.name, color="white", fontsize=9, va="bottom", clip_on=True)
    label.set_path_effects(_outlined(2.0))
    label.set_in_layout(False)  # outside a small image it would shrink the axes


def _frame_title(kind: str, frame: FramePicture) -> str:
    facts = [f"{frame.exptime_s:.0f} s"]
    if frame.temperature_c is not None and math.isfinite(frame.temperature_c):
        facts.append(f"{frame.temperature_c:.2f} °C")
    if frame.box_rate is not None and math.isfinite(frame.box_rate):
        facts.append(f"box {frame.box_rate / UNIT:.2f}e-5 count/s/pixel")
    return f"{kind} {_plain(frame.rootname, _TITLE - len(kind))}\n{', '.join(facts)}"


def _exposure_and_dark_figure(science: FramePicture, dark: FramePicture, block: int) -> Figure:
    figure = _figure(12.0, 5.8)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    frames = (science, dark)
    images = [_block_mean(frame.counts, block, frame.exptime_s * UNIT) for frame in frames]
    limits = _stretch(images)
    drawn = None
    for axes, frame, image, kind in zip(panels, frames, images, ("Exposure", "Dark"), strict=True):
        drawn = _draw(axes, image, frame.counts.shape, block, limits)
        _draw_region(axes, BOX, "-")
        _draw_region(axes, QUIET, "--")
        axes.set_title(_frame_title(kind, frame), fontsize=11, parse_math=False)
        axes.set_xlabel("detector x (pixel)")
    panels[0].set_ylabel("detector y (pixel)")
    _colour_bar(figure, drawn, panels, block)
    return figure


def plot_exposure_and_dark(path: Path, science: FramePicture, dark: FramePicture, *, block: int = 16) -> None:
    """Draw an exposure and its dark side by side with one stretch, with the box and the quiet rows.

    Parameters
    ----------
    path : Path
        The PNG to write; an old one is replaced once the new one is complete.
    science, dark : FramePicture
        Native frames, shape (1024, 1024).
    block : int
        Side of the summed blocks in pixels.

    Raises
    ------
    OSError
        The file cannot be written.
    ValueError
        `block` is below 1.
    """
    with _own_style():
        _save(_exposure_and_dark_figure(science, dark, block), path)


def _draw_apertures(axes: Axes, apertures: Sequence[PixelEllipse]) -> None:
    """Draw ellipses, numbered from 1 just above them."""
    from matplotlib.patches import Ellipse  # noqa: PLC0415 - slow to load

    for number, aperture in enumerate(apertures, start=1):
        axes.add_patch(
            Ellipse(
                (aperture.x, aperture.y),
                2 * aperture.a,
                2 * aperture.b,
                angle=aperture.theta_deg,
                fill=False,
                edgecolor="white",
                linewidth=1.3,
                path_effects=_outlined(2.6),
            )
        )
        theta = math.radians(aperture.theta_deg)
        top = aperture.y + math.hypot(aperture.a * math.sin(theta), aperture.b * math.cos(theta))
        label = axes.annotate(
            str(number),
            (aperture.x, top),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color="white",
            fontsize=10,
            annotation_clip=True,
            path_effects=_outlined(2.4),
        )
        label.set_in_layout(False)


def _aperture_list(apertures: Sequence[PixelEllipse]) -> str:
    """Return the names of the numbered apertures, two per line."""
    names = [f"{number}  {_plain(aperture.label, _TITLE)}" for number, aperture in enumerate(apertures, start=1)]
    if len(names) > LISTED_APERTURES:
        names[LISTED_APERTURES - 1 :] = [f"and {len(names) - LISTED_APERTURES + 1} more"]
    return "\n".join("      ".join(names[i : i + 2]) for i in range(0, len(names), 2))


def _products_figure(
    science: NDArray[Any],
    masterdark: NDArray[Any],
    apertures: Sequence[PixelEllipse],
    titles: tuple[str, str],
    block: int,
) -> Figure:
    names = _aperture_list(apertures)
    figure = _figure(12.0, 5.7 + 0.22 * (names.count("\n") + 1))
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    products = (science, masterdark)
    images = [_block_mean(product, block, UNIT) for product in products]
    limits = _stretch(images)
    drawn = None
    for axes, product, image, title in zip(panels, products, images, titles, strict=True):
        drawn = _draw(axes, image, product.shape, block, limits)
        _draw_apertures(axes, apertures)
        axes.set_title(_plain(title, _TITLE), fontsize=11, parse_math=False)
        axes.set_xlabel("product x (pixel)")
    panels[0].set_ylabel("product y (pixel)")
    _colour_bar(figure, drawn, panels, block)
    if names:
        figure.supxlabel(names, fontsize=9, parse_math=False)
    return figure


def plot_products(
    path: Path,
    science: NDArray[Any],
    masterdark: NDArray[Any],
    apertures: Sequence[PixelEllipse] = (),
    *,
    titles: tuple[str, str] = ("Science", "Masterdark"),
    block: int = 16,
) -> None:
    """Draw a science product and its masterdark side by side with one stretch, with the apertures.

    Parameters
    ----------
    path : Path
        The PNG to write; an old one is replaced once the new one is complete.
    science, masterdark : ndarray of float, shape (ny, nx)
        Drizzled products on one pixel grid, count/s per product pixel; NaN (no data) is left blank.
    apertures : sequence of PixelEllipse
        Numbered in the picture; the first `LISTED_APERTURES` are named below it.
    titles : (str, str)
        The two titles, for example the names of the association and the masterdark.
    block : int
        Side of the summed blocks in pixels.

    Raises
    ------
    OSError
        The file cannot be written.
    ValueError
        `block` is below 1.
    """
    with _own_style():
        _save(_products_figure(science, masterdark, apertures, titles, block), path)
