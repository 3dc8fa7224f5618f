"""Showing a catalog: pictures, and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack, overload

from sbcdark.apertures_and_radii import apertures_from
from sbcdark.base import OpenCatalog
from sbcdark.catalog.errors import ArgumentError
from sbcdark.keywords import (
    SelectorKeywords,
    flat_from,
    is_one,
    path_from,
    selected_from,
    selector_from,
)
from sbcdark.pipeline.frames.notebook_forms import Results
from sbcdark.progress import progress_of
from sbcdark.signatures import with_keywords

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.figure import Figure

    from sbcdark.catalog.progress import Progress
    from sbcdark.keywords import Apertures, Folder, Names
    from sbcdark.pipeline.pages.report import Report
    from sbcdark.pipeline.selection.names import Selector
    from sbcdark.pipeline.selection.rules import Rule


class PlotKeywords(SelectorKeywords, total=False):
    """Options of a picture: see `Catalog.plot`."""

    rule: str | Rule
    flat: Folder | None
    apertures: Apertures
    regions: Folder | None
    mask: Folder | None
    overwrite: bool
    talk: Callable[[str], None] | None
    progress: Progress | bool | None


class ShowingCatalog(OpenCatalog):
    """The jobs that show a catalog."""

    @overload
    def plot(
        self, kind: str, names: Names | Selector = ..., path: None = ..., **wanted: Unpack[PlotKeywords]
    ) -> Figure | list[Figure]: ...
    @overload
    def plot(
        self, kind: str, names: Names | Selector = ..., *, path: Folder, **wanted: Unpack[PlotKeywords]
    ) -> Path | list[Path]: ...
    @with_keywords(PlotKeywords)
    def plot(
        self, kind: str, names: Names | Selector = (), path: Folder | None = None, **wanted: Unpack[PlotKeywords]
    ) -> Any:
        """Draw the catalog.

        Parameters
        ----------
        kind : {"coverage", "history", "match", "fit", "templates"}
            ``coverage``: all darks and science exposures on the plane of temperature and glow; ``history``: the darks
            over time; ``match``: the ranked darks of one exposure; ``fit``: an exposure, the model of its dark and
            sky, and the residual; ``templates``: base, glow, their errors and the hot pixels, of its darks.
        names : str, Path or iterable of these
            The exposures of ``match``, ``fit`` and ``templates``; the darks or science exposures that ``coverage`` and
            ``history`` show, by default all.
        path : str or Path, optional
            A file for the picture: PNG, PDF or SVG by its ending; HTML is a page to zoom in. The
            pictures of several exposures have the root names in theirs.
        program, association, target : optional
            Further exposures.
        rule : {"glow", "box", "temperature", "notebook"}
            What ranks the darks of an exposure.
        flat : str or Path, optional
            For a fit, a flat or a folder of flats; by default the folder of the environment variable ``jref``.
        apertures, regions, mask : optional
            For a fit, the apertures, DS9 regions and masks that it leaves out, as for `run`, so that the picture is the
            one that `run` draws: pixels are those of the product of the exposure's association. By default those of
            the last products of the exposure that are stored in the catalog; ``()`` for none.
        overwrite : bool
            Replace existing files.
        talk : callable
            For a fit, called with each warning.
        progress : callable or bool, optional
            Called with the number of finished pictures and the total; True shows a bar.

        Returns
        -------
        matplotlib.figure.Figure or Path
            The figure, or the file if there is a path; a list for several exposures.
        """
        from sbcdark.pipeline.estimation.options import build_options  # noqa: PLC0415  each job loads what it needs
        from sbcdark.pipeline.views.catalog_pictures import draw_catalog  # noqa: PLC0415

        if is_one(names) and str(names).lower().endswith((".png", ".pdf", ".svg", ".html")):
            raise ArgumentError(
                f"names: expected exposures, got the picture {str(names)!r}.", f"Give path={str(names)!r}"
            )
        given, regions, notes = wanted.get("apertures"), wanted.get("regions"), list[str]()
        chosen = given is not None or regions is not None
        apertures = apertures_from(() if given is None else given, regions, notes) if chosen else None
        rule, flat = wanted.get("rule", "glow"), flat_from(wanted.get("flat"))
        options = build_options(rule=rule, flat=flat, mask=wanted.get("mask"))
        talk = self._talk(wanted.get("talk"))
        for note in (*notes, *options.notes):
            talk(note)
        with progress_of(wanted.get("progress"), "drawing") as shown:
            drawn = draw_catalog(
                self.engine,
                kind,
                None if path is None else path_from(path, "path"),
                selector=selector_from(names, **selected_from(wanted)),
                options=options,
                apertures=apertures,
                overwrite=wanted.get("overwrite", False),
                talk=talk,
                progress=shown,
            )
        return drawn[0] if len(drawn) == 1 else Results(drawn)

    @with_keywords(SelectorKeywords)
    def report(
        self,
        folder: Folder,
        names: Names | Selector = (),
        *,
        overwrite: bool = False,
        progress: Progress | bool | None = None,
        **wanted: Unpack[SelectorKeywords],
    ) -> Report:
        """Write pages about the catalog: an index, and a page for each association and each exposure.

        Parameters
        ----------
        folder : str or Path
            Folder for the pages; open its ``index.html`` in a browser.
        names : str, Path or iterable of these
            The exposures and associations that have pages, with those of `program`, `association` and `target`; by
            default all.
        overwrite : bool
            Replace the report that is in the folder.
        progress : callable or bool, optional
            Called with the number of finished files and the total; True shows a bar.

        Returns
        -------
        Report
            The path of the index and the number of files.
        """
        from sbcdark.pipeline.pages.report import write_report  # noqa: PLC0415  each job loads what it needs

        selector = selector_from(names, **selected_from(wanted))
        with progress_of(progress, "writing pages") as shown:
            return write_report(self.engine, path_from(folder, "folder"), selector, overwrite=overwrite, progress=shown)

    def serve(
        self, host: str = "127.0.0.1", port: int = 8765, *, started: Callable[[str], None] = lambda _: None
    ) -> None:
        """Serve the pages of `report` live, with JSON under ``/api/``, until interrupted; the catalog is only read.

        Parameters
        ----------
        host : str
            The address; by default only this machine can reach it.
        port : int
            The port; 0 takes a free one.
        started : callable
            Called with the address of the pages.
        """
        from sbcdark.pipeline.pages.server import serve  # noqa: PLC0415  each job loads what it needs

        serve(self.engine, host, port, started=started)
