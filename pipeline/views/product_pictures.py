"""The pictures of a run: each exposure beside its dark, and the products with the apertures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.products.halos import halo_masks
from sbcdark.pipeline.views.plots import FramePicture, plot_exposure_and_dark, plot_products
from sbcdark.pipeline.views.residuals import FitPicture, plot_fit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from sbcdark.pipeline.drizzling.footprints import NativeWeights
    from sbcdark.pipeline.estimation.science_frames import ScienceInput
    from sbcdark.pipeline.model.combination import ExposureDark
    from sbcdark.pipeline.model.dark_fit import DarkFit
    from sbcdark.pipeline.products.product_files import ProductFiles
    from sbcdark.pipeline.products.records import Built


def draw_products(built: Built, files: ProductFiles) -> tuple[str, ...]:
    """Draw each exposure beside its dark, and the products with the apertures.

    Parameters
    ----------
    built : Built
        The products of a run.
    files : ProductFiles
        The names of the pictures, in their folder.

    Returns
    -------
    tuple of str
        The file names of the pictures.

    Raises
    ------
    OSError
        A picture cannot be written.
    """
    pictures = []
    for one, match in zip(built.inputs, built.matches, strict=True):
        science, best = one.values, match.darks[0]
        dark = next(frame for frame in built.estimate.darks if frame.rootname == best.dark)
        rate, less = science.box_rate_count_s_pix, best.delta_box_rate_count_s_pix
        picture = files.exposure_picture(science.rootname)
        plot_exposure_and_dark(
            picture,
            FramePicture(science.rootname, one.frame.science, science.exptime_s, science.temperature_mean_c, rate),
            FramePicture(
                best.dark,
                dark.counts,
                dark.exptime_s,
                science.temperature_mean_c - best.delta_temperature_c,
                None if rate is None or less is None else rate - less,
            ),
        )
        pictures.append(picture.name)
    for rootname, fit in fit_pictures(built):
        picture = files.fit_picture(rootname)
        plot_fit(picture, fit)
        pictures.append(picture.name)
    picture = files.picture
    titles = (built.masterdark.science.name, built.masterdark.masterdark.name)
    plot_products(picture, built.product.science, built.dark, [one.shape for one in built.placed], titles=titles)
    return (*pictures, picture.name)


def fit_pictures(built: Built) -> Iterator[tuple[str, FitPicture]]:
    """Yield the root name of each exposure with a fit, and the data of its picture."""
    halos = halo_masks(built.placed, built.product)
    for number, (one, fitted) in enumerate(zip(built.inputs, built.estimate.exposures, strict=True)):
        if fitted.fit is not None:
            apertures = _inside([weights[number] for placed in built.placed for weights in placed.left_out])
            masks = _inside([weights[number] for weights in built.masks])
            yield fitted.rootname, fit_picture(one, fitted, fitted.fit, apertures, masks, halos[number])


def _inside(footprints: Iterable[NativeWeights]) -> NDArray[np.bool_]:
    """Return which pixels of an exposure lie in apertures, annuli or masks."""
    inside = np.zeros(DETECTOR_SHAPE, dtype=bool)
    for one in footprints:
        inside[one.where] |= one.touched
    return inside


def fit_picture(
    one: ScienceInput,
    dark: ExposureDark,
    fit: DarkFit,
    apertures: NDArray[np.bool_] | None = None,
    masks: NDArray[np.bool_] | None = None,
    halos: NDArray[np.bool_] | None = None,
) -> FitPicture:
    """Return the data of the picture of a fit.

    Parameters
    ----------
    one : ScienceInput
        The exposure.
    dark : ExposureDark
        Its dark.
    fit : DarkFit
        The fit of the dark.
    apertures, masks, halos : ndarray of bool, shape (1024, 1024), optional
        Pixels that were excluded from the fit beside the detected sources: apertures and annuli, the masks of the
        user, and the surroundings of large apertures.
    """
    rate = dark.rate
    if fit.sky is not None:
        rate = rate + fit.sky * (1.0 if one.flat_pixels is None else np.nan_to_num(one.flat_pixels))
    left_out = (dark.sources, apertures, masks, halos)
    sources, inside, masked, around = (np.zeros(rate.shape, dtype=bool) if mask is None else mask for mask in left_out)
    return FitPicture(
        dark.rootname,
        one.counts,
        rate * one.values.exptime_s,
        one.good,
        sources,
        inside,
        masked,
        around,
        one.values.exptime_s,
        fit.chi2_per_dof if np.isfinite(fit.chi2_per_dof) else None,
    )
