"""What the methods of a catalog return beside plain records: matches, products, the catalog at a glance."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from sbcdark.catalog import records
from sbcdark.catalog.python_words import in_python
from sbcdark.catalog.text import number
from sbcdark.pipeline.frames.notebook_forms import ShownWithTable, html_form

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from astropy.nddata import CCDData
    from astropy.table import QTable

    from sbcdark.catalog.overview import Overview
    from sbcdark.pipeline.products.records import Masterdark
    from sbcdark.pipeline.products.run import Outcome


T = TypeVar("T")

_FIRST = [
    "aperture",
    "coverage",
    "source_count_s",
    "source_err_count_s",
    "sky_count_s",
    "dark_count_s",
    "dark_fraction",
    "ab_mag",
    "ab_mag_err",
]
"""The columns of the photometry that a notebook shows of products; `photometry` has all."""


def with_times(value: Any) -> Any:
    """Return a value, or lists and dicts of them, with each datetime as a `Time` (UTC)."""
    if isinstance(value, dict):
        return {key: with_times(one) for key, one in value.items()}
    if isinstance(value, list):
        return [with_times(one) for one in value]
    if isinstance(value, datetime):
        from astropy.time import Time  # noqa: PLC0415  astropy is slow to import

        return Time(value.astimezone(UTC).replace(tzinfo=None).isoformat(), format="isot", scale="utc")
    return value


class Records(list[T]):
    """Records of one kind: a list, which is also a table.

    Parameters
    ----------
    kind : type
        The dataclass of the records.
    found : iterable
        The records.
    """

    def __init__(self, kind: type[T], found: Iterable[T] = ()) -> None:
        super().__init__(found)
        self._kind = kind

    @property
    def table(self) -> QTable:
        """One row per record, with units; without records an empty table with the columns."""
        from sbcdark.pipeline.frames.tables import to_qtable  # noqa: PLC0415  astropy is slow to import

        rows: list[Any] = list(self)
        return to_qtable([asdict(one) for one in rows], [column.name for column in fields(self._kind)])  # type: ignore[arg-type]

    def _repr_html_(self) -> str:
        return str(self.table._repr_html_())


@dataclass(frozen=True, slots=True, repr=False)
class Match(records.Match):
    """The ranked darks of one exposure."""

    def __repr__(self) -> str:
        """Name the exposure and its darks; `table` has the terms."""
        darks = ", ".join(dark.dark for dark in self.darks) or "no dark fits"
        return f"<{type(self).__name__} {self.exposure}: rule {self.rule}, tier {self.tier}: {darks}>"

    def _repr_html_(self) -> str:
        near = [f"{one.dark}: {one.reason}" for one in self.nearest_rejected] if not self.darks else []
        return html_form(repr(self), self.table, [*self.warnings, *near])

    @property
    def table(self) -> QTable:
        """The darks with every term of the score; differences are science minus dark."""
        return _table_of_darks(self.darks)

    @property
    def template_table(self) -> QTable:
        """The darks of the model's templates with their role (rule, cold or warm) and every term of the score."""
        return _table_of_darks(self.templates, "role")


def _table_of_darks(darks: Sequence[records.ScoredDark], *more: str) -> QTable:
    from sbcdark.pipeline.frames.tables import to_qtable  # noqa: PLC0415  astropy is slow to import

    left_out = {"file", "file_id", "role"}
    columns = [column.name for column in fields(records.ScoredDark) if column.name not in left_out]
    return to_qtable([asdict(dark) for dark in darks], [*columns, *more])


@dataclass(frozen=True, slots=True, repr=False)
class Products:
    """The products of one association.

    Attributes
    ----------
    outcome : Outcome
        The records of the run: products, members, photometry, warnings, failure.
    """

    outcome: Outcome

    def __repr__(self) -> str:
        """Name the association, and what there is or why there is nothing."""
        one = self.outcome
        if one.failure is not None:
            return f"<{type(self).__name__} {one.name}: failed: {in_python(one.failure.what)}>"
        made = f"{number(len(one.photometry), 'aperture')}, {number(len(one.warnings), 'warning')}"
        return f"<{type(self).__name__} {one.name}: {made}, {self.science}>"

    def _repr_html_(self) -> str:
        notes = list(self.warnings)
        if self.outcome.failure is not None and self.outcome.failure.todo:
            notes.insert(0, in_python(self.outcome.failure.todo))
        return html_form(repr(self), self.photometry[_FIRST] if self.outcome.photometry else None, notes)

    @property
    def photometry(self) -> QTable:
        """One row per aperture, with units."""
        from sbcdark.pipeline.frames.tables import PHOTOMETRY_KEYS, to_qtable  # noqa: PLC0415

        rows = [asdict(one) | {"warnings": "; ".join(one.warnings) or None} for one in self.outcome.photometry]
        return to_qtable(rows, PHOTOMETRY_KEYS)

    @property
    def growth(self) -> QTable:
        """The curves of growth, one row per aperture and radius, with units."""
        from sbcdark.pipeline.frames.tables import to_qtable  # noqa: PLC0415
        from sbcdark.pipeline.products.photometry_tables import GROWTH_KEYS, growth_rows  # noqa: PLC0415

        rows = growth_rows(self.outcome.growth)
        return to_qtable([one | {"warnings": "; ".join(one["warnings"]) or None} for one in rows], GROWTH_KEYS)

    @property
    def science(self) -> Path:
        """The drizzled science product."""
        return self._made.science

    @property
    def masterdark(self) -> Path:
        """The drizzled dark on the same pixels, SCI and ERR."""
        return self._made.masterdark

    @property
    def net(self) -> Path:
        """Science minus dark on the same pixels, SCI, ERR and WHT."""
        return self._made.net

    def image(self, kind: str) -> CCDData:
        """Return a product as an image with its WCS, unit, and error if it has one.

        Parameters
        ----------
        kind : {"science", "masterdark", "net"}
            The product.
        """
        from sbcdark.pipeline.frames.images import product_image  # noqa: PLC0415  astropy is slow to import

        if kind not in {"science", "masterdark", "net"}:
            raise ValueError(f"kind: expected 'science', 'masterdark' or 'net', got {kind!r}")
        return product_image(getattr(self, kind))

    @property
    def pictures(self) -> tuple[Path, ...]:
        """The pictures (PNG)."""
        return self.outcome.pictures

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know before trusting the numbers."""
        return self.outcome.warnings

    @property
    def _made(self) -> Masterdark:
        if self.outcome.masterdark is None:
            assert self.outcome.failure is not None  # noqa: S101  an outcome without products has a failure
            raise self.outcome.failure
        return self.outcome.masterdark


@dataclass(frozen=True, slots=True, repr=False)
class Status(ShownWithTable):
    """Where the catalog is, its size (of a SQLite file), and what it holds."""

    catalog: str
    size_byte: int | None
    overview: Overview

    def __repr__(self) -> str:
        """Give the numbers; `table` has the programs."""
        programs = self.overview.programs
        darks, science = sum(one.darks for one in programs), sum(one.science for one in programs)
        held = (
            f"{number(darks, 'dark')} and {number(science, 'science exposure')} of {number(len(programs), 'program')}"
        )
        return f"<{type(self).__name__} {self.catalog}: {held}>"

    @property
    def table(self) -> QTable:
        """The programs, with units."""
        from sbcdark.catalog.overview import ProgramOverview  # noqa: PLC0415  each job loads what it needs

        return Records(ProgramOverview, self.overview.programs).table
