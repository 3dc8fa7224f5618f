"""The command that writes dark-subtracted FLTs: subtract."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sbcdark.cli.app import app, catalog
from sbcdark.cli.output import Column, JsonOption, fixed, print_json, print_table, progress_bar, say_warnings, scaled
from sbcdark.cli.products import DarkOptions
from sbcdark.cli.shared_options import with_options

if TYPE_CHECKING:
    from sbcdark.pipeline.estimation.build_keywords import BuildKeywords

_COLUMNS = (
    Column("exposure", "exposure"),
    Column("method", "method", spare=1),
    Column("mean_dark_count", "mean dark (counts/pixel)", fixed(5), spare=2),
    Column("sky_count_s_pix", "sky", scaled(1e6, 3), spare=3),
    Column("flt", "dark-subtracted FLT", spare=4),
    Column("dark", "dark", spare=5),
)


@app.command()
@with_options(DarkOptions)
def subtract(
    options: DarkOptions,
    sky: Annotated[bool, typer.Option("--sky", help="Subtract the fitted sky, too.", show_default=False)] = False,
    mask: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="DS9 regions of sources, excluded from the fit: on the sky or in pixels of the FLT."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write dark-subtracted FLTs, and the dark of each exposure.

    They are ready for AstroDrizzle, hstaxe or DOLPHOT.
    """
    known = catalog()
    say_warnings(known.missing_flats(options.selector, options.flat))
    keywords: BuildKeywords = {**options.keywords(), "mask": mask}
    with progress_bar("subtracting darks") as progress:
        made = known.subtract(
            options.selector, options.folder, sky=sky, overwrite=options.overwrite, progress=progress, **keywords
        )
    say_warnings(
        [
            text if text.startswith(f"{one.exposure}: ") else f"{one.exposure}: {text}"
            for one in made
            for text in one.warnings
        ]
    )
    if as_json:
        print_json(made)
        return
    what = "dark and sky are" if sky else "the dark is"
    print_table([asdict(one) for one in made], _COLUMNS, f"In these FLTs {what} subtracted; sky in 1e-6 count/s/pixel")
