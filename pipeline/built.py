"""What a build makes: records of products and members, and the arrays that photometry and pictures need."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.pipeline.drizzle import dropped

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sbcdark.catalog.records import Match, MatchValues
    from sbcdark.pipeline.apertures import ApertureSpec, PixelEllipse
    from sbcdark.pipeline.combining import DarkEstimate
    from sbcdark.pipeline.footprints import NativeWeights
    from sbcdark.pipeline.pixels import Product, ScienceFrame


@dataclass(frozen=True, slots=True)
class Member:
    """What was done for one exposure; field names are the JSON keys of the contract, and more."""

    exposure: str
    darks: tuple[str, ...]
    weights: tuple[float, ...]
    method: str
    base: float | None
    base_err: float | None
    amplitude: float | None
    amplitude_err: float | None
    sky: float | None
    sky_err: float | None
    chi2_per_dof: float | None
    flat: str | None
    rule: str
    tier: str
    selection: int | None


@dataclass(frozen=True, slots=True)
class Masterdark:
    """The products of one association (or list of exposures) and where they are."""

    association: str
    combine: str
    science: Path
    masterdark: Path
    error: Path
    members: tuple[Member, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ScienceInput:
    """One science exposure with everything that was read of it."""

    values: MatchValues
    path: Path
    frame: ScienceFrame
    flat: NDArray[np.float64] | None
    flat_path: Path | None

    @property
    def counts(self) -> NDArray[np.float64]:
        """Raw counts (FLT x flat), shape (1024, 1024); 0 where there is no number."""
        raw = self.frame.science if self.flat is None else self.frame.science * self.flat
        return np.maximum(np.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0), 0.0)

    @property
    def good(self) -> NDArray[np.bool_]:
        """The pixels that the drizzle keeps and that hold a number, shape (1024, 1024)."""
        good = ~dropped(self.frame.data_quality) & np.isfinite(self.frame.science)
        return good if self.flat is None else good & np.isfinite(self.flat)

    def detector_weights(self, footprint: NativeWeights) -> NDArray[np.float64]:
        """Return a footprint's weights on the rates that the detector saw: divided by the flat, where it is known."""
        weights = footprint.full()
        return weights if self.flat is None else np.where(weights > 0, weights / self.flat, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A masterdark with everything that photometry and pictures need."""

    masterdark: Masterdark
    inputs: tuple[ScienceInput, ...]
    estimate: DarkEstimate
    ellipses: tuple[PixelEllipse, ...]
    footprints: tuple[tuple[NativeWeights, ...], ...]
    """By aperture, then by exposure."""
    science_product: Product
    dark_product: Product
    error_product: Product
    matches: tuple[Match, ...]
    apertures: tuple[ApertureSpec, ...]
    product_ids: dict[str, int] = field(default_factory=dict)
    """In the catalog, by kind; empty where nothing was recorded."""
