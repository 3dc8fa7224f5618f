"""Drawing a catalog: what is read for each kind of picture, and the file that it goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.queries import ExposureFilter
from sbcdark.pipeline.selection.choice import match
from sbcdark.pipeline.selection.rules import Requirements, rule_of
from sbcdark.pipeline.views.catalog_plots import plot_coverage, plot_history, plot_match
from sbcdark.pipeline.views.listings import exposures

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

    from sbcdark.pipeline.selection.rules import Rule

KINDS = ("coverage", "history", "match")
_MATCHED = 12  # darks in the picture of a match
_FAR = 1e6  # sigma: the nearest darks are drawn, whether they fit or not


def draw_catalog(
    engine: sa.Engine, kind: str, path: Path, *, exposure: str | None, rule: str | Rule, overwrite: bool
) -> Path:
    """Draw one kind of picture of a catalog and return its file.

    Parameters
    ----------
    engine : Engine
        The catalog.
    kind : str
        One of `KINDS`.
    path : Path
        The picture: PNG, PDF or SVG by its ending.
    exposure : str or None
        The exposure of a match.
    rule : str or Rule
        What a match compares.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    UsageError
        The kind or the ending is unknown, the file exists, or there is nothing to draw.
    SbcdarkError
        The file cannot be written.
    """
    if kind not in KINDS:
        raise UsageError(f"There is no picture {kind!r}.", f"Use one of: {', '.join(KINDS)}")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} already exists.", "Give another file with -o, or --overwrite.")
    try:
        if kind == "match":
            if exposure is None:
                raise UsageError("A match is that of an exposure.", "sbcdark plot match EXPOSURE -o FILE.png")
            (found,) = match(engine, [exposure], rule=rule_of(rule))
            (near,) = match(engine, [exposure], rule=rule_of(rule), wanted=Requirements(_MATCHED, max_sigma=_FAR))
            plot_match(path, near, found.tier)
            return path
        darks = exposures(engine, ExposureFilter("dark"))
        if kind == "history":
            plot_history(path, darks)
        else:
            plot_coverage(path, darks, exposures(engine, ExposureFilter("science")))
    except OSError as error:
        raise SbcdarkError(f"Cannot write {path}: {error.strerror or error}.", "Give another file with -o.") from error
    return path
