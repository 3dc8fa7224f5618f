"""The estimated dark of one exposure in detector pixels, without drizzling or writing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sbcdark.catalog.engine import reading
from sbcdark.pipeline.estimation.chosen_darks import matches_of, read_darks
from sbcdark.pipeline.estimation.science_frames import FlatShelf, exposure_to_fit, read_input, science_values
from sbcdark.pipeline.estimation.surroundings import surroundings_of
from sbcdark.pipeline.estimation.template_cache import templates_of
from sbcdark.pipeline.frames.notebook_forms import html_form
from sbcdark.pipeline.model.combination import combine_darks
from sbcdark.pipeline.selection.names import resolve_exposure

if TYPE_CHECKING:
    import numpy as np
    import sqlalchemy as sa
    from astropy.nddata import CCDData
    from astropy.table import QTable
    from numpy.typing import NDArray

    from sbcdark.catalog.records import Match
    from sbcdark.pipeline.estimation.options import BuildOptions
    from sbcdark.pipeline.estimation.science_frames import ScienceInput
    from sbcdark.pipeline.model.combination import DarkEstimate, ExposureDark


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DarkOfExposure:
    """The dark of one exposure.

    Attributes
    ----------
    exposure : str
        Root name.
    rate, error : ndarray of float64, shape (1024, 1024)
        The dark and its 1-sigma error in each detector pixel, count/s/pixel. Errors are correlated between pixels.
    base, amplitude, sky : float or None
        The fitted parameters, count/s/pixel; None if nothing was fitted.
    covariance : ndarray, shape (2, 2) or (3, 3), or None
        Of (base, amplitude[, sky]), (count/s/pixel)^2.
    chi2_per_dof : float or None
        Of the fit.
    method : str
        nearest, mean, model, scaled mean or scaled nearest.
    match : Match
        The darks that are used.
    sources : ndarray of bool, shape (1024, 1024), or None
        True on the sources that were detected and excluded from the fit.
    warnings : tuple of str
        Possible problems of the result.
    """

    exposure: str
    rate: NDArray[np.float64]
    error: NDArray[np.float64]
    base: float | None
    amplitude: float | None
    sky: float | None
    covariance: NDArray[np.float64] | None
    chi2_per_dof: float | None
    method: str
    match: Match
    sources: NDArray[np.bool_] | None
    warnings: tuple[str, ...]

    @property
    def image(self) -> CCDData:
        """Rate and error as one image in detector pixels, with the unit."""
        from sbcdark.pipeline.frames.images import detector_image  # noqa: PLC0415  astropy.nddata is slow to import

        return detector_image(self.rate, self.error)

    @property
    def table(self) -> QTable:
        """The fitted parameters with their errors, units and descriptions; one row."""
        from sbcdark.pipeline.frames.tables import to_qtable  # noqa: PLC0415  astropy is slow to import

        values: dict[str, object] = {"exposure": self.exposure, "method": self.method}
        errors = () if self.covariance is None else self.covariance.diagonal() ** 0.5
        for number, name in enumerate(("base", "amplitude", "sky")):
            values[f"fit_{name}_count_s_pix"] = getattr(self, name)
            values[f"fit_{name}_err_count_s_pix"] = float(errors[number]) if number < len(errors) else None
        values["chi2_per_dof"] = self.chi2_per_dof
        return to_qtable([values], list(values))

    def __repr__(self) -> str:
        """Say whose dark it is, how it was made, and the parameters; the arrays are too long."""
        fitted = [f"{name} {value:.3g}" for name in ("base", "amplitude", "sky") if (value := getattr(self, name))]
        unit = " count/s/pixel" if fitted else ""
        return f"<{type(self).__name__} {self.exposure}: {', '.join([self.method, *fitted])}{unit}>"

    def _repr_html_(self) -> str:
        return html_form(repr(self), self.table, self.warnings)


@dataclass(frozen=True, slots=True, eq=False)
class EstimatedDark:
    """An exposure as it was read, with the estimate of its dark; `estimate` has this one exposure."""

    exposure: ScienceInput
    estimate: DarkEstimate
    match: Match
    warnings: tuple[str, ...]

    @property
    def dark(self) -> ExposureDark:
        """The dark."""
        return self.estimate.exposures[0]


def estimate_dark(engine: sa.Engine, name: str, options: BuildOptions) -> EstimatedDark:
    """Estimate the dark of one exposure: parameters and errors as of `dark_of_exposure`."""
    warnings: list[str] = []
    with reading(engine) as session:
        values = science_values(session, resolve_exposure(session, name))
        matches = matches_of(session, [values], options)
    shelf = FlatShelf(options.flat)
    one = read_input(values, shelf.flat_of(values, warnings))
    (match,), chosen = read_darks(matches, options, warnings)
    around = surroundings_of(engine, shelf, options.combine)
    estimate = combine_darks(options.combine, [exposure_to_fit(one, 0, ())], chosen, around, templates_of)
    return EstimatedDark(one, estimate, match, (*warnings, *match.warnings, *estimate.exposures[0].cautions))


def dark_of_exposure(engine: sa.Engine, name: str, options: BuildOptions) -> DarkOfExposure:
    """Estimate the dark of one exposure.

    Parameters
    ----------
    engine : Engine
        The catalog.
    name : str
        A science exposure.
    options : BuildOptions
        How the dark is made. `mask` needs a drizzled product and is not used here.

    Raises
    ------
    UsageError
        The exposure is unknown or has no FLT.
    NothingMatchedError
        No dark fits it.
    BadFileError
        Its file or its flat cannot be read.
    """
    found = estimate_dark(engine, name, options)
    dark = found.dark
    fit = dark.fit
    return DarkOfExposure(
        dark.rootname,
        dark.rate,
        dark.rate_error,
        None if fit is None else fit.base,
        None if fit is None else fit.amplitude,
        None if fit is None else fit.sky,
        None if fit is None else fit.covariance,
        None if fit is None else fit.chi2_per_dof,
        dark.method,
        found.match,
        dark.sources,
        found.warnings,
    )
