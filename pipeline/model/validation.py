"""The leave-one-out test: each dark in turn is a blank science frame that the others predict.

The truth is the frame's own counts in random apertures, with hot pixels. A uniform sky can be added as Poisson
counts; the model then predicts dark and sky together, as they are subtracted from a source.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.detector.defects import block_sum
from sbcdark.pipeline.detector.regions import BOX, DETECTOR_SHAPE
from sbcdark.pipeline.model.combination import Exposure, combine_darks
from sbcdark.pipeline.model.dark_error import aperture_dark
from sbcdark.pipeline.model.dark_fit import fit_dark
from sbcdark.pipeline.model.templates import BIN, DarkFrame, build_templates
from sbcdark.pipeline.selection.rules import Combine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from sbcdark.pipeline.detector.defects import Image
    from sbcdark.pipeline.model.templates import Templates

MODEL = "model"
SCALED = "A x dark + K"
PUBLISHED = "nearest in box sum"

WARM_BOX_RATE = 1.23e-5
"""Minimum rate in the box, count/s/pixel, of a dark with glow: 492 counts in 1000 s."""

_SMALLEST, _LARGEST = 500, 20_000  # native pixels of an aperture
_CANDIDATES = 3  # number of darks nearest in box rate for A x dark + K
_DRIFT_MOST = 0.04
"""Twice the drift of the darks of program 13961, where the model is within 10 % of the photon limit."""

_WIDTH_MOST = 1.08
"""Maximum width of the pulls for valid errors: 4 % above the average limit of the model's tests."""


@dataclass(frozen=True, slots=True)
class ValidationRow:
    """The accuracy of one method for some frames at one level of sky.

    Attributes
    ----------
    method, frames : str
        The method, and the frames: warm, cold or all.
    sky_count_s_pix : float
        The sky added, count/s/pixel.
    number : int
        Number of frames.
    rms, rms_err : float
        Root of the mean of (predicted - true)^2 / expected counts: 1 is the photon limit. Its standard error comes from
        the scatter between frames, as the apertures of one frame share a fit.
    bias_count : float
        Mean of predicted - true, counts.
    pull, pull_err : float or None
        Mean of (predicted - true) / error, with the counting noise of the truth; None for a method without errors.
    width, width_err : float or None
        Root of the mean square of the pulls.
    """

    method: str
    frames: str
    sky_count_s_pix: float
    number: int
    rms: float
    rms_err: float
    bias_count: float
    pull: float | None
    pull_err: float | None
    width: float | None
    width_err: float | None


@dataclass(frozen=True, slots=True)
class Validation:
    """A leave-one-out test.

    Attributes
    ----------
    rows : tuple of ValidationRow
    drift : float
        Relative drift of the dark's shape over 256 pixels from dark to dark, beyond Poisson noise.
    groups : tuple of str
        The groups whose darks were predicted from the other groups' (years, say); empty if each dark was left out
        singly.
    factor : float
        Width of the model's pulls over all frames and levels of sky: the factor by which the stated errors are too
        small, or too large if below 1.
    holds : bool
        Whether the stated errors hold.
    """

    rows: tuple[ValidationRow, ...]
    drift: float
    groups: tuple[str, ...]
    factor: float
    holds: bool

    @property
    def verdict(self) -> str:
        """Whether the stated errors hold for these darks, and whether the dark keeps its shape."""
        if self.holds:
            text = f"For these darks the stated errors hold: the pulls have a width of {self.factor:.2f}."
        else:
            text = f"For these darks the stated errors do not hold: they are {self.factor:.2f} times too small."
        if self.drift > _DRIFT_MOST:
            worst = max(row.rms for row in self.rows if row.method == MODEL)
            text += (
                f" The dark does not keep its shape ({self.drift:.1%} from frame to frame): errors at the photon limit "
                f"do not hold, they are up to {worst:.2f} times too small."
            )
            if self.holds:
                text += " The stated errors include the difference."
        return text


