"""The pictures of a run: each exposure beside its dark, and the products with the apertures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbcdark.pipeline.views.plots import FramePicture, plot_exposure_and_dark, plot_products

if TYPE_CHECKING:
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
    picture = files.picture
    titles = (built.masterdark.science.name, built.masterdark.masterdark.name)
    plot_products(picture, built.product.science, built.dark, built.ellipses, titles=titles)
    return (*pictures, picture.name)
