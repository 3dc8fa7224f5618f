"""What an ingest did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from sbcdark.catalog.records import Superseded


class Progress(Protocol):
    """What an ingest tells while it goes on."""

    def __call__(self, done: int, total: int) -> None:
        """Say that `done` of `total` files are finished."""


@dataclass(slots=True)
class IngestReport:
    """What an ingest did, in files.

    `ignored` are no SBC RAW, FLT or ASN; `rejected` claim to be and cannot be trusted; `superseded` are files whose
    measurements no longer count for their exposure, with the stored selections that rest on them.
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
        """Note an ignored file."""
        self.ignored += 1
        self.ignored_files.append({"path": str(path), "reason": reason})

    def reject(self, path: Path | str, reason: str) -> None:
        """Note a rejected file."""
        self.rejected += 1
        self.rejections.append({"path": str(path), "reason": reason})
