"""Apertures: what is typed and what DS9 saves, and objects of photutils and regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

from sbcdark.catalog.errors import UsageError
from sbcdark.keywords import apertures_from
from sbcdark.pipeline.apertures.apertures import (
    LONGEST_LABEL,
    MOST_CORNERS,
    SIZES,
    ApertureSpec,
    clean_label,
    number_names,
    parse_aperture,
)
from sbcdark.pipeline.apertures.ds9_regions import read_ds9
from sbcdark.pipeline.estimation.options import apertures_of, read_regions

if TYPE_CHECKING:
    from pathlib import Path


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
        ("circle@165,38,300", "r_arcsec = 300"),
        ("ellipse@165.5,38.04,1.5,0.001,30", "b_arcsec = 0.001"),
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
    assert core.numbers == (700.0, 680.5, 40.0)  # DS9 counts from 1
    assert core.label == "core; $x$ [31mred"
    assert core.text == "circle:700,680.5,40"
    assert pixel == ApertureSpec("ellipse", "pixel", (700.0, 680.0, 60.0, 40.0, 30.0), "ellipse:700,680,60,40,30")
    # 11:02:14.112 is 165.5588 degrees; FK5 and ICRS agree within 0.1 arcsec (3e-5 degrees).
    assert sky.centre == pytest.approx((165.5588, 38.0432), abs=3e-5)
    assert (sky.frame, *sky.sizes, sky.angle_deg, sky.label) == ("icrs", 1.5, 1.0, 40.0, "sky")
    assert degrees.sizes == pytest.approx((1.08,), rel=1e-12)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("image\nbox(700,680,40,40)", "box(700,680,40,40)"),
        ("image\ncircl(700,680,40)", "'circl', which is not a region of DS9"),
        ("image\npolygon(1,1,2,2)", "2 corners, not 3 to 200"),
        ("image\npolygon(1,1,9,9,9,1,1,9)", "sides of the aperture of line 2"),
        ("image\n# vector(5,5,20,0) vector=1", "the shape 'vector' is not supported"),
        ("physical\ncircle(5,5,2)", "'physical' is not supported"),
        ("galactic;circle(5,5,2)", "'galactic' is not supported"),
        ("circle(5,5,2)", "no coordinate system"),
        ("image\n-circle(5,5,2)", "excludes a circle"),
        ("image\ncircle(5,5,2,4)", "circle(5,5,2,4)"),
        ("image\ncircle(5,5,2) # background", "only background regions"),
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
    assert (spec.frame, *spec.sizes) == ("icrs", pytest.approx(1.0))


@pytest.mark.parametrize(
    ("skipped", "told"),
    [
        ("circle(5,5,2) # include=0", "Line 3 of s.reg is skipped: it excludes a circle, which is not supported"),
        ("-circle(5,5,2) # include=1", "Line 3 of s.reg is skipped: it excludes a circle"),
        ("# ruler(1,2,3,4)", "Line 3 of s.reg is skipped: the shape 'ruler' is not supported"),
        ("point(5,5) # point=x", "Line 3 of s.reg is skipped: the shape 'point' is not supported"),
        ("physical; circle(5,5,2)", "Line 3 of s.reg is skipped: the coordinate system 'physical' is not supported"),
        ("global galactic; circle(5,5,2)", "Line 3 of s.reg is skipped: the coordinate system 'galactic'"),
    ],
)
def test_regions_that_are_not_supported_are_skipped_by_name(skipped: str, told: str) -> None:
    notes: list[str] = []
    (kept,) = read_ds9(f"image\ncircle(701,681,40)\n{skipped}\n", "s.reg", notes)
    assert kept.text == "circle:700,680,40"
    assert len(notes) == 1
    assert notes[0].startswith(told)


def test_excluding_all_by_the_global_line_leaves_nothing() -> None:
    with pytest.raises(UsageError, match=r"There is no region in s\.reg: Line 3 of s\.reg is skipped: it excludes"):
        read_ds9("image\nglobal include=0\ncircle(5,5,2)", "s.reg")


def test_what_a_label_says_excludes_nothing() -> None:
    (one, other) = read_ds9("global include=0\nimage\ncircle(5,5,2) # include=1 text={include=0}\n+circle(5,5,3)")
    assert (one.label, *other.sizes) == ("include=0", 3.0)


@pytest.mark.parametrize(
    ("region", "text"),
    [
        ("image; box(701,681,60,40,30)", "box:700,680,60,40,30"),
        ("image; polygon(1,1,9,1,5,8)", "polygon:0,0,8,0,4,7"),
        ("image; annulus(701,681,60,90)", "annulus:700,680,60,90"),
        ("image; annulus(701,681,60,90,120)", "annulus:700,680,60,90 annulus:700,680,90,120"),
        ("image; ellipse(701,681,60,40,90,60,30)", "ellipse_annulus:700,680,60,40,90,60,30"),
        ("image; box(701,681,60,40,90,60,30)", "box_annulus:700,680,60,40,90,60,30"),
        ('icrs; box(165.5,38,2",1",130)', "box@165.5,38,2,1,40"),
    ],
)
def test_every_shape_of_ds9(region: str, text: str) -> None:
    assert " ".join(one.text for one in read_ds9(region)) == text


def test_a_background_region_gives_the_sky_of_the_nearest_sources() -> None:
    """DS9 writes the property after Region > Properties > Background."""
    left, right = read_ds9(
        "image\ncircle(101,201,10) # text={left background}\nannulus(101,201,20,30) # background\n"
        "circle(501,201,10)\ncircle(601,201,40) # color=red background"
    )
    assert left.text == "circle:100,200,10 background annulus:100,200,20,30"
    assert right.text == "circle:500,200,10 background circle:600,200,40"
    assert [parse_aperture(one.text).background for one in (left, right)] == [left.background, right.background]


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


@pytest.mark.parametrize(
    ("typed", "canonical"),
    [
        ("circle(736,711,30)", "circle:735,710,30"),
        ("circle 736 711 30", "circle:735,710,30"),
        ("image; circle 736 711 30", "circle:735,710,30"),
        ("ellipse 736 711 40 20 30", "ellipse:735,710,40,20,30"),
        ("annulus 736 711 40 60", "annulus:735,710,40,60"),
    ],
)
def test_ds9_reads_regions_without_parentheses_and_so_do_we(typed: str, canonical: str) -> None:
    assert [one.text for one in apertures_of([typed], None)] == [canonical]


@pytest.mark.parametrize(
    "typed",
    [
        'J2000; circle 11:02:14.1 +38:02:35 1.2"',
        'circle(11h02m14.1s,+38d02m35s,1.2")',
        'fk5; circle 165.55875 38.0430556 1.2"',
    ],
)
def test_ds9_positions_on_the_sky(typed: str) -> None:
    (found,) = apertures_of([typed], None)
    assert found.frame == "icrs"
    # fk5 and ICRS differ by some 0.02 arcsec.
    assert found.numbers == pytest.approx((165.55875, 38.0430556, 1.2), abs=2e-5)


def test_a_region_file_may_be_given_as_an_aperture(tmp_path: Path) -> None:
    file = tmp_path / "jet.reg"
    file.write_text("image\ncircle(736,711,30) # text={jet}\n")
    assert [one.label for one in apertures_of([str(file)], None)] == ["jet"]


@pytest.mark.parametrize(
    ("typed", "what", "todo"),
    [
        (
            "point(735,710)",
            "The aperture 'point(735,710)' is skipped: the shape 'point' is not supported.",
            "Save circle",
        ),
        (
            "ellipse(735,710,40,20)",
            "The aperture 'ellipse(735,710,40,20)' is not a valid ellipse.",
            "It takes x,y,a,b,angle",
        ),
        ("circle(735,710,-3)", "is not a valid circle.", "with sizes above 0"),
        ("circle(735,710,30) # background", "There are only background regions", "Give the source, too"),
        (
            "fk5;circle(165.5585,38.0431,0.02)",
            "The aperture 'fk5;circle(165.5585,38.0431,0.02)' has r_arcsec = 72",
            "in degrees in DS9",
        ),
    ],
)
def test_what_is_wrong_in_a_region_is_said_once(typed: str, what: str, todo: str) -> None:
    with pytest.raises(UsageError) as caught:
        apertures_of([typed], None)
    assert what in caught.value.what
    assert todo in caught.value.todo
    assert "Line 1" not in caught.value.what
