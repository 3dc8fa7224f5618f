"""What is asked for every target of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sbcdark.pipeline.products.options import BuildOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sbcdark.pipeline.products.apertures import ApertureSpec
    from sbcdark.pipeline.products.product_files import ProductFiles
    from sbcdark.pipeline.products.records import Built
    from sbcdark.pipeline.products.sky import Sky

    Draw = Callable[[Built, ProductFiles], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked for every target.

    Attributes
    ----------
    folder : Path
        Where the products go.
    apertures : tuple of ApertureSpec
        What is measured.
    pictures : bool
        Whether pictures are drawn.
    draw : callable, optional
        Draws the pictures of a build under the names of `ProductFiles` and returns the names of their files.
    sky : Sky
        Which sky is subtracted; None: the fitted one with the model, else none.
    overwrite : bool
        Replace products of other inputs that are in the folder.
    """

    folder: Path
    options: BuildOptions = field(default_factory=BuildOptions)
    apertures: tuple[ApertureSpec, ...] = ()
    pictures: bool = False
    draw: Draw | None = None
    sky: Sky | None = None
    overwrite: bool = False
