"""Recording the results of a job: selections, the products from them, and photometry, all or nothing."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sbcdark.catalog import results
from sbcdark.catalog.engine import writing
from sbcdark.catalog.result_records import NewProduct
from sbcdark.catalog.roots import uri_of
from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.pipeline.frames.untrusted_fits import file_sha256

_LIBRARIES = ("astropy", "numpy", "photutils", "scipy")
"""The libraries that, with drizzlepac, determine the last digits of a product."""

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa
    from numpy.typing import NDArray

    from sbcdark.catalog.result_records import PhotometryRecord
    from sbcdark.pipeline.estimation.options import BuildOptions
    from sbcdark.pipeline.products.records import Built
    from sbcdark.pipeline.selection.names import Target


def record(
    engine: sa.Engine,
    target: Target,
    options: BuildOptions,
    made: Built,
    photometry: Sequence[PhotometryRecord],
    warnings: Sequence[str],
) -> Built:
    """Store selections, products and photometry in one transaction and return the build with their row numbers.

    Parameters
    ----------
    made : Built
        The build; its products have their final paths.
    warnings : sequence of str
        Possible problems of the results.
    """
    parameters = {
        "combine": options.combine.value,
        "exposures": list(target.exposures),
        "flat": None if options.flat is None else str(options.flat.absolute()),
        "apertures": [aperture.text for aperture in made.apertures],
        "growth": list(made.growth),
        "sky": made.sky.text,
        "mask": [aperture.text for aperture in options.mask],
        "mixed": options.mixed,
        "grid": options.grid.changes(),
        "warnings": list(warnings),
        **circumstances(made),
    }
    products = {
        "science": (made.masterdark.science, made.product.science),
        "masterdark": (made.masterdark.masterdark, made.dark),
        "error": (made.masterdark.masterdark, made.dark_error),
        "net": (made.masterdark.net, made.net),
    }
    checksums = {path: file_sha256(path) for path in {path for path, _ in products.values()}}
    pixels = {kind: pixels_sha256(image) for kind, (_, image) in products.items()}
    files = {one.values.rootname: one.file.id for one in made.inputs}
    members, matches = [], []
    with writing(engine) as session:
        fits: dict[int, dict[str, Any]] = {}
        for match, dark, member in zip(made.matches, made.estimate.exposures, made.masterdark.members, strict=True):
            darks = tuple(replace(entry, weight=dark.weights.get(entry.dark, 0.0)) for entry in match.darks)
            kept = replace(match, darks=darks, file_id=files[match.exposure], catalog_revision=made.revision)
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
                    uri_of(path.resolve()),
                    checksums[path],
                    pixels[kind],
                    parameters,
                    fits,
                ),
                SOFTWARE_VERSION,
                revision=made.revision,
            )
            for kind, (path, _) in products.items()
        }
        results.write_photometry(session, photometry, ids["science"], ids["masterdark"])
    masterdark = replace(made.masterdark, members=tuple(members))
    return replace(made, masterdark=masterdark, matches=tuple(matches), product_ids=ids)


def circumstances(made: Built) -> dict[str, Any]:
    """Return what else determines a product's pixels: the content of its inputs, and the versions of the libraries."""
    return {
        "inputs": {one.values.rootname: one.file.sha256 for one in made.inputs},
        "flats": {
            one.values.rootname: None if one.flat is None else {"name": one.flat.path.name, "sha256": one.flat.sha256}
            for one in made.inputs
        },
        "versions": {"drizzlepac": made.product.drizzlepac, **{name: version(name) for name in _LIBRARIES}},
    }


def pixels_sha256(image: NDArray[Any]) -> str:
    """Return the sha256 of an image as little-endian float32, whatever its header says."""
    return hashlib.sha256(image.astype("<f4").tobytes()).hexdigest()
