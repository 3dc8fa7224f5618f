"""AstroDrizzle's options, for the commands that make products."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ScaleOption = Annotated[
    float | None, typer.Option("--final-scale", metavar="ARCSEC", help="Side of a product pixel; default: 0.025.")
]
RotationOption = Annotated[
    float | None, typer.Option("--final-rot", metavar="DEG", help="Position angle of the product's y axis.")
]
PixfracOption = Annotated[
    float | None, typer.Option("--final-pixfrac", metavar="P", help="Drop over native pixel; default: 1.")
]
KernelOption = Annotated[
    str | None, typer.Option("--final-kernel", metavar="KERNEL", help="square (default), turbo or point.")
]
ReferenceOption = Annotated[
    Path | None, typer.Option("--final-refimage", metavar="FILE", help="Use the grid of this drizzled product.")
]
