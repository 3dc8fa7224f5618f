"""Recording what a job made: selections, the products that rest on them, photometry, all of them or nothing."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sbcdark.catalog import results
from sbcdark.catalog.engine import writing
from sbcdark.catalog.records import NewProduct
from sbcdark.pipeline.version import SOFTWARE_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from sbcdark.catalog.records import PhotometryRecord
    from sbcdark.pipeline.built import Built
    from sbcdark.pipeline.options import BuildOptions
    from sbcdark.pipeline.pixels import Product
    from sbcdark.pipeline.select import Target


def record(
    engine: sa.Engine, target: Target, options: BuildOptions, made: Built, photometry: Sequence[PhotometryRecord]
) -> Built:
    """Store selections, products and photometry in one transaction and return the build with their numbers.

    Parameters
    ----------
    made : Built
        Its products are at their final places.
    """
    parameters = {
        "combine": options.combine.value,
        "exposures": list(target.exposures),
        "flat": None if options.flat is None else str(options.flat.absolute()),
        "apertures": [aperture.text for aperture in made.apertures],
        "mask": [aperture.text for aperture in options.mask],
    }
    products = {
        "science": (made.masterdark.science, made.science_product),
        "masterdark": (made.masterdark.masterdark, made.dark_product),
        "error": (made.masterdark.error, made.error_product),
    }
    members, matches = [], []
    with writing(engine) as session:
        fits: dict[int, dict[str, Any]] = {}
        for match, dark, member in zip(made.matches, made.estimate.exposures, made.masterdark.members, strict=True):
            darks = tuple(replace(entry, weight=dark.weights.get(entry.dark, 0.0)) for entry in match.darks)
            kept = replace(match, darks=darks)
            selection = results.write_selection(session, kept, SOFTWARE_VERSION)
            matches.append(replace(kept, selection_id=selection))
            members.append(replace(member, selection=selection))
            fits[selection] = {
                "method": member.method,
                "base_count_s_pix": member.base,
                "amplitude_count_s_pix": member.amplitude,
                "sky_count_s_pix": member.sky,
                "chi2_per_dof": member.chi2_per_dof,
                "covariance": None if dark.fit is None else dark.fit.covariance.tolist(),
            }
        ids = {
            kind: results.write_product(
                session,
                NewProduct(
                    target.name,
                    kind,
                    path.resolve().as_uri(),
                    file_sha256(path),
                    pixels_sha256(product),
                    parameters,
                    fits,
                ),
                SOFTWARE_VERSION,
            )
            for kind, (path, product) in products.items()
        }
        results.write_photometry(session, photometry, ids["science"], ids["masterdark"])
    masterdark = replace(made.masterdark, members=tuple(members))
    return replace(made, masterdark=masterdark, matches=tuple(matches), product_ids=ids)


def pixels_sha256(product: Product) -> str:
    """Return the sha256 of a product's SCI array as little-endian float32, whatever its header says."""
    return hashlib.sha256(product.science.astype("<f4").tobytes()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
