"""AstroDrizzle's options: what is refused, and products, errors and replay on other grids."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales
from helpers import ON_SQLITE

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.apertures.apertures import parse_aperture
from sbcdark.pipeline.drizzling.grid import Grid, grid_of, require_usable
from sbcdark.pipeline.estimation.options import BuildOptions, build_options
from sbcdark.pipeline.frames.pixels import read_product
from sbcdark.pipeline.products.job import Job
from sbcdark.pipeline.products.net import _mean_square
from sbcdark.pipeline.products.product_files import inputs_key
from sbcdark.pipeline.products.replay import replay
from sbcdark.pipeline.products.run import make

if TYPE_CHECKING:
    import sqlalchemy as sa


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"final_scale": 0.0}, "outside 0.005-0.2 arcsec"),
        ({"final_scale": float("nan")}, "outside 0.005-0.2 arcsec"),
        ({"final_rot": float("inf")}, "outside -360-360 degrees"),
        ({"final_pixfrac": 0.0}, "outside 0.01-1"),
        ({"final_pixfrac": 1.5}, "outside 0.01-1"),
        ({"final_kernel": "lanczos3"}, 'final_kernel="lanczos3" is not supported: its weights reach over other pixels'),
        ({"final_kernel": "round"}, 'final_kernel="round" is not supported.'),
        ({"final_refimage": "nowhere.fits"}, "There is no reference image at nowhere.fits"),
        ({"final_refimage": "nowhere.fits", "final_rot": 3.0}, "gives the scale and the rotation itself"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_options(**options)


def wcs_with(cd: list[list[float]], axes: tuple[str, str] = ("RA---TAN", "DEC--TAN")) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = list(axes)
    wcs.wcs.crval = [38.0, 65.5] if axes[0].startswith("RA") else [65.5, 38.0]
    wcs.wcs.cd = np.array(cd) / 3600
    return wcs


def test_turned_and_flipped_squares_are_a_grid() -> None:
    angle = np.radians(20.0)
    turned = 0.04 * np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for sign in (1, -1):
        require_usable(Path("x.fits"), wcs_with((turned * [sign, 1]).tolist()))


@pytest.mark.parametrize(
    ("wcs", "why"),
    [
        (wcs_with([[-0.03, 0.0], [0.0, 0.025]]), r"not squares \(0.0300 by 0.0250 arcsec\)"),
        (wcs_with([[-0.025, 0.002], [0.0, 0.025]]), "not squares"),
        (wcs_with([[-0.025, 0.0], [0.0, 0.025]], ("GLON-TAN", "GLAT-TAN")), "not in right ascension and declination"),
        (wcs_with([[0.0, 0.025], [-0.025, 0.0]], ("DEC--TAN", "RA---TAN")), "not in right ascension and declination"),
    ],
)
def test_grids_on_which_a_flux_is_not_conserved_are_refused(wcs: WCS, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        require_usable(Path("x.fits"), wcs)


def test_an_flt_is_no_reference_image(real_catalog: sa.Engine, shared_data: Path, tmp_path: Path) -> None:
    """AstroDrizzle takes its pixels for squares of 0.0334 arcsec, and every sum is 13 % high."""
    flt = shared_data / "science_13655_standin" / "jcmc11ctq_flt.fits.gz"
    options = build_options(final_refimage=flt)
    (outcome,) = make(real_catalog, ["jcmc11ctq"], Job(tmp_path, options))
    assert isinstance(outcome.failure, UsageError)
    assert "is distorted, as an FLT is" in outcome.failure.what


def test_default_grid_leaves_the_keys_of_earlier_products_as_they_are() -> None:
    assert build_options().grid == grid_of(final_scale=0.025, final_pixfrac=1.0, final_kernel="Square") == Grid()
    assert Grid().changes() == {}
    keys = {inputs_key([], [], replace(BuildOptions(), grid=grid), []) for grid in (Grid(), Grid(pixfrac=0.5))}
    assert len(keys) == 2


@pytest.mark.parametrize("native", [1.0, 1.19, 1.35, 2.4])
def test_mean_square_of_the_weights_is_that_of_fruchter_and_hook(native: float) -> None:
    assert _mean_square(native, native * (1 - 1e-9)) == pytest.approx(1 - 1 / (3 * native), rel=1e-5)


@pytest.mark.parametrize(("native", "drop"), [(0.6, 0.6), (1.3, 0.5), (0.45, 1.0), (0.5, 0.0)])
def test_mean_square_is_the_scatter_of_a_line_of_drops(native: float, drop: float) -> None:
    """White noise dropped onto many pixels: the variance of the pixels, times their weight, is the mean square."""
    rng = np.random.default_rng(5)
    number = 200_000
    centres = native * (np.arange(number) + 0.317)
    values = rng.normal(size=number)
    pixels = int(centres[-1]) - 4
    total, weight = np.zeros(pixels), np.zeros(pixels)
    width = max(drop, 1e-9)
    for offset in range(-2, 3):
        place = np.rint(centres).astype(int) + offset
        ends = np.minimum(centres + width / 2, place + 0.5) - np.maximum(centres - width / 2, place - 0.5)
        inside = np.clip(ends, 0, None)
        use = (place >= 0) & (place < pixels)
        np.add.at(total, place[use], (inside / width * values)[use])
        np.add.at(weight, place[use], (inside / width)[use])
    some = weight > 0
    found = native * np.mean((total[some] / weight[some]) ** 2 * weight[some])
    # The relative error of a variance from n values is sqrt(2 / n), and neighbouring pixels are correlated.
    assert found == pytest.approx(_mean_square(native, drop), rel=5 * np.sqrt(4 / some.sum()))


@pytest.mark.long
@pytest.mark.slow
@ON_SQLITE
@pytest.mark.parametrize(
    "grid", [Grid(scale_arcsec=0.05, rotation_deg=20.0, pixfrac=0.8), Grid(scale_arcsec=0.04, kernel="turbo")]
)
def test_products_on_another_grid_give_the_same_source_and_are_replayed(
    real_catalog: sa.Engine, tmp_path: Path, grid: Grid
) -> None:
    found = []
    for number, one in enumerate((Grid(), grid)):
        (usual,) = make(real_catalog, ["jcmc11ctq"], Job(tmp_path / f"g{number}", BuildOptions(grid=one)))
        assert usual.masterdark is not None
        wcs = read_product(usual.masterdark.science).wcs
        assert proj_plane_pixel_scales(wcs) * 3600 == pytest.approx(one.scale_arcsec, rel=1e-6)
        ny, nx = fits.getdata(usual.masterdark.science, "SCI").shape
        if not found:
            ra, dec = (float(value) for value in wcs.all_pix2world(0.55 * nx, 0.5 * ny, 0))
        job = Job(tmp_path / f"g{number}", BuildOptions(grid=one), (parse_aperture(f"circle@{ra},{dec},1.5"),))
        (measured,) = make(real_catalog, ["jcmc11ctq"], job)
        assert measured.failure is None
        found.append(measured.photometry[0])
        assert measured.masterdark is not None
        selection = measured.masterdark.members[0].selection
        assert selection is not None
        assert all(again.identical for again in replay(real_catalog, selection, tmp_path / f"r{number}"))
    first, second = found
    # The same sky, measured on other pixels: the sums share nearly all counts.
    for name in ("science", "dark", "net"):
        error = getattr(first, f"{name}_err_count_s")
        assert getattr(second, f"{name}_count_s") == pytest.approx(getattr(first, f"{name}_count_s"), abs=0.5 * error)
        assert getattr(second, f"{name}_err_count_s") == pytest.approx(error, rel=0.05)
