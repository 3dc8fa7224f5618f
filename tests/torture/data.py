"""Files to work on: the real ones where they are at hand, else simulated ones; and as many more darks as wanted."""

from __future__ import annotations

import gzip
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from helpers import with_card

from sbcdark.pipeline.simulation.files import write_simulated
from sbcdark.pipeline.simulation.simulated_archive import simulate

CHECKOUT = Path(__file__).resolve().parents[2]

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
    shared : Path or None
        The folder of real files, where they are at hand.
    """

    folder: Path
    darks: Path
    flats: Path
    science: tuple[str, ...]
    lone: str
    associations: tuple[str, ...]
    aperture: str
    origin: str
    shared: Path | None


def made_archive(folder: Path) -> Archive:
    """Copy the real files into a folder, or simulate some there where there are none."""
    shared = Path(os.environ.get("SBCDARK_SHARED", CHECKOUT.parent / "shared")) / "data"
    archive = _real(shared, folder) if shared.is_dir() else _simulated(folder)
    source = next(archive.darks.glob("*_raw.fits*"))
    (archive.folder / "jt9999xxq_raw.fits").write_bytes(_plain(source)[:100_000])
    return archive


def _real(shared: Path, folder: Path) -> Archive:
    files, flats = folder / "files", folder / "flats"
    for name in ("darks_13961", "associations_13655", "science_13655_standin"):
        for source in sorted((shared / name).iterdir()):
            if "_raw." in source.name or "_asn." in source.name or "_flt." in source.name:
                (files / name).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, files / name / source.name)
    flats.mkdir()
    flat = shared / "science_13655_standin" / "sbc_standin_pfl.fits.gz"
    (flats / "sbc_standin_pfl.fits").write_bytes(gzip.decompress(flat.read_bytes()))
    return Archive(
        files,
        files / "darks_13961",
        flats,
        tuple(sorted(path.name[:9] for path in (files / "science_13655_standin").glob("*_flt.*"))),
        "jcmc11e6q",
        ("jcmc11010", "jcmc11040"),
        "ellipse:735,710,70,40,90",
        "20 real darks, 4 real association tables and 8 stand-in FLTs",
        shared,
    )


def _simulated(folder: Path) -> Archive:
    archive = simulate()
    files, flats = folder / "files", folder / "flats"
    for path in (files / "darks", flats):
        path.mkdir(parents=True)
    for file in archive.files():
        raw, ours = "_raw." in file.name, "_asn." in file.name or "_flt." in file.name
        write_simulated((files / "darks" if raw else files if ours else flats) / file.name, file)
    science = [member.exposure.rootname for one in archive.associations for member in one.exposures]
    return Archive(
        files,
        files / "darks",
        flats,
        tuple(science),
        science[-1],
        tuple(one.name for one in archive.associations),
        archive.associations[0].aperture,
        f"a simulated archive of {len(archive.darks)} darks and {len(science)} FLTs (the real files are not at hand)",
        None,
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
