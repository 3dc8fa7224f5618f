"""Is the net rate of a dark zero? Each real dark becomes a science exposure and goes through the whole job.

For each of the 20 darks of program 13961: its counts, divided by a flat, are put into an FLT; the other 19 darks and
that FLT are ingested into a fresh catalog; `run.make` drizzles, chooses, models, subtracts and measures. As nothing
but dark is there, the net rates in all apertures should scatter about 0 by as much as their errors say. Run it in the
folder tests as ``python -m benchmarks.chain [--combine model nearest mean] [--darks N]``, with SBCDARK_SHARED naming
the folder that holds ``data/`` where that is not beside the checkout.
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from twin_archive import real_data_folder

from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.apertures.apertures import parse_aperture
from sbcdark.pipeline.estimation.options import BuildOptions
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.products.job import Job
from sbcdark.pipeline.products.run import make
from sbcdark.pipeline.selection.rules import Combine

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from sbcdark.catalog.result_records import PhotometryRecord
    from sbcdark.pipeline.products.records import Member

CARRIER = "jcmc11ctq"
"""The stand-in FLT whose header and WCS the darks are put under."""


@dataclass(frozen=True)
class Place:
    """An aperture on the detector: centre (native pixels), semi-axes (arcsec), position angle (deg)."""

    name: str
    x: float
    y: float
    a: float
    b: float
    angle: float = 0.0


SMOOTH = (
    Place("glow's peak", 558, 654, 1.3, 1.3),
    Place("box", 690, 760, 1.0, 1.0),
    Place("LODARK", 160, 190, 1.6, 1.6),
    Place("dead rows", 330, 601, 1.5, 1.0, 40),
    Place("small", 850, 330, 0.75, 0.75),
    Place("top left", 220, 850, 2.6, 1.3, 20),
    Place("top right", 890, 890, 1.0, 1.0),
    Place("beside the glow", 440, 400, 1.1, 1.1),
    Place("long", 700, 480, 2.4, 0.8, 70),
    Place("left edge", 50, 480, 1.2, 1.2),
)
"""Apart from each other, so that their counts are independent. A circle of 1 arcsec has 3,150 native pixels and 24
counts of a cold dark."""

HOT = (Place("hot (420,699)", 420, 699, 0.6, 0.6), Place("hot (842,81)", 842, 81, 0.8, 0.8))
"""On hot pixels."""


@dataclass(frozen=True)
class Chain:
    """What came of one dark that was taken for science: its photometry by place, and what was fitted."""

    dark: str
    records: tuple[PhotometryRecord, ...]
    member: Member


def shared_folder() -> Path:
    """Return the folder of the real darks and of the stand-ins."""
    data = real_data_folder()
    if not (data / "darks_13961").is_dir():
        raise SystemExit(f"no real darks in {data}; set SBCDARK_SHARED to the folder that holds data/")
    return data


def apertures(data: Path, places: Iterable[Place] = (*SMOOTH, *HOT)) -> list[str]:
    """Return the places as specifications on the sky."""
    with fits.open(data / "science_13655_standin" / f"{CARRIER}_flt.fits.gz") as hdus, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on how the header could be written better
        wcs = WCS(hdus[1].header)
    found = []
    for place in places:
        ra, dec = wcs.all_pix2world(place.x, place.y, 0)
        found.append(f"ellipse@{float(ra):.8f},{float(dec):.8f},{place.a},{place.b},{place.angle}")
    return found


def dark_paths(data: Path) -> list[Path]:
    """Return the paths of the 20 darks, in order of time."""
    return sorted((data / "darks_13961").glob("*_raw.fits.gz"))


def unpacked_flat(data: Path, folder: Path) -> Path:
    """Unpack the stand-ins' flat into a folder."""
    packed = data / "science_13655_standin" / "sbc_standin_pfl.fits.gz"
    flat = folder / "sbc_standin_pfl.fits"
    flat.write_bytes(gzip.decompress(packed.read_bytes()))
    return flat


def write_as_science(
    dark: Path, data: Path, flat: Path, folder: Path, prefix: str = "jzzz", more: NDArray[np.int64] | None = None
) -> str:
    """Write a dark's counts, divided by the flat, as an FLT with the carrier's WCS and the dark's own times.

    Parameters
    ----------
    prefix : str
        The first four letters of its root name; the others are the dark's.
    more : ndarray of int, shape (1024, 1024), optional
        Counts of sky and sources to add.

    Returns
    -------
    str
        The root name that it is given.
    """
    with fits.open(dark) as raw, fits.open(data / "science_13655_standin" / f"{CARRIER}_flt.fits.gz") as hdus:
        counts = raw[1].data.astype(np.int16).view(np.uint16)  # counts above 32767 wrap in the raw int16
        counts = counts.astype(np.int64) + (0 if more is None else more)
        rootname = prefix + raw[0].header["ROOTNAME"].strip().lower()[4:]
        hdus[0].header["ROOTNAME"] = rootname
        hdus[0].header["FILENAME"] = f"{rootname}_flt.fits"
        hdus[0].header["FILTER1"] = "F165LP"
        hdus[0].header["ASN_ID"] = "NONE"
        for keyword in ("EXPTIME", "EXPSTART", "EXPEND", "DATE-OBS", "TIME-OBS"):
            hdus[0].header[keyword] = raw[0].header[keyword]
        for keyword in ("MDECODT1", "MDECODT2"):
            hdus[1].header[keyword] = raw[1].header[keyword]
        hdus[1].data = (counts / fits.getdata(flat, 1).astype(np.float64)).astype(np.float32)
        hdus.writeto(folder / f"{rootname}_flt.fits")
    return rootname


