"""Dark templates from a set of dark frames: base L, glow G, hot pixels, line response and template noise.

An SBC dark is ``base x L + amplitude x G`` plus hot pixels: the shape of the glow stays the same while its size grows
40-fold, and the base varies from frame to frame everywhere together. Given each dark's (base, amplitude), the best
linear estimate of L and G is a fixed linear combination of the darks, so a predicted dark is one too, and its
template noise follows from the counts of the darks, without a noise model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.catalog.errors import NothingMatchedError, UsageError
from sbcdark.pipeline.detector.defects import block_sum, find_defects, measure_hot, smooth
from sbcdark.pipeline.detector.regions import BOX, DETECTOR_SHAPE, QUIET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sbcdark.pipeline.detector.defects import HotPixels, Image, Mask

BIN = 32
"""Side of the bins (pixels) in which counts are fitted: 8 counts in a cold 1000 s dark."""

BLOCK = 8
"""Side of the blocks (pixels) of the template noise: a third of the narrower smoothing kernel's sigma."""

SMOOTH_BASE = 48.0
SMOOTH_GLOW = 24.0
"""Gaussian sigma (pixels) of the smoothing of L and of G, the widest that leave-one-out tests of the darks of program
13961 allow (tests/benchmarks/accuracy.py): wider ones begin to flatten the glow, narrower ones add noise."""

BASE_SCATTER = 0.10
"""Relative scatter of the base from frame to frame (darks of program 13961); used with fewer than 3 darks."""

SHAPE_SCATTER = 0.02
"""Relative drift of the dark's shape over 256 pixels (darks of program 13961); used with fewer than 5 darks."""

_CELL = 256
_LIMIT_SIGMA = 5.0  # 300 independent places of the smoothed G: 1e-4 by chance
_GLOW_AREA = (slice(398, 910), slice(302, 814))
# 512 x 512 pixels around the peak of the glow at (x, y) = (558, 654): six times the counts of the box, a more
# sensitive test
_GLOW_CHANCE = 5.7e-7  # detection of a glow at 5 sigma


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class DarkFrame:
    """A dark frame that goes into the templates.

    Attributes
    ----------
    rootname : str
        Root name (IPPPSSOOT).
    counts : ndarray, shape (1024, 1024)
        Raw counts, not flat-fielded.
    exptime_s : float
        Exposure time, s.
    """

    rootname: str
    counts: NDArray[np.integer] | NDArray[np.floating]
    exptime_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Templates:
    """The shape of the dark from a set of darks.

    Gauge: L has mean 1 over the good pixels, so a base is the mean base rate (count/s/pixel); G has mean 1 over
    `regions.BOX`, so an amplitude is the mean glow rate in the box (count/s/pixel). Amplitude zero is the glow of
    the darks with the least glow, and the bases of the darks are uncorrelated with their amplitudes. Predictions
    do not depend on these choices.

    Attributes
    ----------
    base_map, glow_map : ndarray of float64, shape (1024, 1024)
        L and G, dimensionless, including the response of defective lines (0 on dead rows); G is 0 without glow.
    good : ndarray of bool, shape (1024, 1024)
        False on hot pixels and on lines whose response is not 1.
    hot : HotPixels
        The hot pixels.
    row_response, column_response : ndarray of float64, shape (1024,)
        Response of each row and column relative to its neighbours; 1 except for those that differ by 5 sigma. Its
        error is neglected: from a whole row in all darks, it is far below the Poisson error of an aperture's part.
    darks : tuple of str
        Root names.
    bases, amplitudes : ndarray, shape (n,)
        Of each dark, count/s/pixel.
    covariances : ndarray, shape (n, 2, 2)
        Poisson covariance of each dark's (base, amplitude).
    glow : bool
        Whether there are two templates; else the darks show no varying glow, and L is their mean shape.
    noise : ndarray, shape (3, 128, 128)
        Sums over darks and over 8 x 8 blocks of c_j d_j N_j with (c, d) the coefficients of N_j in (L, L), (L, G) and
        (G, G): the covariance of the unsmoothed templates.
    block_good : ndarray, shape (128, 128)
        Number of good pixels in each block.
    shape_scatter : float
        Relative scatter of the darks about base L + amplitude G in cells of 256 x 256 pixels, beyond Poisson noise: the
        shape is not quite constant.
    smoothing : tuple of float
        Gaussian sigma of the smoothing of L and of G, pixels.
    amplitude_limits : tuple of float
        The minimum and maximum amplitude / base for which the dark is positive everywhere.
    contributions : ndarray, shape (2, n)
        Contribution of each dark to the sum of L and of G over the good pixels.
    """

    base_map: Image
    glow_map: Image
    good: Mask
    hot: HotPixels
    row_response: Image
    column_response: Image
    darks: tuple[str, ...]
    bases: Image
    amplitudes: Image
    covariances: Image
    glow: bool
    noise: Image
    block_good: Image
    shape_scatter: float
    smoothing: tuple[float, float]
    amplitude_limits: tuple[float, float]
    contributions: Image

    def weights(self, base: float, amplitude: float) -> dict[str, float]:
        """Return the share of each dark in the counts of a predicted dark over the good pixels.

        They sum to 1. A share may be negative: a warm dark is subtracted from the others if there is little glow.

        Parameters
        ----------
        base, amplitude : float
            Parameters of the prediction, count/s/pixel.
        """
        share = base * self.contributions[0] + amplitude * self.contributions[1]
        total = share.sum()
        even = np.full(len(share), 1.0 / len(share))
        return dict(zip(self.darks, (share / total if total > 0 else even).tolist(), strict=True))

    def prior(self) -> tuple[Image, Image]:
        """Return the mean and the covariance of (base, amplitude) over the darks, beyond their Poisson noise.

        Returns
        -------
        mean : ndarray, shape (2,)
            count/s/pixel.
        covariance : ndarray, shape (2, 2)
            Diagonal; with fewer than 3 darks the base's scatter is `BASE_SCATTER`, that of the amplitude its mean.
        """
        values = np.stack([self.bases, self.amplitudes])
        mean = values.mean(axis=1)
        poisson = np.diagonal(self.covariances, axis1=1, axis2=2).mean(axis=0)
        if len(self.bases) < 3:
            variance = np.array([(BASE_SCATTER * mean[0]) ** 2, mean[1] ** 2]) + poisson
        else:
            # The measured scatter includes Poisson noise; its minimum is a tenth of that of the base, not zero.
            variance = np.maximum(values.var(axis=1, ddof=1) - poisson, (0.1 * BASE_SCATTER * mean[0]) ** 2)
        return mean, np.diag(variance)


