"""Files to work on: the real ones where they are at hand, else their twins; and as many more darks as wanted."""

from __future__ import annotations

import gzip
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from helpers import with_card
from twin_archive import DARKS, REAL_FOLDERS, SCIENCE, real_data_folder, write_twin

from sbcdark.pipeline.simulation.twin import FLAT_NAME

if TYPE_CHECKING:
    from pathlib import Path

_FIRST_MJD = 58_000.0


@dataclass(frozen=True, slots=True)
class Archive:
    """Files, and what is asked about them.

    Attributes
    ----------
    folder : Path
        Darks (RAW), FLTs and association tables, and a dark that was cut off.
    darks : Path
        Below it: the darks alone.
    flats : Path
        The folder that holds the flat.
    science : tuple of str
        The science exposures.
    lone : str
        The one that is processed by itself.
    associations : tuple of str
        Two that are processed at once.
    aperture : str
        An aperture that lies on data in all of their products.
    origin : str
        Where the files come from, in words.
    shared : Path
        The folder that they were copied from.
    """

    folder: Path
    darks: Path
    flats: Path
    science: tuple[str, ...]
    lone: str
    associations: tuple[str, ...]
    aperture: str
    origin: str
    shared: Path


def made_archive(folder: Path) -> Archive:
    """Copy the real files into a folder, or their twins where there are none."""
    shared = real_data_folder()
    real = shared.is_dir()
    if not real:
        shared = folder / "twin"
        write_twin(shared)
    files, flats = folder / "files", folder / "flats"
    for name in REAL_FOLDERS:
        for source in sorted((shared / name).iterdir()):
            if "_raw." in source.name or "_asn." in source.name or "_flt." in source.name:
                (files / name).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, files / name / source.name)
    flats.mkdir()
    (flats / FLAT_NAME).write_bytes(_plain(shared / SCIENCE / f"{FLAT_NAME}.gz"))
    (files / "jt9999xxq_raw.fits").write_bytes(_plain(next((files / DARKS).iterdir()))[:100_000])
    return Archive(
        files,
        files / DARKS,
        flats,
        tuple(sorted(path.name[:9] for path in (files / SCIENCE).iterdir())),
        "jcmc11e6q",
        ("jcmc11010", "jcmc11040"),
        "ellipse:735,710,70,40,90",
        "20 darks, 4 association tables and 8 FLTs, " + ("the real ones" if real else "twins of the real ones"),
        shared,
    )


def _plain(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def many_darks(darks: Path, folder: Path, number: int) -> list[Path]:
    """Make whole RAW darks of the pixels of some others, each with a root name, start and temperature of its own.

    A gzip file may be made of several streams: the headers are packed for each file, the pixels once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for source in sorted(darks.glob("*_raw.fits*")):
        content = _plain(source)
        science = content.index(b"XTENSION")
        header = content[: content.index(b"END".ljust(80), science) + 80]
        parts.append((header, science, gzip.compress(content[len(header) :], 1)))
    paths = []
    for count in range(number):
        header, science, pixels = parts[count % len(parts)]
        name = f"jt{count:06d}q"
        celsius = 18.0 + count % 97 / 10
        header = with_card(header, "ROOTNAME", f"'{name}'")
        # 0.25 d apart, so that no two are of one run: what the outlier test says does not depend on their number.
        header = with_card(header, "EXPSTART", f"{_FIRST_MJD + 0.25 * count:.6f}")
        for keyword in ("MDECODT1", "MDECODT2"):
            header = with_card(header, keyword, f"{celsius:.2f}", start=science)
        path = folder / f"{name}_raw.fits.gz"
        path.write_bytes(gzip.compress(header, 1) + pixels)
        paths.append(path)
    return paths
