"""Native weights: they are the adjoint of AstroDrizzle itself, and errors from them have the right size."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from flt_copies import copy_with_counts

from sbcdark.catalog.errors import SbcdarkError
from sbcdark.pipeline.apertures.pixel_shapes import PixelEllipse, aperture_sum, overlap
from sbcdark.pipeline.detector.constants import flagged
from sbcdark.pipeline.drizzling.footprints import (
    NativeWeights,
    check_weights,
    native_fractions,
    native_weights,
    poisson_error,
    weighted_sum,
)
from sbcdark.pipeline.drizzling.grid import Grid
from sbcdark.pipeline.frames.fits_output import write_science_product
from sbcdark.pipeline.simulation.files import write_simulated
from sbcdark.pipeline.simulation.simulated_archive import Parameters, simulate

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sbcdark.pipeline.drizzling.drizzle import Drizzler
    from sbcdark.pipeline.drizzling.drizzled_product import DrizzledProduct, FrameMapping

SHAPE = (1024, 1024)
NORMAL_TAIL = 4.5  # standard deviations: 7e-6, so that all comparisons here together fail once in a thousand runs
CIRCLE = PixelEllipse(705.0, 685.0, 60.0, 60.0, 0.0, "circle")


@dataclass(frozen=True)
class Pair:
    """Two frames of Poisson counts, drizzled by AstroDrizzle."""

    product: DrizzledProduct
    counts: tuple[NDArray[np.float64], ...]
    times: tuple[float, ...]
    good: tuple[NDArray[np.bool_], ...]

    @property
    def rates(self) -> list[NDArray[np.float64]]:
        """Count/s per native pixel."""
        return [counts / time for counts, time in zip(self.counts, self.times, strict=True)]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return two simulated FLTs of one association."""
    archive = simulate(Parameters(number_of_darks=0))
    names = [f"{member.exposure.rootname}_flt.fits" for member in archive.associations[1].exposures]
    folder = tmp_path_factory.mktemp("frames")
    for file in archive.files():
        if file.name in names:
            write_simulated(folder / file.name, file)
    return [folder / name for name in names]


def poisson_pair(frames: list[Path], folder: Path, drizzler: Drizzler, seed: int, grid: Grid | None = None) -> Pair:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:1024, 0:1024]
    shape = 1 + 4 * np.exp(-((x - 530) ** 2 + (y - 515) ** 2) / (2 * 40.0**2))
    times, goods, counts, copies = [], [], [], []
    for frame in frames:
        copy = folder / frame.name
        drawn = rng.poisson(0.05 * shape).astype(np.float64)
        time, quality = copy_with_counts(frame, copy, drawn)
        copies.append(copy)
        times.append(time)
        goods.append(~flagged(quality))
        counts.append(drawn)
    product = drizzler.drizzle(copies, folder=folder, log=folder / "log", grid=grid)
    return Pair(product, tuple(counts), tuple(times), tuple(goods))


