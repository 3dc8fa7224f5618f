"""Drawing a catalog: what is read for each kind of picture, and the file that it goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.pipeline.selection.rules import rule_of
from sbcdark.pipeline.views import catalog_plots, catalog_points, dark_history, history_plot

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

    from sbcdark.pipeline.selection.rules import Rule

KINDS = ("coverage", "history", "match", "fit", "templates")
OF_EXPOSURE = ("match", "fit", "templates")
"""The kinds that show one exposure."""

_FORMATS = ("png", "pdf", "svg")


def draw_catalog(
    engine: sa.Engine,
    kind: str,
    path: Path,
    *,
    exposure: str | None,
    rule: str | Rule,
    flat: Path | None,
    overwrite: bool,
) -> Path:
    """Draw one kind of picture of a catalog and return its file.

    Parameters
    ----------
    engine : Engine
        The catalog.
    kind : str
        One of `KINDS`.
    path : Path
        The picture: PNG, PDF or SVG by its ending, or HTML, a page to zoom in.
    exposure : str or None
        The exposure of a match, a fit or templates.
    rule : str or Rule
        What ranks the darks of an exposure.
    flat : Path or None
        A flat or a folder of flats, for a fit.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    UsageError
        The kind or the ending is unknown, the file exists, or there is nothing to draw.
    NothingMatchedError
        No dark fits the exposure.
    SbcdarkError
        The file cannot be written.
    """
    if kind not in KINDS:
        raise UsageError(f"There is no picture {kind!r}.", f"Use one of: {', '.join(KINDS)}")
    if (kind in OF_EXPOSURE) != (exposure is not None):
        one = "is that of an exposure" if kind in OF_EXPOSURE else "shows the whole catalog, not an exposure"
        raise UsageError(f"The picture {kind!r} {one}.", f"Kinds of an exposure: {', '.join(OF_EXPOSURE)}")
    written_as = path.suffix.lower().lstrip(".")
    if written_as != "html" and written_as not in _FORMATS:
        raise UsageError(
            f"The ending of {path.name!r} gives no picture format.",
            "Use -o FILE.png, FILE.pdf, FILE.svg or FILE.html.",
        )
    if path.exists() and not overwrite:
        raise UsageError(f"{path} already exists.", "Give another file with -o, or --overwrite.")
    try:
        if exposure is None:
            _draw_all(engine, kind, path, written_as)
        elif kind == "match":
            _draw_match(engine, exposure, rule_of(rule), path, written_as)
        else:
            _draw_model(engine, exposure, rule_of(rule), flat, path, written_as, templates=kind == "templates")
    except OSError as error:
        raise SbcdarkError(f"Cannot write {path}: {error.strerror or error}.", "Give another file with -o.") from error
    return path


def _draw_all(engine: sa.Engine, kind: str, path: Path, written_as: str) -> None:
    from sbcdark.pipeline.views import interactive_plots  # noqa: PLC0415  only here

    if kind == "coverage":
        coverage = catalog_points.coverage_of(engine)
        if written_as == "html":
            interactive_plots.page_of_coverage(path, coverage)
        else:
            catalog_plots.plot_coverage(path, coverage, written_as)
        return
    history = dark_history.history_of(engine)
    if written_as == "html":
        interactive_plots.page_of_history(path, history)
    else:
        history_plot.plot_history(path, history, written_as)


def _draw_match(engine: sa.Engine, exposure: str, rule: Rule, path: Path, written_as: str) -> None:
    from sbcdark.pipeline.views.interactive_plots import page_of_match  # noqa: PLC0415  only here

    points = catalog_points.match_points(engine, exposure, rule)
    if written_as == "html":
        page_of_match(path, points)
    else:
        catalog_plots.plot_match(path, points, written_as)


def _draw_model(
    engine: sa.Engine, exposure: str, rule: Rule, flat: Path | None, path: Path, written_as: str, *, templates: bool
) -> None:
    from sbcdark.pipeline.estimation.exposure_dark import estimate_dark  # noqa: PLC0415
    from sbcdark.pipeline.estimation.options import build_options  # noqa: PLC0415
    from sbcdark.pipeline.views.interactive_images import page_of_fit, page_of_templates  # noqa: PLC0415
    from sbcdark.pipeline.views.product_pictures import fit_picture  # noqa: PLC0415
    from sbcdark.pipeline.views.residuals import plot_fit  # noqa: PLC0415
    from sbcdark.pipeline.views.template_plot import plot_templates  # noqa: PLC0415

    found = estimate_dark(engine, exposure, build_options(rule=rule, flat=flat))
    dark, fit, made = found.dark, found.dark.fit, found.estimate.templates
    assert fit is not None and made is not None  # noqa: S101, PT018  the model always fits
    interactive = written_as == "html"
    if templates and interactive:
        page_of_templates(path, dark.rootname, made)
    elif templates:
        plot_templates(path, dark.rootname, made, written_as=written_as)
    elif interactive:
        page_of_fit(path, fit_picture(found.exposure, dark, fit))
    else:
        plot_fit(path, fit_picture(found.exposure, dark, fit), written_as=written_as)
