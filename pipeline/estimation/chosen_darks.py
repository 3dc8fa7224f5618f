"""The darks chosen for each exposure of a job, and their frames."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sbcdark.catalog.errors import BadFileError, NothingMatchedError
from sbcdark.pipeline.archive.cache import fetch_ahead, keeping_files, path_of, record_to_match
from sbcdark.pipeline.estimation.science_frames import is_dark_subtracted
from sbcdark.pipeline.frames.pixels import read_dark
from sbcdark.pipeline.model.templates import DarkFrame
from sbcdark.pipeline.selection import choice
from sbcdark.pipeline.selection.rules import Combine, Requirements
from sbcdark.pipeline.selection.suggestions import advice_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from sbcdark.catalog.records import FileRecord, Match, MatchValues, ScoredDark
    from sbcdark.pipeline.estimation.options import BuildOptions

_SPARE = 5
"""Spare darks to request, as replacements for darks whose file is missing."""


def matches_of(session: Session, exposures: Sequence[MatchValues], options: BuildOptions) -> list[Match]:
    """Choose the darks of each exposure, with some spare ones for those whose file is missing.

    Raises
    ------
    NothingMatchedError
        No dark fits an exposure.
    """
    wanted = Requirements(
        options.top or choice.TOP[options.combine], options.max_sigma, options.max_days, options.min_exptime_s
    )
    free = [one.rootname for one in exposures if one.rootname not in options.use]
    found = choice.choose_for(session, free, options.combine, options.rule, wanted, spare=_SPARE)
    for match in found:
        if not match.darks:
            reasons = "; ".join(f"{rejected.dark}: {rejected.reason}" for rejected in match.nearest_rejected)
            subtracted = any(one.rootname == match.exposure and is_dark_subtracted(one) for one in exposures)
            raise NothingMatchedError(
                f"No dark fits {match.exposure}" + (f" ({reasons})." if reasons else ": the catalog has none."),
                "A dark is already subtracted from its FLT: calibrate it again with DARKCORR OMIT."
                if subtracted
                else advice_in(session, [match.exposure]),
            )
    found += [choice.forced_match(session, rootname, darks, wanted) for rootname, darks in options.use.items()]
    by_name = {match.exposure: match for match in found}
    return [by_name[one.rootname] for one in exposures]


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
        counts: Any = read_dark(path_of(file), record_to_match(file))
    return DarkFrame(rootname, counts, exptime_s)


def read_dark_frame(dark: ScoredDark, warnings: list[str]) -> DarkFrame | None:
    """Read a chosen dark; return None and add a warning if it is missing, unreadable or changed."""
    assert dark.file is not None  # noqa: S101  darks without a file are not selected
    try:
        return read_dark_file(dark.dark, dark.file, dark.exptime_s)
    except BadFileError as error:
        warnings.append(f"dark {dark.dark} is left out: {error.what} The next best takes its place.")
        return None