def random_apertures(number: int, seed: int) -> list[NDArray[np.bool_]]:
    """Return elliptical apertures of 500 to 20,000 native pixels, uniform in log area, anywhere on the detector.

    Parameters
    ----------
    number : int
        Number of apertures.
    seed : int
        Seed of the random numbers.

    Returns
    -------
    list of ndarray of bool, shape (1024, 1024)
        Each with at least 500 pixels on the detector.
    """
    rng = np.random.default_rng(seed)
    y, x = np.indices(DETECTOR_SHAPE, dtype=np.float64)
    apertures: list[NDArray[np.bool_]] = []
    while len(apertures) < number:
        area, ratio = np.exp(rng.uniform(np.log(_SMALLEST), np.log(_LARGEST))), rng.uniform(0.3, 1.0)
        major, angle = np.sqrt(area / np.pi / ratio), rng.uniform(0, np.pi)
        dx, dy = x - rng.uniform(0, 1023), y - rng.uniform(0, 1023)
        along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        inside = (along / major) ** 2 + (across / major / ratio) ** 2 <= 1
        if inside.sum() >= _SMALLEST:
            apertures.append(inside)
    return apertures


def validate(
    darks: Sequence[DarkFrame],
    *,
    skies: Sequence[float] = (0.0,),
    apertures: int = 40,
    seed: int = 1,
    groups: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Validation:
    """Predict each dark from the others and compare with its own counts.

    Parameters
    ----------
    darks : sequence of DarkFrame
        The darks.
    skies : sequence of float
        Levels of sky to add, count/s/pixel.
    apertures : int
        Random apertures per frame.
    seed : int
        Seed of the apertures and of the sky counts.
    groups : mapping of str to str, optional
        The group of each dark by root name (its year, say). With two groups or more, a dark is predicted only from the
        darks of the other groups.
    progress : callable, optional
        Called with the number of frames done and their total.

    Raises
    ------
    UsageError
        There are fewer than three darks.
    """
    if len(darks) < 3:
        raise UsageError(f"A leave-one-out test needs 3 darks; only {len(darks)} can be used.", "Ingest more darks.")
    shapes = random_apertures(apertures, seed)
    rng = np.random.default_rng(seed)
    names = sorted({groups[dark.rootname] for dark in darks}) if groups else []
    of_group = dict(groups) if groups and len(names) > 1 else None
    warm = {dark.rootname: _box_rate(dark) >= WARM_BOX_RATE for dark in darks}
    found: dict[tuple[str, float, bool], list[Image]] = {}
    for number, dark in enumerate(darks, 1):
        others = [
            one
            for one in darks
            if one is not dark and (of_group is None or of_group[one.rootname] != of_group[dark.rootname])
        ]
        templates = build_templates(others)
        for sky in skies:
            counts = dark.counts + rng.poisson(sky * dark.exptime_s, DETECTOR_SHAPE) if sky > 0 else dark.counts
            for method, values in _predicted(dark, counts, sky, others, templates, shapes):
                found.setdefault((method, sky, warm[dark.rootname]), []).append(values)
        if progress is not None:
            progress(number, len(darks))
    rows = [
        _row(method, "warm" if is_warm else "cold", sky, values)
        for (method, sky, is_warm), values in sorted(found.items(), key=lambda item: (item[0][1], item[0][0]))
    ]
    pulls = [values[2] for (method, _, _), frames in found.items() if method == MODEL for values in frames]
    squares = np.array([float((pull**2).mean()) for pull in pulls])
    factor = math.sqrt(float(squares.mean()))
    error = float(squares.std(ddof=1)) / math.sqrt(len(squares)) / 2 / factor
    drift = build_templates(list(darks)).shape_scatter
    return Validation(tuple(rows), drift, tuple(names if of_group else ()), factor, factor <= _WIDTH_MOST + 2 * error)


def _box_rate(dark: DarkFrame) -> float:
    return float(dark.counts[BOX.slices].mean()) / dark.exptime_s


def _predicted(
    dark: DarkFrame,
    counts: NDArray[np.generic],
    sky: float,
    others: Sequence[DarkFrame],
    templates: Templates,
    shapes: Sequence[NDArray[np.bool_]],
) -> Iterator[tuple[str, Image]]:
    """Yield each method's (predicted - true, expected, pull) by aperture, shape (3, n); NaN where there is no error."""
    time = dark.exptime_s
    model, scaled, published = [], [], []
    by_box = sorted(others, key=lambda one: abs(_box_rate(one) - float(counts[BOX.slices].mean()) / time))
    for shape in shapes:
        true = float(counts[shape].sum())
        fit = fit_dark(counts, time, templates, ~shape, sky=sky > 0)
        both = aperture_dark([(fit, shape.astype(np.float64))], templates, include_sky=True)
        # Hot pixels that are subtracted from themselves do not scatter.
        own = fit.hot_rate * fit.hot_own * shape[fit.hot_y, fit.hot_x]
        expected = max((both.rate - float(own.sum())) * time, 1.0)
        difference = both.rate * time - true
        model.append((difference, expected, difference / math.sqrt((both.error * time) ** 2 + expected)))
        published.append(_nearest(dark, counts, by_box[0], shape, expected))
        scaled.append(
            (_scaled_dark(counts, by_box[:_CANDIDATES], templates.good & ~shape, shape) - true, expected, math.nan)
        )
    for method, values in ((MODEL, model), (SCALED, scaled), (PUBLISHED, published)):
        yield method, np.array(values).T


def _nearest(
    dark: DarkFrame, counts: NDArray[np.generic], nearest: DarkFrame, shape: NDArray[np.bool_], expected: float
) -> tuple[float, float, float]:
    """Return the same for the dark nearest in box sum, with the error that `--combine nearest` states."""
    time, weights = dark.exptime_s, shape.astype(np.float64)
    exposure = Exposure(dark.rootname, counts, time, ~shape, None, sky=False, mjd=0.0, temperature_c=0.0)
    estimate = combine_darks(Combine.NEAREST, [exposure], [[nearest]])
    difference = (float(np.vdot(estimate.exposures[0].rate, weights)) - counts[shape].sum() / time) * time
    return difference, expected, difference / math.sqrt((estimate.aperture_error([weights]) * time) ** 2 + expected)


def _scaled_dark(
    counts: NDArray[np.generic], candidates: Sequence[DarkFrame], use: NDArray[np.bool_], inside: NDArray[np.bool_]
) -> float:
    """Predict counts by A x dark + K with the dark of minimum chi-square, as other groups do."""
    seen, pixels = block_sum(counts * use, BIN).ravel(), block_sum(use, BIN).ravel()
    filled = pixels > 0
    best = (math.inf, 0.0)
    for dark in candidates:
        design = np.array([block_sum(dark.counts * use, BIN).ravel()[filled], pixels[filled]])
        weights = 1 / np.maximum(seen[filled], 1.0)
        scale, level = np.linalg.solve((design * weights) @ design.T, (design * weights) @ seen[filled])
        misfit = float((weights * (seen[filled] - scale * design[0] - level * design[1]) ** 2).sum())
        if misfit < best[0]:
            best = (misfit, scale * float(dark.counts[inside].sum()) + level * float(inside.sum()))
    return best[1]


def _row(method: str, frames: str, sky: float, values: Sequence[Image]) -> ValidationRow:
    stacked = np.array(values)  # (frames, 3, apertures)
    difference, expected, pull = stacked[:, 0], stacked[:, 1], stacked[:, 2]
    number = len(stacked)
    ratio = difference**2 / expected
    rms = math.sqrt(float(ratio.mean()))
    has_errors = bool(np.isfinite(pull).all())
    width = math.sqrt(float((pull**2).mean())) if has_errors else None
    return ValidationRow(
        method, frames, sky, number,
        rms, _standard_error(ratio) / (2 * rms), float(difference.mean()),
        float(pull.mean()) if has_errors else None,
        _standard_error(pull) if has_errors else None,
        width,
        None if width is None else _standard_error(pull**2) / (2 * width),
    )  # fmt: skip


def _standard_error(values: Image) -> float:
    """Return the standard error of a mean over (frames, apertures), from the scatter between frames."""
    if len(values) < 2:
        return math.nan
    return float(values.mean(axis=1).std(ddof=1)) / math.sqrt(len(values))
