"""AstroDrizzle, really run: what its products hold, and that nothing of it leaks."""

from __future__ import annotations

import gzip
import logging
import math
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from sbcdark.catalog.errors import BadFileError, SbcdarkError
from sbcdark.pipeline.drizzle import GRID, DrizzledProduct, Drizzler, drizzle, dropped
from sbcdark.pipeline.frame_writer import write_science_copy, write_simulated
from sbcdark.pipeline.simulate import Association, Parameters, flat, simulate, source_rate
from sbcdark.pipeline.simulated_darks import dark_rate
from sbcdark.pipeline.simulated_sky import pixel_area_arcsec2

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOAT32 = float(np.finfo(np.float32).eps)


@dataclass
class Drizzled:
    """One association drizzled as it is, then uniform and noise-free images on its grid."""

    association: Association
    frames: list[Path]
    science: DrizzledProduct
    images: dict[str, DrizzledProduct]
    before: dict[str, Any]
    after: dict[str, Any]


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
def drizzler() -> Iterator[Drizzler]:
    with Drizzler() as running:
        yield running


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
    # The archive ships frames plain or gzipped.
    with gzip.open(folder / f"{frames[1].name}.gz", "wb", 1) as zipped:
        zipped.write(frames[1].read_bytes())
    frames[1].unlink()
    frames[1] = folder / f"{frames[1].name}.gz"

    before = surroundings(folder)
    science = drizzler.drizzle(frames, work / "science_drz.fits", working_folder=work, log=work / "science.log")
    after = surroundings(folder)
    images = {}
    for name in ("uniform", "source", "dark"):
        copies = []
        for frame, member in zip(frames, association.exposures, strict=True):
            copies.append(work / f"{member.exposure.rootname}_{name}.fits")
            rate = {
                "uniform": lambda exposure, _: np.full((1024, 1024), 1.0 / exposure.exposure_s),
                "source": lambda _, pointing: source_rate(association.source, pointing),
                "dark": lambda exposure, _: dark_rate(exposure) / flat(archive.parameters.seed),
            }[name](member.exposure, member.pointing)
            write_science_copy(frame, copies[-1], rate * member.exposure.exposure_s)
        images[name] = drizzler.drizzle(
            copies, work / f"{name}_drz.fits", working_folder=work, log=work / f"{name}.log", reference=science.path
        )
    return Drizzled(association, frames, science, images, before, after)


def read(product: DrizzledProduct) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return fits.getdata(product.path, "SCI"), fits.getdata(product.path, "WHT")


def test_every_flag_but_that_of_a_cosmic_ray_drops_a_pixel() -> None:
    flags = np.array([0, *(1 << bit for bit in range(16))])
    expected = [flag not in {0, 4096} for flag in flags]
    assert dropped(flags.astype(np.uint16)).tolist() == expected
    assert dropped(flags.astype(np.uint16).view(np.int16)).tolist() == expected


@pytest.mark.slow
def test_nothing_leaks(drizzled: Drizzled) -> None:
    assert drizzled.after == drizzled.before
    work = drizzled.science.path.parent
    assert not [path for path in work.iterdir() if path.name.startswith(("drizzle_", "."))]
    assert "AstroDrizzle" in drizzled.science.log.read_text()


@pytest.mark.slow
def test_process_says_nothing_here(
    drizzled: Drizzled, drizzler: Drizzler, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    drizzler.drizzle(drizzled.frames[:1], tmp_path / "a_drz.fits", working_folder=tmp_path, log=tmp_path / "a.log")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.slow
def test_product_is_a_rate_with_weight_and_nan(drizzled: Drizzled) -> None:
    with fits.open(drizzled.science.path) as hdus:
        assert [hdu.name for hdu in hdus][:3] == ["PRIMARY", "SCI", "WHT"]
        assert hdus["SCI"].header["BUNIT"] == "COUNTS/S"
        assert hdus["SCI"].data.shape == drizzled.science.shape
        np.testing.assert_array_equal(np.isnan(hdus["SCI"].data), hdus["WHT"].data == 0)
        scale = np.sqrt(np.abs(np.linalg.det(WCS(hdus["SCI"].header).wcs.cd))) * 3600
        assert scale == pytest.approx(0.025, rel=1e-12)
    assert drizzled.science.exposure_time_s == 2400.0
    assert drizzled.science.frames == ("jzzs11b1q_flt.fits", "jzzs11b2q_flt.fits")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["uniform", "source", "dark"])
