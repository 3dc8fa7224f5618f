"""AstroDrizzle, really run: what its products hold, and that nothing of it leaks."""

from __future__ import annotations

import gzip
import logging
import math
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import astropy
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from flt_copies import copy_with_counts

from sbcdark.catalog.errors import SbcdarkError
from sbcdark.pipeline.detector.constants import flagged
from sbcdark.pipeline.drizzling.drizzle import Drizzler
from sbcdark.pipeline.simulation.darks import dark_rate
from sbcdark.pipeline.simulation.files import write_simulated
from sbcdark.pipeline.simulation.simulated_archive import Association, Parameters, flat, simulate, source_rate
from sbcdark.pipeline.simulation.sky import pixel_area_arcsec2

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sbcdark.pipeline.drizzling.drizzled_product import DrizzledProduct

FLOAT32 = float(np.finfo(np.float32).eps)


@dataclass
class Drizzled:
    """One association drizzled as it is, then uniform and noise-free images on its grid."""

    association: Association
    frames: list[Path]
    science: DrizzledProduct
    images: dict[str, NDArray[np.float32]]
    before: dict[str, Any]
    after: dict[str, Any]
    work: Path


def surroundings(folder: Path) -> dict[str, Any]:
    return {
        "folder": Path.cwd(),
        "files": {path.name: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.iterdir()},
        "handlers": list(logging.getLogger().handlers),
        "level": logging.getLogger().level,
        "environment": dict(os.environ),
        "drizzlepac": "drizzlepac" in sys.modules,
    }


@pytest.fixture(scope="module")
def drizzled(tmp_path_factory: pytest.TempPathFactory, drizzler: Drizzler) -> Drizzled:
    archive = simulate(Parameters(number_of_darks=0))
    association = archive.associations[1]
    folder, work = tmp_path_factory.mktemp("frames"), tmp_path_factory.mktemp("work")
    names = {f"{member.exposure.rootname}_flt.fits" for member in association.exposures}
    frames = []
    for file in archive.files():
        if file.name in names:
            write_simulated(folder / file.name, file)
            frames.append(folder / file.name)
    before = surroundings(folder)
    science = drizzler.drizzle(copies(frames, work), folder=work, log=work / "science.log")
    after = surroundings(folder)
    rates = {
        "uniform": [1.0 / member.exposure.exposure_s + np.zeros((1024, 1024)) for member in association.exposures],
        "source": [source_rate(association.source, member.pointing) for member in association.exposures],
        "dark": [dark_rate(member.exposure) / flat(archive.parameters.seed) for member in association.exposures],
    }
    planes = [
        [rate * member.exposure.exposure_s for rate, member in zip(plane, association.exposures, strict=True)]
        for plane in rates.values()
    ]
    images = dict(zip(rates, drizzler.resample(planes, folder=work, log=work / "planes.log"), strict=True))
    return Drizzled(association, frames, science, images, before, after, work)


def copies(frames: list[Path], folder: Path) -> list[Path]:
    return [Path(shutil.copy(frame, folder)) for frame in frames]


def test_every_flag_but_that_of_a_cosmic_ray_drops_a_pixel() -> None:
    flags = np.array([0, *(1 << bit for bit in range(16))])
    expected = [flag not in {0, 4096} for flag in flags]
    assert flagged(flags.astype(np.uint16)).tolist() == expected
    assert flagged(flags.astype(np.uint16).view(np.int16)).tolist() == expected


def test_nothing_leaks(drizzled: Drizzled) -> None:
    assert drizzled.after == drizzled.before
    log = (drizzled.work / "science.log").read_text()
    assert "AstroDrizzle" in log
    # Versions are logged without the import of the packages, among them those that only the alignment of images needs.
    assert f"astropy {astropy.__version__}" in log
    assert "tweakwcs" not in log


