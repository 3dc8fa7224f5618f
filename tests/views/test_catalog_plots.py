"""Pictures of a whole catalog: drawn from real exposures, in each format, and refused where they make no sense."""

from __future__ import annotations

import math
import re
import statistics
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from helpers import ON_SQLITE
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from sbcdark import Catalog
from sbcdark.catalog import models
from sbcdark.catalog.archive_listings import ArchivedExposure, record_listing
from sbcdark.catalog.engine import writing
from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.selection.names import Selector
from sbcdark.pipeline.views.catalog_points import coverage_of

_KINDS = [
    ("coverage", None),
    ("history", None),
    ("match", "JCMC11E6Q"),
    ("fit", "jcmc11e6q"),
    ("templates", "jcmc11e6q"),
]


@ON_SQLITE
@pytest.mark.parametrize(("kind", "exposure"), _KINDS)
def test_pictures_are_drawn(real_catalog: sa.Engine, tmp_path: Path, kind: str, exposure: str | None) -> None:
    from matplotlib.image import imread  # noqa: PLC0415

    catalog = Catalog(real_catalog)
    path = catalog.plot(kind, exposure or (), tmp_path / f"{kind}.png")
    assert isinstance(path, Path)
    image = imread(path)
    # A picture with axes, points and a margin: no edge is drawn upon, and some hundredths of it are ink.
    ink = image[..., :3].min(axis=2) < 0.9
    assert 0.01 < ink.mean() < (0.6 if kind in {"fit", "templates"} else 0.2)
    for edge in (ink[0], ink[-1], ink[:, 0], ink[:, -1]):
        assert not edge.any()
    before = path.read_bytes()
    with pytest.raises(UsageError, match="already exists"):
        catalog.plot(kind, exposure or (), path)
    assert path.read_bytes() == before
    assert catalog.plot(kind, exposure or (), path, overwrite=True) == path