class _Seen:
    """The sums of a dark's counts (1024, 1024; 0 on bad pixels) that its templates are made from."""

    def __init__(self, counts: NDArray[np.generic]) -> None:
        self.total = float(counts.sum())
        self.box = float(counts[BOX.slices].sum())
        self.quiet = float(counts[QUIET.slices].sum())
        self.centre = float(counts[_GLOW_AREA].sum())
        self.bins = block_sum(counts, BIN).ravel()
        self.blocks = block_sum(counts, BLOCK)
        self.cells = block_sum(counts, _CELL).ravel()


def _without_spots(counts: NDArray[np.generic]) -> NDArray[np.generic]:
    """Scale down the bins of a dark (1024, 1024) that are far brighter than the brightest quarter, as no dark's are.

    The peak of the glow is twice as bright as the edge of that quarter. A source of 10,000 counts would otherwise take
    the place of the glow.
    """
    bins = block_sum(counts, BIN)
    bright = 3 * float(np.quantile(bins, 0.75))
    most = bright + 8 * np.sqrt(bright) + 8
    if bins.max() <= most:
        return counts
    return np.asarray(counts * np.kron(np.minimum(most / np.maximum(bins, 1.0), 1.0), np.ones((BIN, BIN))))


def _weighted_sum(darks: Sequence[DarkFrame], weights: Image) -> Image:
    """Sum the counts of darks with weights, one dark at a time: together they would take 8 MB each."""
    total = np.zeros(DETECTOR_SHAPE)
    for dark, weight in zip(darks, weights, strict=True):
        total += weight * dark.counts
    return total


def _normalised_convolution(image: Image, good: Mask, sigma: float) -> Image:
    """Smooth an image (0 on bad pixels) per good pixel, on 4 x 4 blocks with linear interpolation between them."""
    from scipy.ndimage import zoom  # noqa: PLC0415  costly to import

    ratio = smooth(block_sum(image, 4), sigma / 4) / np.maximum(smooth(block_sum(good, 4), sigma / 4), 1e-12)
    return np.asarray(zoom(ratio, 4, order=1, mode="nearest", grid_mode=True))


def _has_glow(counts: Image, centre: Image) -> bool:
    """Whether the glow area's share of a dark's counts varies between darks by more than Poisson noise, at 5 sigma."""
    from scipy.special import gammaincc  # noqa: PLC0415  costly to import

    if len(counts) < 2 or centre.sum() == 0:
        return False
    share = centre.sum() / counts.sum()
    chi2 = float(((centre - share * counts) ** 2 / np.maximum(share * (1 - share) * counts, 1.0)).sum())
    return bool(gammaincc((len(counts) - 1) / 2, chi2 / 2) < _GLOW_CHANCE)


