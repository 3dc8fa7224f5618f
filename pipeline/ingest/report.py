"""The result of an ingest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sbcdark.catalog.text import number

if TYPE_CHECKING:
    from pathlib import Path

    from sbcdark.catalog.ingest_summary import DarkSpan, IngestedProgram, JudgedDark
    from sbcdark.catalog.records import Superseded


_SHOWN = 3
"""Rejected files that are named where a notebook or a terminal shows a report."""


@dataclass(slots=True, repr=False)
class IngestReport:
    """The result of an ingest, in files.

    `ignored` files are not an SBC RAW, FLT or ASN; `rejected` files claim to be and are bad; `superseded` files have
    measurements that no longer count for their exposure, with the stored selections that use them. `programs` says what
    came in, `judged` which darks are suspect or changed their quality, `darks_before` what the catalog had, `warnings`
    which exposures have two different files of the same processing time.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    ignored: int = 0
    rejected: int = 0
    rejections: list[dict[str, str]] = field(default_factory=list)
    ignored_files: list[dict[str, str]] = field(default_factory=list)
    superseded: list[Superseded] = field(default_factory=list)
    programs: list[IngestedProgram] = field(default_factory=list)
    judged: list[JudgedDark] = field(default_factory=list)
    darks_before: DarkSpan | None = None
    warnings: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        """Give the numbers, what is new against the history, and the first rejected files with their reasons."""
        states = ("added", "updated", "unchanged", "ignored", "rejected")
        counts = ", ".join(f"{count} {state}" for state in states if (count := getattr(self, state)))
        bad = "; ".join(f"{one['path']}: {one['reason']}" for one in self.rejections[:_SHOWN])
        more = self.rejected - _SHOWN
        rejected = [f"rejected {bad}{f'; and {more} more' if more > 0 else ''}"] if bad else []
        return f"<{type(self).__name__}: {'. '.join([counts or 'no file', *self._told(), *rejected])}>"

    def _told(self) -> list[str]:
        judged = [f"{one.rootname} is {one.quality}" for one in self.judged]
        return [*(said.removesuffix(".") for said in self.history()), *judged[:_SHOWN]]

    def ignore(self, path: Path | str, reason: str) -> None:
        """Add an ignored file."""
        self.ignored += 1
        self.ignored_files.append({"path": str(path), "reason": reason})

    def reject(self, path: Path | str, reason: str) -> None:
        """Add a rejected file."""
        self.rejected += 1
        self.rejections.append({"path": str(path), "reason": reason})

    def history(self) -> list[str]:
        """Return what is new against the catalog's history, one sentence each."""
        said = []
        new = [f"{one.program}" for one in self.programs if one.is_new and one.program is not None]
        if new:
            said.append(f"New to the catalog: {'programs' if len(new) > 1 else 'program'} {', '.join(new)}.")
        with_darks = [one for one in self.programs if one.darks]
        if not with_darks:
            return said
        before, added = self.darks_before, sum(one.darks for one in with_darks)
        if before is None:
            return [*said, f"The catalog had no darks before; now it has {added}."]
        said.append(f"The catalog had {number(before.darks, 'dark')} before; now it has {before.darks + added}.")
        first = min(one.first_start_utc for one in with_darks)
        last = max(one.last_start_utc for one in with_darks)
        if first.date() < before.first_start_utc.date():
            said.append(f"They now begin on {first:%Y-%m-%d}, before on {before.first_start_utc:%Y-%m-%d}.")
        if last.date() > before.last_start_utc.date():
            said.append(f"They now end on {last:%Y-%m-%d}, before on {before.last_start_utc:%Y-%m-%d}.")
        coldest = min(one.temperature_min_c for one in with_darks)
        warmest = max(one.temperature_max_c for one in with_darks)
        if coldest < before.temperature_min_c:
            said.append(f"The coldest now has {coldest:.1f} C, before {before.temperature_min_c:.1f} C.")
        if warmest > before.temperature_max_c:
            said.append(f"The warmest now has {warmest:.1f} C, before {before.temperature_max_c:.1f} C.")
        return said
