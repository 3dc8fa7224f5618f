"""Drawing of pictures: style, stretch, block sums, colour bars, files."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sbcdark.pipeline.apertures.apertures import clean_label
from sbcdark.pipeline.detector.defects import block_sum as block_sum_of_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


UNIT = 1e-5
"""Unit of the displayed rates in count/s/pixel: a cold SBC dark has 0.75 of it."""

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
"""Okabe & Ito's palette: told apart by colour-blind eyes. Its yellow is left to areas: it is faint on white."""

GREY = "#8C8C8C"
"""What is beyond the palette."""

COLOUR_MAP = "viridis"  # perceptually uniform and safe for colour-blind readers

COLUMN = 5.0
"""Width in inches of a picture for one column of a paper: there, at 3.4 inches, letters of 10 points have 7."""

SIDE = 16
"""Side in pixels of the blocks that the pictures of frames and products sum."""

_DPI = 150

_DRAWING = RLock()


def block_sum(
    image: NDArray[Any], block: int, known: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum an image over square blocks; blocks at the far edges may be smaller.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Of any unit.
    block : int
        Side of a block in pixels.
    known : ndarray of bool, shape (ny, nx), optional
        The pixels to sum; by default those that are neither NaN nor infinite.

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
    if known is None:
        known = np.isfinite(image)
    image = np.where(known, image, image.dtype.type(0))
    missing = [(0, -side % block) for side in image.shape]
    if any(after for _, after in missing):
        image, known = np.pad(image, missing), np.pad(known, missing)
    return block_sum_of_whole(image, block), block_sum_of_whole(known, block).astype(np.int64)


def block_mean(image: NDArray[Any], block: int, divisor: float) -> NDArray[np.float64]:
    """Return each block's mean per pixel in units of `divisor`; NaN if a block has little data.

    Blocks of few pixels (at the slanted edges of a product) are too noisy to show.
    """
    return block_mean_of(*block_sum(image, block), block, divisor)


def block_mean_of(
    sums: NDArray[np.float64], pixels: NDArray[np.int64], block: int, divisor: float
) -> NDArray[np.float64]:
    """Return the means of `block_mean` from the sums and numbers of pixels of `block_sum`."""
    mean = np.full(sums.shape, np.nan)
    np.divide(sums / divisor, pixels, out=mean, where=pixels >= max(1, block**2 // 4))
    return mean


def stretch(images: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
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


def plain_text(text: str, longest: int) -> str:
    """Make untrusted text drawable: one line of limited length, in characters of the font."""
    drawn = "".join(char if ord(char) < 0x250 or 0x370 <= ord(char) < 0x400 else "?" for char in clean_label(text))
    return drawn if len(drawn) <= longest else f"{drawn[: longest - 3]}..."


@contextmanager
def own_style() -> Iterator[None]:
    """Draw in matplotlib's default style, whatever the user's matplotlibrc sets (usetex would parse names as TeX).

    One thread draws at a time: the style is global, and some figures are kept for the next picture.
    """
    from matplotlib import style  # noqa: PLC0415 - matplotlib is slow to load

    with _DRAWING, style.context("default"):
        yield


def save(
    figure: Figure, path: Path | None, written_as: str = "png", changing: Sequence[Artist] | None = None
) -> Figure:
    """Write a figure if it has a path, as PNG by default, and return it; the file appears once it is complete.

    Parameters
    ----------
    changing : sequence of Artist, optional
        For a figure that is filled and written again and again: what differs from one time to the next, from the lowest
        to the highest. The rest is drawn the first time only.
    """
    if path is None:
        return figure
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # Half the time of the strongest compression, for a file that is a seventh larger. PDF and SVG have no Pillow.
        options: dict[str, Any] = {"pil_kwargs": {"compress_level": 1}} if written_as == "png" else {}
        if written_as == "png" and changing is not None:
            from matplotlib.image import imsave  # noqa: PLC0415 - slow to load

            imsave(temporary, _pixels(figure, changing), format="png", dpi=_DPI, **options)
        else:
            figure.savefig(temporary, format=written_as, dpi=_DPI, **options)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return figure


def _pixels(figure: Any, changing: Sequence[Artist]) -> NDArray[np.uint8]:
    """Draw what changes over what stays; return the pixels, shape (ny, nx, 4)."""
    canvas = figure.canvas
    if figure.ground is None:
        for artist in changing:
            artist.set_animated(True)  # which leaves it out here
        canvas.draw()
        figure.ground = canvas.copy_from_bbox(figure.bbox)
        for artist in changing:
            artist.set_animated(False)
    canvas.restore_region(figure.ground)
    for artist in changing:
        artist.draw(canvas.get_renderer())
    return np.asarray(canvas.buffer_rgba())


@cache
def _figure_class() -> type[Figure]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - matplotlib is slow to load

    class ShownFigure(Figure):
        """A figure that a notebook shows, whether or not pyplot is imported there."""

        ground: Any = None
        """The pixels of what stays when the figure is filled again: see `save`."""

        def _repr_png_(self) -> bytes:
            image = BytesIO()
            self.savefig(image, format="png", dpi=_DPI)
            return image.getvalue()

    return ShownFigure


def new_figure(
    width: float, height: float, layout: Literal["compressed", "constrained"] | None = "compressed"
) -> Figure:
    """Return an empty figure with a size in inches; with a layout without overlaps, else for `panel`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - matplotlib is slow to load
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415

    engine = None if layout is None else ConstrainedLayoutEngine(compress=layout == "compressed", w_pad=0.08, h_pad=0.1)
    figure = _figure_class()(figsize=(width, height), dpi=_DPI, layout=engine)
    FigureCanvasAgg(figure)
    return figure


def panel(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Return new axes at a fixed place, in inches.

    A layout engine measures every label several times, which takes as long as the drawing: the pictures of a run, of
    which there are many, have fixed places.
    """
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def draw_image(
    axes: Axes,
    image: NDArray[np.float64],
    shape: tuple[int, ...],
    block: int,
    limits: tuple[float, float],
    colours: str = COLOUR_MAP,
) -> Any:
    """Draw a block-summed image in the original pixels; pixel (0, 0) is centred on (0, 0)."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to load

    colour_map = mpl.colormaps[colours].with_extremes(bad="white")
    ny, nx = image.shape[0] * block, image.shape[1] * block
    drawn = axes.imshow(
        np.ma.masked_invalid(image),
        origin="lower",
        extent=(-0.5, nx - 0.5, -0.5, ny - 0.5),
        cmap=colour_map,
        vmin=limits[0],
        vmax=limits[1],
        interpolation="nearest",
    )
    # The last blocks may extend beyond the edge of the image.
    axes.set_xlim(-0.5, shape[1] - 0.5)
    axes.set_ylim(-0.5, shape[0] - 0.5)
    return drawn


def redraw_image(drawn: Any, image: NDArray[np.float64], limits: tuple[float, float]) -> None:
    """Put another image of the same shape, and its limits, into what `draw_image` returned."""
    drawn.set_data(np.ma.masked_invalid(image))
    drawn.set_clim(*limits)


def colour_bar(figure: Figure, drawn: Any, place: Axes, label: str) -> None:
    """Draw the colour bar of `draw_image` in axes of its own."""
    figure.colorbar(drawn, cax=place, extend="both").set_label(label)


def rate_label(block: int) -> str:
    """Return the label of the colour bar of block-summed rates."""
    return f"1e-5 count/s/pixel, means of {block} by {block}"


def outlined(width: float) -> list[Any]:
    """Return the effect of a dark outline, so that white lines and letters show on any background."""
    from matplotlib import patheffects  # noqa: PLC0415 - slow to load

    return [patheffects.withStroke(linewidth=width, foreground="black")]