def test_reference_gives_the_same_grid(drizzled: Drizzled, name: str) -> None:
    science = fits.getheader(drizzled.science.path, "SCI")
    other = fits.getheader(drizzled.images[name].path, "SCI")
    assert [other[keyword] for keyword in GRID] == [science[keyword] for keyword in GRID]
    assert drizzled.images[name].shape == drizzled.science.shape
    # The same pixels are dropped. The WCS of the reference has been through a header, which rounds its last digits.
    ours, theirs = read(drizzled.images[name])[1], read(drizzled.science)[1]
    np.testing.assert_array_equal(ours > 0, theirs > 0)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2 * FLOAT32 * theirs.max())


@pytest.mark.slow
def test_one_count_in_t_seconds_gives_one_over_t(drizzled: Drizzled) -> None:
    rate, weight = read(drizzled.images["uniform"])
    # A weighted mean of equal float32 values: a few roundings for each of the up to 2 x 9 native pixels.
    assert np.abs(rate[weight > 0] * 1200.0 - 1.0).max() < 40 * FLOAT32


@pytest.mark.slow
def test_weight_is_time_over_area_factor(drizzled: Drizzled) -> None:
    weight = read(drizzled.science)[1]
    ny, nx = weight.shape
    middle = weight[ny // 2 - 100 : ny // 2 - 50, nx // 2 - 50 : nx // 2]
    factor = pixel_area_arcsec2(np.array([511.0]), np.array([440.0]))[0] / 0.025**2
    assert factor == pytest.approx(1.6, abs=0.03)
    # The area changes by 0.3 % over the 50 pixels; the two pointings differ by 20 native pixels.
    assert middle.mean() == pytest.approx(2400.0 / factor, rel=0.005)


@pytest.mark.slow
def test_drizzled_sum_is_area_factor_times_native_counts(drizzled: Drizzled) -> None:
    rate, _ = read(drizzled.images["source"])
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
    wcs = WCS(fits.getheader(product.path, "SCI"))
    x0, y0 = wcs.all_world2pix(ra, dec, 0)
    y, x = np.mgrid[: product.shape[0], : product.shape[1]].astype(float)
    share = np.zeros(product.shape)
    for down in np.linspace(-0.4, 0.4, 5):
        for right in np.linspace(-0.4, 0.4, 5):
            east, north = 3600 * np.einsum("ij,j...->i...", wcs.wcs.cd, np.stack([x + right - x0, y + down - y0]))
            angle = math.radians(pa)
            major = (east * math.sin(angle) + north * math.cos(angle)) / a
            minor = (east * math.cos(angle) - north * math.sin(angle)) / b
            share += (major**2 + minor**2 < 1) / 25
    return share


@pytest.mark.slow
def test_truth_of_the_aperture_is_what_the_products_hold(drizzled: Drizzled) -> None:
    association = drizzled.association
    inside = aperture(drizzled.science, association.aperture)
    area = inside.sum() * 0.025**2
    assert area == pytest.approx(math.pi * 1.8 * 1.2, rel=1e-3)
    source, dark, science = (
        float(np.nansum(read(product)[0] * inside, dtype=float))
        for product in (drizzled.images["source"], drizzled.images["dark"], drizzled.science)
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


@pytest.mark.slow
def test_flagged_pixels_bring_nothing(drizzled: Drizzled, drizzler: Drizzler, tmp_path: Path) -> None:
    frame = drizzled.frames[0]
    counts = np.full((1024, 1024), 1.0)
    flt = tmp_path / "flagged_flt.fits"
    write_science_copy(frame, flt, counts)
    blocks = {1 << bit: (slice(100, 112), slice(40 * bit + 200, 40 * bit + 212)) for bit in range(16)}
    with fits.open(flt, mode="update") as hdus:
        for flag, block in blocks.items():
            hdus["DQ"].data[block] = np.uint16(flag).view(np.int16)
            hdus["SCI"].data[block] = 1e6
        quality = hdus["DQ"].data.copy()
    product = drizzler.drizzle([flt], tmp_path / "out_drz.fits", working_folder=tmp_path, log=tmp_path / "log")
    rate, weight = read(product)
    wcs = WCS(fits.getheader(product.path, "SCI"))
    with fits.open(flt) as hdus:
        native = WCS(hdus["SCI"].header)
    for flag, (rows, columns) in blocks.items():
        y, x = (0.5 * (part.start + part.stop - 1) for part in (rows, columns))
        column, row = (round(float(value)) for value in wcs.all_world2pix(*native.all_pix2world(x, y, 0), 0))
        assert (weight[row, column] == 0) == dropped(quality)[int(y), int(x)] == (flag != 4096)
        assert np.isnan(rate[row, column]) == (flag != 4096)
    # The only bright block is that of the cleared flag: nothing else of the 1e6 counts got through.
    bright = rate * 1200.0 > 2.0
    y, x = np.nonzero(bright)
    assert (y.max() - y.min(), x.max() - x.min()) < (30, 30)


@pytest.mark.slow
def test_errors_are_told_and_the_process_goes_on(drizzled: Drizzled, drizzler: Drizzler, tmp_path: Path) -> None:
    def broken(keyword: str, value: float | None) -> Path:
        path = tmp_path / f"{keyword.lower()}_flt.fits"
        shutil.copy(drizzled.frames[0], path)
        with fits.open(path, mode="update") as hdus:
            if value is None:
                del hdus["SCI"].header[keyword]
            else:
                hdus["SCI"].header[keyword] = value
        return path

    def go(frames: list[Path], reference: Path | None = None) -> None:
        drizzler.drizzle(
            frames, tmp_path / "out.fits", working_folder=tmp_path, log=tmp_path / "log", reference=reference
        )

    (tmp_path / "cut.fits").write_bytes(drizzled.frames[0].read_bytes()[:5_000_000])
    (tmp_path / "cut.fits.gz").write_bytes(drizzled.frames[1].read_bytes()[:500_000])
    with pytest.raises(SbcdarkError, match=r"MEANDARK.*Read .*log"):
        go([broken("MEANDARK", None)])
    with pytest.raises(SbcdarkError, match=r"out\.fits"):
        go([broken("CRVAL2", -20.0)], drizzled.science.path)
    nearby = broken("CRVAL1", float(drizzled.association.source.ra_deg) + 0.1)
    with pytest.raises(SbcdarkError, match="overlap"):
        go([nearby], drizzled.science.path)
    with pytest.raises(SbcdarkError):
        go([tmp_path / "cut.fits"])
    with pytest.raises(BadFileError, match="cannot be copied"):
        go([tmp_path / "cut.fits.gz"])
    with pytest.raises(BadFileError, match="cannot be copied"):
        go([tmp_path / "missing.fits"])
    for frames in ([], [drizzled.frames[0], drizzled.frames[0]]):
        with pytest.raises(SbcdarkError, match="cannot be drizzled together"):
            go(frames)
    assert not (tmp_path / "out.fits").exists()
    go(drizzled.frames)
    assert (tmp_path / "out.fits").exists()


@pytest.mark.slow
def test_process_that_dies_is_told_and_started_anew(drizzled: Drizzled, tmp_path: Path) -> None:
    with Drizzler() as short_lived:
        for killed in (False, True, False):
            if killed:
                assert short_lived._process is not None
                short_lived._process.kill()
                short_lived._process.wait()
                with pytest.raises(SbcdarkError, match="ended with code -9"):
                    short_lived.drizzle(
                        drizzled.frames, tmp_path / "a.fits", working_folder=tmp_path, log=tmp_path / "log"
                    )
            else:
                short_lived.drizzle(drizzled.frames, tmp_path / "a.fits", working_folder=tmp_path, log=tmp_path / "log")
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
        (tmp_path / name).mkdir()
        return drizzle(
            [standins / f"{rootname}_flt.fits.gz" for rootname in pairs[name]],
            tmp_path / f"{name}_drz.fits",
            working_folder=tmp_path / name,
            log=tmp_path / f"{name}.log",
        )

    with ThreadPoolExecutor(2) as pool:
        products = dict(zip(pairs, pool.map(one, pairs), strict=True))
    truth = np.genfromtxt(standins / "truth.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    for name, product in products.items():
        # Published products of this program are 1415 to 1416 by 1372 to 1373 pixels; the stand-ins' dither is assumed.
        assert product.shape == pytest.approx((1372, 1415), abs=6)
        row = truth[truth["rootname"] == pairs[name][0]][0]
        wcs = WCS(fits.getheader(product.path, "SCI"))
        x, y = wcs.all_world2pix(row["source_ra"], row["source_dec"], 0)
        rate, _ = read(product)
        rows, columns = np.ogrid[: rate.shape[0], : rate.shape[1]]
        distance = np.hypot(columns - x, rows - y)
        # 9 native pixels are at most 9 x 0.0336 / 0.025 = 12.1 drizzled ones: 60 is 5 sigma.
        inside, around = distance < 60, (distance > 60) & (distance < 120)
        source = np.nansum(rate[inside]) - np.nanmean(rate[around]) * inside.sum()
        time = product.exposure_time_s
        sigma = math.sqrt(1.63 * np.nansum(rate[inside]) / time * (1 + inside.sum() / around.sum()))
        assert abs(source - 1.62 * row["source_count_s"]) < 5 * sigma + 0.02 * source
