"""Drawing a catalog: what is read for each kind of picture, and the file that it goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.pipeline.selection.names import named_exposures
from sbcdark.pipeline.views import catalog_plots, catalog_points, dark_history, history_plot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import sqlalchemy as sa
    from matplotlib.figure import Figure

    from sbcdark.pipeline.apertures.apertures import ApertureSpec
    from sbcdark.pipeline.estimation.options import BuildOptions
    from sbcdark.pipeline.selection.names import Selector
    from sbcdark.pipeline.selection.rules import Rule
    from sbcdark.pipeline.views.residuals import FitPicture

KINDS = ("coverage", "history", "match", "fit", "templates")
OF_EXPOSURE = ("match", "fit", "templates")
"""The kinds that show one exposure."""

_FORMATS = ("png", "pdf", "svg")


def draw_catalog(
    engine: sa.Engine,
    kind: str,
    path: Path | None,
    *,
    selector: Selector,
    options: BuildOptions,
    apertures: Sequence[ApertureSpec] | None,
    overwrite: bool,
    talk: Callable[[str], None],
) -> list[Path | Figure]:
    """Draw one kind of picture of a catalog.

    Parameters
    ----------
    engine : Engine
        The catalog.
    kind : str
        One of `KINDS`.
    path : Path or None
        The picture: PNG, PDF or SVG by its ending, or HTML, a page to zoom in. The pictures
        of several exposures have the root names in theirs. None for figures instead of files.
    selector : Selector
        The exposures of a match, a fit or templates; the darks of a history; those that a coverage shows.
    options : BuildOptions
        What ranks the darks of an exposure; for a fit the flats, and the masks of the user.
    apertures : sequence of ApertureSpec or None
        For a fit, the apertures that it leaves out; None without masks: those of the last stored product.
    overwrite : bool
        Replace existing files.
    talk : callable
        Called with each warning of a fit.

    Returns
    -------
    list of Path or Figure
        The files or the figures: one per exposure, or one.

    Raises
    ------
    UsageError
        The kind or the ending is unknown, a file exists, or there is nothing to draw.
    NothingMatchedError
        No dark fits the exposure.
    SbcdarkError
        The file cannot be written.
    """
    _require_sense(kind, selector, left_out=bool(apertures or options.mask))
    written_as = "" if path is None else _format(path)
    exposures: list[str | None] = [None]
    if kind in OF_EXPOSURE:
        with reading(engine) as session:
            exposures = [*named_exposures(session, selector)]
    drawn: list[Path | Figure] = []
    paths = [_path_of(path, exposure, many=len(exposures) > 1) for exposure in exposures]
    for file in paths:
        if file is not None and file.exists() and not overwrite:
            raise UsageError(f"{file} already exists.", "Give another file with -o, or --overwrite.")
    draw = _drawer(engine, kind, selector, options, apertures, talk)
    for exposure, file in zip(exposures, paths, strict=True):
        try:
            figure = draw(exposure, file, written_as)
        except OSError as error:
            raise SbcdarkError(
                f"Cannot write {file}: {error.strerror or error}.", "Give another file with -o."
            ) from error
        drawn += [made for made in (file or figure,) if made is not None]
    return drawn


def _require_sense(kind: str, selector: Selector, *, left_out: bool) -> None:
    if kind not in KINDS:
        raise UsageError(f"There is no picture {kind!r}.", f"Use one of: {', '.join(KINDS)}")
    if left_out and kind != "fit":
        raise UsageError(f"The picture {kind!r} has no apertures or masks.", "Give them to: sbcdark plot fit EXPOSURE")
    if kind in OF_EXPOSURE and selector.is_empty:
        raise UsageError(f"The picture {kind!r} is that of an exposure.", f"Name it: sbcdark plot {kind} EXPOSURE")


def _drawer(
    engine: sa.Engine,
    kind: str,
    selector: Selector,
    options: BuildOptions,
    apertures: Sequence[ApertureSpec] | None,
    talk: Callable[[str], None],
) -> Callable[[Any, Path | None, str], Figure | None]:
    """Return what draws an exposure, or the catalog, into a file of a format."""
    if kind not in OF_EXPOSURE:
        return lambda _, file, written_as: _draw_all(engine, kind, selector, file, written_as)
    if kind == "match":
        return lambda exposure, file, written_as: _draw_match(engine, exposure, options.rule, file, written_as)
    if kind == "templates":
        return lambda exposure, file, written_as: _draw_templates(engine, exposure, options, file, written_as)
    from sbcdark.pipeline.views.exposure_fits import ExposureFits  # noqa: PLC0415  only here

    fits = ExposureFits(engine, options, apertures, talk)
    return lambda exposure, file, written_as: _draw_fit(fits.of(exposure), file, written_as)


def _format(path: Path) -> str:
    written_as = path.suffix.lower().lstrip(".")
    if written_as != "html" and written_as not in _FORMATS:
        raise UsageError(
            f"The ending of {path.name!r} gives no picture format.",
            "Use -o FILE.png, FILE.pdf, FILE.svg or FILE.html.",
        )
    return written_as


def _path_of(path: Path | None, exposure: str | None, *, many: bool) -> Path | None:
    return path.with_stem(f"{path.stem}_{exposure}") if path is not None and many else path


def _draw_all(engine: sa.Engine, kind: str, selector: Selector, path: Path | None, written_as: str) -> Figure | None:
    from sbcdark.pipeline.views import interactive_plots  # noqa: PLC0415  only here

    if kind == "coverage":
        coverage = catalog_points.coverage_of(engine, selector)
        if path is not None and written_as == "html":
            interactive_plots.page_of_coverage(path, coverage)
            return None
        return catalog_plots.plot_coverage(path, coverage, written_as)
    history = dark_history.history_of(engine, selector)
    if path is not None and written_as == "html":
        interactive_plots.page_of_history(path, history)
        return None
    return history_plot.plot_history(path, history, written_as)


def _draw_match(engine: sa.Engine, exposure: str, rule: Rule, path: Path | None, written_as: str) -> Figure | None:
    from sbcdark.pipeline.views.interactive_plots import page_of_match  # noqa: PLC0415  only here

    points = catalog_points.match_points(engine, exposure, rule)
    if path is not None and written_as == "html":
        page_of_match(path, points)
        return None
    return catalog_plots.plot_match(path, points, written_as)


def _draw_templates(
    engine: sa.Engine, exposure: str, options: BuildOptions, path: Path | None, written_as: str
) -> Figure | None:
    from sbcdark.pipeline.estimation.exposure_dark import estimate_dark  # noqa: PLC0415
    from sbcdark.pipeline.views.interactive_images import page_of_templates  # noqa: PLC0415
    from sbcdark.pipeline.views.template_plot import plot_templates  # noqa: PLC0415

    found = estimate_dark(engine, exposure, options)
    made = found.estimate.templates
    assert made is not None  # noqa: S101  they are those of the model
    if path is not None and written_as == "html":
        page_of_templates(path, found.dark.rootname, made)
        return None
    return plot_templates(path, found.dark.rootname, made, written_as=written_as)


def _draw_fit(fit: FitPicture, path: Path | None, written_as: str) -> Figure | None:
    from sbcdark.pipeline.views.interactive_images import page_of_fit  # noqa: PLC0415
    from sbcdark.pipeline.views.residuals import plot_fit  # noqa: PLC0415

    if path is not None and written_as == "html":
        page_of_fit(path, fit)
        return None
    return plot_fit(path, fit, written_as=written_as)
