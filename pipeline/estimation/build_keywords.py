"""The names of the options of a build. Light to import: signatures show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sbcdark.pipeline.selection.rules import Combine, Rule


class BuildKeywords(TypedDict, total=False):
    """The keywords of `sbcdark.pipeline.estimation.options.build_options`."""

    combine: str | Combine | None
    rule: str | Rule
    top: int | None
    max_sigma: float | None
    max_days: float | None
    min_exptime_s: float
    use: Mapping[str, str | Sequence[str]]
    flat: str | Path | None
    mask: str | Path | None
    mixed: bool
    final_scale: float | None
    final_rot: float | None
    final_pixfrac: float | None
    final_kernel: str | None
    final_refimage: str | Path | None