@pytest.mark.slow
def test_process_says_nothing_here(
    drizzled: Drizzled, drizzler: Drizzler, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    drizzler.drizzle(copies(drizzled.frames[:1], tmp_path), folder=tmp_path, log=tmp_path / "a.log")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_product_is_a_rate_with_weight_and_nan(drizzled: Drizzled) -> None:
    product = drizzled.science
    assert [hdu.name for hdu in product.hdus][:3] == ["PRIMARY", "SCI", "WHT"]
    assert product.hdus["SCI"].header["BUNIT"] == "COUNTS/S"
    assert product.hdus[0].header["EXPTIME"] == 2400.0
    np.testing.assert_array_equal(np.isnan(product.science), product.weight == 0)
    scale = np.sqrt(np.abs(np.linalg.det(product.wcs.wcs.cd))) * 3600
    assert scale == pytest.approx(0.025, rel=1e-12)


def test_other_images_go_through_the_same_kernel(drizzled: Drizzled, drizzler: Drizzler, tmp_path: Path) -> None:
    """The frames' own counts, put on the grid again, are the science product to the last bit."""
    product = drizzler.drizzle(copies(drizzled.frames, tmp_path), folder=tmp_path, log=tmp_path / "log")
    counts = [fits.getdata(frame, ("SCI", 1)).astype(float) for frame in drizzled.frames]
    (again,) = drizzler.resample([counts], folder=tmp_path, log=tmp_path / "log")
    np.testing.assert_array_equal(again, product.science)
    np.testing.assert_array_equal(product.science, drizzled.science.science)


def test_one_call_of_the_kernel_carries_two_images(drizzled: Drizzled, drizzler: Drizzler, tmp_path: Path) -> None:
    drizzler.drizzle(copies(drizzled.frames, tmp_path), folder=tmp_path, log=tmp_path / "log")
    rng = np.random.default_rng(3)
    # Positive images with a range of 1000, one of them with zeros.
    first = [np.exp(rng.uniform(-4, 3, (1024, 1024))) for _ in drizzled.frames]
    second = [rng.poisson(0.5, (1024, 1024)) * np.exp(rng.uniform(-4, 3, (1024, 1024))) for _ in drizzled.frames]
    alone = drizzler.resample([first, second], folder=tmp_path, log=tmp_path / "log")
    before, *carried = drizzler.resample([first], pair=(first, second), folder=tmp_path, log=tmp_path / "log")
    np.testing.assert_array_equal(before, alone[0])
    # A pixel is the mean of up to 9 native pixels of each of 2 frames; each step of the mean rounds three times.
    for expected, found in zip(alone, carried, strict=True):
        np.testing.assert_allclose(found, expected, rtol=2 * 18 * 3 * 2.0**-24)


KERNELS = """
import os, sys
from pathlib import Path
import numpy as np
from astropy.io import fits
from sbcdark.pipeline.drizzling.drizzle import Drizzler
from sbcdark.pipeline.drizzling.drizzle_process import SETTINGS
from sbcdark.pipeline.drizzling.grid import Grid

drizzler, made = Drizzler(here=True), {}
for grid in (Grid(), Grid(pixfrac=0.7), Grid(kernel="turbo"), Grid(kernel="point", scale_arcsec=0.05)):
    folder = Path(f"{grid.kernel}{grid.pixfrac}").resolve()
    frames = sorted(folder.glob("*_flt.fits"))
    counts = [fits.getdata(frame, ("SCI", 1)).astype(float) for frame in frames]
    product = drizzler.drizzle(frames, folder=folder, log=folder / "log", grid=grid)
    (again,) = drizzler.resample([counts], folder=folder, log=folder / "log")
    made[folder] = grid, product, again
from drizzlepac.astrodrizzle import AstroDrizzle
for folder, (grid, product, again) in made.items():
    os.chdir(folder / "alone")
    AstroDrizzle(
        sorted(path.name for path in Path().glob("*_flt.fits")), output="alone", **SETTINGS,
        final_kernel=grid.kernel, final_pixfrac=grid.pixfrac, final_scale=grid.scale_arcsec,
    )
    with fits.open("alone_drz.fits") as alone:
        weight = alone["WHT"].data
        expected = np.where(weight > 0, alone["SCI"].data, np.nan)
        assert np.array_equal(product.weight, weight), folder
        assert np.array_equal(product.science, expected, equal_nan=True), folder
        assert np.array_equal(again, expected, equal_nan=True), folder
"""


@pytest.mark.slow
def test_products_of_every_kernel_are_those_of_astrodrizzle_alone(drizzled: Drizzled, tmp_path: Path) -> None:
    """To the last bit, in the process of a worker, where each frame's mapping is made once for all images."""
    for name in ("square1.0", "square0.7", "turbo1.0", "point1.0"):
        for folder in (tmp_path / name, tmp_path / name / "alone"):
            folder.mkdir()
            copies(drizzled.frames, folder)
    done = subprocess.run([sys.executable, "-c", KERNELS], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_one_count_in_t_seconds_gives_one_over_t(drizzled: Drizzled) -> None:
    rate, weight = drizzled.images["uniform"], drizzled.science.weight
    # A weighted mean of equal float32 values: a few roundings for each of the up to 2 x 9 native pixels.
    assert np.abs(rate[weight > 0] * 1200.0 - 1.0).max() < 40 * FLOAT32


def test_weight_is_time_over_area_factor(drizzled: Drizzled) -> None:
    weight = drizzled.science.weight
    ny, nx = weight.shape
    middle = weight[ny // 2 - 100 : ny // 2 - 50, nx // 2 - 50 : nx // 2]
    factor = pixel_area_arcsec2(np.array([511.0]), np.array([440.0]))[0] / 0.025**2
    assert factor == pytest.approx(1.6, abs=0.03)
    # The area changes by 0.3 % over the 50 pixels; the two pointings differ by 20 native pixels.
    assert middle.mean() == pytest.approx(2400.0 / factor, rel=0.005)


def test_drizzled_sum_is_area_factor_times_native_counts(drizzled: Drizzled) -> None:
    rate = drizzled.images["source"]
    truth = drizzled.association.source.drizzled_count_s
    # AstroDrizzle keeps float32, and interpolates its mapping between every tenth pixel.
    assert np.nansum(rate, dtype=float) == pytest.approx(truth, rel=1e-5)
    x, y = (np.arange(1024.0)[None, :].repeat(1024, 0), np.arange(1024.0)[:, None].repeat(1024, 1))
    factor = pixel_area_arcsec2(x, y) / 0.025**2
    for member in drizzled.association.exposures:
        native = source_rate(drizzled.association.source, member.pointing)
        assert (native * factor).sum() == pytest.approx(truth, rel=1e-6)
        assert truth / member.source_count_s == pytest.approx(1.6, abs=0.03)


def aperture(product: DrizzledProduct, spec: str) -> np.ndarray[Any, Any]:
    """Return the share of each product pixel in a sky ellipse, from 5 x 5 points in each."""
    ra, dec, a, b, pa = (float(part) for part in spec.removeprefix("ellipse@").split(","))
    wcs, shape = product.wcs, product.science.shape
    x0, y0 = wcs.all_world2pix(ra, dec, 0)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    share = np.zeros(shape)
    for down in np.linspace(-0.4, 0.4, 5):
        for right in np.linspace(-0.4, 0.4, 5):
            east, north = 3600 * np.einsum("ij,j...->i...", wcs.wcs.cd, np.stack([x + right - x0, y + down - y0]))
            angle = math.radians(pa)
            major = (east * math.sin(angle) + north * math.cos(angle)) / a
            minor = (east * math.cos(angle) - north * math.sin(angle)) / b
            share += (major**2 + minor**2 < 1) / 25
    return share


def test_truth_of_the_aperture_is_what_the_products_hold(drizzled: Drizzled) -> None:
    association = drizzled.association
    inside = aperture(drizzled.science, association.aperture)
    area = inside.sum() * 0.025**2
    assert area == pytest.approx(math.pi * 1.8 * 1.2, rel=1e-3)
    source, dark, science = (
        float(np.nansum(image * inside, dtype=float))
        for image in (drizzled.images["source"], drizzled.images["dark"], drizzled.science.science)
    )
    # Drizzling smears the source by a native pixel: of 16 drizzled sigma this takes 1e-4 over the rim.
    assert source == pytest.approx(association.aperture_source_count_s, rel=1e-3)
    # 5 x 5 points a pixel leave some 1 / 25 of each of the 400 pixels on the rim open, of 10900 in all: 1e-4.
    assert dark == pytest.approx(association.aperture_dark_count_s, rel=5e-4)
    expected = (
        association.aperture_source_count_s
        + association.aperture_dark_count_s
        + association.sky_count_s_pix * area / 0.025**2
    )
    # science.md: a drizzled sum S over t has sigma = sqrt(f S / t); 1 / flat adds at most a quarter to the variance.
    assert abs(science - expected) < 5 * math.sqrt(1.25 * 1.63 * expected / 2400.0)


def test_flagged_pixels_bring_nothing(drizzled: Drizzled, drizzler: Drizzler, tmp_path: Path) -> None:
    frame = drizzled.frames[0]
    flt = tmp_path / "flagged_flt.fits"
    copy_with_counts(frame, flt, np.full((1024, 1024), 1.0))
    blocks = {1 << bit: (slice(100, 112), slice(40 * bit + 200, 40 * bit + 212)) for bit in range(16)}
    with fits.open(flt, mode="update") as hdus:
        for flag, block in blocks.items():
            hdus["DQ"].data[block] = np.uint16(flag).view(np.int16)
            hdus["SCI"].data[block] = 1e6
        quality = hdus["DQ"].data.copy()
    with fits.open(flt) as hdus:
        native = WCS(hdus["SCI"].header)
    product = drizzler.drizzle([flt], folder=tmp_path, log=tmp_path / "log")
    rate, weight, wcs = product.science, product.weight, product.wcs
    for flag, (rows, columns) in blocks.items():
        y, x = (0.5 * (part.start + part.stop - 1) for part in (rows, columns))
        column, row = (round(float(value)) for value in wcs.all_world2pix(*native.all_pix2world(x, y, 0), 0))
        assert (weight[row, column] == 0) == flagged(quality)[int(y), int(x)] == (flag != 4096)
        assert np.isnan(rate[row, column]) == (flag != 4096)
    # The only bright block is that of the cleared flag: nothing else of the 1e6 counts got through.
    bright = rate * 1200.0 > 2.0
    y, x = np.nonzero(bright)
    assert (y.max() - y.min(), x.max() - x.min()) < (30, 30)


@pytest.mark.slow
def test_errors_are_raised_and_the_process_goes_on(drizzled: Drizzled, drizzler: Drizzler, tmp_path: Path) -> None:
    def go(frames: list[Path]) -> DrizzledProduct:
        return drizzler.drizzle(frames, folder=tmp_path, log=tmp_path / "log")

    copy_with_counts(drizzled.frames[0], tmp_path / "without_flt.fits", MEANDARK=None)
    with pytest.raises(SbcdarkError, match=r"MEANDARK.*Read .*log"):
        go([tmp_path / "without_flt.fits"])
    (tmp_path / "cut_flt.fits").write_bytes(drizzled.frames[0].read_bytes()[:5_000_000])
    with pytest.raises(SbcdarkError):
        go([tmp_path / "cut_flt.fits"])
    with pytest.raises(SbcdarkError, match="no product was made before"):
        drizzler.resample([[np.zeros((1024, 1024))]], folder=tmp_path, log=tmp_path / "log")
    for names in ([], ["a_flt.fits", "a_flt.fits"], ["a b_flt.fits"], ["@list_flt.fits"], ["a,b_flt.fits"]):
        with pytest.raises(ValueError, match="not valid frame names"):
            go([tmp_path / name for name in names])
    assert len(go(copies(drizzled.frames, tmp_path)).frames) == 2


@pytest.mark.slow
def test_frames_that_are_flagged_all_over_make_no_product(
    drizzled: Drizzled, drizzler: Drizzler, tmp_path: Path
) -> None:
    flt = tmp_path / "flagged_flt.fits"
    copy_with_counts(drizzled.frames[0], flt)
    with fits.open(flt, mode="update") as hdus:
        hdus["DQ"].data[:] = 4
    with pytest.raises(SbcdarkError, match="No good pixel"):
        drizzler.drizzle([flt], folder=tmp_path, log=tmp_path / "log")


@pytest.mark.slow
def test_process_that_dies_is_started_anew(drizzled: Drizzled, tmp_path: Path) -> None:
    with Drizzler() as short_lived:
        for killed in (False, True, False):
            frames = copies(drizzled.frames, tmp_path)
            if killed:
                assert short_lived._process is not None
                short_lived._process.kill()
                short_lived._process.wait()
                with pytest.raises(SbcdarkError, match="ended with code -9"):
                    short_lived.drizzle(frames, folder=tmp_path, log=tmp_path / "log")
            else:
                short_lived.drizzle(frames, folder=tmp_path, log=tmp_path / "log")
    assert short_lived._process is None


def test_process_ends_with_its_owner_whatever_it_is_doing() -> None:
    with Drizzler() as orphan:
        process = orphan._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        # A job is waiting, and drizzlepac is being imported: a process that goes on would answer it.
        process.stdin.write('{"log": "/dev/null", "folder": "/"}\n')
        process.stdin.close()
        assert process.stdout.read() == ""
        assert process.wait() == 0


@pytest.mark.slow
def test_two_at_once_on_real_formats_without_reference_files(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("jref", raising=False)
    # A folder of the user's must not stand in for a package, nor its warnings become errors.
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("raise ImportError('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    standins = shared_data / "science_13655_standin"
    pairs = {"jcmc11010": ("jcmc11ctq", "jcmc11e6q"), "jcmc11030": ("jcmc11cxq", "jcmc11dsq")}

    def one(name: str) -> DrizzledProduct:
        folder = tmp_path / name
        folder.mkdir()
        for rootname in pairs[name]:
            packed = (standins / f"{rootname}_flt.fits.gz").read_bytes()
            (folder / f"{rootname}_flt.fits").write_bytes(gzip.decompress(packed))
        with Drizzler() as drizzler:
            frames = [folder / f"{rootname}_flt.fits" for rootname in pairs[name]]
            return drizzler.drizzle(frames, folder=folder, log=tmp_path / f"{name}.log")

    with ThreadPoolExecutor(2) as pool:
        products = dict(zip(pairs, pool.map(one, pairs), strict=True))
    truth = np.genfromtxt(standins / "truth.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    for name, product in products.items():
        # Published products of this program are 1415 to 1416 by 1372 to 1373 pixels; the stand-ins' dither is assumed.
        assert product.science.shape == pytest.approx((1372, 1415), abs=6)
        row = truth[truth["rootname"] == pairs[name][0]][0]
        x, y = product.wcs.all_world2pix(row["source_ra"], row["source_dec"], 0)
        rate = product.science
        rows, columns = np.ogrid[: rate.shape[0], : rate.shape[1]]
        distance = np.hypot(columns - x, rows - y)
        # 9 native pixels are at most 9 x 0.0336 / 0.025 = 12.1 drizzled ones: 60 is 5 sigma.
        inside, around = distance < 60, (distance > 60) & (distance < 120)
        source = np.nansum(rate[inside]) - np.nanmean(rate[around]) * inside.sum()
        time = product.hdus[0].header["EXPTIME"]
        sigma = math.sqrt(1.63 * np.nansum(rate[inside]) / time * (1 + inside.sum() / around.sum()))
        assert abs(source - 1.62 * row["source_count_s"]) < 5 * sigma + 0.02 * source
