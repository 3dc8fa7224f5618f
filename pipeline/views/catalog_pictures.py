"""Drawing a catalog: what is read for each kind of picture, and the file that it goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.progress import counted
from sbcdark.pipeline.selection.names import named_exposures
from sbcdark.pipeline.views import catalog_plots, catalog_points, dark_history, history_plot
from sbcdark.pipeline.views.drawing import own_style, save

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import sqlalchemy as sa
    from matplotlib.figure import Figure

    from sbcdark.catalog.progress import Progress
    from sbcdark.pipeline.apertures.apertures import ApertureSpec
    from sbcdark.pipeline.estimation.options import BuildOptions
    from sbcdark.pipeline.model.templates import Templates
    from sbcdark.pipeline.selection.names import Selector

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
    progress: Progress | None = None,
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
    progress : callable, optional
        Called with the number of finished pictures and the total.

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
    read = _reader(engine, kind, selector, options, apertures, talk)
    for exposure, file in counted(list(zip(exposures, paths, strict=True)), progress):
        try:
            figure = draw(kind, file, written_as, *read(exposure))
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


def _reader(
    engine: sa.Engine,
    kind: str,
    selector: Selector,
    options: BuildOptions,
    apertures: Sequence[ApertureSpec] | None,
    talk: Callable[[str], None],
) -> Callable[[Any], tuple[Any, ...]]:
    """Return what reads the data of a picture, of an exposure or of the catalog."""
    if kind == "coverage":
        return lambda _: (catalog_points.coverage_of(engine, selector),)
    if kind == "history":
        return lambda _: (dark_history.history_of(engine, selector),)
    if kind == "match":
        return lambda exposure: (catalog_points.match_points(engine, exposure, options.rule),)
    if kind == "templates":
        return lambda exposure: _templates(engine, exposure, options)
    from sbcdark.pipeline.views.exposure_fits import ExposureFits  # noqa: PLC0415  only here

    fits = ExposureFits(engine, options, apertures, talk)
    return lambda exposure: (fits.of(exposure),)


def _templates(engine: sa.Engine, exposure: str, options: BuildOptions) -> tuple[str, Templates]:
    from sbcdark.pipeline.estimation.exposure_dark import estimate_dark  # noqa: PLC0415  only here

    found = estimate_dark(engine, exposure, options)
    assert found.estimate.templates is not None  # noqa: S101  they are those of the model
    return found.dark.rootname, found.estimate.templates


def draw(kind: str, path: Path | None, written_as: str, *data: Any) -> Figure | None:
    """Draw the data of one picture.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    path : Path or None
        The file; an old one is replaced once the new one is complete. None only draws the figure.
    written_as : {"png", "pdf", "svg", "html"}
        The format of the file.
    *data
        What the function in `_figure` takes.

    Returns
    -------
    Figure or None
        None where the file is a page.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    if path is not None and written_as == "html":
        _write_page(kind, path, *data)
        return None
    if kind == "fit":
        from sbcdark.pipeline.views.residuals import plot_fit  # noqa: PLC0415  only here

        return plot_fit(path, *data, written_as=written_as)
    with own_style():
        return save(_figure(kind, *data), path, written_as)


def _write_page(kind: str, path: Path, *data: Any) -> None:
    from sbcdark.pipeline.views import interactive_images, interactive_plots  # noqa: PLC0415  only here

    pages = interactive_images if kind in {"fit", "templates"} else interactive_plots
    getattr(pages, f"page_of_{kind}")(path, *data)


def _figure(kind: str, *data: Any) -> Figure:
    from sbcdark.pipeline.views.template_plot import plot_templates  # noqa: PLC0415  only here

    plots: dict[str, Callable[..., Figure]] = {
        "coverage": catalog_plots.plot_coverage,
        "history": history_plot.plot_history,
        "match": catalog_plots.plot_match,
        "templates": plot_templates,
    }
    return plots[kind](*data)


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
