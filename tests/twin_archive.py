"""A twin of the real data: simulated files with the names, times, temperatures and counts of real ones.

The folder has the layout of the real data, so that tests that need no published number read either.
"""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from sbcdark.pipeline.simulation.files import write_simulated
from sbcdark.pipeline.simulation.twin import SOURCE_SIGMA_PIX, RealExposure, RealScience, twin_files

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKOUT = Path(__file__).resolve().parents[1]

_FACTS = Path(__file__).parent / "twin"

DARKS, ASSOCIATIONS, SCIENCE = REAL_FOLDERS = ("darks_13961", "associations_13655", "science_13655_standin")
"""20 darks, 4 associations and 8 FLTs."""


def real_data_folder() -> Path:
    """Return where the real data are, if anywhere: `SBCDARK_SHARED`, else beside the checkout."""
    return Path(os.environ.get("SBCDARK_SHARED", CHECKOUT.parent / "shared")) / "data"


def real_darks() -> list[RealExposure]:
    """Return the facts of the 20 darks of program 13961."""
    return [RealExposure(**_typed(RealExposure, row)) for row in _rows("darks_13961.csv")]


def real_science() -> list[RealScience]:
    """Return the facts of the 8 science exposures of visit 11 of program 13655."""
    return [RealScience(**_typed(RealScience, row)) for row in _rows("science_13655.csv")]


def write_twin(folder: Path) -> None:
    """Write the twin archive into a new folder."""
    for name in REAL_FOLDERS:
        (folder / name).mkdir(parents=True)
    darks, science = real_darks(), real_science()
    for file in twin_files(darks, science, 13961, 13655, "IRASF10594+3818"):
        kind = file.name[:-5].rpartition("_")[2]
        place = folder / {"raw": DARKS, "asn": ASSOCIATIONS}.get(kind, SCIENCE) / file.name
        write_simulated(place, file)
        if kind != "asn":
            content = _with_groups(place.read_bytes()) if kind == "raw" else place.read_bytes()
            place.with_name(f"{file.name}.gz").write_bytes(gzip.compress(content, 1, mtime=0))
            place.unlink()
    names = {"source_ra": "ra_deg", "source_dec": "dec_deg"}
    names |= {name: name for name in ("exptime_s", "sky_count_s_pix", "source_count_s", "source_x", "source_y")}
    with (folder / SCIENCE / "truth.csv").open("w") as target:
        writer = csv.DictWriter(target, ["rootname", *names, "source_sigma_pix"])
        writer.writeheader()
        for real in science:
            row = {column: getattr(real, name) for column, name in names.items()}
            writer.writerow(row | {"rootname": real.rootname, "source_sigma_pix": SOURCE_SIGMA_PIX})


def _with_groups(content: bytes) -> bytes:
    """Return a RAW with the card GROUPS = F, which real ones have and astropy does not write."""
    start, end = content.index(b"NEXTEND "), content.index(b"END".ljust(80))
    card = b"GROUPS  =                    F / image is in group format".ljust(80)
    assert content[end + 80 : end + 160].isspace()
    return content[:start] + card + content[start : end + 80] + content[end + 160 :]


def _rows(name: str) -> list[dict[str, str]]:
    with (_FACTS / name).open() as file:
        return list(csv.DictReader(file))


def _typed(kind: type, row: Mapping[str, str]) -> dict[str, Any]:
    return {name: of(row[name]) for name, of in get_type_hints(kind).items()}
