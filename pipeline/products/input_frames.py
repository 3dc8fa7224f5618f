"""Reading the inputs of a dark estimate: science exposures with their flats, and the darks chosen for them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sbcdark.catalog import queries
from sbcdark.catalog.errors import BadFileError, NothingMatchedError, UsageError
from sbcdark.pipeline.archive.cache import fetch_ahead, keeping_files, path_of
from sbcdark.pipeline.archive.urls import is_remote
from sbcdark.pipeline.frames.pixels import find_flat, missing_flat, read_dark, read_flat, read_science, usable
from sbcdark.pipeline.frames.untrusted_fits import file_sha256
from sbcdark.pipeline.model.combination import Exposure
from sbcdark.pipeline.model.templates import DarkFrame
from sbcdark.pipeline.products.records import Flat, ScienceInput
from sbcdark.pipeline.selection import choice
from sbcdark.pipeline.selection.file_state import with_current_file
from sbcdark.pipeline.selection.rules import Combine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import FileRecord, Match, MatchValues, ScoredDark
    from sbcdark.pipeline.products.footprints import NativeWeights
    from sbcdark.pipeline.products.options import BuildOptions


def science_values(session: Session, rootname: str) -> MatchValues:
    """Return the catalog's values of a science exposure whose FLT is present.

    Raises
    ------
    UsageError
        It has no FLT in the catalog, or is a dark.
    """
    values = queries.match_values(session, rootname)
    if values is None or values.file is None:
        raise UsageError(f"{rootname} has no FLT in the catalog.", "Ingest it: sbcdark ingest PATH")
    if values.kind != "science":
        raise UsageError(f"{rootname} is a dark.", "Name an association or science exposures.")
    return with_current_file(session, values)


def _ingested(file: FileRecord) -> FileRecord | None:
    """Return the record that a local file must match; the cache checks remote files."""
    return None if is_remote(file.uri) else file


def is_divided(file: FileRecord) -> bool:
    """Whether calacs divided an FLT by a flat; if not, its dark is that of the detector."""
    return file.flat_correction in {None, "COMPLETE"}


class FlatShelf:
    """The flats of a build; a flat is read once as long as its file stays the same."""

    def __init__(self, given: Path | None) -> None:
        self._given = given

    def flat_of(self, values: MatchValues, warnings: list[str]) -> Flat | None:
        """Return the flat that divided an exposure; if it is not found, return None and add a warning.

        Raises
        ------
        BadFileError
            The flat cannot be read.
        """
        assert values.file is not None  # noqa: S101  ensured by science_values
        if not is_divided(values.file):
            return None
        path = find_flat(values.file.flat_file, self._given)
        if path is None:
            warnings.append(f"{values.rootname}: {missing_flat(values.file.flat_file)}")
            return None
        status = path.stat()
        return _flat_at(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=2)
def _flat_at(path: Path, _size: int, _mtime_ns: int) -> Flat:
    """Return a flat; all associations of a filter share it, and one takes 8 MB."""
    return Flat(path, file_sha256(path), read_flat(path))


def read_input(values: MatchValues, flat: Flat | None, *, drizzled: bool = True) -> ScienceInput:
    """Read a science exposure.

    Parameters
    ----------
    drizzled : bool
        Whether it will be drizzled; the FLT must then have everything that AstroDrizzle needs.

    Raises
    ------
    BadFileError
        The FLT cannot be read, or is not the file that was ingested.
    """
    assert values.file is not None  # noqa: S101  ensured by science_values
    frame = read_science(path_of(values.file), _ingested(values.file), drizzled=drizzled)
    good = usable(frame, None if flat is None else flat.pixels)
    return ScienceInput(values, values.file, frame, flat, good)


def read_darks(
    matches: Sequence[Match], options: BuildOptions, warnings: list[str]
) -> tuple[list[Match], list[list[DarkFrame]]]:
    """Read each chosen dark once; replace one that is missing, unreadable or changed by the next best.

    Returns
    -------
    matches : list of Match
        With the darks that were read, ranked again.
    darks : list of list of DarkFrame
        Their frames, in the same order.

    Raises
    ------
    NothingMatchedError
        None of an exposure's darks can be read.
    """
    frames: dict[str, DarkFrame | None] = {}
    kept, chosen = [], []
    for match in matches:
        limit = len(match.darks)
        if options.combine is not Combine.MODEL and match.exposure not in options.use:
            limit = options.top or choice.TOP[options.combine]
        fetch_ahead([dark.file for dark in match.darks[:limit] if dark.file is not None])
        used: list[ScoredDark] = []
        for dark in match.darks:
            if len(used) == limit:
                break
            if dark.dark not in frames:
                frames[dark.dark] = read_dark_frame(dark, warnings)
            if frames[dark.dark] is not None:
                used.append(dark)
        if not used:
            raise NothingMatchedError(
                f"None of the darks for {match.exposure} can be read.", "Ingest them from where they are now."
            )
        total = sum(dark.exptime_s for dark in used)
        ranked = tuple(replace(dark, rank=rank, weight=dark.exptime_s / total) for rank, dark in enumerate(used, 1))
        kept.append(replace(match, darks=ranked))
        chosen.append([frame for dark in used if (frame := frames[dark.dark]) is not None])
    return kept, chosen


def read_dark_file(rootname: str, file: FileRecord, exptime_s: float) -> DarkFrame:
    """Read a dark.

    Raises
    ------
    BadFileError
        It is missing, unreadable or not the file that was ingested.
    """
    with keeping_files():
        counts: Any = read_dark(path_of(file), _ingested(file))
    return DarkFrame(rootname, counts, exptime_s)


def read_dark_frame(dark: ScoredDark, warnings: list[str]) -> DarkFrame | None:
    """Read a chosen dark; return None and add a warning if it is missing, unreadable or changed."""
    assert dark.file is not None  # noqa: S101  darks without a file are not selected
    try:
        return read_dark_file(dark.dark, dark.file, dark.exptime_s)
    except BadFileError as error:
        warnings.append(f"dark {dark.dark} is left out: {error.what} The next best takes its place.")
        return None


def exposure_to_fit(one: ScienceInput, number: int, footprints: Sequence[Sequence[NativeWeights]]) -> Exposure:
    """Return an exposure for the fit, without the pixels in apertures and in regions that the user masked."""
    good = one.good.copy()
    for footprint in footprints:
        weights = footprint[number]
        good[weights.where] &= ~weights.touched
    # A blocked filter lets no light through.
    sky = not (one.values.filter or "").startswith("BLOCK")
    values = one.values
    return Exposure(
        values.rootname, one.counts, values.exptime_s, good, one.flat_pixels, sky, values.start_mjd,
        values.temperature_mean_c,
    )  # fmt: skip


def is_dark_subtracted(values: MatchValues) -> bool:
    """Whether the dark is already subtracted from an exposure's FLT (DARKCORR, MEANDARK)."""
    file = values.file
    return file is not None and (file.dark_correction == "COMPLETE" or (file.mean_dark_count or 0.0) > 0)
