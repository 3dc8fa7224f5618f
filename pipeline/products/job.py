"""The settings of a run, common to all targets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sbcdark.pipeline.estimation.options import BuildOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sbcdark.pipeline.apertures.apertures import ApertureSpec
    from sbcdark.pipeline.apertures.sky import Sky
    from sbcdark.pipeline.products.photometry import GrowthPoint
    from sbcdark.pipeline.products.product_files import ProductFiles
    from sbcdark.pipeline.products.records import Built

    Draw = Callable[[Built, ProductFiles], tuple[str, ...]]
    DrawGrowth = Callable[[Path, Sequence[GrowthPoint]], None]


@dataclass(frozen=True, slots=True)
class Job:
    """The settings of a run, common to all targets.

    Attributes
    ----------
    folder : Path
        Folder of the products.
    apertures : tuple of ApertureSpec
        Apertures to measure.
    pictures : bool
        Whether to draw pictures.
    draw : callable, optional
        Draws the pictures of a build under the names of `ProductFiles` and returns the names of their files.
    sky : Sky
        Sky to subtract; None means the fitted sky with the model, else no sky.
    overwrite : bool
        Replace products of other inputs that are in the folder.
    command : str
        The command that makes the products, for their headers.
    notes : tuple of str
        Warnings of regions that are skipped.
    growth : tuple of float
        Radii of a curve of growth around each aperture, in the aperture's unit: pixels or arcsec.
    draw_growth : callable, optional
        Draws the curves of growth into a file.
    """

    folder: Path
    options: BuildOptions = field(default_factory=BuildOptions)
    apertures: tuple[ApertureSpec, ...] = ()
    pictures: bool = False
    draw: Draw | None = None
    sky: Sky | None = None
    overwrite: bool = False
    notes: tuple[str, ...] = ()
    growth: tuple[float, ...] = ()
    draw_growth: DrawGrowth | None = None
    command: str = ""
