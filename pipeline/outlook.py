"""What a choice of dark means in the user's own aperture: the dark counts that each candidate would leave behind."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.catalog import queries
from sbcdark.catalog.engine import reading
from sbcdark.pipeline import glow, select
from sbcdark.pipeline.apertures import to_pixels
from sbcdark.pipeline.cache import fetch_ahead, keeping_files, path_of
from sbcdark.pipeline.catalogs import as_engine
from sbcdark.pipeline.combining import DarkEstimate, combine_darks
from sbcdark.pipeline.drizzle import SCALE_ARCSEC, Drizzler
from sbcdark.pipeline.footprints import NativeFrame, NativeWeights, area_factor, native_pixels, native_weights
from sbcdark.pipeline.inputs import exposure_to_fit, read_dark_frame, read_input, science_values
from sbcdark.pipeline.matching import Combine, Requirements, Rule
from sbcdark.pipeline.pixels import read_product
from sbcdark.pipeline.rates import count_error
from sbcdark.pipeline.workspace import workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa
    from numpy.typing import NDArray

    from sbcdark.catalog.records import Match
    from sbcdark.pipeline.apertures import ApertureSpec, PixelEllipse
    from sbcdark.pipeline.built import ScienceInput
    from sbcdark.pipeline.templates import DarkFrame


@dataclass(frozen=True, slots=True)
class Residual:
    """What subtracting one dark would leave in the aperture, in native counts of the exposure.

    Attributes
    ----------
    dark : str
        Its root name; "model" for the fitted model.
    dark_count : float
        The dark counts that would be subtracted.
    residual_count : float
        Expected rest: the exposure's own dark by the model minus that dark's, by its own base and glow.
    residual_err_count : float
        1 sigma of the rest: the model's error and the dark frame's own counting noise.
    """

    dark: str
    dark_count: float
    residual_count: float
    residual_err_count: float


@dataclass(frozen=True, slots=True)
class Outlook:
    """One exposure and one aperture: native counts inside, and what each choice of dark would leave."""

    exposure: str
    aperture: str
    area_pix: float
    science_count: float
    science_err_count: float
    method: str
    residuals: tuple[Residual, ...]


def outlook(
    catalog: sa.Engine | str | Path,
    matches: Sequence[Match],
    apertures: Sequence[ApertureSpec],
    *,
    rule: Rule = Rule.GLOW,
    wanted: Requirements | None = None,
    flat: Path | None = None,
) -> tuple[list[Outlook], list[str]]:
    """Say for each exposure, aperture and candidate dark what would be left of the dark.

    Apertures in pixels are those of the drizzled product of the exposure's association, which is drizzled for its grid;
    apertures on the sky need no drizzling.

    Parameters
    ----------
    matches : sequence of Match
        Of `select.match`; exposures without darks are passed over.

    Returns
    -------
    outlooks : list of Outlook
    warnings : list of str

    Raises
    ------
    UsageError
        An exposure has no FLT.
    """
    engine = as_engine(catalog)
    warnings: list[str] = []
    found = []
    # A product is drizzled once for its grid, however many exposures and apertures ask for it.
    grids: dict[tuple[str, ...], Any] = {}
    for match in matches:
        if match.darks:
            found += _of_exposure(engine, match, apertures, rule, wanted or Requirements(), flat, warnings, grids)
    return found, list(dict.fromkeys(warnings))


@keeping_files()
def _of_exposure(
    engine: sa.Engine,
    match: Match,
    apertures: Sequence[ApertureSpec],
    rule: Rule,
    wanted: Requirements,
    flat: Path | None,
    warnings: list[str],
    drizzled: dict[tuple[str, ...], Any],
) -> list[Outlook]:
    with reading(engine) as session:
        values = science_values(session, match.exposure)
        # The candidates join the templates, so that the base and glow of each are known.
        (templates,) = select.choose_for(session, [match.exposure], Combine.MODEL, rule, wanted)
    one = read_input(values, flat, warnings)
    fetch_ahead([dark.file for dark in templates.darks if dark.file is not None])
    frames = [frame for dark in templates.darks if (frame := read_dark_frame(dark, warnings)) is not None]
    grids = [
        _plain_grid(aperture) if aperture.frame == "icrs" else _product_grid(engine, one, drizzled)
        for aperture in apertures
    ]
    ellipses = [to_pixels(aperture, grid) for aperture, grid in zip(apertures, grids, strict=True)]
    native = [NativeFrame(one.frame.wcs, one.good, values.exptime_s)]
    footprints = [native_weights(ellipse, grid, native)[0] for ellipse, grid in zip(ellipses, grids, strict=True)]
    exposure = exposure_to_fit(one, 0, [[footprint] for footprint in footprints])
    estimate = combine_darks(Combine.MODEL, [exposure], [frames])
    names = [dark.dark for dark in match.darks]
    return [
        _in_aperture(one, names, estimate, frames, ellipse, grid, footprint)
        for ellipse, grid, footprint in zip(ellipses, grids, footprints, strict=True)
    ]


def _in_aperture(
    one: ScienceInput,
    names: Sequence[str],
    estimate: DarkEstimate,
    frames: Sequence[DarkFrame],
    ellipse: PixelEllipse,
    grid: Any,
    footprint: NativeWeights,
) -> Outlook:
    x, y = native_pixels(grid, one.frame.wcs, np.array([ellipse.x]), np.array([ellipse.y]))
    factor = area_factor(one.frame.wcs, float(x[0]), float(y[0]))
    time = one.values.exptime_s
    # Weights on what the detector saw, such that their sum over a flat frame is the aperture's native area.
    weights = one.detector_weights(footprint) / factor
    science = float(np.sum(weights * one.counts))
    spread = float(np.sum(weights**2 * one.counts))
    modelled = estimate.exposures[0]
    model_error = time * estimate.aperture_error([weights])
    residuals = [Residual("model", time * float(np.sum(weights * modelled.rate)), 0.0, model_error)]
    for name in names:
        frame = next((dark for dark in frames if dark.rootname == name), None)
        if frame is not None:
            residuals.append(_left_by(frame, estimate, weights, time, model_error))
    return Outlook(
        one.values.rootname,
        ellipse.label,
        float(np.sum(footprint.values)) / factor,
        science,
        float(np.sqrt(spread)) if science >= 1 else count_error(science),
        modelled.method,
        tuple(residuals),
    )


def _left_by(
    frame: DarkFrame, estimate: DarkEstimate, weights: NDArray[np.float64], time: float, model_error: float
) -> Residual:
    """Compare the exposure's dark with one frame's, both by the model: the frame's own noise is in the error."""
    templates, modelled = estimate.templates, estimate.exposures[0]
    assert templates is not None  # noqa: S101  the estimate is a model's
    own = glow.fit_dark(frame.counts, frame.exptime_s, templates)
    expected = time * float(np.sum(weights * (modelled.rate - glow.dark_rate(own, templates))))
    scale = time / frame.exptime_s
    counts = frame.counts.astype(np.float64)
    noise = scale * float(np.sqrt(np.sum(weights**2 * counts)))
    return Residual(
        frame.rootname, scale * float(np.sum(weights * counts)), expected, float(np.hypot(model_error, noise))
    )