def run_chain(
    index: int, data: Path, flat: Path, folder: Path, specs: Sequence[str],
    combines: Sequence[Combine] = (Combine.MODEL,),
) -> dict[Combine, Chain]:  # fmt: skip
    """Take one dark for science and the others for darks, and do the whole job for each way of combining."""
    paths = dark_paths(data)
    folder.mkdir()
    name = write_as_science(paths[index], data, flat, folder)
    engine = open_catalog(f"sqlite:///{folder / 'catalog.db'}", create=True)
    ingest(engine, [*paths[:index], *paths[index + 1 :], folder / f"{name}_flt.fits"], workers=1, flat=flat)
    shapes = tuple(parse_aperture(spec) for spec in specs)
    found = {}
    for combine in combines:
        (outcome,) = make(engine, [name], Job(folder / combine.value, BuildOptions(combine, flat=flat), shapes))
        if outcome.failure is not None or outcome.masterdark is None:
            raise RuntimeError(f"{name}: {outcome.failure}")
        found[combine] = Chain(paths[index].name[:9], outcome.photometry, outcome.masterdark.members[0])
    engine.dispose()
    return found


def pulls_of(records: Sequence[PhotometryRecord]) -> tuple[list[float], list[float]]:
    """Return net / error by aperture, as stated and with the Poisson error of the expected counts.

    The stated error is taken from the counts that were seen, so that a low number has too small an error: with mu
    expected counts the mean of (n - mu) / sqrt(n) is about -1 / (2 sqrt(mu)). With the predicted dark in place of the
    counts seen (variance times dark / science) the mean is 0.
    """
    stated = [one.net_count_s / one.net_err_count_s for one in records]
    expected = [
        one.net_count_s
        / np.sqrt(one.science_err_count_s**2 * one.dark_count_s / one.science_count_s + one.dark_err_count_s**2)
        for one in records
    ]
    return stated, expected


def summary(pulls: NDArray[Any]) -> tuple[float, float, float, float]:
    """Return mean and width of pulls (frames, apertures), each with its standard error from the frames' scatter.

    The apertures of a frame share its fit, so frames are what is independent. The width is the root mean square.
    """
    means, squares = pulls.mean(axis=1), (pulls**2).mean(axis=1)
    frames, width = len(pulls), float(np.sqrt(squares.mean()))
    return (
        float(means.mean()),
        float(means.std(ddof=1) / np.sqrt(frames)),
        width,
        float(squares.std(ddof=1) / np.sqrt(frames) / 2 / width),
    )


def _print_tables(combine: Combine, chains: Sequence[Chain]) -> None:
    stated, expected = (np.array(each) for each in zip(*(pulls_of(one.records) for one in chains), strict=True))
    smooth = len(SMOOTH)
    print(f"\ncombine {combine.value}: pulls = net / error of {len(chains)} frames in {smooth} apertures")
    for label, pulls in (("stated error", stated), ("error of expected counts", expected)):
        for part, which in (("without hot pixels", slice(None, smooth)), ("on hot pixels", slice(smooth, None))):
            mean, mean_error, width, width_error = summary(pulls[:, which])
            print(
                f"  {label:25s} {part:19s} mean {mean:+.3f} +- {mean_error:.3f}  width {width:.3f} +- {width_error:.3f}"
            )
    print("  by aperture (error of expected counts): mean science counts, net in native counts, pull mean +-, width +-")
    for number, place in enumerate((*SMOOTH, *HOT)):
        # 1.61 drizzled to a native count; all exposures are of 1000 s
        science = np.array([one.records[number].science_count_s for one in chains]) * 1000 / 1.613
        net = np.array([one.records[number].net_count_s for one in chains]) * 1000 / 1.613
        pull = expected[:, number]
        print(
            f"  {place.name:18s} {science.mean():8.1f} {net.mean():+7.2f}  {pull.mean():+.2f} +- "
            f"{pull.std(ddof=1) / np.sqrt(len(pull)):.2f}  {np.sqrt((pull**2).mean()):.2f} +- "
            f"{1 / np.sqrt(2 * len(pull)):.2f}"
        )
    print("  by frame (error of expected counts): mean pull, width; what was fitted, 1e-6 count/s/pixel")
    for one, pull in zip(chains, expected[:, :smooth], strict=True):
        member = one.member
        fitted = ""
        if member.base is not None and member.sky is not None:
            fitted = (
                f"base {member.base * 1e6:.2f} +- {(member.base_err or 0) * 1e6:.2f}, glow "
                f"{(member.amplitude or 0) * 1e6:.2f} +- {(member.amplitude_err or 0) * 1e6:.2f}, sky "
                f"{member.sky * 1e6:+.2f} +- {(member.sky_err or 0) * 1e6:.2f}, chi2/dof {member.chi2_per_dof:.3f}"
            )
        print(f"  {one.dark} {pull.mean():+.2f} {np.sqrt((pull**2).mean()):.2f}  {fitted}")


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description="The net rate of real darks through the whole job.")
    parser.add_argument("--combine", nargs="+", type=Combine, default=list(Combine), help="ways of combining")
    parser.add_argument("--darks", type=int, default=20, help="number of darks, spread evenly over the run")
    arguments = parser.parse_args()
    data = shared_folder()
    start = time.perf_counter()
    number = len(dark_paths(data))
    chosen = np.unique(np.linspace(0, number - 1, arguments.darks).round().astype(int))
    specs = apertures(data)
    found: dict[Combine, list[Chain]] = {combine: [] for combine in arguments.combine}
    with tempfile.TemporaryDirectory() as name:
        flat = unpacked_flat(data, Path(name))
        for index in chosen.tolist():
            for combine, one in run_chain(index, data, flat, Path(name) / str(index), specs, arguments.combine).items():
                found[combine].append(one)
    for combine, chains in found.items():
        _print_tables(combine, chains)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
