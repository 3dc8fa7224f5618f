"""Science minus dark minus sky: the fitted sky, an annulus, none; few counts; the dark-subtracted product."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.apertures.pixel_shapes import PixelEllipse, PixelRing
from sbcdark.pipeline.apertures.sky import parse_sky
from sbcdark.pipeline.selection.rules import Combine

if TYPE_CHECKING:
    from pathlib import Path

    from sbcdark import Catalog
    from sbcdark.results import Products

APERTURE = "ellipse:735,710,70,40,90"
BLANK = "circle:400,420,40"


@pytest.mark.parametrize(
    ("text", "combine", "canonical"),
    [
        (None, "model", "fit"),
        (None, "nearest", "none"),
        ("fit", "model", "fit"),
        (" None ", "model", "none"),
        ("annulus:60,90", "mean", "annulus:60,90"),
        ("annulus@1.5,2.25", "model", "annulus@1.5,2.25"),
    ],
)
def test_sky_is_read_and_written(text: str | None, combine: str, canonical: str) -> None:
    sky = parse_sky(text, Combine(combine))
    assert sky.text == canonical
    assert parse_sky(sky.text, Combine(combine)) == sky


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("fitted", "not a valid sky"),
        ("annulus:60", "not a valid sky"),
        ("annulus:90,60", "0 <= R_IN < R_OUT"),
        ("annulus:-1,60", "0 <= R_IN < R_OUT"),
        ("annulus:1,1e9", "0 <= R_IN < R_OUT"),
        ("annulus:1.2.3,4", "two radii"),
        ("annulus:nan,4", "not a valid sky"),
    ],
)
def test_wrong_sky_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        parse_sky(text, Combine.MODEL)
    assert "--sky" in caught.value.todo


def test_radii_in_arcsec_are_those_in_pixels_of_the_product() -> None:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [165.5, 38.0], [700, 700]
    wcs.wcs.cdelt = [-0.025 / 3600, 0.025 / 3600]
    ellipse = PixelEllipse(710.0, 690.0, 30.0, 20.0, 0.0, "mine")
    ring = parse_sky("annulus@3,5", Combine.MODEL).ring(ellipse, wcs)
    assert ring is not None
    assert (ring.x, ring.y) == (710.0, 690.0)
    assert isinstance(ring.inner, PixelEllipse)
    assert isinstance(ring.outer, PixelEllipse)
    assert (ring.inner.a, ring.inner.b, ring.outer.a, ring.outer.b) == pytest.approx((120.0, 120.0, 200.0, 200.0))
    inner, outer = (PixelEllipse(710.0, 690.0, r, r, 0.0, "the sky of mine") for r in (120.0, 200.0))
    assert parse_sky("annulus:120,200", Combine.MODEL).ring(ellipse, wcs) == PixelRing(inner, outer, "the sky of mine")
    assert parse_sky("annulus:0,200", Combine.MODEL).ring(ellipse, wcs) == PixelRing(None, outer, "the sky of mine")
    assert parse_sky("fit", Combine.MODEL).ring(ellipse, wcs) is None


def test_fit_needs_the_model() -> None:
    with pytest.raises(UsageError, match="fits no sky"):
        parse_sky("fit", Combine.NEAREST)


@pytest.fixture(scope="module")
def by_sky(cat: Catalog, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Products]:
    """Measure one association with each sky, a folder each."""
    flat = shared_data / "science_13655_standin"
    skies = ("fit", "annulus:120,200", "none")
    return {
        sky: cat.run(
            "jcmc11020", tmp_path_factory.mktemp("products"), apertures=[APERTURE, BLANK], sky=sky, pictures=False,
            flat=flat,
        )
        for sky in skies
    }  # fmt: skip


def rows(products: Products) -> list[Any]:
    return list(products.outcome.photometry)


@pytest.mark.slow
def test_source_is_science_less_dark_less_sky(by_sky: dict[str, Products]) -> None:
    for sky, products in by_sky.items():
        for row in rows(products):
            assert row.sky_method == sky
            assert row.net_count_s == pytest.approx(row.science_count_s - row.dark_count_s, rel=1e-12)
            assert row.source_count_s == pytest.approx(row.net_count_s - (row.sky_count_s or 0.0), rel=1e-12)
            assert (row.sky_count_s is None) == (sky == "none")
            # Native numbers tell the same source.
            per_count = row.science_count_s / row.native_count
            assert (row.native_count - row.native_background_count) * per_count == pytest.approx(row.source_count_s)
            assert row.source_low_count_s < row.source_count_s < row.source_high_count_s


@pytest.mark.slow
def test_skies_agree_within_their_errors(by_sky: dict[str, Products]) -> None:
    fitted, pixels, none = (rows(products) for products in by_sky.values())
    for fit, annulus, without in zip(fitted, pixels, none, strict=True):
        # F125LP lets airglow in; all of it may be a base that has risen since the darks, up to twice their own.
        assert fit.sky_count_s > fit.sky_err_count_s
        difference = fit.sky_count_s - annulus.sky_count_s
        assert abs(difference) < 3.5 * math.hypot(fit.sky_err_count_s, annulus.sky_err_count_s)
        assert without.net_count_s == pytest.approx(fit.net_count_s, abs=0.05 * fit.net_err_count_s)


@pytest.mark.slow
def test_blank_aperture_has_a_limit_and_no_magnitude(by_sky: dict[str, Products]) -> None:
    for sky in ("fit", "annulus:120,200"):
        blank = rows(by_sky[sky])[1]
        assert abs(blank.source_count_s) < 3.5 * blank.source_err_count_s
        assert blank.significance_sigma < 3.5
        assert blank.ab_mag is None
        assert blank.source_high_count_s - blank.source_low_count_s == pytest.approx(
            2 * blank.source_err_count_s, rel=0.15
        )


@pytest.mark.slow
def test_net_product_is_the_difference_with_its_error(by_sky: dict[str, Products]) -> None:
    products = by_sky["fit"]
    with fits.open(products.net) as net, fits.open(products.science) as science, fits.open(products.masterdark) as dark:
        assert [hdu.name for hdu in net] == ["PRIMARY", "SCI", "ERR", "WHT", "EXPOSURES", "DARKS"]
        assert np.array_equal(net["SCI"].data, science["SCI"].data - dark["SCI"].data, equal_nan=True)
        assert np.array_equal(net["WHT"].data, science["WHT"].data)
        assert net[0].header["DRKINPUT"] == science[0].header["DRKINPUT"]
        # Where there is no source, pixels scatter by their errors: 150 x 150 pixels with about 80 x 80 native ones.
        blank = (slice(250, 400), slice(250, 400))
        scatter = float(np.std(net["SCI"].data[blank]))
        stated = math.sqrt(float(np.mean(net["ERR"].data[blank] ** 2)))
        assert stated == pytest.approx(scatter, rel=3 / math.sqrt(2 * 80 * 80) + 0.03)


@pytest.mark.slow
def test_sky_reaches_the_catalog(by_sky: dict[str, Products], cat: Catalog) -> None:
    import sqlalchemy as sa  # noqa: PLC0415

    from sbcdark.catalog import models  # noqa: PLC0415
    from sbcdark.catalog.engine import reading  # noqa: PLC0415

    with reading(cat.engine) as session:
        stored = session.scalars(sa.select(models.Photometry).order_by(models.Photometry.id)).all()
        kinds = set(session.scalars(sa.select(models.Product.kind)))
    measured = [row for products in by_sky.values() for row in rows(products)]
    assert kinds == {"science", "masterdark", "error", "net"}
    assert [row.source_count_s for row in stored] == [row.source_count_s for row in measured]
    assert [row.sky_method for row in stored] == [row.sky_method for row in measured]
    table = by_sky["fit"].photometry
    assert str(table["source_count_s"].unit) == "ct / s"
    assert list(table["aperture"]) == [APERTURE, BLANK]


@pytest.mark.slow
def test_a_background_region_is_the_annulus_beside_its_source(
    by_sky: dict[str, Products], cat: Catalog, shared_data: Path, tmp_path: Path
) -> None:
    regions = tmp_path / "saved.reg"
    regions.write_text(
        "image\nellipse(736,711,70,40,90)\nannulus(736,711,120,200) # background\npoint(9,9)\n"
        "circle(401,421,40)\nannulus(401,421,120,200) # background\n"
    )
    products = cat.run(
        "jcmc11020", tmp_path / "products", regions=regions, sky="none", pictures=False,
        flat=shared_data / "science_13655_standin",
    )  # fmt: skip
    assert products.warnings[0] == f"Line 4 of {regions} is skipped: the shape 'point' is not supported"
    for row, annulus in zip(rows(products), rows(by_sky["annulus:120,200"]), strict=True):
        assert row.source_count_s == annulus.source_count_s
        assert row.source_err_count_s == annulus.source_err_count_s
    assert [row.sky_method for row in rows(products)] == ["annulus:735,710,120,200", "annulus:400,420,120,200"]
