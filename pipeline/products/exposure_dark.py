"""The estimated dark of one exposure in detector pixels, without drizzling or writing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sbcdark.catalog.engine import reading
from sbcdark.pipeline.model.combination import combine_darks
from sbcdark.pipeline.products.input_frames import FlatShelf, exposure_to_fit, read_darks, read_input, science_values
from sbcdark.pipeline.products.masterdark import matches_of
from sbcdark.pipeline.selection.names import resolve_exposure

if TYPE_CHECKING:
    import numpy as np
    import sqlalchemy as sa
    from numpy.typing import NDArray

    from sbcdark.catalog.records import Match
    from sbcdark.pipeline.products.options import BuildOptions


@dataclass(frozen=True, slots=True, eq=False)
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
    warnings: list[str] = []
    with reading(engine) as session:
        values = science_values(session, resolve_exposure(session, name))
        matches = matches_of(session, [values], options)
    one = read_input(values, FlatShelf(options.flat).flat_of(values, warnings))
    (match,), chosen = read_darks(matches, options, warnings)
    (dark,) = combine_darks(options.combine, [exposure_to_fit(one, 0, ())], chosen).exposures
    fit = dark.fit
    return DarkOfExposure(
        values.rootname,
        dark.rate,
        dark.rate_error,
        None if fit is None else fit.base,
        None if fit is None else fit.amplitude,
        None if fit is None else fit.sky,
        None if fit is None else fit.covariance,
        None if fit is None else fit.chi2_per_dof,
        dark.method,
        match,
        dark.sources,
        (*warnings, *match.warnings, *dark.cautions),
    )
