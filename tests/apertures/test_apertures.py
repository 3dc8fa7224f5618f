"""Apertures: what is typed and what DS9 saves, and objects of photutils and regions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from photutils.aperture import (
    CircularAnnulus,
    CircularAperture,
    EllipticalAperture,
    RectangularAperture,
    SkyCircularAnnulus,
    SkyCircularAperture,
    SkyEllipticalAperture,
)
from regions import (
    CirclePixelRegion,
    PixCoord,
    PointPixelRegion,
    PolygonPixelRegion,
    Regions,
)

from sbcdark.apertures_and_radii import apertures_from
from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.apertures.apertures import (
    LONGEST_LABEL,
    MOST_CORNERS,
    SIZES,
    clean_label,
    number_names,
    parse_aperture,
)
from sbcdark.pipeline.apertures.ds9_regions import read_ds9
from sbcdark.pipeline.estimation.options import apertures_of


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("ellipse:700,680.5,60,40,30", ("ellipse", "pixel", 700.0, 680.5, 60.0, 40.0, 30.0)),
        (" Circle: 700 , 680, 4e1 ", ("circle", "pixel", 700.0, 680.0, 40.0)),
        ("circle:700 680  40", ("circle", "pixel", 700.0, 680.0, 40.0)),
        ("box:700,680,60,40,-30", ("box", "pixel", 700.0, 680.0, 60.0, 40.0, -30.0)),
        ("annulus@165.5,38,1,2", ("annulus", "icrs", 165.5, 38.0, 1.0, 2.0)),
        ("polygon:1,1,9,1,5,8", ("polygon", "pixel", 1.0, 1.0, 9.0, 1.0, 5.0, 8.0)),
        ("ellipse_annulus:7,6,2,1,4,2,30", ("ellipse_annulus", "pixel", 7.0, 6.0, 2.0, 1.0, 4.0, 2.0, 30.0)),
        ("box_annulus:7,6,2,1,4,2,30", ("box_annulus", "pixel", 7.0, 6.0, 2.0, 1.0, 4.0, 2.0, 30.0)),
        ("ellipse@165.5585,-38.0431,1.5,1,-30", ("ellipse", "icrs", 165.5585, -38.0431, 1.5, 1.0, -30.0)),
        ("circle@165.5585,+38.0431,.5", ("circle", "icrs", 165.5585, 38.0431, 0.5)),
    ],
)
def test_reads_each_form(typed: str, expected: tuple[object, ...]) -> None:
    spec = parse_aperture(typed)
    assert (spec.shape, spec.frame, *spec.numbers) == expected


def test_the_label_reads_back_as_the_same_aperture() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        x, y, angle = (float(v) for v in rng.uniform([0, -90, -180], [360, 90, 180]))
        a, b = (float(v) for v in 10 ** rng.uniform(-1, 1.5, 2))
        for typed in (
            f"ellipse:{x!r},{y!r},{a!r},{b!r},{angle!r}",
            f"circle@{x!r},{y!r},{a!r}",
            f"annulus:{x!r},{y!r},{a!r},{a + b!r}",
            f"polygon:{x!r},{y!r},{x + a!r},{y!r},{x!r},{y + b!r}",
        ):
            spec = parse_aperture(typed)
            assert parse_aperture(spec.text) == spec
            assert parse_aperture(spec.label).centre == pytest.approx(spec.centre, abs=1e-3)
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
        ("circle@165,38,300", "r = 300, outside 0.0025-51.2 arcsec"),
        ("ellipse@165.5,38.04,1.5,0.001,30", "b = 0.001"),
        ("circle@365,38,1", "ra = 365"),
        ("circle@165,91,1", "dec = 91"),
        ("circle:1e7,680,40", "x = 1e+07"),
        ("circle:7_00,680,40", "x = '7_00'"),
        ("circle:,680,40", "x = ''"),
        ("box:700,680,40,40", "4 numbers; box: takes 5: x,y,width,height,theta_deg"),
        ("panda:700,680,40,40", "shape 'panda'"),
        ("annulus:700,680,40,30", "inner edge that is not inside its outer edge"),
        ("ellipse_annulus:7,6,2,3,4,2,30", "inner edge that is not inside its outer edge"),
        ("polygon:1,1,9,1", "2 corners, not 3 to 200"),
        ("polygon:1,1,9,1,5", "polygon: takes the x and y"),
        ("polygon:1,1,9,9,9,1,1,9", "sides of the aperture"),
        ("polygon:1,1,9,1,1,1,5,8", "sides of the aperture"),
        ("polygon:1,1,9,1,5,1", "extends over 8 pixels"),
        ("polygon:700,700,710,710,720,720", "lie on a line"),
        ("polygon@165,38,166,38,165.5,39", "arcsec"),
        ('circle:1",2,3', "x = '1\"'"),
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


def test_a_background_region_gives_the_sky_of_the_nearest_sources() -> None:
    """DS9 writes the property after Region > Properties > Background."""
    left, right = read_ds9(
        "image\ncircle(101,201,10) # text={left background}\nannulus(101,201,20,30) # background\n"
        "circle(501,201,10)\ncircle(601,201,40) # color=red background"
    )
    assert left.text == "circle:100,200,10 background annulus:100,200,20,30"
    assert right.text == "circle:500,200,10 background circle:600,200,40"
    assert [parse_aperture(one.text).background for one in (left, right)] == [left.background, right.background]


def test_the_nearest_background_may_lie_across_ra_zero() -> None:
    (found,) = read_ds9(
        'icrs\ncircle(359.9999,38,1")\ncircle(0.0003,38,1") # background\ncircle(359.998,38.003,1") # background'
    )
    assert found.background is not None
    assert found.background.text == "circle@0.0003,38,1"


@pytest.mark.parametrize(
    ("typed", "centre"),
    [
        ("polygon@359.9997,38.042,0.0003,38.042,0.0003,38.044,359.9997,38.044", (0.0, 38.043)),
        ("polygon@0.0001,-5,0.0005,-5,0.0003,-4.9997", (0.0003, -4.9999)),
        ("polygon@0,89.999,90,89.999,180,89.999,270,89.999", None),
        ("polygon@10,-89.999,130,-89.999,250,-89.999", None),
    ],
)
def test_polygons_across_ra_zero_and_around_the_poles(typed: str, centre: tuple[float, float] | None) -> None:
    found = parse_aperture(typed)
    assert parse_aperture(found.text) == found
    ra, dec = found.centre
    if centre is None:
        assert abs(dec) == pytest.approx(90, abs=1e-6)
    else:
        assert (ra + 180) % 360 == pytest.approx(centre[0] + 180, abs=1e-6)
        assert dec == pytest.approx(centre[1], abs=1e-6)


@pytest.mark.parametrize("typed", ["polygon@359,38,1,38,0,39", "polygon@0,0,180,0,90,0", "polygon@0,80,180,-80,90,85"])
def test_polygons_that_are_too_large_are_refused_across_ra_zero_too(typed: str) -> None:
    with pytest.raises(UsageError, match=r"outside 0\.0025-51\.2 arcsec"):
        parse_aperture(typed)


@pytest.mark.parametrize(
    ("typed", "same"),
    [
        ("circle(736,711,30)", "circle:735,710,30"),  # DS9 counts pixels from 1
        ("image; ellipse(736, 711, 70, 40, 90)", "ellipse:735,710,70,40,90"),
        ("circle@11:02:14.1,+38:02:35,1.2", "circle@165.55875,38.043055555555554,1.2"),
        ("circle@11:02:14.1,-00:02:35.5,1.2", "circle@165.55875,-0.043194444444444445,1.2"),
        ('icrs; circle(11:02:14.1,+38:02:35,1.2")', "circle@165.55875,38.043055555555554,1.2"),
        ('circle(11:02:14.1, +38:02:35, 1.2")', "circle@165.55875,38.043055555555554,1.2"),
        ("circle@11h02m14.1s +38d02m35s 1.2", "circle@165.55875,38.043055555555554,1.2"),
        ("circle@11 02 14.1, +38 02 35, 1.2", "circle@165.55875,38.043055555555554,1.2"),
        ("annulus@165.5, 38, 6\", 0.2'", "annulus@165.5,38,6,12"),
    ],
)
def test_apertures_are_read_as_people_have_them(typed: str, same: str) -> None:
    (read,), (expected,) = apertures_of([typed], None), apertures_of([same], None)
    assert (read.shape, read.frame) == (expected.shape, expected.frame)
    assert read.numbers == pytest.approx(expected.numbers, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("typed", ["circle@25:00:00,+10:00:00,1", "circle@11:61:00,+10:00:00,1", "panda(1,2,3,4)"])
def test_what_is_no_position_or_shape_is_refused(typed: str) -> None:
    with pytest.raises(UsageError):
        apertures_of([typed], None)


OBJECTS = [
    (CircularAperture((700.0, 680.0), 40.0), ["circle:700,680,40"]),
    (CircularAperture([(7.0, 6.0), (9.0, 8.0)], 2.0), ["circle:7,6,2", "circle:9,8,2"]),
    (EllipticalAperture((700.0, 680.0), 60.0, 40.0, theta=np.radians(30)), ["ellipse:700,680,60,40,30"]),
    (RectangularAperture((700.0, 680.0), 60.0, 40.0, theta=np.radians(30)), ["box:700,680,60,40,30"]),
    (CircularAnnulus((700.0, 680.0), 40.0, 60.0), ["annulus:700,680,40,60"]),
    (SkyCircularAperture(SkyCoord(165.5, 38, unit="deg"), 1 * units.arcsec), ["circle@165.5,38,1"]),
    (
        SkyEllipticalAperture(
            SkyCoord(165.5, 38, unit="deg"), 2 * units.arcsec, 1 * units.arcsec, theta=25 * units.deg
        ),
        ["ellipse@165.5,38,2,1,25"],
    ),
    (SkyCircularAnnulus(SkyCoord(165.5, 38, unit="deg"), 1 * units.arcsec, 2 * units.arcsec), ["annulus@165.5,38,1,2"]),
    (CirclePixelRegion(PixCoord(700.0, 680.0), 40.0), ["circle:700,680,40"]),
    (PolygonPixelRegion(PixCoord([1.0, 9.0, 5.0], [1.0, 1.0, 8.0])), ["polygon:1,1,9,1,5,8"]),
    (Regions.parse('icrs; ellipse(165.5,38,2",1",115)', format="ds9"), ["ellipse@165.5,38,2,1,25"]),
]


@pytest.mark.parametrize(("given", "texts"), OBJECTS, ids=[str(texts) for _, texts in OBJECTS])
def test_takes_apertures_of_photutils_and_regions(given: Any, texts: list[str]) -> None:
    for both in (given, [given]):
        read = apertures_from(both, None)
        assert [one.shape for one in read] == [parse_aperture(text).shape for text in texts]
        for one, text in zip(read, texts, strict=True):
            assert one.numbers == pytest.approx(parse_aperture(text).numbers, rel=1e-12)


@pytest.mark.parametrize("given", [5, [5.0], ["circle:5,5,2", None], PointPixelRegion(PixCoord(5.0, 5.0))])
def test_what_is_no_aperture_is_refused_by_its_type(given: Any) -> None:
    with pytest.raises((TypeError, UsageError), match=r"expected a str|PointPixelRegion is not an aperture"):
        apertures_from(given, None)


def test_a_long_polygon_has_a_short_label() -> None:
    angles = np.linspace(0, 2 * np.pi, MOST_CORNERS, endpoint=False)
    corners = np.round(np.stack([700 + 50 * np.cos(angles), 680 + 50 * np.sin(angles)], axis=1), 2)
    text = "polygon:" + ",".join(repr(float(value)) for value in corners.ravel())
    spec = parse_aperture(text)
    assert spec.label == "polygon:750,680 and 199 other corners"
    assert parse_aperture(spec.text) == spec


def test_each_shape_has_an_example_in_its_message() -> None:
    for shape in SIZES:
        for mark in ":@":
            with pytest.raises(UsageError) as caught:
                parse_aperture(f"{shape}{mark}1,2,3,4,5,6,7,8,9")
            example = parse_aperture(caught.value.todo.split("'")[1])
            assert example.shape == shape
            names = number_names(shape, example.frame)
            assert len(example.numbers) == len(names) * (3 if shape == "polygon" else 1)
