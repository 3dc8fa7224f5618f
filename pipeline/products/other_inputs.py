"""What differs between the products in a folder and those that a run would make there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sbcdark.catalog import result_listings, results
from sbcdark.catalog.engine import reading
from sbcdark.catalog.roots import uri_of
from sbcdark.catalog.text import listed
from sbcdark.catalog.version import SOFTWARE_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from sbcdark.catalog.records import Match
    from sbcdark.pipeline.estimation.options import BuildOptions
    from sbcdark.pipeline.frames.flats import Flat


def other_inputs(
    engine: sa.Engine,
    science: Path,
    exposures: Sequence[str],
    matches: Sequence[Match],
    options: BuildOptions,
    flats: Sequence[Flat | None],
) -> str:
    """Return what differs from the product in a folder, as text that begins with a colon.

    It is empty if the catalog has no record of the product.

    Parameters
    ----------
    science : Path
        The science product in the folder.
    exposures : sequence of str
        The exposures of the run, with their matches and flats.
    """
    with reading(engine) as session:
        stored = results.newest_product(session, uri_of(science.resolve()), "science")
        if stored is None:
            return ""
        selections = results.stored_selections(session, result_listings.fits_of(session, stored.id))
    before: dict[str, Any] = stored.parameters
    darks = {dark.dark for one in selections for dark in one.darks}
    chosen = {dark.dark for match in matches for dark in match.darks}
    pairs = [
        ("sbcdark", stored.software_version, SOFTWARE_VERSION),
        ("--combine", before.get("combine"), options.combine.value),
        ("the exposures", listed(before.get("exposures", ())), listed(exposures)),
        ("the masks", listed(before.get("mask", ())) or "none", listed([one.text for one in options.mask]) or "none"),
        ("the grid", before.get("grid", {}) or "the default", options.grid.changes() or "the default"),
    ]
    known = before.get("flats", {})
    for name, flat in zip(exposures, flats, strict=True):
        now = None if flat is None else {"name": flat.path.name, "sha256": flat.sha256}
        if name in known and known[name] != now:
            pairs.append((f"the flat of {name}", _named(known[name]), _named(now)))
    found = [f"{what} was {then}, now {now}" for what, then, now in pairs if then != now]
    found += [
        f"{word} {listed(sorted(names))}"
        for word, names in (("new darks", chosen - darks), ("without", darks - chosen))
        if names
    ]
    return f": {'; '.join(found)}" if found else ""


def _named(flat: dict[str, str] | None) -> str:
    return "missing" if flat is None else f"{flat['name']} ({flat['sha256'][:8]})"
