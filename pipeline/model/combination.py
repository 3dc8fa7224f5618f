"""The dark of each exposure of a product from several dark frames: nearest, mean or model. Arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.pipeline.detector.rates import EXACT_BELOW, count_error
from sbcdark.pipeline.model.dark_error import aperture_dark, dark_rate_error
from sbcdark.pipeline.model.dark_fit import EXTRAPOLATION_FREE, dark_rate
from sbcdark.pipeline.model.frame_differences import difference_variance, frame_difference
from sbcdark.pipeline.model.priors import Neighbour, Prior, amplitude_from_neighbours
from sbcdark.pipeline.model.sources import fit_dark_with_sources, sources_above
from sbcdark.pipeline.selection.rules import Combine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from sbcdark.pipeline.model.dark_fit import DarkFit
    from sbcdark.pipeline.model.frame_differences import FrameDifference
    from sbcdark.pipeline.model.templates import DarkFrame, Templates

_MASK_LARGEST = 0.05  # of the frame: blank darks give 0.001
_CHI2_LARGEST = 1.5  # for about 1000 bins, where its own scatter is 0.045

ENOUGH_FREE = 0.5
"""Fraction of the detector that a fit needs to determine the amplitude better than its neighbours in time do."""


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    """A science exposure whose dark is estimated.

    Attributes
    ----------
    counts : ndarray of float64, shape (1024, 1024)
        Raw counts: the FLT times its flat.
    good : ndarray of bool, shape (1024, 1024)
        Pixels that a fit may use: not flagged, not in apertures, not in regions that the user masked.
    flat : ndarray, shape (1024, 1024), or None
        The flat, if known.
    sky : bool
        Whether the filter transmits the sky.
    mjd : float
        Start, days.
    temperature_c : float
        Mean temperature of the detector; NaN if unknown.
    """

    rootname: str
    counts: NDArray[np.generic]
    exptime_s: float
    good: NDArray[np.bool_]
    flat: NDArray[np.float64] | None
    sky: bool
    mjd: float
    temperature_c: float


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the catalog knows beyond the chosen darks.

    Attributes
    ----------
    near : callable
        Returns the exposures before and after a given one, each from the nearest in time on. They are read only as far
        as they are needed.
    base_scatter : float
        Relative scatter of the base between runs of darks; 1 if it is not known.
    """

    near: Callable[[Exposure], tuple[Iterable[Exposure], Iterable[Exposure]]]
    base_scatter: float = 1.0


ALONE = Surroundings(lambda _exposure: ((), ()))


@dataclass(frozen=True, slots=True, eq=False)
class ExposureDark:
    """The dark of one exposure on the detector (not divided by the flat).

    Attributes
    ----------
    rate, rate_error : ndarray of float64, shape (1024, 1024)
        The dark, count/s/pixel, and the 1-sigma error of each single pixel.
    weights : dict of str to float
        Share of each dark in the estimate; they sum to 1.
    method : str
        nearest, mean, model, scaled mean or scaled nearest, depending on the darks.
    fit : DarkFit or None
        The fit; None for nearest and mean.
    cautions : tuple of str
        Warnings about the fit: the problem, then what to do.
    sources : ndarray of bool, shape (1024, 1024), or None
        True on detected sources; None if nothing was fitted.
    masked_fraction : float or None
        Fraction of the frame in sources.
    difference : FrameDifference or None
        How far the darks may differ from it; None for the model, which fits the difference.
    """

    rootname: str
    rate: NDArray[np.float64]
    rate_error: NDArray[np.float64]
    weights: dict[str, float]
    method: str
    fit: DarkFit | None
    cautions: tuple[str, ...] = ()
    sources: NDArray[np.bool_] | None = None
    masked_fraction: float | None = None
    difference: FrameDifference | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DarkEstimate:
    """The darks of all exposures of one product, with the data for the error in any aperture."""

    exposures: tuple[ExposureDark, ...]
    darks: tuple[DarkFrame, ...]
    templates: Templates | None

    def aperture_error(
        self, weights: Sequence[NDArray[np.float64]], *, include_sky: bool = False, include_dark: bool = True
    ) -> float:
        """Return the 1-sigma error of the dark in an aperture, of the fitted sky, or of both together.

        Parameters
        ----------
        weights : sequence of ndarray, each of shape (1024, 1024)
            The aperture's weights on detector rates, one per exposure: footprint over flat. They may be negative.
        include_sky, include_dark : bool
            Whether the error includes the sky and the dark.

        Returns
        -------
        float
            Error of sum_i sum_p W_ip rate_ip, in the unit of weight x count/s/pixel. Errors that exposures share (the
            same dark frames) add before they are squared.
        """
        if self.templates is not None:
            pairs = [
                (one.fit, image) for one, image in zip(self.exposures, weights, strict=True) if one.fit is not None
            ]
            return aperture_dark(pairs, self.templates, include_sky=include_sky, include_dark=include_dark).error
        variance = 0.0
        for dark in self.darks:
            total = np.zeros_like(weights[0])
            for one, image in zip(self.exposures, weights, strict=True):
                total += one.weights.get(dark.rootname, 0.0) * image
            inside = total != 0
            if not inside.any():
                continue
            counts = dark.counts[inside].astype(np.float64)
            squares = total[inside] ** 2
            number = float(counts.sum())
            # Few counts: the exact interval of the count, with the mean square of the weights.
            few = number < EXACT_BELOW
            spread = count_error(number) ** 2 * float(squares.mean()) if few else float(squares @ counts)
            variance += spread / dark.exptime_s**2
        differences = [one.difference for one in self.exposures if one.difference is not None]
        return float(np.sqrt(variance + difference_variance(differences, weights)))


