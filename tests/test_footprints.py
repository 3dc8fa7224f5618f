"""Native weights: they are the drizzle's adjoint, and errors from them have the right size."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from sbcdark.pipeline.apertures import PixelEllipse, aperture_sum, overlap
from sbcdark.pipeline.drizzle import Drizzler, dropped
from sbcdark.pipeline.footprints import (
    NativeFrame,
    NativeWeights,
    _OutputToNative,
    area_factor,
    native_pixels,
    native_weights,
    poisson_error,
    weighted_sum,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PAIR = ("jcmc11ctq", "jcmc11e6q")
SHAPE = (1024, 1024)
NORMAL_TAIL = 4.5  # standard deviations: 7e-6, so that all comparisons here together fail once in a thousand runs


@dataclass(frozen=True)
class Pair:
    """Two real-format exposures and the grid on which they are drizzled."""

    frames: tuple[NativeFrame, ...]
    counts: tuple[NDArray[np.float64], ...]
    product_wcs: WCS

    @property
    def exptimes(self) -> list[float]:
        """Exposure times, s."""
        return [frame.exptime_s for frame in self.frames]

    @property
    def rates(self) -> list[NDArray[np.float64]]:
        """Count/s per native pixel."""
        return [counts / frame.exptime_s for counts, frame in zip(self.counts, self.frames, strict=True)]


@pytest.fixture(scope="session")
def pair(shared_data: Path) -> Pair:
    frames, counts = [], []
    for name in PAIR:
        with fits.open(shared_data / "science_13655_standin" / f"{name}_flt.fits.gz") as hdus:
            wcs = WCS(hdus["SCI"].header, hdus)
            frames.append(NativeFrame(wcs, ~dropped(hdus["DQ"].data), hdus[0].header["EXPTIME"]))
            counts.append(hdus["SCI"].data.astype(np.float64))
    product = WCS(naxis=2)
    product.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    product.wcs.crval = [165.5588363249505, 38.04324496034166]  # the grid that AstroDrizzle chooses for the pair
    product.wcs.crpix = [705.5, 685.5]
    product.wcs.cd = [[-5.0777592335575e-06, -4.7372639580243e-06], [-4.7372639580243e-06, 5.07775923355751e-06]]
    product.array_shape = (1371, 1411)
    return Pair(tuple(frames), tuple(counts), product)


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


def corners_on_product(pair: Pair, frame: NativeFrame, x: float, y: float) -> NDArray[np.float64]:
    """Return a native pixel's corners on the product, shape (4, 2)."""
    corners = [(x - 0.5, y - 0.5), (x + 0.5, y - 0.5), (x + 0.5, y + 0.5), (x - 0.5, y + 0.5)]
    out: NDArray[np.float64] = pair.product_wcs.all_world2pix(frame.wcs.all_pix2world(corners, 0), 0)
    return out


def shoelace(polygon: NDArray[np.float64]) -> float:
    """Return the area of a polygon of shape (n, 2)."""
    x, y = polygon.T
    return 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


def exact_weights(pair: Pair, ellipse: PixelEllipse) -> list[NDArray[np.float64]]:
    """Compute V by clipping every native pixel against every output pixel: the drizzle's definition, slow and plain."""
    found = overlap(ellipse, pair.product_wcs.array_shape)
    assert found is not None
    (rows, columns), mask = found
    parts: list[dict[tuple[int, int, int, int], float]] = []
    denominator = np.zeros(mask.shape)
    for frame in pair.frames:
        ends = np.array([columns.start, columns.stop]), np.array([rows.start, rows.stop])
        x, y = native_pixels(pair.product_wcs, frame.wcs, *ends)
        part = {}
        for py, px in itertools.product(*(range(int(v.min()) - 4, int(v.max()) + 5) for v in (y, x))):
            if not frame.good[py, px]:
                continue
            quad = corners_on_product(pair, frame, px, py)
            (low_x, low_y), (high_x, high_y) = quad.min(axis=0).astype(int) - 1, quad.max(axis=0).astype(int) + 2
            touched_y = range(max(rows.start, low_y), min(rows.stop, high_y))
            touched_x = range(max(columns.start, low_x), min(columns.stop, high_x))
            for oy, ox in itertools.product(touched_y, touched_x):
                weight = frame.exptime_s * clipped_area([(u, v) for u, v in quad], ox, oy) / shoelace(quad)
                part[py, px, oy - rows.start, ox - columns.start] = weight
                denominator[oy - rows.start, ox - columns.start] += weight
        parts.append(part)
    weights = []
    for part in parts:
        weight_image = np.zeros(SHAPE)
        for (py, px, oy, ox), value in part.items():
            weight_image[py, px] += mask[oy, ox] * value / denominator[oy, ox]
        weights.append(weight_image)
    return weights