def _combination(parameters: Image, weights: Image) -> Image:
    """Coefficients (k, n) of the darks in each template: generalised least squares with the darks' weights."""
    weighted = parameters * weights[:, None]
    return np.asarray(np.linalg.solve(weighted.T @ parameters, weighted.T), dtype=np.float64)


def _factor(binned: Image, exposure: Image, first: Image, weights: Image) -> tuple[Image, Image]:
    """Refine (base, amplitude) (n, 2) of each dark: templates from the darks, then each dark from the templates.

    The steps are alternating Poisson maximum likelihood on bins (n, m); exposure (n, m) is good pixels x seconds.
    The result is free up to a 2 x 2 mixing, which does not change predictions and is fixed by the gauge later.
    """
    parameters = first
    rates = binned / exposure
    fisher = np.empty((len(binned), 2, 2))
    for _ in range(100):
        templates = _combination(parameters, weights) @ rates
        new = np.empty_like(parameters)
        for j, (n, e) in enumerate(zip(binned, exposure, strict=True)):
            design = templates * e
            theta = parameters[j]
            for _ in range(3):
                mean = np.maximum(theta @ design, 0.02 * n.mean() + 1e-9)
                fisher[j] = (design / mean) @ design.T
                try:
                    theta = np.linalg.solve(fisher[j], (design / mean) @ n)
                except np.linalg.LinAlgError as error:
                    raise UsageError("The darks have no common shape.", "Retire one that a source covers.") from error
            new[j] = theta
        scale = new.mean(axis=0) / parameters.mean(axis=0)
        change = np.abs(new / scale - parameters) / np.abs(parameters).max(axis=0)
        parameters = new / scale
        if change.max() < 1e-6:
            break
    return parameters, np.asarray(np.linalg.inv(fisher), dtype=np.float64)


def _gauge(parameters: Image, covariances: Image) -> tuple[Image, Image]:
    """Mix (base, amplitude): amplitude 0 where there is least glow, bases uncorrelated with amplitudes."""
    base, amplitude = parameters.T
    ratio = amplitude / base
    sigma = np.sqrt(covariances[:, 1, 1]) / base
    lowest = int(ratio.argmin())
    low = ratio - ratio[lowest] <= 3 * np.hypot(sigma, sigma[lowest])
    zero = float(np.average(ratio[low], weights=sigma[low] ** -2))
    amplitude = amplitude - zero * base
    slope = 0.0
    if len(base) > 2:  # two points do not show a correlation
        centred = amplitude - amplitude.mean()
        slope = float(centred @ base / (centred @ centred))
    mixing = np.array([[1.0 + slope * zero, -slope], [-zero, 1.0]])
    return parameters @ mixing.T, mixing @ covariances @ mixing.T


def _amplitude_limits(base: Image, glow: Image, variance: Image) -> tuple[float, float]:
    """Find the minimum and maximum amplitude / base for which base + amplitude glow is positive.

    Only pixels whose glow differs from zero by `_LIMIT_SIGMA` set a limit; variance (128, 128) is that of the glow.
    """
    least = _LIMIT_SIGMA * np.kron(np.sqrt(variance), np.ones((BLOCK, BLOCK)))
    up, down = glow > least, glow < -least
    low = float(-(base[up] / glow[up]).min()) if up.any() else 0.0
    return low, float(-(base[down] / glow[down]).max()) if down.any() else np.inf


def _shape_scatter(seen: Image, mean: Image, rank: int) -> float:
    """Relative scatter s of counts (n darks, m cells) about their model, from chi2 = dof + s^2 sum(mean) dof/(n m)."""
    darks, cells = seen.shape
    if darks < 5:
        return SHAPE_SCATTER
    freedom = (darks - rank) * (cells - rank)
    mean = np.maximum(mean, 1.0)
    excess = float(((seen - mean) ** 2 / mean).sum()) - freedom
    return float(np.sqrt(max(excess, 0.0) * seen.size / freedom / mean.sum()))


def _check(darks: Sequence[DarkFrame]) -> None:
    """Raise the errors of `build_templates`."""
    if not darks:
        raise NothingMatchedError("The dark model needs at least one dark.", "Relax the match, or ingest more darks.")
    for dark in darks:
        if dark.counts.shape != DETECTOR_SHAPE or not dark.exptime_s > 0:
            raise UsageError(f"Dark {dark.rootname} is not a full frame of {DETECTOR_SHAPE} with an exposure time.")


