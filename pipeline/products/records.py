"""The results of a build: records of products and members, and the arrays for photometry and pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sbcdark.catalog.records import Match
    from sbcdark.pipeline.apertures.apertures import ApertureSpec
    from sbcdark.pipeline.apertures.pixel_shapes import PixelShape
    from sbcdark.pipeline.apertures.sky import Sky
    from sbcdark.pipeline.drizzling.drizzled_product import DrizzledProduct
    from sbcdark.pipeline.drizzling.footprints import NativeWeights
    from sbcdark.pipeline.estimation.science_frames import ScienceInput
    from sbcdark.pipeline.model.combination import DarkEstimate


@dataclass(frozen=True, slots=True)
class Member:
    """The dark of one exposure of a product; field names are JSON keys."""

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
    """The products of one association (or list of exposures) and their paths."""

    association: str
    combine: str
    science: Path
    masterdark: Path
    net: Path
    members: tuple[Member, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PlacedAperture:
    """An aperture on a product and on the detector.

    Attributes
    ----------
    spec : ApertureSpec
        The aperture as given.
    shape : PixelShape
        The aperture on the pixels of the product.
    weights : tuple of NativeWeights
        Its weights, by exposure.
    sky_weights : tuple of NativeWeights or None
        The weights of the annulus or background region that gives its sky, by exposure.
    sky_method : str
        ``fit``, ``none``, or the text of the annulus or region.
    growth : tuple of PlacedAperture
        The apertures of its curve of growth.
    left_out : tuple of tuple of NativeWeights
        What the fit of the dark leaves out for this aperture, by shape and exposure: itself, the region of its sky, its
        growth, and the holes of annuli, where the source is.
    """

    spec: ApertureSpec
    shape: PixelShape
    weights: tuple[NativeWeights, ...]
    sky_weights: tuple[NativeWeights, ...] | None
    sky_method: str
    growth: tuple[PlacedAperture, ...] = ()
    left_out: tuple[tuple[NativeWeights, ...], ...] = ()

    @property
    def semi_major_pix(self) -> float:
        """The radius or semi-major axis of a circle or ellipse; of another shape its effective radius."""
        sides = (getattr(self.shape, name, 0.0) for name in ("a", "b"))
        return max(sides) or float(np.sqrt(self.shape.area_pix / np.pi))


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A masterdark with everything that photometry and pictures need.

    Attributes
    ----------
    placed : tuple of PlacedAperture
        The apertures that can be projected on the product.
    masks : tuple of tuple of NativeWeights
        The pixels that each region of the user's masks excludes, by exposure.
    sky : Sky
        The sky that is subtracted in apertures without a background region.
    dark, dark_error : ndarray of float32, shape (ny, nx)
        The masterdark and its error on the pixels of the product, count/s.
    net, net_error : ndarray of float32, shape (ny, nx)
        Science minus dark, count/s, and the error of each single pixel.
    growth : tuple of float
        Radii of the curves of growth, in the unit of each aperture.
    revision : int
        The catalog revision when the darks were chosen.
    inputs_key : str
        Key of the inputs of the products (`product_files.inputs_key`).
    product_ids : dict
        Row in the catalog of each kind; empty if nothing was recorded.
    """

    masterdark: Masterdark
    inputs: tuple[ScienceInput, ...]
    estimate: DarkEstimate
    placed: tuple[PlacedAperture, ...]
    masks: tuple[tuple[NativeWeights, ...], ...]
    sky: Sky
    product: DrizzledProduct
    dark: NDArray[np.float32]
    dark_error: NDArray[np.float32]
    net: NDArray[np.float32]
    net_error: NDArray[np.float32]
    matches: tuple[Match, ...]
    apertures: tuple[ApertureSpec, ...]
    growth: tuple[float, ...]
    revision: int
    inputs_key: str
    mixed: bool
    product_ids: dict[str, int] = field(default_factory=dict)
