"""What a notebook shows of results: a line, warnings, a table, one result below the other."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.table import QTable

T = TypeVar("T")


def html_form(line: str, table: QTable | None = None, notes: Sequence[str] = ()) -> str:
    """Return HTML of a result: a line, notes (warnings, sentences), and a table if it has rows."""
    said = f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>" if notes else ""
    rows = "" if table is None or not len(table) else table._repr_html_()
    return f"<div>{escape(line.removeprefix('<').removesuffix('>'))}</div>{said}{rows}"


class _WithTable(Protocol):
    @property
    def table(self) -> QTable: ...


class ShownWithTable:
    """A result that a notebook shows as its line and its table."""

    __slots__ = ()

    def _repr_html_(self: _WithTable) -> str:
        return html_form(repr(self), self.table)


class Results(list[T]):
    """A list of results or figures, which a notebook shows one below the other."""

    def _repr_html_(self) -> str:
        return "".join(f"<div>{_html_of(one)}</div>" for one in self) or "none"


def _html_of(one: Any) -> str:
    if hasattr(one, "_repr_png_"):  # a figure, whose HTML is empty
        image = b64encode(one._repr_png_()).decode()
        return f'<img src="data:image/png;base64,{image}">'
    if hasattr(one, "_repr_html_"):
        return str(one._repr_html_())
    return escape(repr(one))