@pytest.fixture(scope="module")
def pair(frames: list[Path], drizzler: Drizzler, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return poisson_pair(frames, tmp_path_factory.mktemp("work"), drizzler, 1)


def clipped_area(polygon: list[tuple[float, float]], x: float, y: float) -> float:
    """Return the area of a convex polygon within the pixel (x, y): Sutherland-Hodgman, then the shoelace formula."""
    for axis, sign, bound in ((0, 1, x - 0.5), (0, -1, x + 0.5), (1, 1, y - 0.5), (1, -1, y + 0.5)):
        kept: list[tuple[float, float]] = []
        for start, end in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            inside, next_inside = (sign * (p[axis] - bound) >= 0 for p in (start, end))
            if inside:
                kept.append(start)
            if inside != next_inside:
                t = (bound - start[axis]) / (end[axis] - start[axis])
                kept.append((start[0] + t * (end[0] - start[0]), start[1] + t * (end[1] - start[1])))
        polygon = kept
        if not polygon:
            return 0.0
    return shoelace(np.array(polygon))


def shoelace(polygon: NDArray[np.float64]) -> float:
    """Return the area of a polygon of shape (n, 2)."""
    # Relative to a corner: products of coordinates of some 700 pixels would be rounded to 1e-10.
    x, y = (polygon - polygon[0]).T
    return 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


def exact_weights(product: DrizzledProduct, ellipse: PixelEllipse) -> list[NDArray[np.float64]]:
    """Compute V by clipping every native pixel against every product pixel: slow and plain."""
    found = overlap(ellipse, product.weight.shape)
    assert found is not None
    (rows, columns), mask = found
    weights = []
    for frame in product.frames:
        near = (
            (frame.corner_x > columns.start - 3) & (frame.corner_x < columns.stop + 3)
            & (frame.corner_y > rows.start - 3) & (frame.corner_y < rows.stop + 3)
        )  # fmt: skip
        image = np.zeros(SHAPE)
        for py, px in np.argwhere(near[:-1, :-1] & (frame.weight > 0)):
            places = ((py, px), (py, px + 1), (py + 1, px + 1), (py + 1, px))
            quad = [(float(frame.corner_x[place]), float(frame.corner_y[place])) for place in places]
            low_x, low_y = (int(side) - 1 for side in np.min(quad, axis=0))
            high_x, high_y = (int(side) + 2 for side in np.max(quad, axis=0))
            touched_y = range(max(rows.start, low_y), min(rows.stop, high_y))
            touched_x = range(max(columns.start, low_x), min(columns.stop, high_x))
            for oy, ox in itertools.product(touched_y, touched_x):
                if product.weight[oy, ox] > 0:
                    share = mask[oy - rows.start, ox - columns.start] / float(product.weight[oy, ox])
                    image[py, px] += share * clipped_area(quad, ox, oy)
            image[py, px] *= float(frame.weight[py, px]) / shoelace(np.array(quad))
        weights.append(image)
    return weights


@pytest.mark.slow
def test_weights_are_those_of_the_drizzle_by_definition(pair: Pair) -> None:
    # Dead rows cross the second aperture in one of the frames.
    for ellipse in (PixelEllipse(701.3, 680.8, 6.0, 3.5, 20.0, "e"), PixelEllipse(700.0, 780.0, 6.0, 6.0, 0.0, "dead")):
        got = native_weights(ellipse, pair.product)
        for mine, exact in zip(got, exact_weights(pair.product, ellipse), strict=True):
            # Coordinates of some 1000 are rounded to 1e-13, and areas follow from a few of them.
            np.testing.assert_allclose(mine.full(), exact, rtol=0, atol=1e-11)


def test_weights_spare_what_the_drizzle_drops(pair: Pair) -> None:
    over_dead_rows = PixelEllipse(700.0, 780.0, 60.0, 60.0, 0.0, "over the dead rows")
    found = 0
    for weight, good in zip(native_weights(over_dead_rows, pair.product), pair.good, strict=True):
        assert weight.values.shape == weight.touched.shape == tuple(s.stop - s.start for s in weight.where)
        assert not weight.full()[~good].any()
        found += int((~good[weight.where]).sum())
    assert found > 0  # the test looks at a place with dropped pixels


def test_an_aperture_off_one_frame_or_off_all(pair: Pair) -> None:
    ny, nx = pair.product.science.shape
    off = native_weights(PixelEllipse(-500.0, 5.0, 3.0, 3.0, 0.0, "off"), pair.product)
    assert [weight.values.size for weight in off] == [0, 0]
    assert weighted_sum(off, pair.rates) == poisson_error(off, pair.counts, pair.times) == 0.0
    # Along the middle row from the right edge inwards, the first pixels belong to one of the two dithered frames.
    first = np.flatnonzero(pair.product.weight[ny // 2] > 0)[-1]
    edge = native_weights(PixelEllipse(float(first) - 2, ny / 2, 2.0, 2.0, 0.0, "edge"), pair.product)
    assert first < nx
    assert sorted(weight.values.size > 0 for weight in edge) == [False, True]


GRIDS = (
    Grid(),
    Grid(scale_arcsec=0.05),
    Grid(scale_arcsec=0.03, rotation_deg=33.0, pixfrac=0.8),
    Grid(pixfrac=0.3),
    Grid(kernel="turbo"),
    Grid(scale_arcsec=0.04, pixfrac=0.6, kernel="turbo", rotation_deg=-120.0),
    Grid(scale_arcsec=0.06, kernel="point"),
)


@pytest.mark.parametrize(
    "grid",
    [GRIDS[0], *(pytest.param(grid, marks=[pytest.mark.slow, pytest.mark.long]) for grid in GRIDS[1:])],
    ids=lambda grid: str(grid.changes()),
)
def test_sums_over_the_product_are_weighted_sums_of_native_pixels(
    frames: list[Path], drizzler: Drizzler, tmp_path: Path, grid: Grid
) -> None:
    pair = poisson_pair(frames, tmp_path, drizzler, 2, grid)
    ny, nx = pair.product.science.shape
    size = 0.025 / grid.scale_arcsec
    for x, y, a, b in ((0.5, 0.5, 60, 30), (0.02, 0.5, 80, 50), (0.5, 0.99, 40, 40), (0.5, 0.5, 1200, 1200)):
        ellipse = PixelEllipse(x * nx, y * ny, a * size, b * size, 20.0, f"{x} {y} {a}")
        total = aperture_sum(pair.product.science, ellipse).total
        check_weights(total, native_weights(ellipse, pair.product), pair.rates, ellipse.label)


def test_reference_image_gives_the_grid(frames: list[Path], drizzler: Drizzler, pair: Pair, tmp_path: Path) -> None:
    target = tmp_path / "reference, [1].fits"
    write_science_product(target, pair.product.hdus, pair.product.science, {})
    (tmp_path / "again").mkdir()
    again = poisson_pair(frames, tmp_path / "again", drizzler, 1, Grid(reference=target))
    assert again.product.science.shape == pair.product.science.shape
    corners = np.array([[0.0, 0.0], [1300.0, 20.0], [700.0, 1300.0]])
    there, here = (one.product.wcs.all_pix2world(corners, 0) for one in (pair, again))
    assert np.abs(there - here).max() * 3600 < 1e-6
    np.testing.assert_allclose(again.product.science, pair.product.science, rtol=1e-4, atol=1e-9)


def broken(pair: Pair, ingredient: str) -> tuple[DrizzledProduct, list[NDArray[np.float64]]]:
    """Return the product and the rates with one ingredient of the weights wrong in one frame."""
    first, second = pair.product.frames
    rates = pair.rates
    if ingredient == "mask":
        # A pixel with counts in the middle loses its weight here alone.
        y, x = np.argwhere(pair.counts[0][480:540, 480:540] > 0)[0] + 480
        weight = first.weight.copy()
        weight[y, x] = 0.0
        first = replace(first, weight=weight)
    elif ingredient == "mapping":
        first = replace(first, corner_x=first.corner_x + 0.01)
    elif ingredient == "time":
        rates[0] = rates[0] * (1 + 1e-5)
    return replace(pair.product, frames=(first, second)), rates


@pytest.mark.parametrize("ingredient", ["mask", "mapping", "time", None])
def test_check_sees_each_wrong_ingredient(pair: Pair, ingredient: str | None) -> None:
    product, rates = broken(pair, ingredient or "")
    total = aperture_sum(pair.product.science, CIRCLE).total
    weights = native_weights(CIRCLE, product)
    if ingredient is None:
        check_weights(total, weights, rates, "it")
    else:
        with pytest.raises(SbcdarkError, match="it sums to"):
            check_weights(total, weights, rates, "it")


def test_fractions_sum_to_the_area_of_the_aperture_in_native_pixels(pair: Pair) -> None:
    for mapping, good in zip(pair.product.frames, pair.good, strict=True):
        fractions = native_fractions(CIRCLE, SHAPE, mapping)
        assert fractions.values.min() >= 0
        assert fractions.values.max() <= 1 + 1e-12
        areas = area_of_native_pixels(mapping)[fractions.where]
        lost = area_of_native_pixels(mapping)[fractions.where][~good[fractions.where]].sum()
        covered = float((fractions.values * areas).sum())
        assert math.pi * 3600 - lost - 1e-6 <= covered <= math.pi * 3600 + 1e-6


def area_of_native_pixels(mapping: FrameMapping) -> NDArray[np.float64]:
    x, y = mapping.corner_x, mapping.corner_y
    first = (x[1:, 1:] - x[:-1, :-1]) * (y[1:, :-1] - y[:-1, 1:])
    second = (x[1:, :-1] - x[:-1, 1:]) * (y[1:, 1:] - y[:-1, :-1])
    area: NDArray[np.float64] = np.abs(0.5 * (first - second))
    return area


@pytest.mark.slow
@pytest.mark.parametrize(
    "ellipse",
    [CIRCLE, PixelEllipse(1340.0, 700.0, 70.0, 50.0, 90.0, "over the edge of the overlap")],
    ids=lambda ellipse: ellipse.label,
)
def test_pulls_have_width_one_where_drizzled_counts_would_not(pair: Pair, ellipse: PixelEllipse) -> None:
    trials = 1000
    rng = np.random.default_rng(3)
    weights = native_weights(ellipse, pair.product)
    flat = 1 + 0.2 * np.sin(np.arange(1024) / 40.0) * np.ones(SHAPE)
    means = [flat * 1e-5 * time * np.ones(SHAPE) for time in pair.times]
    # S = sum(V r) = sum(V / (flat t) N): weights on the counts themselves.
    on_counts = [
        replace(weight, values=weight.values / flat[weight.where] / t)
        for weight, t in zip(weights, pair.times, strict=True)
    ]
    true = weighted_sum(on_counts, means)
    pulls, drizzled_pulls = np.empty(trials), np.empty(trials)
    counts = [np.zeros(SHAPE) for _ in means]
    for trial in range(trials):
        for frame_counts, mean, weight in zip(counts, means, weights, strict=True):
            frame_counts[weight.where] = rng.poisson(mean[weight.where])
        total = weighted_sum(on_counts, counts)
        pulls[trial] = (total - true) / poisson_error(weights, counts, pair.times, [flat, flat])
        drizzled_pulls[trial] = (total - true) / math.sqrt(total / sum(pair.times))
    # A sample's standard deviation scatters by sigma / sqrt(2 (n - 1)), its mean by sigma / sqrt(n). With the error
    # taken from the counts N themselves, (N - mu) / sqrt(N) leans by -1 / (2 sqrt(mu)) and widens by 7 / (8 mu).
    expected = sum(float(np.sum(mean[w.where] * (w.values > 0))) for mean, w in zip(means, weights, strict=True))
    scatter = NORMAL_TAIL / math.sqrt(2 * (trials - 1))
    assert abs(np.std(pulls, ddof=1) - 1) < scatter + 7 / (8 * expected)
    assert abs(np.mean(pulls)) < NORMAL_TAIL / math.sqrt(trials) + 0.5 / math.sqrt(expected)
    if ellipse is CIRCLE:  # elsewhere the exposure time is not the same all over the aperture
        assert np.std(drizzled_pulls, ddof=1) > 1 + scatter


def native(where: tuple[slice, slice], values: NDArray[np.float64]) -> NativeWeights:
    return NativeWeights(where, values, values > 0)


def uniform_weights(value: float = 1.6, size: int = 50) -> list[NativeWeights]:
    where = (slice(100, 100 + size), slice(200, 200 + size))
    return [native(where, np.full((size, size), value))]


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    # Garwood's central intervals at 68.27 % as Gehrels 1986 (ApJ 303, 336) tabulates them, to the digits given there.
    [(0, 0.0, 1.841), (1, 0.173, 3.300), (4, 2.086, 7.163), (10, 6.891, 14.267)],
)
def test_few_counts_have_the_exact_interval(counts: int, low: float, high: float) -> None:
    image = np.zeros(SHAPE)
    image[110, 210 : 210 + counts] = 1
    error = poisson_error(uniform_weights(), [image], [1000.0])
    assert error == pytest.approx(1.6 / 1000 * (high - low) / 2, abs=1.6 / 1000 * 0.001)


def test_many_counts_have_the_weighted_square_root() -> None:
    rng = np.random.default_rng(4)
    image = np.zeros(SHAPE)
    image[100:150, 200:250] = rng.poisson(0.1, (50, 50))
    flat = np.full(SHAPE, 0.8)
    weights = [native((slice(100, 150), slice(200, 250)), rng.uniform(0.1, 1.6, (50, 50)))]
    variance = np.sum(weights[0].full() ** 2 * image) / (0.8 * 500) ** 2
    assert poisson_error(weights, [image], [500.0], [flat]) == pytest.approx(math.sqrt(variance), rel=1e-12)


def test_two_frames_add_in_quadrature_and_empty_flats_are_left_out() -> None:
    image = np.zeros(SHAPE)
    image[100:150, 200:250] = 1
    one = poisson_error(uniform_weights(), [image], [1000.0])
    assert poisson_error(uniform_weights() * 2, [image] * 2, [1000.0] * 2) == pytest.approx(math.sqrt(2) * one)
    flat = np.ones(SHAPE)
    flat[100:125] = 0
    half = poisson_error(uniform_weights(), [image], [1000.0], [flat])
    assert half == pytest.approx(one / math.sqrt(2))


@pytest.mark.parametrize("bad", [-1.0, np.nan])
def test_what_is_no_count_has_no_error(bad: float) -> None:
    image = np.ones(SHAPE)
    image[110, 210] = bad
    with pytest.raises(ValueError, match="raw counts"):
        poisson_error(uniform_weights(), [image], [1000.0])