def _product_grid(engine: sa.Engine, one: ScienceInput, drizzled: dict[tuple[str, ...], Any]) -> Any:
    """Return the WCS of the drizzled product of an exposure's association, or of the exposure alone."""
    with reading(engine) as session:
        association = queries.find_association(session, one.values.association or "")
        members = (one.values.rootname,) if association is None else association.present
        files = [science_values(session, name).file for name in members]
    if members not in drizzled:
        with workspace(Path(tempfile.gettempdir())) as work, Drizzler() as drizzler:
            product = work / "grid_drz.fits"
            paths = [path_of(file) for file in files if file]
            drizzler.drizzle(paths, product, working_folder=work, log=work / "drizzle.log")
            drizzled[members] = read_product(product).wcs
    return drizzled[members]


def _plain_grid(aperture: ApertureSpec) -> Any:
    """Return a plain WCS of the product's scale about an aperture on the sky."""
    from astropy.wcs import WCS  # noqa: PLC0415  slow to import

    size = 2 * int(np.ceil(max(aperture.a, aperture.b) / SCALE_ARCSEC)) + 9
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [aperture.x, aperture.y]
    wcs.wcs.crpix = [(size + 1) / 2, (size + 1) / 2]
    wcs.wcs.cdelt = [-SCALE_ARCSEC / 3600, SCALE_ARCSEC / 3600]
    wcs.pixel_shape = (size, size)
    return wcs
