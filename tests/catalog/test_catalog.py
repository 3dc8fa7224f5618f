"""Listing the catalog: filters, sorting with absent values, records, associations; on both engines."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sqlalchemy as sa
from helpers import dump, insert_darks, insert_science, rootname

from sbcdark.catalog import models, nearest_darks, queries, results
from sbcdark.catalog.criteria import Gates
from sbcdark.catalog.engine import reading, writing
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.queries import SORT_KEYS, ExposureFilter
from sbcdark.catalog.result_records import NewProduct, PhotometryRecord
from sbcdark.catalog.writes import refresh_exposures
from sbcdark.pipeline.frames.tables import PHOTOMETRY_KEYS
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.selection.choice import match
from sbcdark.pipeline.views.listings import exposures, is_hot, show

if TYPE_CHECKING:
    from pathlib import Path

MANY = 2_345


@pytest.fixture
def few_darks(empty_catalog: sa.Engine) -> sa.Engine:
    """Return a catalog of five darks, a day apart, at 18, 24, 25, 25.5 and 28 C, and a science exposure."""
    ones = np.ones(5)
    temperatures = np.array([18.0, 24.0, 25.0, 25.5, 28.0])
    insert_darks(empty_catalog, 1e-6 * np.arange(5), 1000 * ones, temperatures, 57_000.0 + np.arange(5))
    insert_science(empty_catalog, "jcmc11e6q", filter="F165LP", box_count=None, contrast_count_s_pix=None)
    return empty_catalog


def numbers(engine: sa.Engine, wanted: ExposureFilter, **how: Any) -> list[str]:
    return [one.rootname for one in exposures(engine, wanted, **how)]


def names(*which: int) -> list[str]:
    return [rootname("d", number) for number in which]


def test_filters_are_inclusive_and_together(few_darks: sa.Engine) -> None:
    at = datetime(1858, 11, 17, tzinfo=UTC) + timedelta(days=57_001)
    for wanted, expected in (
        (ExposureFilter(), [*names(1, 2, 3, 4, 5), "jcmc11e6q"]),
        (ExposureFilter(kind="dark"), names(1, 2, 3, 4, 5)),
        (ExposureFilter(kind="science"), ["jcmc11e6q"]),
        (ExposureFilter(program=(13655,)), ["jcmc11e6q"]),
        (ExposureFilter(program=(1,)), []),
        (ExposureFilter(filter=("f165lp",)), ["jcmc11e6q"]),
        (ExposureFilter(temperature_c=(24.0, 25.0)), [*names(2, 3), "jcmc11e6q"]),
        (ExposureFilter(temperature_c=(25.5, None)), names(4, 5)),
        (ExposureFilter(temperature_c=(None, 18.0)), names(1)),
        (ExposureFilter(kind="dark", since=at), names(2, 3, 4, 5)),
        (ExposureFilter(until=at), names(1, 2)),
        (ExposureFilter(since=at, until=at), names(2)),
        # 12 h in a zone 12 h ahead is midnight UTC.
        (ExposureFilter(until=at.astimezone(tz=None)), names(1, 2)),
        (ExposureFilter(hot=True), names(4, 5)),
        (ExposureFilter(hot=True, kind="dark", temperature_c=(None, 26.0)), names(4)),
    ):
        assert numbers(few_darks, wanted) == expected, wanted
    assert [is_hot(one) for one in exposures(few_darks, ExposureFilter(kind="dark"))] == [False] * 3 + [True] * 2


@pytest.mark.parametrize("descending", [False, True])
def test_every_key_sorts_with_absent_values_last(few_darks: sa.Engine, *, descending: bool) -> None:
    for key in SORT_KEYS:
        rows = exposures(few_darks, sort=key, descending=descending)
        assert len(rows) == 6
        values = [getattr(row, key) for row in rows]
        there = [value for value in values if value is not None]
        assert values == there + [None] * (6 - len(there)), key
        assert there == sorted(there, reverse=descending), key
    # Equal values are in the order of their names, whichever way is sorted.
    assert numbers(few_darks, ExposureFilter(kind="dark"), sort="program", descending=descending) == names(
        1, 2, 3, 4, 5
    )


def test_more_than_a_thousand_rows_are_all_listed(empty_catalog: sa.Engine) -> None:
    rng = np.random.default_rng(1000)
    insert_darks(
        empty_catalog,
        rng.normal(0, 1e-6, MANY),
        np.full(MANY, 1000.0),
        rng.uniform(18, 28, MANY),
        rng.uniform(52_000, 60_000, MANY),
    )
    rows = exposures(empty_catalog)
    assert len(rows) == len({row.rootname for row in rows}) == MANY
    assert [row.start_mjd for row in rows] == sorted(row.start_mjd for row in rows)
    with reading(empty_catalog) as session:
        assert len(queries.list_exposures(session, queries.ExposureFilter(kind="dark"))) == MANY
        uris = list(session.scalars(sa.select(models.File.uri)))
        assert len(queries.known_files(session, uris)) == MANY
        walk = list(nearest_darks.nearest_in_time(session, 56_000.0, Gates(0.0)))
        assert len({dark.rootname for dark in walk}) == len(walk) == MANY
        distances = [abs(dark.start_mjd - 56_000.0) for dark in walk]
        assert distances == sorted(distances)


def test_records_leave_the_session_whole(few_darks: sa.Engine) -> None:
    with reading(few_darks) as session:
        values = queries.match_values(session, rootname("d", 4))
        nothing = queries.match_values(session, "jcrx01iiq")
        assert queries.find_exposure(session, "jcrx01iiq") is None
        assert queries.find_association(session, "jcmc11010") is None
    assert nothing is None
    assert values is not None
    assert values.file is not None
    assert values.file.kind == "RAW"
    # The root of the squared errors: both are rounded once more than once.
    assert values.contrast_err_count_s_pix == pytest.approx(
        np.hypot(values.box_rate_err_count_s_pix or 0, values.quiet_rate_err_count_s_pix or 0), rel=1e-12
    )


def test_times_are_utc_on_both_engines(few_darks: sa.Engine) -> None:
    first = exposures(few_darks)[0]
    assert first.start_utc.utcoffset() == timedelta(0)
    assert first.start_utc == datetime(1858, 11, 17, tzinfo=UTC) + timedelta(days=57_000)


def test_show_tells_all_of_an_exposure(empty_catalog: sa.Engine, shared_data: Path) -> None:
    ingest(empty_catalog, [shared_data / "darks_13961" / "jcrx01ixq_raw.fits.gz"])
    ingest(empty_catalog, [shared_data / "science_13655_standin" / "jcmc11e6q_flt.fits.gz"])
    ingest(empty_catalog, [shared_data / "associations_13655" / "jcmc11010_asn.fits"])
    match(empty_catalog, ["jcmc11e6q"], save=True)
    told = show(empty_catalog, "JCRX01IX")
    assert set(SORT_KEYS) < set(told)
    assert told["rootname"] == "jcrx01ixq"
    assert told["box_count"] == 2196
    assert [one["region"] for one in told["measurements"]] == ["box", "quiet", "lodark", "frame"]
    assert [one["state"] for one in told["files"]] == ["present"]
    science = show(empty_catalog, "jcmc11e6q")
    assert [one["darks"] for one in science["selections"]] == [["jcrx01ixq"]]
    association = show(empty_catalog, "jcmc11010")
    assert association["members"] == ["jcmc11ctq", "jcmc11e6q"]
    assert association["absent"] == ["jcmc11ctq"]
    with pytest.raises(UsageError, match="has no exposure"):
        show(empty_catalog, "nothing")
    # Contrast and its error follow from the two regions.
    box, quiet = told["measurements"][:2]
    assert told["contrast_count_s_pix"] == box["rate_count_s_pix"] - quiet["rate_count_s_pix"]
    assert told["contrast_err_count_s_pix"] == pytest.approx(
        np.hypot(box["rate_err_count_s_pix"], quiet["rate_err_count_s_pix"]), rel=1e-12
    )


def test_newest_version_of_a_region_counts(empty_catalog: sa.Engine, shared_data: Path) -> None:
    ingest(empty_catalog, [shared_data / "darks_13961" / "jcrx01ixq_raw.fits.gz"])
    with writing(empty_catalog) as session:
        region = models.Region(name="box", version=2, y0=0, y1=1, x0=0, x1=1, masked=True)
        session.add(region)
        session.flush()
        session.add(
            models.Measurement(
                file_id=1,
                region_id=region.id,
                counts=7.0,
                good_pixels=1,
                rate_count_s_pix=0.007,
                rate_err_count_s_pix=0.003,
            )
        )
        session.flush()
        refresh_exposures(session, [1])
    assert exposures(empty_catalog)[0].box_count == 7.0


def test_products_and_photometry_rest_on_selections(empty_catalog: sa.Engine, shared_data: Path) -> None:
    ingest(empty_catalog, [shared_data / "darks_13961", shared_data / "science_13655_standin"], workers=1)
    (one,) = match(empty_catalog, ["jcmc11e6q"], save=True)
    assert one.selection_id is not None
    values: dict[str, Any] = dict.fromkeys(PHOTOMETRY_KEYS, 1.5)
    values |= {"association": "jcmc11010", "aperture": "circle:1,2,3", "flux_erg_s_cm2_a": None, "ab_mag": None}
    values |= {
        "target": "ANY",
        "filter": "F165LP",
        "start_utc": datetime(2015, 3, 1, tzinfo=UTC),
        "shape": "circle:1,2,3",
    }
    values |= {"sky_method": "fit", "warnings": ["only 90% of it lies on data"]}
    with writing(empty_catalog) as session:
        product = NewProduct(
            name="jcmc11010",
            kind="masterdark",
            uri="file:///a",
            sha256="0",
            pixels_sha256="1",
            parameters={"top": 5},
            fits={one.selection_id: {"base": 1.0}},
        )
        dark = results.write_product(session, product, "0", revision=7)
        science = results.write_product(session, replace(product, kind="science", fits={}), "0", revision=7)
        results.write_photometry(session, [PhotometryRecord(**values)], science, dark)
    with reading(empty_catalog) as session:
        row = session.scalars(sa.select(models.Photometry)).one()
        assert (row.science_product_id, row.dark_product_id) == (science, dark)
        assert {key: getattr(row, key) for key in PHOTOMETRY_KEYS} == values
        stored = session.scalars(sa.select(models.ProductSelection)).one()
        assert (stored.product_id, stored.selection_id, stored.fit) == (dark, one.selection_id, {"base": 1.0})
        assert session.get_one(models.Product, dark).catalog_revision == 7


def test_what_fails_midway_is_not_stored(few_darks: sa.Engine) -> None:
    before = dump(few_darks)

    def fail_midway() -> None:
        with writing(few_darks) as session:
            session.execute(sa.update(models.Exposure).values(quality="retired"))
            session.execute(sa.delete(models.File))
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail_midway()
    assert dump(few_darks) == before