def combine_darks(
    how: Combine,
    exposures: Sequence[Exposure],
    chosen: Sequence[Sequence[DarkFrame]],
    surroundings: Surroundings = ALONE,
    build: Callable[[Sequence[DarkFrame]], Templates] | None = None,
) -> DarkEstimate:
    """Estimate the dark of each exposure from the darks chosen for it.

    Parameters
    ----------
    how : Combine
        With the model, all exposures share one set of templates from all chosen darks.
    chosen : sequence of sequence of DarkFrame
        The darks of each exposure, best first.
    surroundings : Surroundings
        Exposures close in time: their amplitudes constrain that of an exposure with few free pixels.
    build : callable, optional
        Makes the templates of darks; by default `build_templates`.
    """
    unique = shared_darks(chosen)
    if how is Combine.MODEL:
        return _modelled(exposures, unique, surroundings, build)
    estimates = []
    for exposure, darks in zip(exposures, chosen, strict=True):
        used = darks[:1] if how is Combine.NEAREST else darks
        time = sum(dark.exptime_s for dark in used)
        counts: NDArray[np.float64] = np.sum([dark.counts for dark in used], axis=0, dtype=np.float64)
        # A pixel without counts still has an error: that of the mean count over the frame.
        error = np.sqrt(np.maximum(counts, counts.mean())) / time
        weights = {dark.rootname: dark.exptime_s / time for dark in used}
        rate = counts / time
        difference = frame_difference(exposure.counts, exposure.exptime_s, exposure.good, rate, len(used))
        estimates.append(ExposureDark(exposure.rootname, rate, error, weights, how.value, None, difference=difference))
    return DarkEstimate(tuple(estimates), unique, None)


def shared_darks(chosen: Sequence[Sequence[DarkFrame]]) -> tuple[DarkFrame, ...]:
    """Return the darks of all exposures, each once: those of the templates."""
    return tuple({dark.rootname: dark for darks in chosen for dark in darks}.values())


def _modelled(
    exposures: Sequence[Exposure],
    darks: tuple[DarkFrame, ...],
    surroundings: Surroundings,
    build: Callable[[Sequence[DarkFrame]], Templates] | None,
) -> DarkEstimate:
    from sbcdark.pipeline.model.templates import build_templates  # noqa: PLC0415  scipy is slow to import

    templates = (build or build_templates)(darks)
    fitted = _Fits(templates, surroundings)
    for exposure in exposures:
        fitted.of(exposure)
    estimates = []
    for exposure in exposures:
        fit, sources = fitted.with_neighbours(exposure)
        estimates.append(
            ExposureDark(
                exposure.rootname,
                dark_rate(fit, templates),
                dark_rate_error(fit, templates),
                templates.weights(fit.base, fit.amplitude),
                fit.tier,
                fit,
                _cautions(fit, float(sources.mean())),
                sources,
                float(sources.mean()),
            )
        )
    return DarkEstimate(tuple(estimates), darks, templates)


