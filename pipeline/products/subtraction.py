"""Dark-subtracted FLTs, and the dark of each exposure in detector pixels, for use in other tools."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.catalog import queries
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.roots import is_local
from sbcdark.catalog.text import number
from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.pipeline.apertures.pixel_shapes import overlap, to_pixels
from sbcdark.pipeline.archive.cache import keeping_files
from sbcdark.pipeline.detector.constants import HOT_PIXEL_DQ
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.estimation.chosen_darks import matches_of, read_darks
from sbcdark.pipeline.estimation.science_frames import (
    FlatShelf,
    exposure_to_fit,
    is_dark_subtracted,
    read_input,
    science_values,
)
from sbcdark.pipeline.estimation.surroundings import surroundings_of
from sbcdark.pipeline.estimation.template_cache import templates_of
from sbcdark.pipeline.frames.fits_output import read_cards
from sbcdark.pipeline.frames.notebook_forms import html_form
from sbcdark.pipeline.frames.pixels import wcs_of_frame
from sbcdark.pipeline.frames.subtracted_files import write_dark, write_subtracted
from sbcdark.pipeline.frames.untrusted_fits import local_path
from sbcdark.pipeline.model.combination import combine_darks
from sbcdark.pipeline.products.placement import outside
from sbcdark.pipeline.products.product_files import KEY_CARD, inputs_key, made_folder
from sbcdark.pipeline.products.provenance import Cards, command_line, dark_history, dark_tables, made_by
from sbcdark.pipeline.selection.names import resolve_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa
    from numpy.typing import NDArray

    from sbcdark.catalog.progress import Progress
    from sbcdark.catalog.records import Match, MatchValues
    from sbcdark.pipeline.apertures.apertures import ApertureSpec
    from sbcdark.pipeline.estimation.options import BuildOptions
    from sbcdark.pipeline.estimation.science_frames import ScienceInput
    from sbcdark.pipeline.frames.flats import Flat
    from sbcdark.pipeline.model.combination import ExposureDark
    from sbcdark.pipeline.selection.names import Selector, Target


@dataclass(frozen=True, slots=True, repr=False)
class Subtracted:
    """The files written for one exposure.

    Attributes
    ----------
    exposure : str
    flt : Path
        The dark-subtracted FLT.
    dark : Path
        The dark in detector pixels: SCI and ERR (count/s/pixel), DQ.
    method : str
        nearest, mean, model, scaled mean or scaled nearest.
    mean_dark_count : float
        Mean of the subtracted dark, counts/pixel (MEANDARK).
    sky_count_s_pix : float or None
        The fitted sky, count/s/pixel, if it was also subtracted.
    warnings : tuple of str
        Possible problems of the result.
    """

    exposure: str
    flt: Path
    dark: Path
    method: str
    mean_dark_count: float
    sky_count_s_pix: float | None
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        """Give the file, what was subtracted, and the number of warnings."""
        sky = "" if self.sky_count_s_pix is None else f" and sky {self.sky_count_s_pix:.3g} count/s/pixel"
        said = (
            f"dark ({self.method}) {self.mean_dark_count:.3g} count/pixel{sky}, {number(len(self.warnings), 'warning')}"
        )
        return f"<{type(self).__name__} {self.exposure}: {said}, {self.flt}>"

    def _repr_html_(self) -> str:
        return html_form(repr(self), None, self.warnings)


def subtract(
    engine: sa.Engine,
    names: Selector | Sequence[str],
    folder: Path,
    options: BuildOptions,
    *,
    sky: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Subtracted]:
    """Write a dark-subtracted FLT and the dark of each exposure.

    The dark is scaled to the exposure time and divided by the flat. The exposures of an association share their
    templates, as in a run, so the drizzled FLTs equal the net product of the run.

    Parameters
    ----------
    engine : Engine
        The catalog.
    names : Selector or sequence of str
        Associations or exposures, of any filter or prism.
    folder : Path
        Folder for the files; created if missing.
    options : BuildOptions
        How the dark is made. Regions of `mask` in pixels are in pixels of each FLT: nothing is drizzled.
    sky : bool
        Also subtract the fitted sky.
    overwrite : bool
        Replace files that were made from other inputs.
    progress : callable, optional
        Called with the number of finished targets and their total, at the start with 0.

    Raises
    ------
    UsageError
        A name is unknown, an exposure is already dark-subtracted or has no FLT, a file would be replaced, or `sky` is
        True and no sky is fitted.
    NothingMatchedError
        No dark fits an exposure.
    SbcdarkError
        A file cannot be read or written.
    """
    with reading(engine) as session:
        targets = resolve_target(session, names)
    found: list[Subtracted] = []
    with made_folder(folder), keeping_files():
        for done, target in enumerate(targets):
            if progress is not None:
                progress(done, len(targets))
            found += _of_target(engine, target, folder, options, sky=sky, overwrite=overwrite)
    if progress is not None:
        progress(len(targets), len(targets))
    return found


def _of_target(
    engine: sa.Engine, target: Target, folder: Path, options: BuildOptions, *, sky: bool, overwrite: bool
) -> list[Subtracted]:
    warnings = [f"{name}, a member of {target.name}, is not in the catalog and is left out" for name in target.absent]
    warnings += options.notes
    with reading(engine) as session:
        revision = queries.catalog_revision(session)
        values = [science_values(session, rootname) for rootname in target.exposures]
        _require_raw_dark(values)
        matches = matches_of(session, values, options)
    shelf = FlatShelf(options.flat)
    flats = [shelf.flat_of(one, warnings) for one in values]
    key = inputs_key(values, matches, options, [None if flat is None else flat.sha256 for flat in flats])
    key = key[:-1] + ("s" if sky else key[-1])
    for exposure in values:
        _require_free(exposure, folder, key, overwrite=overwrite)
    inputs = [read_input(one, flat, drizzled=False) for one, flat in zip(values, flats, strict=True)]
    matches, chosen = read_darks(matches, options, warnings)
    masks = _masks(inputs, options.mask, warnings)
    exposures = [exposure_to_fit(one, number, ()) for number, one in enumerate(inputs)]
    exposures = [replace(one, good=one.good & ~mask) for one, mask in zip(exposures, masks, strict=True)]
    around = surroundings_of(engine, shelf, options.combine)
    darks = combine_darks(options.combine, exposures, chosen, around, templates_of).exposures
    made = []
    for one, match, dark in zip(inputs, matches, darks, strict=True):
        fitted = None if dark.fit is None else dark.fit.sky
        if sky and fitted is None:
            raise UsageError(
                f"No sky is fitted for {match.exposure} (method {dark.method}, filter {one.values.filter}).",
                "Leave --sky out.",
            )
        cards: Cards = {KEY_CARD: key, "DRKVERS": SOFTWARE_VERSION, "DRKCOMB": options.combine.value}
        cards["DRKCATRV"] = revision
        of_this = [text for text in warnings if not text.startswith(tuple(target.exposures)) or match.exposure in text]
        made.append(_write(one, match, dark, folder, cards, fitted if sky else None, of_this))
    return made


def _masks(
    inputs: Sequence[ScienceInput], specs: Sequence[ApertureSpec], warnings: list[str]
) -> list[NDArray[np.bool_]]:
    """Return the pixels of each exposure in the regions of --mask, and warn of regions that mask none."""
    masks = [np.zeros(DETECTOR_SHAPE, dtype=bool) for _ in inputs]
    if not specs:
        return masks
    maps = [wcs_of_frame(one.frame, Path(f"{one.values.rootname}_flt.fits")) for one in inputs]
    for spec in specs:
        touched = False
        for mask, wcs in zip(masks, maps, strict=True):
            with suppress(UsageError):  # elsewhere on the sky
                found = overlap(to_pixels(spec, wcs), DETECTOR_SHAPE)
                if found is not None:
                    where, inside = found
                    mask[where] |= inside > 0
                    touched = touched or bool((inside > 0).any())
        if not touched:
            warnings.append(outside(spec))
    return masks


def _write(
    one: ScienceInput,
    match: Match,
    dark: ExposureDark,
    folder: Path,
    cards: Cards,
    sky: float | None,
    warnings: Sequence[str],
) -> Subtracted:
    flt, drk = _places(one.values, folder)
    time = one.values.exptime_s
    counts = one.flat_fielded(dark.rate) * time
    error = one.flat_fielded(dark.rate_error) * time
    start = made_by(command_line(sys.argv))
    of_dark = [start, *dark_history(match, dark), "The tables EXPOSURES and DARKS list the fit and all terms."]
    tables = dark_tables([match], [dark])
    named = cards | {"ROOTNAME": match.exposure}
    quality = _flagged(one.frame.data_quality, dark)
    write_dark(drk, dark.rate, dark.rate_error, quality, named, of_dark, tables)
    mean = float(counts[one.good].mean()) if one.good.any() else 0.0
    background = counts if sky is None else counts + sky * time
    write_subtracted(
        flt,
        one.frame.content,
        np.nan_to_num(background, nan=0.0, posinf=0.0, neginf=0.0),
        np.nan_to_num(error, nan=0.0, posinf=0.0, neginf=0.0),
        {"DARKCORR": "COMPLETE", "DARKFILE": drk.name, **cards} | ({} if sky is None else {"DRKSKY": sky}),
        [start, *_subtracted_history(drk.name, flat=one.flat, sky=sky), *dark_history(match, dark)],
        mean_dark=mean,
    )
    notes = (*warnings, *match.warnings, *dark.cautions)
    return Subtracted(match.exposure, flt, drk, dark.method, mean, sky, tuple(dict.fromkeys(notes)))


def _subtracted_history(dark: str, *, flat: Flat | None, sky: float | None) -> list[str]:
    """Return the sentences on what was subtracted from an FLT."""
    divided = "" if flat is None else f", divided by the flat {flat.path.name},"
    told = [f"The dark in {dark}, in the exposure time{divided} was subtracted from SCI; its error was added to ERR."]
    if sky is not None:
        told.append(f"A uniform sky of {sky:.4g} count/s/pixel was subtracted, too.")
    return told


def _flagged(data_quality: NDArray[np.int16], dark: ExposureDark) -> NDArray[np.int16]:
    """Return the DQ of an exposure with the hot pixels of its dark flagged."""
    if dark.fit is None:
        return data_quality
    flagged = data_quality.copy()
    flagged[dark.fit.hot_y, dark.fit.hot_x] |= HOT_PIXEL_DQ
    return flagged


def _require_raw_dark(values: Sequence[MatchValues]) -> None:
    """Reject exposures that are already dark-subtracted."""
    done = [one.rootname for one in values if is_dark_subtracted(one)]
    if done:
        raise UsageError(
            f"{', '.join(done)}: the dark is already subtracted (DARKCORR, MEANDARK).",
            "Get the FLT from the archive, or calibrate it with DARKCORR = OMIT.",
        )


def _places(values: MatchValues, folder: Path) -> tuple[Path, Path]:
    return folder / f"{values.rootname}_flt.fits", folder / f"{values.rootname}_drk.fits"


def _require_free(values: MatchValues, folder: Path, key: str, *, overwrite: bool) -> None:
    """Refuse to replace the input, or a file made from other inputs or by another program."""
    assert values.file is not None  # noqa: S101  ensured by science_values
    for place in _places(values, folder):
        if not place.exists():
            continue
        if is_local(values.file.uri) and place.samefile(local_path(values.file.uri)):
            raise UsageError(f"{place} is the input itself.", "Name another folder with -o.")
        cards = read_cards(place)
        if KEY_CARD not in cards:
            raise UsageError(f"{place} was not made by sbcdark.", "Name another folder with -o.")
        if cards[KEY_CARD] != key and not overwrite:
            raise UsageError(
                f"{place} was made from other inputs.",
                "Name another folder with -o, or give --overwrite to replace it.",
            )
