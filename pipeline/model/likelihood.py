"""Poisson likelihood of binned counts under base x L + amplitude x G + sky x flat, with Gaussian priors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sbcdark.pipeline.detector.defects import Image
    from sbcdark.pipeline.model.templates import Templates


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """The possible change of a dark's shape relative to the templates, as nuisance parameters of its fit.

    Attributes
    ----------
    gradients : ndarray, shape (k, m)
        Relative change of the dark in each bin per unit of each parameter.
    scatter : float
        Standard deviation of each from frame to frame.
    rate : float
        A typical dark, count/s/pixel: the unit that scales the nuisance parameters to the size of the others.
    """

    gradients: Image
    scatter: float
    rate: float


def _within_limits(theta: Image, templates: Templates) -> Image:
    """Move (base, amplitude) to the nearest values that leave no pixel negative, keeping the base."""
    low, high = templates.amplitude_limits
    theta = theta.copy()
    theta[0] = max(theta[0], 0.0)
    highest = high * theta[0] if np.isfinite(high) else np.inf
    theta[1] = min(max(theta[1], low * theta[0]), highest) if templates.glow else 0.0
    return theta


def least_mean(counts: Image, design: Image) -> Image:
    """Minimum mean of a bin, a fiftieth of that of an average bin, to avoid a division by zero."""
    size = np.abs(design).sum(axis=0)
    return np.asarray(0.02 * max(counts.sum(), 1.0) / max(size.sum(), 1e-30) * size + 1e-9)


def _maximise(counts: Image, design: Image, theta: Image, precision: Image, centre: Image) -> Image:
    """Maximum of the Poisson likelihood times a Gaussian prior, by Fisher scoring."""
    floor = least_mean(counts, design)
    for _ in range(50):
        mean = np.maximum(theta @ design, floor)
        weighted = design / mean
        information = weighted @ design.T + precision
        new: Image = np.linalg.solve(information, weighted @ counts + precision @ centre).astype(np.float64)
        converged = np.abs(new - theta).max() <= 1e-7 * np.abs(new).max()
        theta = new
        if converged:
            break
    return theta


def _extend(theta: Image, design: Image, precision: Image, drift: Drift) -> tuple[Image, Image]:
    """Add a row for each gradient of the dark (all components but the last) to design and precision."""
    dark = theta[:-1] @ design[:-1] / drift.rate
    wide = np.diag(np.append(np.zeros(len(design)), np.full(len(drift.gradients), (drift.scatter * drift.rate) ** -2)))
    wide[: len(design), : len(design)] = precision
    return np.vstack([design, dark * drift.gradients]), wide


def _solve(counts: Image, design: Image, theta: Image, precision: Image, centre: Image, drift: Drift | None) -> Image:
    """Maximum of the likelihood; alternate with the gradients, which depend on the dark itself."""
    theta = _maximise(counts, design, theta, precision, centre)
    if drift is None:
        return theta
    for _ in range(3):
        extended, wide = _extend(theta, design, precision, drift)
        none = np.zeros(len(drift.gradients))
        theta = _maximise(counts, extended, np.append(theta, none), wide, np.append(centre, none))[: len(theta)]
    return theta


def estimate(
    counts: Image,
    design: Image,
    fitted: list[int],
    templates: Templates,
    precision: Image,
    mean: Image,
    drift: Drift | None = None,
) -> tuple[Image, Image, Image]:
    """Estimate (base, amplitude, sky) from binned counts (m,) and the design (len(fitted), m).

    precision (3, 3) and mean (3,) are those of the prior; parameters not in `fitted` are zero. A drift needs a sky as
    the last component of the design.

    Returns
    -------
    parameters : ndarray, shape (3,)
    covariance : ndarray, shape (3, 3)
    influence : ndarray, shape (3, m)
        Change of each parameter for one more count in each bin.
    """
    select = np.ix_(fitted, fitted)
    full, covariance, influence = np.zeros(3), np.zeros((3, 3)), np.zeros((3, len(counts)))
    full[fitted] = _solve(counts, design, mean[fitted], precision[select], mean[fitted], drift)
    bounded = np.append(_within_limits(full[:2], templates), full[2])
    if not np.array_equal(bounded, full):
        # On the limit the dark is one shape with one scale, which is fitted again together with the sky. The covariance
        # stays that of all parameters: a limit reached by noise does not make them more certain.
        ratio = bounded[1] / bounded[0] if bounded[0] > 0 else mean[1] / mean[0]
        shape = np.array([[1.0, ratio, 0.0], [0.0, 0.0, 1.0]])[: 2 if 2 in fitted else 1, fitted]
        scale = np.array([mean[0], 0.0])[: len(shape)]
        # The prior on the shape follows from that on the parameters: (s S - m)' P (s S - m).
        prior = shape @ precision[select] @ shape.T
        centre = np.linalg.pinv(prior) @ (shape @ precision[select] @ mean[fitted])
        full[fitted] = _solve(counts, shape @ design, scale, prior, centre, drift) @ shape
        full[:2] = _within_limits(full[:2], templates)
    expected = np.maximum(full[fitted] @ design, least_mean(counts, design))
    extended, wide = design, precision[select]
    if drift is not None:
        extended, wide = _extend(full[fitted], design, precision[select], drift)
    weighted = extended / expected
    inverse = np.linalg.inv(weighted @ extended.T + wide)
    covariance[select] = inverse[: len(fitted), : len(fitted)]
    influence[fitted] = (inverse @ weighted)[: len(fitted)]
    return full, covariance, influence