class _Fits:
    """The fits of exposures with one set of templates, each made once."""

    def __init__(self, templates: Templates, surroundings: Surroundings) -> None:
        self._templates = templates
        self._surroundings = surroundings
        self._made: dict[str, tuple[DarkFit, NDArray[np.bool_]]] = {}

    def of(self, exposure: Exposure) -> tuple[DarkFit, NDArray[np.bool_]]:
        """Return the fit to an exposure's own counts, and its sources."""
        if exposure.rootname not in self._made:
            self._made[exposure.rootname] = self._fit(exposure, Prior(base_scatter=self._surroundings.base_scatter))
        return self._made[exposure.rootname]

    def with_neighbours(self, exposure: Exposure) -> tuple[DarkFit, NDArray[np.bool_]]:
        """Return the fit, with the amplitude of the neighbours in time if few pixels are free or it fits badly.

        A source over much of the frame looks like a glow. The sources above the dark of the neighbours are then masked,
        and the fit outside them counts if it is the better one.
        """
        fit, sources = self.of(exposure)
        if _determined(fit) or not self._templates.glow:
            return fit, sources
        neighbours = [one for side in self._surroundings.near(exposure) if (one := self._first(side)) is not None]
        prior = amplitude_from_neighbours(exposure.mjd, exposure.temperature_c, neighbours)
        if prior is None:
            return fit, sources
        prior = replace(prior, base_scatter=self._surroundings.base_scatter)
        if fit.free_fraction < ENOUGH_FREE:
            fit, sources = self._fit(exposure, prior)
        if fit.chi2_per_dof <= _CHI2_LARGEST:
            return fit, sources
        covered = sources_above(
            exposure.counts, exposure.exptime_s, self._templates, exposure.good, prior, exposure.flat
        )
        outside, found = self._fit(exposure, prior, covered)
        return (outside, found) if outside.chi2_per_dof < fit.chi2_per_dof else (fit, sources)

    def _fit(
        self, exposure: Exposure, prior: Prior, known: NDArray[np.bool_] | None = None
    ) -> tuple[DarkFit, NDArray[np.bool_]]:
        return fit_dark_with_sources(
            exposure.counts,
            exposure.exptime_s,
            self._templates,
            exposure.good,
            flat=exposure.flat,
            sky=exposure.sky,
            prior=prior,
            known=known,
        )

    def _first(self, candidates: Iterable[Exposure]) -> Neighbour | None:
        """Return the first exposure whose own counts determine its amplitude."""
        for one in candidates:
            fit, _ = self.of(one)
            if _determined(fit):
                error = float(np.sqrt(fit.covariance[1, 1]))
                return Neighbour(one.rootname, one.mjd, one.temperature_c, fit.amplitude, error)
        return None


def _determined(fit: DarkFit) -> bool:
    """Whether an exposure's own counts determine its amplitude."""
    return fit.free_fraction >= ENOUGH_FREE and fit.chi2_per_dof <= _CHI2_LARGEST


def _cautions(fit: DarkFit, masked: float) -> tuple[str, ...]:
    """Return warnings about an unusual fit, with what to do."""
    texts = []
    if masked > _MASK_LARGEST:
        texts.append(f"sources cover {masked:.0%} of the frame; look at the residual, and mask the sources yourself")
    if fit.chi2_per_dof > _CHI2_LARGEST:
        texts.append(f"the dark fits badly (chi2/dof {fit.chi2_per_dof:.2f}); ingest darks closer in time")
    if fit.beyond > 0 and fit.amplitude < 0:
        texts.append(
            "the glow is weaker than in every dark, so base and sky are uncertain, though not their sum; ingest colder "
            "darks"
        )
    elif fit.beyond > 0:
        texts.append(
            f"the glow is {fit.extrapolation:.1f} times that of the hottest dark (the shape is known up to "
            f"{EXTRAPOLATION_FREE:g}); ingest warmer darks"
        )
    if fit.neighbours:
        texts.append(
            f"only {fit.free_fraction:.0%} of the detector is free of sources, so the glow also comes from "
            f"{', '.join(fit.neighbours)}, close in time"
        )
    elif fit.uses_prior:
        texts.append(
            "few pixels are free of sources, so the fit uses the mean of the darks as a prior; ingest exposures of the "
            "same visit, or mask less"
        )
    if fit.new_hot:
        pixels = zip(fit.hot_x[-fit.new_hot :], fit.hot_y[-fit.new_hot :], strict=True)
        places = ", ".join(f"({x}, {y})" for x, y in pixels)
        texts.append(f"hot pixels that the darks do not show are subtracted: (x, y) = {places}")
    return tuple(texts)