def sampling_error(subsamples: int) -> float:
    """Return the relative error of one native pixel's weight: see `native_weights`."""
    return float(0.374 / subsamples**0.75)


def test_weights_are_those_of_the_drizzle_by_definition(pair: Pair) -> None:
    # Dead rows cross the second aperture in one of the frames.
    for ellipse in (PixelEllipse(701.3, 680.8, 6.0, 3.5, 20.0, "e"), PixelEllipse(700.0, 780.0, 6.0, 6.0, 0.0, "dead")):
        for many in (34, 610):
            got = native_weights(ellipse, pair.product_wcs, pair.frames, many)
            for mine, exact in zip(got, exact_weights(pair, ellipse), strict=True):
                difference = mine.full() - exact
                used = exact > 0
                rms = math.sqrt(float(np.mean(difference[used] ** 2)))
                # Weights are at most about the pixel's area, 1.6 output pixels, times the frame's share of the time.
                assert rms < 1.6 * sampling_error(many)
                assert np.abs(difference).max() < 1.6 * NORMAL_TAIL * sampling_error(many)


def test_a_flat_image_sums_to_the_covered_area(pair: Pair) -> None:
    ellipse = PixelEllipse(705.0, 685.0, 150.0, 60.0, 30.0, "e")
    weights = native_weights(ellipse, pair.product_wcs, pair.frames)
    # Weights are shares that add up to the ellipse's own pixels: exact but for rounding.
    flat = weighted_sum(weights, [np.full(SHAPE, 3.0)] * 2)
    assert flat == pytest.approx(3 * math.pi * 150 * 60, rel=1e-9)


def test_weights_spare_what_the_drizzle_drops(pair: Pair) -> None:
    ellipse = PixelEllipse(700.0, 780.0, 60.0, 60.0, 0.0, "over the dead rows")
    weights = native_weights(ellipse, pair.product_wcs, pair.frames)
    rates = [np.where(frame.good, 1.0, np.nan) for frame in pair.frames]
    for weight, frame in zip(weights, pair.frames, strict=True):
        assert weight.values.shape == tuple(s.stop - s.start for s in weight.where)
        whole = weight.full()
        assert whole.shape == SHAPE
        assert not whole[~frame.good].any()
        assert not frame.good[weight.where].all()  # the test looks at a place with dropped pixels
    # The frames' dead rows lie apart, so that every output pixel has one good frame.
    assert weighted_sum(weights, rates) == pytest.approx(math.pi * 3600, rel=1e-9)


def test_an_aperture_off_one_frame_or_off_all(pair: Pair) -> None:
    product = pair.product_wcs
    far = native_weights(PixelEllipse(1405.0, 5.0, 3.0, 3.0, 0.0, "corner"), product, pair.frames)
    assert [weight.values.size for weight in far] == [0, 0]
    assert poisson_error(far, pair.counts, pair.exptimes) == 0.0
    off = native_weights(PixelEllipse(-500.0, 5.0, 3.0, 3.0, 0.0, "off"), product, pair.frames)
    assert weighted_sum(off, pair.rates) == 0.0
    # Near the right edge only one of the two dithered frames is there.
    edge = native_weights(PixelEllipse(1385.0, 700.0, 4.0, 4.0, 0.0, "edge"), product, pair.frames)
    assert sorted(weight.values.size > 0 for weight in edge) == [False, True]


def test_the_spline_is_the_wcs(pair: Pair) -> None:
    rng = np.random.default_rng(2)
    rows, columns = np.sort(rng.uniform(0, 1370, 150)), np.sort(rng.uniform(0, 1410, 150))
    x, y = (grid.ravel() for grid in np.meshgrid(columns, rows))
    for frame in pair.frames:
        spline = _OutputToNative(pair.product_wcs, frame.wcs, (slice(0, 1371), slice(0, 1411)))
        native = native_pixels(pair.product_wcs, frame.wcs, x, y)
        inside = (np.abs(native[0] - 511.5) < 512) & (np.abs(native[1] - 511.5) < 512)
        assert inside.sum() > 10_000
        for ours, true in zip(spline(rows, columns), native, strict=True):
            assert np.abs(ours.ravel() - true)[inside].max() < 0.001
        # The WCS there and back again is the same position.
        back = pair.product_wcs.all_world2pix(*frame.wcs.all_pix2world(*native, 0), 0)
        assert np.abs(np.array(back) - np.array([x, y]))[:, inside].max() < 0.001