def build_templates(
    darks: Sequence[DarkFrame], *, smoothing: tuple[float, float] = (SMOOTH_BASE, SMOOTH_GLOW)
) -> Templates:
    """Build the templates of the dark from a set of dark frames.

    Each dark's (base, amplitude) starts from contrast = rate(box) - rate(quiet) and the quiet rate, and is refined by
    Poisson maximum likelihood on 32 x 32-pixel bins. The templates are then the generalised least squares solution of
    counts_j / time_j = base_j L + amplitude_j G, with a weight of time_j / rate_j, smoothed by a Gaussian with a
    normalised convolution over good pixels. A single template (the scaled mean) is made instead if the darks show no
    varying glow: if the fraction of the counts in the centre of the glow (512 x 512 pixels) is constant to within
    5 sigma of Poisson noise (a chi-square test with chance 5.7e-7), or if there is only one dark. Noise is thus never
    fitted as a glow.

    Parameters
    ----------
    darks : sequence of DarkFrame
        One or more.
    smoothing : tuple of float
        Gaussian sigma of L and of G, pixels; 0 leaves a template unsmoothed.

    Returns
    -------
    Templates

    Raises
    ------
    NothingMatchedError
        There are no darks, or one has no counts.
    UsageError
        A dark has another shape or no exposure time.
    """
    _check(darks)
    times = np.array([dark.exptime_s for dark in darks])
    hot, row, column = find_defects(_weighted_sum(darks, np.ones(len(darks))))
    good = ~hot & (row == 1)[:, None] & (column == 1)
    seen = [_Seen(_without_spots(dark.counts * good)) for dark in darks]
    sums = np.array([one.total for one in seen])
    if not np.all(sums > 0):
        raise NothingMatchedError("A dark without any counts cannot be used.", "Retire it (sbcdark retire).")

    glow = _has_glow(sums, np.array([one.centre for one in seen]))
    gls = times**2 / sums
    pixels = block_sum(good, BIN).ravel()
    filled = pixels > 0
    binned = np.array([one.bins[filled] for one in seen])
    exposure = times[:, None] * pixels[filled]
    if glow:
        quiet = np.array([one.quiet for one in seen]) / good[QUIET.slices].sum() / times
        boxes = np.array([one.box for one in seen])
        first = np.stack([quiet, boxes / good[BOX.slices].sum() / times - quiet], axis=1)
        parameters, covariances = _gauge(*_factor(binned, exposure, first, gls))
    else:
        parameters = (sums / good.sum() / times)[:, None]
        covariances = np.zeros((len(darks), 2, 2))
        covariances[:, 0, 0] = sums / (good.sum() * times) ** 2
    coefficients = _combination(parameters, gls) / times

    maps = []
    for combination, sigma in zip(coefficients, smoothing, strict=False):
        raw = _weighted_sum(darks, combination) * good
        maps.append(_normalised_convolution(raw, good, sigma) if sigma else raw)
    norms = np.array([maps[0][good].mean(), *(m[BOX.slices][good[BOX.slices]].mean() for m in maps[1:])])
    coefficients /= norms[:, None]
    maps = [m / s for m, s in zip(maps, norms, strict=True)]
    if not glow:
        coefficients = np.vstack([coefficients, np.zeros(len(darks))])
        maps.append(np.zeros(DETECTOR_SHAPE))
        parameters = np.hstack([parameters, np.zeros_like(parameters)])
        norms = np.append(norms, 1.0)
    parameters = parameters * norms
    covariances = covariances * np.outer(norms, norms)
    blocks = np.array([one.blocks for one in seen])
    noise = np.array([np.tensordot(coefficients[i] * coefficients[j], blocks, 1) for i, j in ((0, 0), (0, 1), (1, 1))])

    base_map, glow_map = (np.outer(row, column) * m for m in maps)
    at_hot = parameters @ np.stack([base_map[hot], glow_map[hot]])
    cells = np.array([block_sum(m * good, _CELL).ravel() for m in (base_map, glow_map)])
    scatter = _shape_scatter(np.array([one.cells for one in seen]), parameters @ cells * times[:, None], 1 + glow)
    limits = (-np.inf, np.inf)
    if all(smoothing):
        sigma = smoothing[1] / BLOCK
        # The square of a normalised Gaussian is one of sigma / sqrt(2), over 4 pi sigma^2.
        spread = smooth(noise[2], sigma / np.sqrt(2)) / (4 * np.pi * sigma**2)
        limits = _amplitude_limits(
            maps[0], maps[1], spread / np.maximum(smooth(block_sum(good, BLOCK), sigma), 1e-12) ** 2
        )
    return Templates(
        base_map, glow_map, good, measure_hot(hot, [dark.counts for dark in darks], at_hot, times), row, column,
        tuple(d.rootname for d in darks), parameters[:, 0], parameters[:, 1], covariances, glow,
        noise, block_sum(good, BLOCK), scatter, smoothing, limits, coefficients * sums,
    )  # fmt: skip
