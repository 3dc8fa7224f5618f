"""The command that tests the dark model on the darks of the catalog: validate."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Annotated

import typer

from sbcdark.catalog.errors import UsageError
from sbcdark.cli.app import app, catalog
from sbcdark.cli.output import (
    Column,
    JsonOption,
    fixed,
    print_json,
    print_table,
    progress_bar,
    say_warnings,
    scaled,
    tell,
)
from sbcdark.cli.selectors import SelectorOptions
from sbcdark.cli.shared_options import with_options

_COLUMNS = (
    Column("sky_count_s_pix", "sky", scaled(1e6, 0)),
    Column("frames", "frames"),
    Column("number", "no.", spare=5),
    Column("method", "method"),
    Column("rms", "rms/sqrt(counts)", fixed(3), spare=1, error="rms_err"),
    Column("bias_count", "bias (counts)", fixed(1), spare=4),
    Column("pull", "mean pull", fixed(2), spare=3, error="pull_err"),
    Column("width", "width", fixed(2), spare=2, error="width_err"),
)


@app.command()
@with_options(SelectorOptions)
def validate(
    options: SelectorOptions,
    sky: Annotated[
        str, typer.Option("--sky", metavar="LEVELS", help="Levels of sky to add, count/s/pixel: 0,1e-6,5e-6")
    ] = "0,5e-6",
    apertures: Annotated[
        int, typer.Option("--apertures", metavar="N", min=2, max=1000, help="Random apertures in each dark.")
    ] = 40,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of the apertures and of the sky.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Test the dark model on the catalog's darks.

    Predicts each dark from the others, and compares with its own counts.
    """
    with progress_bar("predicting darks") as progress:
        found, warnings = catalog().validate(
            options.selector, skies=_levels(sky), apertures=apertures, seed=seed, progress=progress
        )
    say_warnings(warnings)
    if as_json:
        print_json(asdict(found) | {"verdict": found.verdict, "warnings": list(warnings)})
        return
    source = f"each year ({', '.join(found.groups)}) from the others" if found.groups else "each dark from the others"
    title = (
        f"Predicting {source}: 1 is the photon limit. Sky in 1e-6 count/s/pixel; "
        "with a sky, dark and sky are predicted together, as they are subtracted from a source."
    )
    print_table([asdict(row) for row in found.rows], _COLUMNS, title)
    tell("")
    tell(f"The shape of the dark changes by {found.drift:.1%} over 256 pixels from frame to frame.")
    tell(found.verdict)


def _levels(text: str) -> list[float]:
    try:
        levels = [float(word) for word in text.split(",")]
    except ValueError:
        levels = []
    if not levels or not all(math.isfinite(level) and 0 <= level <= 1 for level in levels):
        raise UsageError(
            f"--sky {text!r} is not a list of levels.",
            "Write levels in count/s/pixel, up to 1, e.g. --sky 0,1e-6,5e-6.",
        )
    return levels