def test_area_factor_is_that_of_the_sky(pair: Pair) -> None:
    wcs = pair.frames[0].wcs
    for x, y in ((511.0, 511.0), (10.0, 1000.0)):
        quad = shoelace(corners_on_product(pair, pair.frames[0], x, y))
        # The chord and the derivative differ by the distortion's third order: 1e-8 of a pixel.
        assert area_factor(wcs, x, y) == pytest.approx(quad, rel=1e-6)
    # Published: native pixels of 0.0336 by 0.0297 arcsec, given to three digits; their axes lie 84 degrees apart.
    assert area_factor(wcs, 511.0, 511.0) == pytest.approx(0.0336 * 0.0301 / 0.025**2, rel=0.01)
    assert area_factor(wcs, 511.0, 511.0, 0.05) == pytest.approx(area_factor(wcs, 511.0, 511.0) / 4, rel=1e-12)


def expected_counts(pair: Pair, rate: float) -> list[NDArray[np.float64]]:
    """Return expected native counts: a source's wing, and a uniform rate (count/s/pixel)."""
    y, x = np.mgrid[0:1024, 0:1024]
    shape = 1 + 4 * np.exp(-((x - 530) ** 2 + (y - 515) ** 2) / (2 * 40.0**2))
    return [rate * shape * frame.exptime_s for frame in pair.frames]


@pytest.mark.parametrize(
    "ellipse",
    [
        PixelEllipse(705.0, 685.0, 60.0, 60.0, 0.0, "source"),
        PixelEllipse(1340.0, 700.0, 70.0, 50.0, 90.0, "over the edge of the overlap"),
        PixelEllipse(700.0, 780.0, 60.0, 30.0, 20.0, "over the dead rows"),
    ],
    ids=lambda ellipse: ellipse.label,
)
def test_pulls_have_width_one_where_drizzled_counts_would_not(pair: Pair, ellipse: PixelEllipse) -> None:
    trials = 1000
    rng = np.random.default_rng(3)
    weights = native_weights(ellipse, pair.product_wcs, pair.frames)
    flat = 1 + 0.2 * np.sin(np.arange(1024) / 40.0) * np.ones(SHAPE)
    means = [flat * mean for mean in expected_counts(pair, 1e-5)]
    # S = sum(V r) = sum(V / (flat t) N): weights on the counts themselves.
    on_counts = [
        NativeWeights(weight.where, weight.values / flat[weight.where] / t)
        for weight, t in zip(weights, pair.exptimes, strict=True)
    ]
    true = weighted_sum(on_counts, means)
    pulls, drizzled_pulls = np.empty(trials), np.empty(trials)
    counts = [np.zeros(SHAPE) for _ in means]
    for trial in range(trials):
        for frame_counts, mean, weight in zip(counts, means, weights, strict=True):
            frame_counts[weight.where] = rng.poisson(mean[weight.where])
        total = weighted_sum(on_counts, counts)
        pulls[trial] = (total - true) / poisson_error(weights, counts, pair.exptimes, [flat, flat])
        drizzled_pulls[trial] = (total - true) / math.sqrt(total / sum(pair.exptimes))
    # A sample's standard deviation scatters by sigma / sqrt(2 (n - 1)), its mean by sigma / sqrt(n). With the error
    # taken from the counts N themselves, (N - mu) / sqrt(N) leans by -1 / (2 sqrt(mu)) and widens by 7 / (8 mu).
    expected = sum(float(np.sum(mean[w.where] * (w.values > 0))) for mean, w in zip(means, weights, strict=True))
    scatter = NORMAL_TAIL / math.sqrt(2 * (trials - 1))
    assert abs(np.std(pulls, ddof=1) - 1) < scatter + 7 / (8 * expected)
    assert abs(np.mean(pulls)) < NORMAL_TAIL / math.sqrt(trials) + 0.5 / math.sqrt(expected)
    if ellipse.label == "source":  # elsewhere the exposure time is not the same all over the aperture
        assert np.std(drizzled_pulls, ddof=1) > 1 + scatter


def uniform_weights(value: float = 1.6, size: int = 50) -> list[NativeWeights]:
    where = (slice(100, 100 + size), slice(200, 200 + size))
    return [NativeWeights(where, np.full((size, size), value))]


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
    weights = [NativeWeights((slice(100, 150), slice(200, 250)), rng.uniform(0.1, 1.6, (50, 50)))]
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


def test_refuses_what_cannot_be_weighted(pair: Pair) -> None:
    ellipse = PixelEllipse(705.0, 685.0, 6.0, 6.0, 0.0, "e")
    with pytest.raises(ValueError, match="Fibonacci"):
        native_weights(ellipse, pair.product_wcs, pair.frames, 4)
    with pytest.raises(ValueError, match="SBC exposure"):
        native_weights(ellipse, pair.product_wcs, [NativeFrame(pair.frames[0].wcs, pair.frames[0].good, 0.0)])
    sizeless = pair.product_wcs.deepcopy()
    sizeless.array_shape = None
    with pytest.raises(ValueError, match="size"):
        native_weights(ellipse, sizeless, pair.frames)


