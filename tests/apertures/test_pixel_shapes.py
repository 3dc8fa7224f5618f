"""Apertures on a product: where they lie, their overlaps with pixels, their sums."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from photutils.aperture import (
    CircularAnnulus,
    SkyEllipticalAperture,
    SkyRectangularAperture,
)
from regions import (
    EllipsePixelRegion,
    PixCoord,
    PolygonPixelRegion,
    Regions,
)

from sbcdark.apertures_and_radii import apertures_from
from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.apertures.apertures import (
    parse_aperture,
)
from sbcdark.pipeline.apertures.ds9_regions import read_ds9
from sbcdark.pipeline.apertures.pixel_shapes import (
    PixelEllipse,
    PixelPolygon,
    PixelRing,
    PixelShape,
    aperture_sum,
    overlap,
    sky_position,
    to_pixels,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALE_ARCSEC = 0.025


def product_wcs(orientation_deg: float = -43.0, frame: str = "ICRS") -> WCS:
    """Return a WCS as AstroDrizzle writes it: square pixels, its y axis at a position angle east of north."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [165.5588, 38.0432]
    wcs.wcs.crpix = [705.5, 685.5]
    angle, scale = math.radians(orientation_deg), SCALE_ARCSEC / 3600
    wcs.wcs.cd = scale * np.array([[-math.cos(angle), math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    wcs.wcs.radesys = frame
    wcs.array_shape = (1371, 1411)
    return wcs


@pytest.mark.parametrize("orientation", [-43.0, 0.0, 10.0, 135.0])
def test_a_sky_ellipse_lies_along_its_position_angle(orientation: float) -> None:
    wcs = product_wcs(orientation)
    spec = parse_aperture("ellipse@165.5588,38.0432,2,1,25")
    ellipse = to_pixels(spec, wcs)
    # The y axis points to the position angle `orientation`, and position angles turn counter-clockwise on the sky.
    assert ellipse.theta_deg == pytest.approx((90 + 25 - orientation) % 180, abs=1e-4)
    # The tangent plane is straight within 1e-7 at 20 arcsec from its pole.
    assert (ellipse.x, ellipse.y) == pytest.approx((704.5, 684.5), abs=1e-6)
    assert (ellipse.a, ellipse.b) == pytest.approx((2 / SCALE_ARCSEC, 1 / SCALE_ARCSEC), rel=1e-6)
    assert sky_position(ellipse, wcs) == pytest.approx((165.5588, 38.0432), abs=1e-10)


def test_sky_shapes_agree_with_photutils_and_regions() -> None:
    """Both project by code of their own: photutils takes the position angle, regions DS9's angle."""
    wcs = product_wcs()
    for angle in (0.0, 25.0, 90.0, 160.0):
        mine = to_pixels(parse_aperture(f"ellipse@165.5560,38.0450,2,1,{angle}"), wcs)
        sky = SkyCoord(165.5560, 38.0450, unit="deg")
        theirs = SkyEllipticalAperture(sky, a=2 * units.arcsec, b=1 * units.arcsec, theta=angle * units.deg).to_pixel(
            wcs
        )
        ds9 = f'icrs\nellipse(165.5560,38.0450,2",1",{angle})'
        (region,) = Regions.parse(ds9, format="ds9")
        from_ds9 = to_pixels(read_ds9(ds9)[0], wcs)
        pixel = region.to_pixel(wcs)
        # Those two take one step to the north for the angle: of the order of the field's radius, 20 arcsec = 1e-4.
        assert (mine.x, mine.y) == pytest.approx(tuple(theirs.positions), abs=1e-6)
        assert (mine.a, mine.b) == pytest.approx((theirs.a, theirs.b), rel=1e-4)
        theta = float(units.Quantity(theirs.theta, "rad").to_value("deg"))
        assert math.sin(math.radians(2 * (mine.theta_deg - theta))) == pytest.approx(0, abs=4e-4)
        assert math.cos(math.radians(2 * (mine.theta_deg - theta))) > 0
        turned = math.radians(2 * (from_ds9.theta_deg - float(pixel.angle.to_value("deg"))))
        assert (math.sin(turned), math.cos(turned)) == pytest.approx((0, 1), abs=4e-4)
        assert (from_ds9.a, from_ds9.b) == pytest.approx((pixel.width / 2, pixel.height / 2), rel=1e-4)


def test_a_short_first_axis_keeps_its_angle() -> None:
    wcs = product_wcs()
    long, short = (to_pixels(parse_aperture(f"ellipse@165.5588,38.0432,{s}"), wcs) for s in ("2,1,25", "1,2,115"))
    assert (short.b, short.a) == pytest.approx((long.a, long.b), rel=1e-9)
    assert (short.theta_deg - 90) % 180 == pytest.approx(long.theta_deg, abs=1e-6)


def test_icrs_positions_on_an_fk5_product() -> None:
    """Old products say FK5: the same sky position is up to 0.1 arcsec, 4 pixels, elsewhere if that is ignored."""
    fk5 = SkyCoord(165.5588, 38.0432, unit="deg", frame="icrs").fk5
    ellipse = to_pixels(parse_aperture("circle@165.5588,38.0432,1"), product_wcs(frame="FK5"))
    x, y = product_wcs(frame="FK5").all_world2pix(fk5.ra.deg, fk5.dec.deg, 0)
    assert (ellipse.x, ellipse.y) == pytest.approx((float(x), float(y)), abs=1e-6)


@pytest.mark.parametrize("typed", ["circle@345.5,-38.0,1", "polygon@345.5,-38.0,345.501,-38.0,345.5,-38.001"])
def test_the_other_side_of_the_sky_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="different part of the sky"):
        to_pixels(parse_aperture(typed), product_wcs())


def test_pixel_apertures_pass_as_they_are() -> None:
    ellipse = to_pixels(parse_aperture("ellipse:700,680,60,40,-30"), product_wcs())
    assert ellipse == PixelEllipse(700.0, 680.0, 60.0, 40.0, 150.0, "ellipse:700,680,60,40,-30")


def test_sums_the_exact_area_and_leaves_nan_out() -> None:
    image = np.full((137, 141), 2.0, dtype=np.float32)
    whole = aperture_sum(image, PixelEllipse(70.3, 60.6, 30.0, 12.5, 33.0, "e"))
    area = math.pi * 30.0 * 12.5
    # Overlaps are exact up to the rounding of some thousand additions of doubles.
    assert whole.area_pix == pytest.approx(area, rel=1e-12)
    assert whole.covered_pix == pytest.approx(area, rel=1e-9)
    assert whole.total == pytest.approx(2 * area, rel=1e-9)
    image[:, :70] = np.nan
    half = aperture_sum(image, PixelEllipse(69.5, 60.0, 20.0, 20.0, 0.0, "edge"))
    assert half.covered_pix == pytest.approx(math.pi * 200, rel=1e-9)
    assert half.total == pytest.approx(2 * math.pi * 200, rel=1e-9)
    assert half.area_pix == pytest.approx(math.pi * 400, rel=1e-12)


def test_an_aperture_over_the_edge_or_off_the_image() -> None:
    image = np.ones((50, 60))
    corner = aperture_sum(image, PixelEllipse(-0.5, -0.5, 10.0, 10.0, 0.0, "corner"))  # the image's own corner
    assert corner.covered_pix == pytest.approx(math.pi * 25, rel=1e-9)
    off = aperture_sum(image, PixelEllipse(500.0, 20.0, 10.0, 10.0, 0.0, "off"))
    assert (off.total, off.covered_pix) == (0.0, 0.0)


def test_theta_turns_counter_clockwise_from_x() -> None:
    y, x = np.mgrid[0:101, 0:101]
    upper_right = ((x > 50) & (y > 50)) | ((x < 50) & (y < 50))
    turned = PixelEllipse(50.0, 50.0, 40.0, 4.0, 45.0, "e")
    assert aperture_sum(upper_right.astype(float), turned).total > 0.9 * math.pi * 160


SHAPES = {
    "box": "box:70.3,60.6,30,12.5,33",
    "box along the pixels": "box:70.25,60.5,3,4,0",
    "polygon": "polygon:50.2,40.1,90.7,44.4,60,60,80,81.5,49,70",  # with a corner that points inwards
    "annulus": "annulus:70.3,60.6,20,31.5",
    "ellipse annulus": "ellipse_annulus:70.3,60.6,20,10,31.5,20,33",
    "box annulus": "box_annulus:70.3,60.6,20,10,31.5,20,33",
}


def _contains(shape: PixelShape, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points lie inside, by the regions package."""
    if isinstance(shape, PixelRing):
        inside = _contains(shape.outer, x, y)
        return inside if shape.inner is None else inside & ~_contains(shape.inner, x, y)
    if isinstance(shape, PixelPolygon):
        region: Any = PolygonPixelRegion(PixCoord(np.array(shape.xs), np.array(shape.ys)))
    else:
        centre, angle = PixCoord(shape.x, shape.y), shape.theta_deg * units.deg
        region = EllipsePixelRegion(centre, 2 * shape.a, 2 * shape.b, angle)
    return np.asarray(region.contains(PixCoord(x, y)))


@pytest.mark.parametrize("name", SHAPES)
def test_overlaps_are_exact(name: str) -> None:
    """Against points spread over the pixels: n x n points are off by up to one line of them along a side."""
    shape = to_pixels(parse_aperture(SHAPES[name]), None)
    found = overlap(shape, (137, 141))
    assert found is not None
    where, weight = found
    assert weight.sum() == pytest.approx(shape.area_pix, rel=1e-9)
    assert (weight.min(), weight.max()) >= (0.0, 0.0)
    assert weight.max() <= 1.0 + 1e-12
    points = 40
    steps = (np.arange(points) + 0.5) / points - 0.5
    y, x = np.indices(weight.shape, dtype=np.float64)
    x, y = x + where[1].start, y + where[0].start
    share = np.mean([_contains(shape, x + dx, y + dy) for dx in steps for dy in steps], axis=0)
    assert np.abs(weight - share).max() < 2.5 / points


def test_a_polygon_over_the_edges_of_an_image() -> None:
    image = np.ones((50, 60))
    # The image spans -0.5 to 59.5 and -0.5 to 49.5: each triangle has half of a square in or out.
    for typed, inside in (
        ("polygon:-10.5,-10.5,9.5,-10.5,9.5,9.5,-10.5,9.5", 100.0),
        ("polygon:49.5,39.5,69.5,39.5,69.5,59.5,49.5,59.5", 100.0),
        ("polygon:-20,-20,80,-20,80,70,-20,70", 3000.0),
        ("polygon:-10.5,-0.5,9.5,-0.5,-10.5,19.5", 50.0),
        ("polygon:70,10,80,10,75,20", 0.0),
    ):
        shape = to_pixels(parse_aperture(typed), None)
        assert aperture_sum(image, shape).covered_pix == pytest.approx(inside, abs=1e-9)


def test_an_annulus_is_the_difference_of_its_edges() -> None:
    image = np.arange(137.0 * 141.0).reshape(137, 141)
    outer, inner = (to_pixels(parse_aperture(f"circle:70.3,60.6,{r}"), None) for r in (31.5, 20.0))
    ring = aperture_sum(image, to_pixels(parse_aperture(SHAPES["annulus"]), None))
    assert ring.total == pytest.approx(aperture_sum(image, outer).total - aperture_sum(image, inner).total, rel=1e-12)
    # Off the data nothing is left of it, where the difference of two full pixels may be 1e-13.
    far = to_pixels(parse_aperture("annulus:735,710,2000,2040"), None)
    found = overlap(far, (1371, 1411))
    assert found is not None
    assert not found[1].any()
    theirs = CircularAnnulus((70.3, 60.6), 20.0, 31.5)
    assert ring.total == pytest.approx(float(theirs.do_photometry(image)[0][0]), rel=1e-12)


def test_sky_shapes_of_photutils_lie_where_photutils_puts_them() -> None:
    """Like photutils, which keeps the ratio of the axes and right angles, which holds on square pixels."""
    wcs, centre = product_wcs(), SkyCoord(165.5560, 38.0450, unit="deg")
    box = SkyRectangularAperture(centre, 2 * units.arcsec, 1 * units.arcsec, theta=25 * units.deg)
    (spec,) = apertures_from(box, None)
    mine, theirs = to_pixels(spec, wcs), box.to_pixel(wcs)
    assert isinstance(mine, PixelPolygon)
    assert mine.area_pix == pytest.approx(theirs.area, rel=2e-4)
    image = np.arange(1371.0 * 1411.0).reshape(1371, 1411)
    assert aperture_sum(image, mine).total == pytest.approx(float(theirs.do_photometry(image)[0][0]), rel=3e-4)


@pytest.mark.parametrize("clockwise", [False, True])
def test_area_and_centroid_of_a_polygon(clockwise: bool) -> None:
    # An L of 6 x 2 and 2 x 3 pixels: centroids (13, 21) and (11, 23.5).
    corners = [(10.0, 20.0), (16.0, 20.0), (16.0, 22.0), (12.0, 22.0), (12.0, 25.0), (10.0, 25.0)]
    xs, ys = zip(*(corners[::-1] if clockwise else corners), strict=True)
    polygon = PixelPolygon(xs, ys, "L")
    assert polygon.area_pix == pytest.approx(18.0)
    assert (polygon.x, polygon.y) == pytest.approx(((12 * 13 + 6 * 11) / 18, (12 * 21 + 6 * 23.5) / 18))
