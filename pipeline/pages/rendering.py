"""The pages of a catalog as HTML: templates that escape all text from headers, and the files that they link to."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbcdark.catalog import queries, result_listings
from sbcdark.catalog.engine import reading, redacted
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.pipeline.pages import content
from sbcdark.pipeline.selection.changes import changes
from sbcdark.pipeline.selection.names import names_of
from sbcdark.pipeline.views import catalog_points, dark_history

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa
    from jinja2 import Environment
    from markupsafe import Markup
    from sqlalchemy.orm import Session

    from sbcdark.pipeline.selection.names import Selector
    from sbcdark.pipeline.views.catalog_points import Coverage
    from sbcdark.pipeline.views.dark_history import History

_HERE = Path(__file__).parent
_ASSETS = {"assets/style.css", "assets/tables.js"}
_DRAWN = {"coverage.png", "history.png", "coverage.html", "history.html"}


class Pages:
    """The pages of a catalog at one revision, by the paths of their files.

    Parameters
    ----------
    engine : Engine
        The catalog; it is only read.
    live : bool
        Whether the pages are served, with JSON beside them.
    selector : Selector, optional
        The exposures that have pages, and their associations; by default all.
    """

    def __init__(self, engine: sa.Engine, *, live: bool = False, selector: Selector | None = None) -> None:
        self._engine, self._live = engine, live
        self._selector = selector

    def paths(self, session: Session) -> Iterator[str]:
        """Return the paths of all pages and of the files that they link to."""
        yield from ("index.html", "exposures.html", *sorted(_ASSETS))
        yield from sorted(name for name in _DRAWN if self._points(name) is not None)
        for exposure in queries.list_exposures(session, self._shown):
            if content.has_page(exposure.rootname):
                yield f"exposures/{exposure.rootname}.html"
        for row in content.association_rows(session):
            if row.name in self._associations:
                yield f"associations/{row.name}.html"
                if row.apertures:
                    yield f"tables/{row.name}.ecsv"
                for picture, _ in content.read_association(session, row.name).pictures:
                    yield f"pictures/{picture}"

    def read(self, session: Session, path: str) -> bytes:
        """Return the content of a page or of a file that it links to.

        Raises
        ------
        UsageError
            There is no such page.
        """
        folder, _, name = path.rpartition("/")
        if path in _ASSETS:
            return (_HERE / path).read_bytes()
        if path in _DRAWN:
            return self._drawn(path)
        if path == "index.html":
            changed = changes(self._engine)
            restricted = self._shown.names is not None
            kinds = Counter(one.kind for one in queries.list_exposures(session, self._shown)) if restricted else None
            return self._page(path, read=content.read_index(session, self._coverage, changed), shown=kinds)
        if path == "exposures.html":
            exposures = queries.list_exposures(session, self._shown)
            return self._page(path, exposures=exposures)
        if folder == "exposures" and name.endswith(".html"):
            found = content.read_exposure(session, name.removesuffix(".html"))
            return self._page("exposure.html", "../", read=found)
        if folder == "associations" and name.endswith(".html"):
            about = content.read_association(session, name.removesuffix(".html"))
            return self._page("association.html", "../", read=about)
        if folder == "tables" and name.endswith(".ecsv"):
            return _photometry_table(session, name.removesuffix(".ecsv"))
        if folder == "pictures" and (picture := content.picture_file(session, name)) is not None:
            return picture.read_bytes()
        raise UsageError(f"There is no page {path!r}.", "See index.html.")

    def of_error(self, root: str, title: str, error: str, todo: str) -> bytes:
        """Return the page of an error; `root` leads from its address to the index."""
        return self._page("error.html", root, title=title, error=error, todo=todo)

    def _page(self, template: str, root: str = "", **given: Any) -> bytes:
        made = _environment().get_template(template)
        about = {
            "catalog": redacted(self._engine.url.render_as_string(hide_password=False)),
            "version": SOFTWARE_VERSION,
            "now": datetime.now(UTC),
            "live": self._live,
            "root": root,
            "hot_above_c": queries.HOT_ABOVE_C,
            "associations": self._associations,
            "linked": self._shown.names,
        }
        return made.render(**about, **given).encode("utf-8", "backslashreplace")

    @cached_property
    def _associations(self) -> frozenset[str]:
        """The names that have a page of an association."""
        shown = self._shown.names
        with reading(self._engine) as session:
            found = [one.name for one in content.association_rows(session) if content.has_page(one.name)]
            if shown is None:
                return frozenset(found)
            return frozenset(
                name
                for name in found
                if shown.intersection(one.rootname for one in content.read_association(session, name).exposures)
            )

    @cached_property
    def _shown(self) -> queries.ExposureFilter:
        """The exposures that have a page."""
        with reading(self._engine) as session:
            return queries.ExposureFilter(names=names_of(session, self._selector))

    @cached_property
    def _coverage(self) -> Coverage | None:
        with suppress(UsageError):  # nothing to draw
            return catalog_points.coverage_of(self._engine)
        return None

    @cached_property
    def _history(self) -> History | None:
        with suppress(UsageError):  # nothing to draw
            return dark_history.history_of(self._engine)
        return None

    def _points(self, path: str) -> Coverage | History | None:
        return self._coverage if path.startswith("coverage") else self._history

    def _drawn(self, path: str) -> bytes:
        from sbcdark.pipeline.views.catalog_pictures import draw  # noqa: PLC0415  only where drawn

        points = self._points(path)
        if points is None:
            raise UsageError("The catalog has no darks to draw.", "Ingest some: sbcdark ingest PATH")
        kind, _, written_as = path.partition(".")
        with tempfile.TemporaryDirectory(prefix="sbcdark-") as folder:
            file = Path(folder) / path
            draw(kind, file, written_as, points)
            return file.read_bytes()


def read_page(pages: Pages, engine: sa.Engine, path: str) -> bytes:
    """Return the content of a page in a session of its own."""
    with reading(engine) as session:
        return pages.read(session, path)


def _photometry_table(session: Session, name: str) -> bytes:
    from sbcdark.pipeline.frames.tables import PHOTOMETRY_KEYS, write_table  # noqa: PLC0415  astropy is slow to import

    products = result_listings.latest_products(session, name) if content.has_page(name) else []
    science = result_listings.science_of(products)
    records = [] if science is None else result_listings.photometry_of(session, science.id)
    if not records:
        raise UsageError(f"The catalog has no photometry of {name!r}.", "Measure it: sbcdark run NAME --aperture SPEC")
    with tempfile.TemporaryDirectory(prefix="sbcdark-") as folder:
        path = Path(folder) / "photometry.ecsv"
        write_table([asdict(one) for one in records], PHOTOMETRY_KEYS, path)
        return path.read_bytes()


@cache
def _environment() -> Environment:
    """Return the environment of the templates, which are compiled once."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415  only where pages are made

    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["fixed"] = _fixed
    made.filters["micro"] = _micro
    made.filters["scientific"] = _scientific
    made.filters["minute"] = _minute
    made.filters["as_text"] = _as_text
    made.filters["breaks"] = _breaks
    made.filters["has_page"] = content.has_page
    return made


def _fixed(value: float | None, decimals: int) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.{decimals}f}"


def _micro(value: float | None) -> str:
    """Return a rate in 1e-6 count/s/pixel."""
    return _fixed(None if value is None else value * 1e6, 2)


def _scientific(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.3e}"


def _minute(value: datetime | None) -> str:
    return "" if value is None else f"{value:%Y-%m-%d %H:%M}"


def _breaks(text: str) -> Markup:
    """Return escaped text that a narrow screen breaks after a comma, not within a number."""
    from markupsafe import Markup, escape  # noqa: PLC0415  only where pages are made

    return Markup(",<wbr>").join(escape(part) for part in text.split(","))


def _as_text(value: Any, between: str = "; ") -> str:
    """Return a value of JSON for reading: without brackets and quotes, in words where it is empty, a key a line."""
    if value is None or value in ([], {}, ""):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        lines = "\n" if between == "; " else between
        return lines.join(f"{key}: {_as_text(one, ', ')}" for key, one in value.items())
    if isinstance(value, list):
        return between.join(_as_text(one, ", ") for one in value)
    return str(value)
