"""Real files to work on: those of the shared folder, and as many more darks as are asked for."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

from helpers import SCI_HEADER, with_card

CHECKOUT = Path(__file__).resolve().parents[2]

FOLDERS = ("darks_13961", "associations_13655", "science_13655_standin")

APERTURE = "ellipse:735,710,70,40,90"

SCIENCE = ("jcmc11ctq", "jcmc11cwq", "jcmc11cxq", "jcmc11deq", "jcmc11dhq", "jcmc11dsq", "jcmc11dtq", "jcmc11e6q")

_FIRST_MJD = 58_000.0


def shared_data() -> Path:
    """Return the folder of real data.

    Raises
    ------
    SystemExit
        It is not there.
    """
    shared = Path(os.environ.get("SBCDARK_SHARED", CHECKOUT.parent / "shared"))
    if not (shared / "data").is_dir():
        raise SystemExit(
            f"No real data: {shared / 'data'} is missing. Set SBCDARK_SHARED to the folder that holds data/."
        )
    return shared / "data"


def copied_real(data: Path, folder: Path) -> Path:
    """Copy the real darks, associations and stand-in FLTs (32 files that an ingest takes) and return the folder."""
    for name in FOLDERS:
        for source in sorted((data / name).iterdir()):
            if "_raw." in source.name or "_asn." in source.name or "_flt." in source.name:
                (folder / name).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, folder / name / source.name)
    return folder


def flats(data: Path, folder: Path) -> Path:
    """Unpack the stand-ins' flat as `jref` would hold it and return the folder."""
    folder.mkdir(parents=True)
    packed = data / "science_13655_standin" / "sbc_standin_pfl.fits.gz"
    (folder / "sbc_standin_pfl.fits").write_bytes(gzip.decompress(packed.read_bytes()))
    return folder


def many_darks(data: Path, folder: Path, number: int) -> list[Path]:
    """Make whole RAW darks of the pixels of the 20 real ones, each with a root name, start and temperature of its own.

    A gzip file may be made of several streams: the headers are packed for each file, the pixels once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for source in sorted((data / "darks_13961").glob("*_raw.fits.gz")):
        content = gzip.decompress(source.read_bytes())
        header = content[: content.index(b"END".ljust(80), SCI_HEADER) + 80]
        parts.append((header, gzip.compress(content[len(header) :], 1)))
    paths = []
    for count in range(number):
        header, pixels = parts[count % len(parts)]
        name = f"jt{count:06d}q"
        celsius = 18.0 + count % 97 / 10
        header = with_card(header, "ROOTNAME", f"'{name}'")
        # 0.25 d apart, so that no two are of one run: what the outlier test says does not depend on their number.
        header = with_card(header, "EXPSTART", f"{_FIRST_MJD + 0.25 * count:.6f}")
        for keyword in ("MDECODT1", "MDECODT2"):
            header = with_card(header, keyword, f"{celsius:.2f}", start=SCI_HEADER)
        path = folder / f"{name}_raw.fits.gz"
        path.write_bytes(gzip.compress(header, 1) + pixels)
        paths.append(path)
    return paths


def broken_dark(data: Path, folder: Path) -> Path:
    """Add a dark that was cut off, so that every ingest has something to reject."""
    source = next((data / "darks_13961").glob("*_raw.fits.gz"))
    path = folder / "jt9999xxq_raw.fits.gz"
    path.write_bytes(source.read_bytes()[:10_000])
    return path