def drizzled(drizzler: Drizzler, frames: list[Path], folder: Path, **options: Any) -> tuple[NDArray[np.float32], WCS]:
    product = drizzler.drizzle(frames, folder / "drz.fits", working_folder=folder, log=folder / "log", **options)
    with fits.open(product.path) as hdus:
        return hdus["SCI"].data.copy(), WCS(hdus["SCI"].header)


def write_pair(shared_data: Path, counts: list[NDArray[np.float64]], folder: Path) -> list[Path]:
    """Write the pair's FLTs with other counts."""
    paths = [folder / f"{name}_flt.fits" for name in PAIR]
    for path, frame_counts in zip(paths, counts, strict=True):
        with fits.open(shared_data / "science_13655_standin" / f"{path.name}.gz") as hdus:
            hdus["SCI"].data = frame_counts.astype(np.float32)
            hdus.writeto(path, overwrite=True)
    return paths


@pytest.mark.slow
def test_agrees_with_astrodrizzle_and_so_do_the_errors(pair: Pair, shared_data: Path, tmp_path: Path) -> None:
    """Poisson exposures through AstroDrizzle: each sum is the weighted sum of native rates, pulls have width 1."""
    rng = np.random.default_rng(5)
    spots = [
        PixelEllipse(float(x), float(y), 24.0, 16.0, float(x + y), "e")
        for x in range(210, 1230, 90)
        for y in range(210, 1190, 90)
    ]
    # The right edge of one frame, and the edges of both.
    edges = [PixelEllipse(x, y, 40.0, 30.0, 30.0, "edge") for x, y in ((1385.0, 700.0), (30.0, 650.0), (700.0, 40.0))]
    pulls, drizzled_pulls, agreement = [], [], []
    with Drizzler() as drizzler:
        for trial in range(4):
            means = expected_counts(pair, 4e-5)
            counts = [rng.poisson(mean).astype(np.float64) for mean in means]
            image, wcs = drizzled(drizzler, write_pair(shared_data, counts, tmp_path), tmp_path)
            if trial == 0:
                weights = [native_weights(spot, wcs, pair.frames) for spot in spots + edges]
                compared = [*range(0, len(spots), 8), *range(len(spots), len(spots + edges))]
                finer = {i: native_weights((spots + edges)[i], wcs, pair.frames, 610) for i in compared}
            rates = [n / t for n, t in zip(counts, pair.exptimes, strict=True)]
            true_rates = [mean / t for mean, t in zip(means, pair.exptimes, strict=True)]
            for i, spot in enumerate(spots + edges):
                total = aperture_sum(image, spot).total
                if i in finer:
                    # V's sampling error counts once for each native count that it weights.
                    variance = sum(
                        float(np.sum((few.full() - many.full()) ** 2 * n)) / t**2
                        for few, many, n, t in zip(weights[i], finer[i], counts, pair.exptimes, strict=True)
                    )
                    agreement.append((total - weighted_sum(weights[i], rates)) / math.sqrt(variance))
                if spot.label != "edge":
                    difference = total - weighted_sum(weights[i], true_rates)
                    pulls.append(difference / poisson_error(weights[i], counts, pair.exptimes))
                    drizzled_pulls.append(difference / math.sqrt(total / sum(pair.exptimes)))
    # All but the reference's own sampling error (a ninth of ours) and AstroDrizzle's float32 is in the variance.
    assert np.sqrt(np.mean(np.square(agreement))) < 1 + NORMAL_TAIL / math.sqrt(2 * len(agreement))
    assert np.abs(agreement).max() < NORMAL_TAIL
    # The spots lie apart: independent pulls.
    scatter = NORMAL_TAIL / math.sqrt(2 * (len(pulls) - 1))
    assert abs(np.std(pulls, ddof=1) - 1) < scatter
    assert np.std(drizzled_pulls, ddof=1) > 1 + scatter


@pytest.mark.slow
def test_another_scale_scales_the_rates_as_astrodrizzle_does(pair: Pair, shared_data: Path, tmp_path: Path) -> None:
    paths = [shared_data / "science_13655_standin" / f"{name}_flt.fits.gz" for name in PAIR]
    with Drizzler() as drizzler:
        image, wcs = drizzled(drizzler, paths, tmp_path, scale_arcsec=0.05)
    ellipse = PixelEllipse(352.0, 342.0, 40.0, 40.0, 0.0, "e")
    weights = native_weights(ellipse, wcs, pair.frames)
    difference = aperture_sum(image, ellipse).total - weighted_sum(weights, pair.rates)
    # Pixels twice as wide have a quarter of the points in each native pixel.
    error = poisson_error(weights, pair.counts, pair.exptimes)
    assert abs(difference) < NORMAL_TAIL * sampling_error(34) * 4**0.75 * error
