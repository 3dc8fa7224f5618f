"""Replay of stored selections: the products are made again and compared with the stored ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.catalog import results
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import BadFileError, SbcdarkError, UsageError
from sbcdark.catalog.opening import as_engine
from sbcdark.catalog.records import Match
from sbcdark.catalog.result_listings import selections_of
from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.catalog.workspace import locked, publish, workspace
from sbcdark.pipeline.drizzling.drizzle import Drizzler
from sbcdark.pipeline.estimation.options import BuildOptions
from sbcdark.pipeline.frames.pixels import read_product
from sbcdark.pipeline.frames.untrusted_fits import local_path
from sbcdark.pipeline.products.job import Job
from sbcdark.pipeline.products.masterdark import build
from sbcdark.pipeline.products.product_files import ProductFiles, made_folder
from sbcdark.pipeline.products.repetition import products_of, repeated
from sbcdark.pipeline.products.run import write_products
from sbcdark.pipeline.products.stored_results import circumstances, pixels_sha256
from sbcdark.pipeline.selection.names import Selector, resolve_target, selected_exposures
from sbcdark.pipeline.selection.rules import Combine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import sqlalchemy as sa
    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

    from sbcdark.catalog.result_records import StoredProduct, StoredSelection


@dataclass(frozen=True, slots=True)
class Replayed:
    """One product made again.

    Attributes
    ----------
    identical : bool
        Whether every pixel is the same to the last bit.
    largest_difference_count_s : float or None
        Largest difference of a pixel; None if the stored file is missing or changed, so only its checksum is known.
    note : str
        Remarks: differences between then and now, or that the stored file is missing.
    """

    kind: str
    stored: str
    made: Path
    identical: bool
    largest_difference_count_s: float | None
    note: str


def replay(
    catalog: sa.Engine | str | Path,
    selection: int | str,
    folder: Path,
    *,
    flat: Path | None = None,
    overwrite: bool = False,
) -> list[Replayed]:
    """Make the products of a stored selection again from its darks and parameters, and compare their pixels.

    Nothing is recorded, and the stored products do not change.

    Parameters
    ----------
    selection : int or str
        The number of a stored selection; or an exposure or association, for the newest selection with products.
    flat : Path, optional
        The flat, or a folder of flats; by default that of the stored products.

    Raises
    ------
    UsageError
        There is no such selection, or no product uses it.
    SbcdarkError
        The content of a dark has changed since, a file is missing, or a step failed.
    """
    engine = as_engine(catalog)
    with reading(engine) as session:
        products = _products(session, selection)
        stored = results.stored_selections(session, products[0].selection_ids)
    for one in stored:
        for dark, state in zip(one.darks, one.file_states, strict=True):
            if state == "changed":
                raise SbcdarkError(
                    f"The content of {dark.uri} has changed since selection {one.id} was stored.",
                    "Restore the old file to replay it, or see what would be chosen today: sbcdark changes",
                )
    parameters = products[0].parameters
    by_exposure = {one.exposure: one for one in stored}
    matches = [_stored_match(by_exposure[rootname]) for rootname in parameters["exposures"]]
    options = BuildOptions(Combine(parameters["combine"]), top=max(len(one.darks) for one in stored), flat=flat)
    target, job = repeated(products[0], Job(folder, options, overwrite=True))
    files = ProductFiles(folder, target.name)
    if files.there() and not overwrite:
        raise UsageError(f"{files.there()[0]} already exists.", "Give another folder with -o, or --overwrite.")
    with made_folder(folder), workspace(folder) as work, Drizzler() as drizzler:
        built = build(engine, target, work, job, drizzler, matches)
        write_products(built, work)
        made = {
            "science": (files.science, "SCI", built.product.science),
            "masterdark": (files.dark, "SCI", built.dark),
            "error": (files.dark, "ERR", built.dark_error),
            "net": (files.net, "SCI", built.net),
        }
        changed = _changed_since(products[0], circumstances(built))
        # Before publishing: the folder may be that of the stored products.
        compared = [_compared(product, *made[product.kind], changed) for product in products]
        with locked(folder):
            publish(
                work,
                folder,
                [files.science.name, files.dark.name, files.net.name],
                [path.name for path in files.there()],
            )
    return compared


_LARGEST = 2**31 - 1
"""The largest number of a row on both engines."""


def _products(session: Session, selection: int | str) -> list[StoredProduct]:
    """Return the products that use a selection, or the newest one with products of an exposure or association.

    Raises
    ------
    UsageError
        There is no such selection or name, or no product uses it.
    """
    if isinstance(selection, str) and not selection.strip().isdecimal():
        exposures = selected_exposures(session, Selector((selection,)))
        stored = sorted(one["selection"] for name in exposures for one in selections_of(session, name))
        for number in reversed(stored):
            products = products_of(session, number)
            if products:
                return products
        resolve_target(session, Selector((selection,)))  # of darks there are no products
        raise UsageError(f"The catalog has no products of {selection}.", f"Make some: sbcdark run {selection} -o DIR")
    number = int(selection)
    products = products_of(session, number) if number <= _LARGEST else []
    if products:
        return products
    if number > _LARGEST or not results.stored_selections(session, [number]):
        raise UsageError(f"The catalog has no selection {number}.", "`sbcdark show NAME` lists those of an exposure.")
    raise UsageError(f"No product uses selection {number}.", "See the selections of an exposure: sbcdark show NAME")


def _changed_since(stored: StoredProduct, now: dict[str, Any]) -> list[str]:
    """Return the differences between then and now: the software, the inputs, the flats, the libraries."""
    found = []
    if stored.software_version != SOFTWARE_VERSION:
        found.append(f"sbcdark was {stored.software_version}, now {SOFTWARE_VERSION}")
    for what, single in (("inputs", "the FLT"), ("flats", "the flat"), ("versions", "")):
        if what not in stored.parameters:
            found.append(f"the {what} of the stored product are not known")
            continue
        then = stored.parameters[what]
        for name in sorted({*then, *now[what]}):
            before, after = then.get(name), now[what].get(name)
            if before != after and what == "versions":
                found.append(f"{name} was {before}, now {after}")
            elif before != after:
                found.append(f"{single} of {name} was {_named(before)}, now {_named(after)}")
    return found


def _named(content: dict[str, str] | str | None) -> str:
    if content is None:
        return "missing"
    if isinstance(content, dict):
        return f"{content['name']} ({content['sha256'][:12]})"
    return f"a file with sha256 {content[:12]}"


def _stored_match(stored: StoredSelection) -> Match:
    return Match(stored.exposure, stored.rule, stored.tier, stored.darks, (), (), stored.parameters, stored.id)


def _compared(
    stored: StoredProduct, path: Path, extension: str, made: NDArray[np.float32], changed: Sequence[str]
) -> Replayed:
    identical = pixels_sha256(made) == stored.pixels_sha256
    difference, notes = None, []
    try:
        before = _stored_image(stored, extension)
    except BadFileError:
        notes.append("the stored file is missing; compared by checksum")
    else:
        if pixels_sha256(before) != stored.pixels_sha256:
            notes.append("the stored file has changed; compared by checksum")
        elif before.shape == made.shape:
            both = np.abs(np.nan_to_num(before) - np.nan_to_num(made.astype(np.float64)))
            difference = float(both.max())
    if not identical:
        notes += changed or ["inputs, options and versions are unchanged"]
    return Replayed(stored.kind, stored.uri, path, identical, difference, "; ".join(notes))


def _stored_image(stored: StoredProduct, extension: str) -> NDArray[np.float64]:
    path = local_path(stored.uri)
    # Before 0.2 the error was the SCI of a separate file.
    own_file = extension == "ERR" and path.name.endswith("_masterdark_err.fits")
    return read_product(path, "SCI" if own_file else extension).science
