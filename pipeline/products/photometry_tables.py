"""The tables of photometry: one for each association, one for the folder, curves of growth; with what made them."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.pipeline.estimation.compatibility import last_calibrated
from sbcdark.pipeline.frames.tables import PHOTOMETRY_KEYS, read_photometry, write_joined, write_table
from sbcdark.pipeline.products.product_files import joint_table
from sbcdark.pipeline.products.stored_results import circumstances

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sbcdark.catalog.result_records import PhotometryRecord
    from sbcdark.pipeline.estimation.options import BuildOptions
    from sbcdark.pipeline.products.photometry import GrowthPoint
    from sbcdark.pipeline.products.records import Built

_OWN = ("association", "target", "filter", "aperture", "radius_pix", "radius_arcsec")
GROWTH_KEYS = (*_OWN, *(key for key in PHOTOMETRY_KEYS if key not in _OWN))
"""The columns of a table of growth, in order."""


def growth_rows(growth: Sequence[GrowthPoint]) -> list[dict[str, Any]]:
    """Return the rows of a table of growth."""
    return [
        asdict(point.record)
        | {"aperture": point.aperture, "radius_pix": point.radius_pix, "radius_arcsec": point.radius_arcsec}
        for point in growth
    ]


def write_photometry(path: Path, records: Sequence[PhotometryRecord], meta: dict[str, Any]) -> None:
    """Write the table of an association.

    Raises
    ------
    SbcdarkError
        It cannot be written.
    """
    write_table([asdict(one) for one in records], PHOTOMETRY_KEYS, path, meta)


def write_growth(path: Path, growth: Sequence[GrowthPoint], meta: dict[str, Any]) -> None:
    """Write the table of the curves of growth of an association.

    Raises
    ------
    SbcdarkError
        It cannot be written.
    """
    write_table(growth_rows(growth), GROWTH_KEYS, path, meta)


def join_tables(folder: Path) -> tuple[Path | None, str | None]:
    """Join the tables of all associations in a folder, if there are several.

    Returns
    -------
    path : Path or None
        The joint table.
    warning : str or None
        A warning if a file with the name of the joint table is in the way.
    """
    paths = sorted(folder.glob(f"*_{joint_table(folder).name}"))
    if len(paths) < 2:
        return None, None
    path = joint_table(folder)
    if path.exists() and read_photometry(path) is None:
        return None, f"{path} was not made by sbcdark, so the tables of the associations are not joined"
    write_joined(paths, path, {"software": f"sbcdark {SOFTWARE_VERSION}"})
    return path, None


def table_meta(built: Built, options: BuildOptions, warnings: Sequence[str]) -> dict[str, Any]:
    """Return what made a table: versions, inputs and options.

    Parameters
    ----------
    warnings : sequence of str
        The warnings of the run.
    """
    file = None if built.mixed else last_calibrated([one.file for one in built.inputs])
    made = circumstances(built)
    chosen = {one.name: getattr(options, one.name) for one in fields(options)}
    chosen |= {
        "combine": options.combine.value,
        "rule": options.rule.value,
        "use": {name: list(darks) for name, darks in options.use.items()},
        "flat": None if options.flat is None else str(options.flat),
        "mask": [one.text for one in options.mask],
        "sky": built.sky.text,
        "apertures": [{"text": one.text, "label": one.label} for one in built.apertures],
        "growth": list(built.growth),
        "grid": options.grid.changes(),
    }
    del chosen["notes"]
    return {
        "software": f"sbcdark {SOFTWARE_VERSION}",
        "versions": made["versions"],
        "inputs_key": built.inputs_key,
        "catalog_revision": built.revision,
        "options": chosen,
        "exposures": [
            {**{name: _listed(value) for name, value in asdict(member).items()}, "file": one.file.uri, "sha256": sha256}
            for member, one, sha256 in zip(built.masterdark.members, built.inputs, made["inputs"].values(), strict=True)
        ],
        "flats": made["flats"],
        "flux": None
        if file is None
        else {
            "photflam_erg_s_cm2_a": file.photflam_erg_s_cm2_a,
            "photplam_a": file.photplam_a,
            "calibration_version": file.calibration_version,
        },
        "warnings": list(warnings),
    }


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
