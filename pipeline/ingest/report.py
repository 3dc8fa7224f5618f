"""The result of an ingest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from sbcdark.catalog.records import Superseded


class Progress(Protocol):
    """Progress callback of an ingest."""

    def __call__(self, done: int, total: int) -> None:
        """Report that `done` of `total` files are finished."""


@dataclass(slots=True)
class IngestReport:
    """The result of an ingest, in files.

    `ignored` files are not an SBC RAW, FLT or ASN; `rejected` files claim to be and are bad; `superseded` files have
    measurements that no longer count for their exposure, with the stored selections that use them.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    ignored: int = 0
    rejected: int = 0
    rejections: list[dict[str, str]] = field(default_factory=list)
    ignored_files: list[dict[str, str]] = field(default_factory=list)
    superseded: list[Superseded] = field(default_factory=list)

    def ignore(self, path: Path | str, reason: str) -> None:
        """Add an ignored file."""
        self.ignored += 1
        self.ignored_files.append({"path": str(path), "reason": reason})

    def reject(self, path: Path | str, reason: str) -> None:
        """Add a rejected file."""
        self.rejected += 1
        self.rejections.append({"path": str(path), "reason": reason})
