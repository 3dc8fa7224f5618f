"""Apertures: what is typed and what DS9 saves, where they lie on a product, what they sum to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from photutils.aperture import SkyEllipticalAperture
from regions import Regions

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.products.apertures import (
    LONGEST_LABEL,
    ApertureSpec,
    PixelEllipse,
    aperture_sum,
    clean_label,
    parse_aperture,
    sky_position,
    to_pixels,
)
from sbcdark.pipeline.products.ds9_regions import read_ds9
from sbcdark.pipeline.products.options import apertures_of, read_regions

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("ellipse:700,680.5,60,40,30", ("ellipse", "pixel", 700.0, 680.5, 60.0, 40.0, 30.0)),
        (" Circle: 700 , 680, 4e1 ", ("circle", "pixel", 700.0, 680.0, 40.0, 40.0, 0.0)),
        ("ellipse@165.5585,-38.0431,1.5,1,-30", ("ellipse", "icrs", 165.5585, -38.0431, 1.5, 1.0, -30.0)),
        ("circle@165.5585,+38.0431,.5", ("circle", "icrs", 165.5585, 38.0431, 0.5, 0.5, 0.0)),
    ],
)
def test_reads_each_form(typed: str, expected: tuple[object, ...]) -> None:
    spec = parse_aperture(typed)
    assert (spec.shape, spec.frame, spec.x, spec.y, spec.a, spec.b, spec.angle_deg) == expected


def test_the_label_reads_back_as_the_same_aperture() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        x, y, angle = (float(v) for v in rng.uniform([0, -90, -180], [360, 90, 180]))
        a, b = (float(v) for v in 10 ** rng.uniform(-1, 1.5, 2))
        for typed in (f"ellipse:{x!r},{y!r},{a!r},{b!r},{angle!r}", f"circle@{x!r},{y!r},{a!r}"):
            spec = parse_aperture(typed)
            assert parse_aperture(spec.label) == spec
            assert spec.text == spec.label
    assert parse_aperture("circle: 700.0,680.50,4e1").label == "circle:700,680.5,40"


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("ellipse:700,680,60,40", "4 numbers; ellipse: takes 5: x,y,a,b,theta_deg"),
        ("circle:700,680,40,3", "4 numbers; circle: takes 3: x,y,r"),
        ("circle:700,680,nan", "r = 'nan'"),
        ("circle:inf,680,40", "x = 'inf'"),
        ("circle:1e999,680,40", "x = inf"),
        ("circle:700,680,0", "r = 0"),
        ("ellipse:700,680,60,-40,30", "b = -40"),
        ("circle:700,680,5000", "r = 5000"),
        ("circle@165,38,300", "r_arcsec = 300"),
        ("ellipse@165.5,38.04,1.5,0.001,30", "b_arcsec = 0.001"),
        ("circle@365,38,1", "ra = 365"),
        ("circle@165,91,1", "dec = 91"),
        ("circle:1e7,680,40", "x = 1e+07"),
        ("circle:7_00,680,40", "x = '7_00'"),
        ("circle:,680,40", "x = ''"),
        ("box:700,680,40,40", "shape 'box'"),
        ("700,680,40", "has no shape"),
        ("", "has no shape"),
    ],
)
def test_refuses_impossible_apertures_with_an_example(typed: str, named: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_aperture(typed)
    assert named in caught.value.what
    example = caught.value.todo.split("'")[1]
    assert parse_aperture(example).label == example


def test_messages_hold_no_control_characters() -> None:
    with pytest.raises(UsageError) as caught:
        parse_aperture("circle:\x1b[31m7,8,\u202e9")
    assert all(char.isprintable() for char in caught.value.what)


def test_clean_label() -> None:
    assert clean_label("a\x1b[31m\nb\u202e\t c\x00") == "a [31m b c"
    assert len(clean_label("x" * 500)) == LONGEST_LABEL


DS9 = """# Region file format: DS9 version 4.1
global color=green dashlist=8 3 width=1 font="helvetica 10 normal roman" select=1 include=1 source=1
image
circle(701,681.5,40) # text={core; $x$ \x1b[31mred}
ellipse(701,681,60,40,30)
fk5;ellipse(11:02:14.112,+38:02:35.52,1.5",1.0",130) # color=red text="sky"
icrs
circle(165.5588, 38.0432, 0.0003)
"""


def test_reads_ds9_regions() -> None:
    core, pixel, sky, degrees = read_ds9(DS9)
    assert (core.x, core.y, core.a, core.b) == (700.0, 680.5, 40.0, 40.0)  # DS9 counts from 1
    assert core.label == "core; $x$ [31mred"
    assert core.text == "circle:700,680.5,40"
    assert pixel == ApertureSpec("ellipse", "pixel", 700.0, 680.0, 60.0, 40.0, 30.0, "ellipse:700,680,60,40,30")
    # 11:02:14.112 is 165.5588 degrees; FK5 and ICRS agree within 0.1 arcsec (3e-5 degrees).
    assert (sky.x, sky.y) == pytest.approx((165.5588, 38.0432), abs=3e-5)
    assert (sky.frame, sky.a, sky.b, sky.angle_deg, sky.label) == ("icrs", 1.5, 1.0, 40.0, "sky")
    assert degrees.a == pytest.approx(1.08, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("image\nbox(700,680,40,40,0)", "Line 2 of the region file has 'box'"),
        ("image\npolygon(1,1,2,2,3,1)", "'polygon'"),
        ("image\n# vector(5,5,20,0) vector=1", "'vector'"),
        ("physical\ncircle(5,5,2)", "'physical'"),
        ("galactic;circle(5,5,2)", "'galactic'"),
        ("circle(5,5,2)", "no coordinate system"),
        ("image\n-circle(5,5,2)", "excludes its circle"),
        ("image\nellipse(5,5,2,1,4,2,30)", "ellipse with 5 sizes"),
        ("image\nellipse(5,5,2,1)", "ellipse(5,5,2,1)"),
        ("image\ncircle(5,5)", "circle(5,5)"),
        ("image\ncircle(a,b,c)", "circle(a,b,c)"),
        ('image\ncircle(5,5,2")', "circle(5,5,2"),
        ("fk5\ncircle(5,5,2i)", "circle(5,5,2i)"),
        ("image\ncircle(5,5,0)", "circle(5,5,0)"),
        ("fk5\ncircle(165,38,2)", "r_arcsec = 7200"),
        ("image\ncircle(", "circle("),
    ],
)
def test_refuses_other_regions_and_names_them(text: str, named: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_ds9(text)
    assert named in caught.value.what
    assert "DS9" in caught.value.todo or "for example" in caught.value.todo


@pytest.mark.parametrize("text", ["", "image\n\n# circle(5,5,2) is commented out", "fk5\n# text(165,38) text={here}"])
def test_a_file_without_a_region_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "none.reg"
    path.write_text(f"# Region file format: DS9 version 4.1\n{text}\n")
    with pytest.raises(UsageError, match=r"There is no region in .*none\.reg"):
        read_regions(path)


@pytest.mark.parametrize(
    "line",
    [
        'global color=green font="helvetica 10 normal roman" source=1 fk5',
        "global FK5 color=green",
        "global color=green; fk5",
        'fk5\nglobal color=green font="image 10" text={image}',
    ],
)
def test_the_coordinate_system_on_the_global_line_counts(line: str) -> None:
    (spec,) = read_ds9(f'{line}\n# text(165.5,38.04) text={{circle; image}}\ncircle(165.5588,38.0432,1")')
    assert (spec.frame, spec.a) == ("icrs", pytest.approx(1.0))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("image\n\ncircle(5,5,2) # include=0", "Line 3 of s.reg excludes its circle"),
        ("image\nglobal include=0\ncircle(5,5,2)", "Line 3 of s.reg excludes its circle"),
        ("image\n-circle(5,5,2) # include=1", "Line 2 of s.reg excludes its circle"),
        ("image\ncircle(5,5,2,4)", "Line 2 of s.reg has circle with 2 sizes, an annulus"),
        ("image\nellipse(5,5,2,4,3,6,10)", "Line 2 of s.reg has ellipse with 5 sizes, an annulus"),
        ("image\ncircle 5 5 2 4", "Line 2 of s.reg has circle with 2 sizes"),
        ("image\n# ruler(1,2,3,4)", "Line 2 of s.reg has 'ruler'"),
        ("global galactic\ncircle(5,5,2)", "Line 1 of s.reg has the coordinate system 'galactic'"),
        ("physical\ncircle(5,5,2)", "Line 1 of s.reg has the coordinate system 'physical'"),
    ],
)
def test_what_is_not_read_is_told_by_name_and_line(text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_ds9(text, "s.reg")
    assert caught.value.what.startswith(told)


def test_what_a_label_says_excludes_nothing() -> None:
    (one, other) = read_ds9("global include=0\nimage\ncircle(5,5,2) # include=1 text={include=0}\n+circle(5,5,3)")
    assert (one.label, other.a) == ("include=0", 3.0)


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


def test_the_other_side_of_the_sky_is_refused() -> None:
    with pytest.raises(UsageError, match="different part of the sky"):
        to_pixels(parse_aperture("circle@345.5,-38.0,1"), product_wcs())


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


@pytest.mark.parametrize(
    ("typed", "same"),
    [
        ("circle(736,711,30)", "circle:735,710,30"),  # DS9 counts pixels from 1
        ("image; ellipse(736, 711, 70, 40, 90)", "ellipse:735,710,70,40,90"),
        ("circle@11:02:14.1,+38:02:35,1.2", "circle@165.55875,38.043055555555554,1.2"),
        ("circle@11:02:14.1,-00:02:35.5,1.2", "circle@165.55875,-0.043194444444444445,1.2"),
        ('icrs; circle(11:02:14.1,+38:02:35,1.2")', "circle@165.55875,38.043055555555554,1.2"),
    ],
)
def test_apertures_are_read_as_people_have_them(typed: str, same: str) -> None:
    (read,), (expected,) = apertures_of([typed], None), apertures_of([same], None)
    assert (read.shape, read.frame) == (expected.shape, expected.frame)
    for name in ("x", "y", "a", "b", "angle_deg"):
        assert getattr(read, name) == pytest.approx(getattr(expected, name), rel=1e-12, abs=1e-12), name


@pytest.mark.parametrize("typed", ["circle@25:00:00,+10:00:00,1", "circle@11:61:00,+10:00:00,1", "box(1,2,3,4)"])
def test_what_is_no_position_or_shape_is_refused(typed: str) -> None:
    with pytest.raises(UsageError):
        apertures_of([typed], None)
