"""Keeping a catalog true: marks, verification, relocation, copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from sbcdark.base import OpenCatalog
from sbcdark.keywords import (
    SelectorKeywords,
    path_from,
    paths_from,
    selected_from,
    selector_from,
)
from sbcdark.progress import progress_of
from sbcdark.signatures import with_keywords

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sbcdark.catalog.progress import Progress
    from sbcdark.keywords import Folder, Names, Programs, Texts
    from sbcdark.pipeline.ingest.relocation import Relocation
    from sbcdark.pipeline.ingest.verification import Verification
    from sbcdark.pipeline.selection.names import Selector


class KeepingCatalog(OpenCatalog):
    """The jobs that keep a catalog true, and copy it."""

    @with_keywords(SelectorKeywords)
    def retire(self, names: Names | Selector = (), reason: str = "", **wanted: Unpack[SelectorKeywords]) -> list[str]:
        """Exclude exposures from all future selections; return their root names. Stored selections stay as they are.

        Parameters
        ----------
        names : str, Path or iterable of these
            Exposures or associations; all of them or, where one is unknown, none.
        reason : str
            Why; it is stored and shown.
        program, association, target : optional
            Further exposures: all of these programs, associations, targets (TARGNAME), one or many.
        """
        from sbcdark.pipeline.ingest.quality import retire  # noqa: PLC0415  each job loads what it needs

        return retire(self.engine, selector_from(names, **selected_from(wanted)), reason)

    @with_keywords(SelectorKeywords)
    def restore(self, names: Names | Selector = (), reason: str = "", **wanted: Unpack[SelectorKeywords]) -> list[str]:
        """Allow retired or flagged exposures to be selected again; return their root names. Parameters as `retire`."""
        from sbcdark.pipeline.ingest.quality import restore  # noqa: PLC0415  each job loads what it needs

        return restore(self.engine, selector_from(names, **selected_from(wanted)), reason)

    def verify(
        self,
        names: Names | Selector = (),
        *,
        program: Programs = None,
        association: Texts = None,
        target: Texts = None,
        checksum: bool = False,
        progress: Progress | bool | None = None,
    ) -> Verification:
        """Compare files with the catalog; missing and changed files are no longer selected.

        Parameters
        ----------
        names : str, Path or iterable of these
            Exposures or associations; by default every file.
        program, association, target : optional
            Further exposures: all of these programs, associations, targets (TARGNAME), one or many.
        checksum : bool
            Read every file in full and compare its sha256.
        progress : callable or bool, optional
            Called with the number of finished files and the total; True shows a bar.
        """
        from sbcdark.pipeline.ingest.verification import verify  # noqa: PLC0415  each job loads what it needs

        selector = selector_from(names, program=program, association=association, target=target)
        with progress_of(progress, "checking files") as shown:
            return verify(self.engine, selector, checksum=checksum, progress=shown)

    def relocate(self, folders: Folder | Iterable[Folder], *, progress: Progress | bool | None = None) -> Relocation:
        """Find moved files below some folders by their sha256, and store their new place."""
        from sbcdark.pipeline.ingest.relocation import relocate  # noqa: PLC0415  each job loads what it needs

        with progress_of(progress, "checking files") as shown:
            return relocate(self.engine, paths_from(folders, "folders"), progress=shown)

    def export(self, path: Folder, *, overwrite: bool = False) -> dict[str, int]:
        """Export the whole catalog to one SQLite file, itself a catalog; return the number of rows of each table."""
        from sbcdark.catalog.transfer import export  # noqa: PLC0415  each job loads what it needs

        return export(self.engine, path_from(path, "path"), overwrite=overwrite)

    def import_(self, path: Folder) -> dict[str, int]:
        """Import an exported file into this catalog, which must be empty; return the number of rows of each table."""
        from sbcdark.catalog.transfer import import_  # noqa: PLC0415  each job loads what it needs

        return import_(self.url, path_from(path, "path"))