@pytest.mark.parametrize(("ending", "begins"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_ending_says_the_format(real_catalog: sa.Engine, tmp_path: Path, ending: str, begins: bytes) -> None:
    path = Catalog(real_catalog).plot("coverage", path=tmp_path / f"x.{ending}")
    assert isinstance(path, Path)
    assert path.read_bytes().startswith(begins)


@ON_SQLITE
@pytest.mark.parametrize(("kind", "exposure"), _KINDS)
def test_a_picture_without_a_path_is_a_figure(real_catalog: sa.Engine, kind: str, exposure: str | None) -> None:
    drawn = Catalog(real_catalog).plot(kind, exposure or ())
    assert isinstance(drawn, Figure)
    assert drawn.axes
    # A notebook shows it, also where pyplot is not imported.
    assert drawn._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_pictures_of_an_association_have_the_names_of_its_exposures(real_catalog: sa.Engine, tmp_path: Path) -> None:
    catalog = Catalog(real_catalog)
    made = catalog.plot("match", "jcmc11010", tmp_path / "match.pdf")
    assert made == [tmp_path / "match_jcmc11ctq.pdf", tmp_path / "match_jcmc11e6q.pdf"]
    assert all(path.read_bytes().startswith(b"%PDF") for path in tmp_path.glob("*.pdf"))
    assert len(catalog.plot("match", association="jcmc11010")) == 2  # type: ignore[arg-type]


def test_a_selection_restricts_what_is_shown(real_catalog: sa.Engine) -> None:
    only = coverage_of(real_catalog, Selector(association=("jcmc11010",)))
    assert [one.exposure.rootname for one in only.science] == ["jcmc11ctq", "jcmc11e6q"]
    assert sum(len(group.darks) for group in only.groups) == 20
    darks = Catalog(real_catalog).history("jcrx01010")
    assert [(one.good_darks, one.hot_darks) for one in darks] == [(5, 0)]


def test_the_legend_of_many_programs_is_not_cut_off(real_catalog: sa.Engine) -> None:
    catalog = Catalog(real_catalog)
    darks = catalog.list_exposures(kind="dark")
    with writing(real_catalog) as session:
        for number, dark in enumerate(darks):
            quality = ("suspect", "untested", "retired", "good")[min(number, 3)]
            values = {"program": 13961 + number // 2, "quality": quality}
            session.execute(sa.update(models.Exposure).where(models.Exposure.rootname == dark.rootname).values(values))
    for kind in ("history", "coverage"):
        drawn = catalog.plot(kind)
        assert isinstance(drawn, Figure)
        (legend,) = drawn.legends
        box = legend.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= drawn.bbox.x1
        assert len(legend.texts) > 7


def test_no_rank_of_a_match_covers_a_point_or_a_rank(real_catalog: sa.Engine) -> None:
    drawn = Catalog(real_catalog).plot("match", "jcmc11e6q")
    assert isinstance(drawn, Figure)
    axes = drawn.axes[0]
    ranks = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == [str(number) for number in range(1, len(ranks) + 1)]
    assert len(ranks) > 10
    (points,) = axes.collections
    centres = axes.transData.transform(np.asarray(points.get_offsets()))
    assert not any(box.contains(x, y) for box in ranks for x, y in centres)
    assert [box.count_overlaps(ranks) for box in ranks] == [1] * len(ranks)  # itself


def test_the_brightest_hot_pixel_is_above_its_neighbours(real_catalog: sa.Engine) -> None:
    drawn = Catalog(real_catalog).plot("templates", "jcmc11e6q")
    assert isinstance(drawn, Figure)
    (panel,) = (axes for axes in drawn.axes if axes.get_title().endswith("hot pixels"))
    (points,) = panel.collections
    rates = np.asarray(points.get_array())
    assert len(rates) > 10
    assert (np.diff(rates) >= 0).all()


def test_colours_are_told_apart() -> None:
    from sbcdark.pipeline.views.drawing import PALETTE  # noqa: PLC0415

    values = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in PALETTE], dtype=float)
    distances = np.linalg.norm(values[:, None] - values[None], axis=2) + 1e3 * np.eye(len(values))
    assert distances.min() > 60


def test_what_cannot_be_drawn_is_refused(real_catalog: sa.Engine, tmp_path: Path) -> None:
    catalog = Catalog(real_catalog)
    for kind, name, reason in (
        ("sky", "a.png", "There is no picture 'sky'"),
        ("coverage", "a.gif", "gives no picture format"),
        ("match", "a.png", "of an exposure"),
        ("fit", "a.png", "of an exposure"),
    ):
        with pytest.raises(UsageError, match=reason):
            catalog.plot(kind, path=tmp_path / name)
    with pytest.raises(UsageError, match="no dark among"):
        catalog.plot("history", "jcmc11e6q", tmp_path / "a.png")
    with pytest.raises(UsageError, match="'match' has no apertures or masks"):
        catalog.plot("match", "jcmc11e6q", tmp_path / "a.png", apertures="circle:735,710,60")
    with pytest.raises(TypeError, match="Give path='a"):
        catalog.plot("history", "a.png")
    assert list(tmp_path.glob("a.*")) == []


@ON_SQLITE
@pytest.mark.parametrize(("kind", "exposure"), _KINDS)
def test_pages_hold_all_that_they_need(
    real_catalog: sa.Engine, tmp_path: Path, kind: str, exposure: str | None
) -> None:
    path = Catalog(real_catalog).plot(kind, exposure or (), tmp_path / f"{kind}.html")
    assert isinstance(path, Path)
    page = path.read_text(encoding="utf-8")
    assert re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=", page) == []
    assert ("jcmc11e6q" if kind == "fit" else "jcrx01ixq") in page
    assert len(page) < 3e6


def test_an_exposure_in_a_hole_names_the_program_that_would_fill_it(real_catalog: sa.Engine) -> None:
    catalog = Catalog(real_catalog)
    assert coverage_of(real_catalog).holes == ()
    warm = [dark.rootname for dark in catalog.list_exposures(kind="dark", temperature_c=(24.0, None))]
    catalog.retire(warm, "to make a hole")
    (hole,) = coverage_of(real_catalog).holes
    assert (hole.exposure.rootname, hole.program) == ("jcmc11e6q", None)
    listed = [ArchivedExposure("jxxx01aaq", 14001, hole.exposure.start_mjd + days, 1000.0) for days in (90.0,)]
    listed.append(ArchivedExposure("jyyy01aaq", 14002, hole.exposure.start_mjd - 5.0, 1000.0))
    with writing(real_catalog) as session:
        record_listing(session, listed, datetime.now(UTC))
    (hole,) = coverage_of(real_catalog).holes
    assert hole.program == 14002
    assert "program 14002" in hole.note


def test_the_history_gives_the_glow_at_the_reference_temperature(real_catalog: sa.Engine) -> None:
    catalog = Catalog(real_catalog)
    (told,) = catalog.history()
    assert (told.program, told.good_darks, told.hot_darks) == (13961, 20, 12)
    assert told.glow_27c_count_s_pix is not None
    # jcrx01ivq was taken at 26.97 C: it lies within the scatter.
    (near,) = catalog.list_exposures(kind="dark", temperature_c=(26.9, 27.1))
    assert near.contrast_count_s_pix is not None
    ends = told.glow_27c_low_count_s_pix, told.glow_27c_high_count_s_pix
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[0] < near.contrast_count_s_pix < ends[1]
    table = catalog.history().table
    assert table["glow_27c_count_s_pix"].unit == "ct / (s pix)"
    # Retired darks do not count, and where too few are left there is no value.
    warm = catalog.list_exposures(kind="dark", temperature_c=(25.0, 27.0))
    catalog.retire([dark.rootname for dark in warm], "to take one side")
    (told,) = catalog.history()
    assert (told.good_darks, told.glow_27c_count_s_pix) == (20 - len(warm), None)


def test_the_history_gives_the_scatter_of_hot_pixels(real_catalog: sa.Engine, tmp_path: Path) -> None:
    catalog = Catalog(real_catalog)
    numbers = [dark.hot_pixels for dark in catalog.list_exposures(kind="dark") if dark.hot_pixels is not None]
    middle, scatter = statistics.median(numbers), statistics.stdev(numbers)
    (told,) = catalog.history()
    assert (told.hot_pixels_median, told.hot_pixels_scatter) == (middle, pytest.approx(scatter))
    # Most hot pixels are hot in each dark: their number scatters less than that of as many chances.
    assert 0 < scatter < math.sqrt(middle)
    drawn = catalog.plot("history")
    assert isinstance(drawn, Figure)
    bars = [bar.get_segments()[0] for bar in drawn.axes[2].collections if isinstance(bar, LineCollection)]
    np.testing.assert_allclose([bar[:, 1] for bar in bars], [[middle - scatter, middle + scatter]])
    # A single number has no error, which is not an error of 0.
    page = catalog.plot("history", path=tmp_path / "history.html")
    assert isinstance(page, Path)
    assert '["hot pixels","@y{0}"]' in page.read_text(encoding="utf-8")


def test_a_history_without_a_reference_is_drawn(real_catalog: sa.Engine, tmp_path: Path) -> None:
    catalog = Catalog(real_catalog)
    catalog.retire([dark.rootname for dark in catalog.list_exposures(kind="dark", hot=True)], "to leave the cold ones")
    pictures = [catalog.plot("history", path=tmp_path / f"cold.{ending}") for ending in ("png", "html")]
    assert all(isinstance(path, Path) and path.stat().st_size > 10_000 for path in pictures)
    page = (tmp_path / "cold.html").read_text(encoding="utf-8")
    assert "so no glow is shown" in page
    assert "glow at 27 C" not in page


def test_an_empty_catalog_has_nothing_to_draw(empty_catalog: sa.Engine, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no darks to draw"):
        Catalog(empty_catalog).plot("history", path=tmp_path / "a.png")
