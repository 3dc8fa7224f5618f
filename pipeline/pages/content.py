"""What the pages of a catalog show, read from it: an index, a page per association and per exposure."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sbcdark.catalog import queries, result_listings, results
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.overview import Overview, overview
from sbcdark.catalog.roots import is_local, path_of
from sbcdark.pipeline.products.product_files import ProductFiles
from sbcdark.pipeline.selection.choice import match_exposure
from sbcdark.pipeline.selection.names import resolve_exposure
from sbcdark.pipeline.selection.rules import Requirements, Rule
from sbcdark.pipeline.views.listings import known_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import AssociationRecord, ExposureRecord, Match
    from sbcdark.catalog.result_records import ListedProduct, PhotometryRecord, StoredSelection
    from sbcdark.pipeline.selection.changes import Change
    from sbcdark.pipeline.views.catalog_points import Coverage

_PAGE_NAME = re.compile(r"[a-z0-9]{1,40}")
_NOT_GOOD = tuple(quality for quality in queries.QUALITIES if quality != "good")
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class IndexContent:
    """The catalog at a glance, and what changed since the last ingest."""

    overview: Overview
    associations: tuple[AssociationRow, ...]
    marked: tuple[ExposureRecord, ...]
    coverage: Coverage | None
    added: tuple[ExposureRecord, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class AssociationRow:
    """An association, or the first exposure of a list that was drizzled together, with its last products."""

    name: str
    program: int | None
    target: str | None
    exposures: int
    absent: int
    products: tuple[ListedProduct, ...]
    apertures: int


@dataclass(frozen=True, slots=True)
class ChosenDarks:
    """The darks of one exposure of a product: the stored selection, the fit, and what the catalog says today."""

    selection: StoredSelection
    fit: dict[str, Any]
    today: Match | None


@dataclass(frozen=True, slots=True)
class AssociationContent:
    """Everything about an association and its last products."""

    name: str
    association: AssociationRecord | None
    exposures: tuple[ExposureRecord, ...]
    products: tuple[ListedProduct, ...]
    photometry: tuple[PhotometryRecord, ...]
    chosen: tuple[ChosenDarks, ...]
    pictures: tuple[tuple[str, str], ...]
    """File name and description."""
    missing_pictures: bool
    warnings: tuple[str, ...]
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExposureContent:
    """Everything about an exposure; `match` ranks the darks of a science exposure, `used_by` is about a dark."""

    known: dict[str, Any]
    match: Match | None
    used_by: tuple[str, ...]


def has_page(name: str | None) -> bool:
    """Return whether a name can be that of a page: header text never becomes a path unchecked."""
    return name is not None and _PAGE_NAME.fullmatch(name) is not None


def read_index(session: Session, coverage: Coverage | None, changes: Sequence[Change]) -> IndexContent:
    """Return the content of the index."""
    _, added = result_listings.files_of_last_ingest(session)
    return IndexContent(
        overview(session, hot_above_c=queries.HOT_ABOVE_C, runs=10),
        tuple(association_rows(session)),
        tuple(queries.list_exposures(session, queries.ExposureFilter(quality=_NOT_GOOD))),
        coverage,
        tuple(added),
        tuple(changes),
    )


def association_rows(session: Session) -> list[AssociationRow]:
    """Return all associations, and the names of products that are not associations."""
    made = {
        name: tuple(result_listings.latest_products(session, name)) for name in result_listings.product_names(session)
    }
    listed = {one.name: one for one in result_listings.list_associations(session)}
    rows = []
    for name in sorted({*made, *listed}):
        one, products = listed.get(name), made.get(name, ())
        science = result_listings.science_of(products)
        apertures = 0 if science is None else len(result_listings.photometry_of(session, science.id))
        exposures = len(one.members) if one is not None else 0 if science is None else len(_exposures(science))
        rows.append(
            AssociationRow(
                name,
                None if one is None else one.program,
                None if one is None else one.target,
                exposures,
                0 if one is None else len(one.absent),
                products,
                apertures,
            )
        )  # fmt: skip
    return rows


def read_association(session: Session, name: str) -> AssociationContent:
    """Return the content of the page of an association, or of the first exposure of a list drizzled together.

    Raises
    ------
    UsageError
        There is no association and no product of that name.
    """
    association = queries.find_association(session, name) if has_page(name) else None
    products = tuple(result_listings.latest_products(session, name)) if has_page(name) else ()
    if association is None and not products:
        raise UsageError(f"The catalog has no association {name!r}.", "See the index for all.")
    science = result_listings.science_of(products)
    fits = {} if science is None else result_listings.fits_of(session, science.id)
    chosen = tuple(
        ChosenDarks(one, fits[one.id], _today(session, one.exposure))
        for one in (results.stored_selections(session, fits) if fits else [])
    )
    photometry = () if science is None else tuple(result_listings.photometry_of(session, science.id))
    names = association.present if association is not None else () if science is None else _exposures(science)
    exposures = [record for one in names if (record := queries.find_exposure(session, one)) is not None]
    if science is not None and "warnings" in science.parameters:
        warnings = [str(text) for text in science.parameters["warnings"]]
    else:  # products of an earlier release, or none
        warnings = [text for one in chosen for text in one.selection.warnings]
        warnings += [text for one in photometry for text in one.warnings]
        warnings += [f"{one}, a member, is not in the catalog" for one in (association.absent if association else ())]
    pictures, missing = _pictures(name, science)
    return AssociationContent(
        name, association, tuple(exposures), products, photometry, chosen, tuple(pictures), missing,
        tuple(dict.fromkeys(warnings)), tuple(_commands(name, association, science, chosen)),
    )  # fmt: skip


def read_exposure(session: Session, rootname: str) -> ExposureContent:
    """Return the content of the page of an exposure.

    Raises
    ------
    UsageError
        The catalog has no exposure of that name.
    """
    rootname = resolve_exposure(session, rootname)
    known = known_of(session, rootname)
    if known["kind"] == "dark":
        return ExposureContent(known, None, tuple(result_listings.exposures_that_use(session, rootname)))
    return ExposureContent(known, _today(session, rootname), ())


def picture_file(session: Session, file_name: str) -> Path | None:
    """Return the picture of a product by its file name, if it is a PNG file beside its science image."""
    name = file_name.partition("_")[0]
    if not has_page(name):
        return None
    science = result_listings.science_of(result_listings.latest_products(session, name))
    pictures, _ = _pictures(name, science)
    folder = None if science is None else _folder(science)
    return folder / file_name if folder is not None and file_name in {one for one, _ in pictures} else None


def _today(session: Session, rootname: str) -> Match | None:
    try:
        return match_exposure(session, rootname, Rule.GLOW, Requirements())
    except UsageError:  # its regions are not measured
        return None


def _exposures(science: ListedProduct) -> tuple[str, ...]:
    return tuple(str(one) for one in science.parameters.get("exposures", ()))


def _folder(science: ListedProduct) -> Path | None:
    return path_of(science.uri).parent if is_local(science.uri) else None


def _pictures(name: str, science: ListedProduct | None) -> tuple[list[tuple[str, str]], bool]:
    """Return the names and descriptions of the pictures beside a product, and whether some are missing."""
    folder = None if science is None else _folder(science)
    if science is None or folder is None:
        return [], False
    files = ProductFiles(folder, name)
    wanted = [(files.picture, f"Science product and masterdark of {name}, with the apertures")]
    for one in filter(has_page, _exposures(science)):
        wanted.append((files.exposure_picture(one), f"{one} beside its best dark"))
        wanted.append((files.fit_picture(one), f"{one}: science, dark + sky, residual in sigma, profiles"))
    there = [(path.name, text) for path, text in wanted if _is_png(path)]
    missing = len(there) < len(wanted)
    if _is_png(files.growth_picture):  # drawn on demand
        there.append((files.growth_picture.name, f"Curves of growth of {name}"))
    return there, missing


def _is_png(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_PNG)) == _PNG
    except OSError:
        return False


_GRID_OPTIONS = {
    "scale_arcsec": "--final-scale",
    "rotation_deg": "--final-rot",
    "pixfrac": "--final-pixfrac",
    "kernel": "--final-kernel",
    "reference": "--final-refimage",
}


def _commands(
    name: str,
    association: AssociationRecord | None,
    science: ListedProduct | None,
    chosen: Sequence[ChosenDarks],
) -> list[str]:
    """Return the commands that make the products again: the stored selection, and a new run with the same options."""
    names = [name] if association is not None or science is None else list(_exposures(science))
    words = ["sbcdark", "run", *names, "-o", "products"]
    if science is None:
        return [shlex.join(words)]
    given = science.parameters
    words += ["--combine", str(given.get("combine", "model"))]
    if chosen:
        words += ["--rule", chosen[0].selection.rule] if chosen[0].selection.rule in set(Rule) else []
    if given.get("flat"):
        words += ["--flat", str(given["flat"])]
    for aperture in given.get("apertures", ()):
        words += ["--aperture", str(aperture)]
    if given.get("growth"):
        words += ["--growth", ",".join(f"{radius:g}" for radius in given["growth"])]
    if given.get("mixed"):
        words.append("--mixed")
    if given.get("apertures") and given.get("sky"):
        words += ["--sky", str(given["sky"])]
    for setting, value in given.get("grid", {}).items():
        words += [_GRID_OPTIONS[setting], str(value)]
    again = [shlex.join(["sbcdark", "replay", str(chosen[0].selection.id), "-o", "again"])] if chosen else []
    return [*again, shlex.join(words)]
