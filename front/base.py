"""A catalog that is opened when it is used."""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sbcdark.catalog import opening
from sbcdark.catalog.engine import default_url
from sbcdark.catalog.errors import ArgumentError
from sbcdark.catalog.python_words import in_python

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import sqlalchemy as sa

T = TypeVar("T")


class OpenCatalog:
    """A catalog that is opened when it is used, and created by what fills it.

    Parameters
    ----------
    catalog : str, Path or Engine, optional
        As for `Catalog`.
    """

    _words: Callable[[str], str] = staticmethod(in_python)
    """The words of what is said: messages name commands and options, and the command line leaves them as they are."""

    def __init__(self, catalog: str | Path | sa.Engine | None = None) -> None:
        self._engine: sa.Engine | None = None
        if catalog is None or isinstance(catalog, str | Path):
            self.url = opening.url_of(default_url() if catalog is None else catalog)
        elif hasattr(catalog, "connect"):
            self._engine = catalog
            self.url = catalog.url.render_as_string(hide_password=False)
        else:
            raise ArgumentError(f"catalog: expected a path, a URL or an engine, got {type(catalog).__name__}")

    def __repr__(self) -> str:
        """Show the catalog's address without the password."""
        from sbcdark.catalog.engine import redacted  # noqa: PLC0415

        return f"{type(self).__name__}({redacted(self.url)!r})"

    @property
    def engine(self) -> sa.Engine:
        """The SQLAlchemy engine, opened once."""
        return self._opened(create=False)

    def _opened(self, *, create: bool) -> sa.Engine:
        if self._engine is None:
            self._engine = opening.open_catalog(self.url, create=create, pooled=True)
            weakref.finalize(self, self._engine.dispose)
        return self._engine

    def _said(self, texts: Sequence[str]) -> tuple[str, ...]:
        return tuple(map(self._words, texts))

    def _warned(self, result: T) -> T:
        """Return a result with its warnings in the words of Python."""
        given: Any = result
        return replace(given, warnings=self._said(given.warnings)) if given.warnings else result

    def _talk(self, talk: Callable[[str], None] | None) -> Callable[[str], None]:
        """Return what shows messages."""
        return (lambda _: None) if talk is None else lambda text: talk(self._words(text))

    def _to_fill(self, *, dry_run: bool) -> sa.Engine | None:
        """Open the catalog, created if missing; a dry run creates none and gets None."""
        if not dry_run or self._engine is not None:
            return self._opened(create=True)
        return opening.catalog_if_any(self.url)
