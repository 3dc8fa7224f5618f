"""The effect of the choice of dark in an aperture: the dark counts that each candidate would leave."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.catalog.engine import reading
from sbcdark.catalog.opening import as_engine
from sbcdark.catalog.workspace import workspace
from sbcdark.pipeline.apertures.pixel_shapes import to_pixels
from sbcdark.pipeline.archive.cache import keeping_files
from sbcdark.pipeline.detector.rates import count_error
from sbcdark.pipeline.drizzling.drizzle import Drizzler
from sbcdark.pipeline.drizzling.footprints import NativeWeights, native_fractions
from sbcdark.pipeline.estimation.chosen_darks import read_darks
from sbcdark.pipeline.estimation.options import BuildOptions
from sbcdark.pipeline.estimation.science_frames import FlatShelf, exposure_to_fit, read_input, science_values
from sbcdark.pipeline.estimation.template_cache import templates_of
from sbcdark.pipeline.model import dark_fit
from sbcdark.pipeline.model.combination import DarkEstimate, combine_darks
from sbcdark.pipeline.products.masterdark import drizzle_inputs
from sbcdark.pipeline.selection import choice
from sbcdark.pipeline.selection.names import product_target
from sbcdark.pipeline.selection.rules import Combine, Requirements, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa
    from numpy.typing import NDArray

    from sbcdark.catalog.records import Match, MatchValues
    from sbcdark.pipeline.apertures.apertures import ApertureSpec
    from sbcdark.pipeline.drizzling.drizzled_product import DrizzledProduct, FrameMapping
    from sbcdark.pipeline.estimation.science_frames import ScienceInput
    from sbcdark.pipeline.model.templates import DarkFrame


@dataclass(frozen=True, slots=True)
class Residual:
    """Residual dark in the aperture after subtraction of one dark, in native counts of the exposure.

    Attributes
    ----------
    dark : str
        Root name of the dark; "model" for the fitted model.
    dark_count : float
        The dark counts that would be subtracted.
    residual_count : float
        Expected residual: the modelled dark of the exposure minus that of the dark frame, with its own base and glow.
    residual_err_count : float
        1-sigma error of the residual: the model's error and the counting noise of the dark frame.
    """

    dark: str
    dark_count: float
    residual_count: float
    residual_err_count: float


@dataclass(frozen=True, slots=True)
class Outlook:
    """One exposure and one aperture: native counts inside, and the residual for each choice of dark."""

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
    """Return the residual dark for each exposure, aperture and candidate dark.

    Pixel apertures refer to the drizzled product of the exposure's association, which is drizzled here.

    Parameters
    ----------
    matches : sequence of Match
        From `select.match`; exposures without darks are skipped.

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
    # Each product is drizzled once for all exposures and apertures.
    drizzled: dict[tuple[str, ...], tuple[DrizzledProduct, dict[str, ScienceInput]]] = {}
    with Drizzler() as drizzler:
        for match in matches:
            if not match.darks:
                continue
            with reading(engine) as session:
                # The candidates are part of the templates, so that the base and glow of each are known.
                (templates,) = choice.choose_for(
                    session, [match.exposure], Combine.MODEL, rule, wanted or Requirements()
                )
                exposures = [science_values(session, one) for one in product_target(session, match.exposure).exposures]
            names = tuple(one.rootname for one in exposures)
            if names not in drizzled:
                drizzled[names] = _drizzled(exposures, FlatShelf(flat), warnings, drizzler)
            product, inputs = drizzled[names]
            mapping = product.frames[names.index(match.exposure)]
            found += _of_exposure(inputs[match.exposure], match, templates, apertures, product, mapping, warnings)
    return found, list(dict.fromkeys(warnings))


def _drizzled(
    exposures: Sequence[MatchValues], shelf: FlatShelf, warnings: list[str], drizzler: Drizzler
) -> tuple[DrizzledProduct, dict[str, ScienceInput]]:
    with keeping_files(), workspace(Path(tempfile.gettempdir())) as work:
        inputs = {one.rootname: read_input(one, shelf.flat_of(one, warnings)) for one in exposures}
        product = drizzle_inputs(tuple(inputs.values()), drizzler, work, work / "drizzle.log")
    return product, inputs


@keeping_files()
def _of_exposure(
    one: ScienceInput,
    match: Match,
    templates: Match,
    apertures: Sequence[ApertureSpec],
    product: DrizzledProduct,
    mapping: FrameMapping,
    warnings: list[str],
) -> list[Outlook]:
    _, (frames,) = read_darks([templates], BuildOptions(), warnings)
    shapes = [to_pixels(aperture, product.wcs) for aperture in apertures]
    shape = product.science.shape
    fractions = [native_fractions(one, (shape[0], shape[1]), mapping) for one in shapes]
    exposure = exposure_to_fit(one, 0, [[fraction] for fraction in fractions])
    estimate = combine_darks(Combine.MODEL, [exposure], [frames], build=templates_of)
    names = [dark.dark for dark in match.darks]
    return [
        _in_aperture(one, names, estimate, frames, place.label, fraction)
        for place, fraction in zip(shapes, fractions, strict=True)
    ]


def _in_aperture(
    one: ScienceInput,
    names: Sequence[str],
    estimate: DarkEstimate,
    frames: Sequence[DarkFrame],
    label: str,
    fraction: NativeWeights,
) -> Outlook:
    time = one.values.exptime_s
    weights = one.detector_weights(fraction)
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
        label,
        float(np.sum(fraction.values)),
        science,
        float(np.sqrt(spread)) if science >= 1 else count_error(science),
        modelled.method,
        tuple(residuals),
    )


def _left_by(
    frame: DarkFrame, estimate: DarkEstimate, weights: NDArray[np.float64], time: float, model_error: float
) -> Residual:
    """Compare the modelled darks of the exposure and of one frame; the error includes the frame's own noise."""
    templates, modelled = estimate.templates, estimate.exposures[0]
    assert templates is not None  # noqa: S101  the estimate is a model's
    own = dark_fit.fit_dark(frame.counts, frame.exptime_s, templates)
    expected = time * float(np.sum(weights * (modelled.rate - dark_fit.dark_rate(own, templates))))
    scale = time / frame.exptime_s
    counts = frame.counts.astype(np.float64)
    noise = scale * float(np.sqrt(np.sum(weights**2 * counts)))
    return Residual(
        frame.rootname, scale * float(np.sum(weights * counts)), expected, float(np.hypot(model_error, noise))
    )
