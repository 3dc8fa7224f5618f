"""What DS9 saves and shows, as apertures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.apertures.apertures import (
    ApertureSpec,
)
from sbcdark.pipeline.apertures.ds9_regions import read_ds9
from sbcdark.pipeline.estimation.options import apertures_of, read_regions

if TYPE_CHECKING:
    from pathlib import Path


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
        ("fk5\ncircle(165,38,2)", "r = 7200"),
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
            "The aperture 'fk5;circle(165.5585,38.0431,0.02)' has r = 72",
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
