"""Drawing a catalog: what is read for each kind of picture, and the file that it goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.pipeline.selection.names import named_exposures
from sbcdark.pipeline.selection.rules import rule_of
from sbcdark.pipeline.views import catalog_plots, catalog_points, dark_history, history_plot

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa
    from matplotlib.figure import Figure

    from sbcdark.pipeline.selection.names import Selector
    from sbcdark.pipeline.selection.rules import Rule

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
    rule: str | Rule,
    flat: Path | None,
    overwrite: bool,
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
    rule : str or Rule
        What ranks the darks of an exposure.
    flat : Path or None
        A flat or a folder of flats, for a fit.
    overwrite : bool
        Replace existing files.

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
    if kind not in KINDS:
        raise UsageError(f"There is no picture {kind!r}.", f"Use one of: {', '.join(KINDS)}")
    if kind in OF_EXPOSURE and selector.is_empty:
        raise UsageError(f"The picture {kind!r} is that of an exposure.", f"Name it: sbcdark plot {kind} EXPOSURE")
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
    for exposure, file in zip(exposures, paths, strict=True):
        try:
            if exposure is None:
                figure = _draw_all(engine, kind, selector, file, written_as)
            elif kind == "match":
                figure = _draw_match(engine, exposure, rule_of(rule), file, written_as)
            else:
                figure = _draw_model(engine, exposure, rule_of(rule), flat, file, written_as, kind)
        except OSError as error:
            raise SbcdarkError(
                f"Cannot write {file}: {error.strerror or error}.", "Give another file with -o."
            ) from error
        drawn += [made for made in (file or figure,) if made is not None]
    return drawn


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


def _draw_model(
    engine: sa.Engine, exposure: str, rule: Rule, flat: Path | None, path: Path | None, written_as: str, kind: str
) -> Figure | None:
    from sbcdark.pipeline.estimation.exposure_dark import estimate_dark  # noqa: PLC0415
    from sbcdark.pipeline.estimation.options import build_options  # noqa: PLC0415
    from sbcdark.pipeline.views.interactive_images import page_of_fit, page_of_templates  # noqa: PLC0415
    from sbcdark.pipeline.views.product_pictures import fit_picture  # noqa: PLC0415
    from sbcdark.pipeline.views.residuals import plot_fit  # noqa: PLC0415
    from sbcdark.pipeline.views.template_plot import plot_templates  # noqa: PLC0415

    found = estimate_dark(engine, exposure, build_options(rule=rule, flat=flat))
    dark, fit, made = found.dark, found.dark.fit, found.estimate.templates
    assert fit is not None and made is not None  # noqa: S101, PT018  the model always fits
    page = path if written_as == "html" else None
    if kind == "templates":
        if page is None:
            return plot_templates(path, dark.rootname, made, written_as=written_as)
        page_of_templates(page, dark.rootname, made)
        return None
    picture = fit_picture(found.exposure, dark, fit)
    if page is None:
        return plot_fit(path, picture, written_as=written_as)
    page_of_fit(page, picture)
    return None
