"""The darks chosen for each exposure of a job, and their frames."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sbcdark.catalog.errors import BadFileError, NothingMatchedError
from sbcdark.catalog.text import listed
from sbcdark.pipeline.archive.cache import fetch_ahead, keeping_files, path_of, record_to_match
from sbcdark.pipeline.archive.urls import is_remote
from sbcdark.pipeline.estimation.science_frames import is_dark_subtracted
from sbcdark.pipeline.estimation.template_cache import comparison_of
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
    from sbcdark.pipeline.model.spots import Spot

_SPARE = 5
"""Spare darks to request, as replacements for darks that cannot be used."""


def matches_of(session: Session, exposures: Sequence[MatchValues], options: BuildOptions) -> list[Match]:
    """Choose the darks of each exposure, with some spare ones for those that cannot be used.

    For nearest and mean, `templates` has the darks to compare them with.

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
    if options.combine is not Combine.MODEL:
        chosen = {name: by_name[name] for name in free}
        names = [one.rootname for one in exposures]
        for one in choice.matches_for_templates(session, names, options.rule, wanted, chosen):
            by_name[one.exposure] = replace(by_name[one.exposure], templates=one.darks)
    return [by_name[one.rootname] for one in exposures]


def read_darks(
    matches: Sequence[Match], options: BuildOptions, warnings: list[str]
) -> tuple[list[Match], list[list[DarkFrame]]]:
    """Read each chosen dark once; replace one that is missing, unreadable, changed or has a spot by the next best.

    The darks are compared with each other; those of nearest and mean also with the darks of the templates, as far as
    these are not remote. Darks that the user named, or that a stored selection holds, are used all the same.

    Returns
    -------
    matches : list of Match
        With the darks that are used, ranked again.
    darks : list of list of DarkFrame
        Their frames, in the same order.

    Raises
    ------
    NothingMatchedError
        None of an exposure's darks can be used; darks that fit less well are then not taken unasked.
    """
    shelf: dict[str, DarkFrame | str] = {}
    for match in matches:
        limit = _limit(match, options)
        fetch_ahead([dark.file for dark in match.darks[:limit] if dark.file is not None])
        others = (*match.darks[limit:], *match.templates)
        local = [dark for dark in others if dark.file is not None and not is_remote(dark.file.uri)]
        for dark in (*match.darks[:limit], *local):
            _read(dark, shelf)
    frames = [frame for frame in shelf.values() if isinstance(frame, DarkFrame)]
    compared = comparison_of(frames)
    given = {dark.dark for match in matches if _is_given(match, options) for dark in match.darks}
    notes = {spot.dark: about_spot(spot, options.combine, used=spot.dark in given) for spot in compared.spots}
    shelf |= {name: note for name, note in notes.items() if name not in given}
    kept, chosen = [], []
    for match in matches:
        used, passed = _first(match, _limit(match, options), shelf)
        warnings += passed
        warnings += [notes[dark.dark] for dark in used if dark.dark in notes]
        total = sum(dark.exptime_s for dark in used)
        ranked = tuple(replace(dark, rank=rank, weight=dark.exptime_s / total) for rank, dark in enumerate(used, 1))
        kept.append(replace(match, darks=ranked, templates=()))
        chosen.append([frame for dark in used if isinstance(frame := shelf[dark.dark], DarkFrame)])
    tested = {frame.rootname for frame in frames} - set(compared.alone)
    alone = {dark.dark: None for match in kept for dark in match.darks if dark.dark not in tested}
    if alone:
        warnings.append(
            "not compared with other darks, so that a source in it would count as dark: "
            f"{listed([*alone])}; ingest more darks with such a glow"
        )
    warnings[:] = dict.fromkeys(warnings)
    return kept, chosen


def _limit(match: Match, options: BuildOptions) -> int:
    """Return the number of darks of a match to use."""
    if options.combine is Combine.MODEL or _is_given(match, options):
        return len(match.darks)
    return options.top or choice.TOP[options.combine]


def _is_given(match: Match, options: BuildOptions) -> bool:
    """Whether the darks of a match are not to be replaced: the user's, or those of a stored selection."""
    return match.exposure in options.use or match.selection_id is not None


def _first(match: Match, limit: int, shelf: dict[str, DarkFrame | str]) -> tuple[list[ScoredDark], list[str]]:
    """Return the first darks of a match that can be used, and why those before them cannot.

    Raises
    ------
    NothingMatchedError
        As for `read_darks`.
    """
    used: list[ScoredDark] = []
    passed = []
    for dark in match.darks:
        if len(used) == limit:
            break
        frame = _read(dark, shelf)
        if isinstance(frame, str):
            passed.append(frame)
        else:
            used.append(dark)
    if not used:
        raise NothingMatchedError(
            f"None of the darks for {match.exposure} can be used: {'; '.join(passed)}",
            "Ingest them from where they are now, or retire those with a bright spot: others then take their place.",
        )
    return used, passed


def about_spot(spot: Spot, combine: Combine = Combine.MODEL, *, used: bool = False) -> str:
    """Return a warning of a dark with a spot: what was found, and what to type. `used` is for a dark that stays."""
    what = (
        f"{spot.counts:,.0f} counts within {spot.radius_pix} pixels of (x, y) = ({spot.x}, {spot.y}), where the other "
        f"darks predict {spot.expected:,.0f} ({spot.sigma:.0f} sigma)"
    )
    retire = f'exclude it for good with sbcdark retire {spot.dark} --reason "bright spot"'
    if used:
        return f"dark {spot.dark} is used as given, though it has {what}; {retire}"
    keep = "" if combine is Combine.MODEL else f", or use it all the same with --use EXPOSURE={spot.dark}"
    return f"dark {spot.dark} is left out: {what}; {retire}{keep}"


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


def _read(dark: ScoredDark, shelf: dict[str, DarkFrame | str]) -> DarkFrame | str:
    """Read a chosen dark once; put a warning in its place if it is missing, unreadable or changed."""
    if dark.dark not in shelf:
        assert dark.file is not None  # noqa: S101  darks without a file are not selected
        try:
            shelf[dark.dark] = read_dark_file(dark.dark, dark.file, dark.exptime_s)
        except BadFileError as error:
            shelf[dark.dark] = f"dark {dark.dark} is left out: {error.what} The next best takes its place."
    return shelf[dark.dark]
