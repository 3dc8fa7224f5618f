"""Pictures: what is drawn lies where it is on the detector, counts are kept, and no header can spoil it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pytest
from astropy.io import fits
from matplotlib.image import imread
from matplotlib.patches import Ellipse, Rectangle

from sbcdark.pipeline.apertures.pixel_shapes import PixelEllipse
from sbcdark.pipeline.detector.regions import BOX
from sbcdark.pipeline.views.drawing import UNIT, block_mean, block_sum, own_style
from sbcdark.pipeline.views.plots import (
    LISTED_APERTURES,
    FramePicture,
    _filled_frames,
    _filled_products,
    plot_exposure_and_dark,
    plot_products,
)

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

PNG = b"\x89PNG\r\n\x1a\n"
HOSTILE = "$\\frac{a}{$ \x1b[31m\n\u202e100% \u4e2d\u6587 _{^ " + "x" * 200
SHAPES = [(1024, 1024), (1373, 1416), (17, 33), (16, 16), (5, 3)]


def frame(shared_data: Path, name: str) -> FramePicture:
    with fits.open(shared_data / name) as hdus:
        counts, header = hdus[1].data.astype(np.float64), hdus[1].header
        exptime = float(hdus[0].header["EXPTIME"])
        temperature = (header["MDECODT1"] + header["MDECODT2"]) / 2
        rate = float(np.mean(counts[650:850, 580:780])) / exptime
        return FramePicture(hdus[0].header["ROOTNAME"], counts, exptime, temperature, rate)


@pytest.fixture(scope="module")
def science(shared_data: Path) -> FramePicture:
    return frame(shared_data, "science_13655_standin/jcmc11e6q_flt.fits.gz")


@pytest.fixture(scope="module")
def dark(shared_data: Path) -> FramePicture:
    return frame(shared_data, "darks_13961/jcrx01iyq_raw.fits.gz")


def picture(path: Path) -> NDArray[Any]:
    """Read a PNG back."""
    assert path.read_bytes().startswith(PNG)
    pixels: NDArray[Any] = imread(path)
    return pixels


def pair_figure(science: FramePicture, dark: FramePicture) -> Figure:
    return _filled_frames(science, dark).figure


def shown(axes: Axes) -> Any:
    """Return the array that a panel shows."""
    (image,) = axes.get_images()
    return image.get_array()


def texts_overlap(figure: Figure) -> list[tuple[str, str]]:
    """Return the pairs of titles, axis labels and lists that lie on each other, or stick out of the figure."""
    figure.draw_without_rendering()
    texts: list[Any] = [figure._supxlabel] if figure.get_supxlabel() else []  # type: ignore[attr-defined]
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label]
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text()]
    whole = figure.bbox
    bad = [(text, "the edge") for text, b in boxes if b.x0 < 0 or b.y0 < 0 or b.x1 > whole.x1 or b.y1 > whole.y1]
    for i, (text, box) in enumerate(boxes):
        bad += [(text, other) for other, place in boxes[i + 1 :] if box.overlaps(place)]
    return bad


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("block", [1, 8, 16])
def test_block_sums_keep_every_count(shape: tuple[int, int], block: int) -> None:
    rng = np.random.default_rng(1)
    image = rng.poisson(0.3, shape).astype(np.int16)
    sums, pixels = block_sum(image, block)
    assert sums.shape == (-(-shape[0] // block), -(-shape[1] // block))
    assert sums.sum() == image.sum()  # whole numbers below 2^53 add exactly
    assert pixels.sum() == image.size
    y, x = shape[0] - 1, shape[1] - 1
    last = image[y // block * block :, x // block * block :]
    assert (sums[-1, -1], pixels[-1, -1]) == (last.sum(), last.size)
    holed = image.astype(np.float64)
    holed[0, 0] = np.nan
    sums, pixels = block_sum(holed, block)
    assert sums.sum() == image.sum() - image[0, 0]
    assert pixels.sum() == image.size - 1


@pytest.mark.parametrize("block", [0, -1])
def test_blocks_have_a_size(block: int) -> None:
    with pytest.raises(ValueError, match="blocks"):
        block_sum(np.ones((4, 4)), block)


def test_blocks_with_little_data_are_blank() -> None:
    image = np.full((32, 32), np.nan)
    image[:16, :16] = 2.0
    image[16:18, :16] = 2.0  # an eighth of its block
    mean = block_mean(image, 16, 4.0)
    assert mean[0, 0] == 0.5
    assert np.isnan([mean[1, 0], mean[0, 1], mean[1, 1]]).all()


def test_the_box_is_drawn_around_its_own_pixels(dark: FramePicture) -> None:
    marked = np.zeros((1024, 1024))
    marked[BOX.slices] = 1.0
    figure = pair_figure(FramePicture("marked", marked, 1.0), dark)
    for axes in figure.axes[:2]:
        (box,) = [p for p in axes.patches if isinstance(p, Rectangle) and p.get_label() == "box"]
        # A pixel reaches half a pixel to each side of its centre: [650:850, 580:780] is y 649.5 to 849.5.
        assert list(box.get_bbox().extents) == [579.5, 649.5, 779.5, 849.5]
        assert box.get_x() >= axes.get_xlim()[0]
        (image,) = axes.get_images()
        assert image.origin == "lower"
        assert list(image.get_extent()) == [-0.5, 1023.5, -0.5, 1023.5]
    # The marked pixels, put where the image draws them, fill the rectangle: all blocks whose centre is inside are 1.
    centres = np.arange(64) * 16 + 7.5
    y, x = np.meshgrid(centres, centres, indexing="ij")
    inside = box.get_bbox().padded(-16).extents
    within = (x > inside[0]) & (x < inside[2]) & (y > inside[1]) & (y < inside[3])
    assert within.sum() > 100
    assert np.allclose(shown(figure.axes[0])[within] * UNIT, 1.0)


def test_the_picture_shows_rates_in_its_unit(science: FramePicture, dark: FramePicture) -> None:
    figure = pair_figure(science, dark)
    for axes, drawn in zip(figure.axes[:2], (science, dark), strict=True):
        assert float(shown(axes).mean()) * UNIT * 1024**2 * drawn.exptime_s == pytest.approx(
            drawn.counts.sum(), rel=1e-9
        )
    limits = {axes.get_images()[0].get_clim() for axes in figure.axes[:2]}
    assert len(limits) == 1
    low, high = limits.pop()
    assert dark.box_rate is not None
    # The glow's level in the box lies within the stretch: the picture shows the dark, not the source or a hot pixel.
    assert low * UNIT < 0.5 * dark.box_rate < 1.5 * dark.box_rate < high * UNIT < 3 * dark.box_rate
    assert "1e-5 count/s/pixel" in figure.axes[2].get_ylabel()
    assert figure.axes[0].get_title() == "Exposure jcmc11e6q\n1020 s, 26.00 °C, box 5.69e-5 count/s/pixel"
    assert texts_overlap(figure) == []


def test_real_frames_make_a_png(science: FramePicture, dark: FramePicture, tmp_path: Path) -> None:
    path = tmp_path / "pair.png"
    path.write_bytes(b"an older picture")
    plot_exposure_and_dark(path, science, dark)
    pixels = picture(path)
    assert pixels.shape[0] > 600
    assert pixels.shape[1] > 1200
    assert [entry.name for entry in tmp_path.iterdir()] == ["pair.png"]


def product(shape: tuple[int, int] = (1373, 1416)) -> NDArray[np.float64]:
    image = np.random.default_rng(2).poisson(0.02, shape) / 1000.0
    y, x = np.indices(shape)
    image[(x + 3 * y < shape[1]) | (x + 3 * y > 3 * shape[0])] = np.nan
    return image


def test_apertures_are_drawn_where_they_are_and_numbered() -> None:
    apertures = [
        PixelEllipse(705.0, 685.0, 90.0, 60.0, 30.0, "core"),
        PixelEllipse(300.0, 400.0, 50.0, 50.0, 0.0, "$x_2$"),
    ]
    figure = _filled_products(product(), product(), apertures, ("Science", "Masterdark")).figure
    for axes in figure.axes[:2]:
        drawn = [p for p in axes.patches if isinstance(p, Ellipse)]
        for patch, aperture in zip(drawn, apertures, strict=True):
            assert tuple(patch.center) == (aperture.x, aperture.y)
            assert (patch.width, patch.height, patch.angle) == (2 * aperture.a, 2 * aperture.b, aperture.theta_deg)
        assert [text.get_text() for text in axes.texts] == ["1", "2"]
        assert axes.get_xlim() == (-0.5, 1415.5)
        assert axes.get_ylim() == (-0.5, 1372.5)
        assert np.ma.is_masked(shown(axes))  # outside the frame
        assert axes.get_images()[0].cmap.get_bad().tolist() == [1.0, 1.0, 1.0, 1.0]  # blank
    assert figure.get_supxlabel() == "1  core      2  $x_2$"
    assert texts_overlap(figure) == []


@pytest.mark.parametrize("shape", SHAPES)
def test_products_of_any_shape(shape: tuple[int, int], tmp_path: Path) -> None:
    plot_products(tmp_path / "a.png", product(shape), product(shape))
    assert np.ptp(picture(tmp_path / "a.png")) > 0


@pytest.mark.parametrize("value", [0.0, 3e-5, -1e-6, np.nan])
def test_constant_and_empty_images(value: float, tmp_path: Path) -> None:
    image = np.full((137, 141), value)
    plot_products(tmp_path / "a.png", image, image, [PixelEllipse(-500.0, 5.0, 9.0, 9.0, 0.0, "off")])
    plot_exposure_and_dark(tmp_path / "b.png", *[FramePicture("", image, 1000.0)] * 2)
    for path in tmp_path.iterdir():
        picture(path)


def test_hostile_names_are_drawn_as_text(tmp_path: Path) -> None:
    apertures = [PixelEllipse(70.0, 10.0 * i, 9.0, 9.0, 0.0, HOSTILE) for i in range(20)]
    figure = _filled_products(product(), product(), apertures, (HOSTILE, HOSTILE)).figure
    hostile = FramePicture(HOSTILE, np.ones((64, 64)), 1.0, float("nan"), float("inf"))
    pair = pair_figure(hostile, hostile)
    for drawn in (figure, pair):
        assert texts_overlap(drawn) == []
        for axes in drawn.axes[:2]:
            title = axes.get_title()
            assert all(char.isprintable() for char in title.replace("\n", ""))
            assert "$\\frac{a}{$" in title
            assert "inf" not in title
    names = figure.get_supxlabel()
    assert names.count("$\\frac") == LISTED_APERTURES - 1
    assert names.endswith("and 13 more")
    plot_products(tmp_path / "a.png", product(), product(), apertures, titles=(HOSTILE, HOSTILE))
    plot_exposure_and_dark(tmp_path / "b.png", hostile, hostile)


def test_the_users_style_is_left_out_and_left_alone(tmp_path: Path) -> None:
    mine: dict[Any, Any] = {"text.usetex": True, "image.origin": "upper", "savefig.bbox": "tight"}
    with mpl.rc_context(mine):
        before = dict(mpl.rcParams)
        plot_products(tmp_path / "a.png", product(), product())
        with own_style():
            assert not mpl.rcParams["text.usetex"]
        assert dict(mpl.rcParams) == before
    picture(tmp_path / "a.png")


def test_a_failed_write_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"older")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.image.imsave", fail)
    with pytest.raises(OSError, match="No space"):
        plot_products(path, product(), product())
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]
    assert path.read_bytes() == b"older"


def test_importing_the_module_loads_no_matplotlib() -> None:
    code = (
        "import sys, sbcdark.pipeline.views.plots;"
        "print('matplotlib' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
