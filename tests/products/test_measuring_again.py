"""The tables of photometry: what they hold, curves of growth, the joint table, and measuring again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.table import QTable, Table
from helpers import dump

from sbcdark import Catalog
from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.apertures.apertures import parse_aperture
from sbcdark.pipeline.frames.tables import PHOTOMETRY_KEYS, photometry_records, read_photometry
from sbcdark.pipeline.products.earlier_products import is_same
from sbcdark.pipeline.products.job import Job
from sbcdark.pipeline.products.masterdark import Plan
from sbcdark.pipeline.products.photometry import ab_magnitude, st_magnitude
from sbcdark.pipeline.products.photometry_tables import GROWTH_KEYS
from sbcdark.pipeline.products.product_files import parse_growth

if TYPE_CHECKING:
    from sbcdark.results import Products

APERTURES = ("circle:735,710,40", "ellipse@165.5585,38.0431,1.5,1,30")
GROWTH = (0.5, 10.0, 40.0)
NAMES = ["jcmc11010", "jcmc11020"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("products")


def measure(cat: Catalog, folder: Path, *more: str, names: Any = NAMES, **options: Any) -> list[Products]:
    return cat.run(names, folder, apertures=[*APERTURES, *more], growth=GROWTH, pictures=False, **options)


@pytest.fixture(scope="module")
def first(cat: Catalog, folder: Path) -> list[Products]:
    made = measure(cat, folder)
    assert [one.outcome.failure for one in made] == [None, None]
    return made


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != "sbcdark_phot.ecsv"}


@pytest.mark.slow
@pytest.mark.long
def test_the_table_stands_alone(first: list[Products], folder: Path) -> None:
    table = QTable.read(folder / "jcmc11010_sbcdark_phot.ecsv")
    assert tuple(table.colnames) == PHOTOMETRY_KEYS
    assert list(table["aperture"]) == list(table["shape"]) == list(APERTURES)
    assert set(table["association"]) == {"jcmc11010"}
    assert set(table["filter"]) == {"F165LP"}
    assert set(table["target"]) == {"IRASF10594+3818"}
    assert all(text.startswith("2015-") for text in table["start_utc"])
    inputs = first[0].outcome.masterdark
    assert inputs is not None
    assert table["effective_radius_pix"][0].to_value("pix") == pytest.approx(40, rel=1e-9)
    assert table["effective_radius_arcsec"].to_value("arcsec") == pytest.approx([1.0, np.sqrt(1.5)], rel=1e-4)
    meta = table.meta
    assert meta["software"].startswith("sbcdark ")
    assert {"drizzlepac", "astropy", "numpy", "photutils", "scipy"} <= set(meta["versions"])
    assert (meta["options"]["combine"], meta["options"]["sky"], meta["options"]["growth"]) == (
        "model",
        "fit",
        list(GROWTH),
    )
    assert [one["exposure"] for one in meta["exposures"]] == [one.exposure for one in inputs.members]
    assert [tuple(one["darks"]) for one in meta["exposures"]] == [one.darks for one in inputs.members]
    assert all(len(one["sha256"]) == 64 for one in meta["exposures"])


@pytest.mark.slow
@pytest.mark.long
def test_magnitudes_of_both_systems_and_limits(first: list[Products]) -> None:
    for products in first:
        for row in products.outcome.photometry:
            if row.flux_erg_s_cm2_a is None:
                assert (row.ab_mag, row.st_mag, row.ab_mag_limit, row.st_mag_limit) == (None,) * 4
            elif row.st_mag is not None:
                assert row.st_mag == pytest.approx(st_magnitude(row.flux_erg_s_cm2_a))
                assert row.st_mag_err == row.ab_mag_err
                assert row.st_mag_limit is None
            else:
                assert row.st_mag_limit is not None
                assert row.ab_mag_limit is not None
    assert ab_magnitude(1e-17, 1762.0) - st_magnitude(1e-17) == pytest.approx(2.462, abs=1e-3)


@pytest.mark.slow
@pytest.mark.long
def test_a_curve_of_growth_is_the_photometry_at_each_radius(first: list[Products], folder: Path) -> None:
    for products in first:
        points, (circle, _) = products.outcome.growth, products.outcome.photometry
        assert [(one.aperture, one.record.shape) for one in points[:4]] == [
            (APERTURES[0], "circle:735,710,0.5"),
            (APERTURES[0], "circle:735,710,10"),
            (APERTURES[0], "circle:735,710,40"),
            # Half an arcsec and its axis ratio, at the same angle.
            (APERTURES[1], "ellipse@165.5585,38.0431,0.5,0.3333333333333333,30"),
        ]
        assert points[2].record.source_count_s == circle.source_count_s
        assert points[2].record.source_err_count_s == circle.source_err_count_s
        assert [one.radius_pix for one in points[:3]] == list(GROWTH)
        assert points[3].radius_arcsec == pytest.approx(0.5, rel=1e-4)
        said = "the radii of growth are pixels around some apertures and arcsec around others"
        assert said in products.outcome.warnings
        areas = [one.record.area_pix for one in points[:3]]
        assert areas == sorted(areas)
    table = Table.read(folder / "jcmc11020_sbcdark_growth.ecsv")
    assert tuple(table.colnames) == GROWTH_KEYS
    assert len(table) == 2 * len(GROWTH)
    assert str(first[0].growth["radius_arcsec"].unit) == "arcsec"
    assert (folder / "jcmc11020_sbcdark_growth.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.long
def test_measuring_the_same_again_makes_nothing(first: list[Products], cat: Catalog, folder: Path) -> None:
    before, rows = stamps(folder), dump(cat.engine)
    again = measure(cat, folder)
    assert all(one.outcome.reused for one in again)
    assert stamps(folder) == before
    assert dump(cat.engine) == rows
    for one, same in zip(first, again, strict=True):
        assert same.outcome.photometry == one.outcome.photometry
        assert same.warnings == one.warnings
        assert [point.radius_pix for point in same.outcome.growth] == [p.radius_pix for p in one.outcome.growth]
        numbers = [[p.record.source_count_s for p in each.outcome.growth] for each in (one, same)]
        assert numbers[0] == numbers[1]


@pytest.mark.slow
@pytest.mark.long
def test_products_of_another_catalog_are_not_reused(
    first: list[Products], folder: Path, shared_data: Path, tmp_path: Path
) -> None:
    """Its rows are in the other catalog alone."""
    other = Catalog(tmp_path / "other.db")
    other.ingest([shared_data / name for name in ("darks_13961", "associations_13655", "science_13655_standin")])
    (made,) = measure(other, folder, names=["jcmc11020"])
    assert not made.outcome.reused
    assert made.outcome.photometry == first[1].outcome.photometry


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.usefixtures("first")
def test_the_tables_of_a_folder_are_joined(folder: Path) -> None:
    joint = read_photometry(folder / "sbcdark_phot.ecsv")
    assert joint is not None
    assert list(joint["association"]) == [NAMES[0]] * 2 + [NAMES[1]] * 2
    records = photometry_records(joint)
    alone = [read_photometry(folder / f"{name}_sbcdark_phot.ecsv") for name in NAMES]
    assert records == [record for table in alone if table is not None for record in photometry_records(table) or []]
    assert [table["inputs_key"] for table in joint.meta["tables"]] == [
        table.meta["inputs_key"] for table in alone if table is not None
    ]


@pytest.mark.slow
@pytest.mark.long
def test_a_new_aperture_or_another_sky_is_measured_with_all(first: list[Products], cat: Catalog, folder: Path) -> None:
    """The fit leaves the new aperture out, so the dark changes by less than its error."""
    (_, before) = first
    (wider,) = measure(cat, folder, "box:400,420,60,60,20", names=["jcmc11020"])
    assert not wider.outcome.reused
    assert [row.aperture for row in wider.outcome.photometry] == [*APERTURES, "box:400,420,60,60,20"]
    for now, then in zip(wider.outcome.photometry, before.outcome.photometry, strict=False):
        assert now.science_count_s == then.science_count_s
        assert abs(now.dark_count_s - then.dark_count_s) < then.dark_err_count_s
    (none,) = measure(cat, folder, "box:400,420,60,60,20", names=["jcmc11020"], sky="none")
    assert not none.outcome.reused
    assert {row.sky_method for row in none.outcome.photometry} == {"none"}


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.usefixtures("first")
def test_growth_is_replayed(cat: Catalog, tmp_path: Path) -> None:
    assert cat.engine is not None
    made = cat.run("jcmc11010", tmp_path / "a", apertures=APERTURES[0], growth="20,80", pictures=False)
    masterdark = made.outcome.masterdark
    assert masterdark is not None
    selection = masterdark.members[0].selection or _selection(cat)
    assert all(one.identical for one in cat.replay(selection, tmp_path / "b"))


def _selection(cat: Catalog) -> int:
    import sqlalchemy as sa  # noqa: PLC0415

    from sbcdark.catalog import models  # noqa: PLC0415

    with cat.engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.max(models.ProductSelection.selection_id))).scalar_one())


@pytest.mark.slow
@pytest.mark.long
def test_a_strangers_table_is_left_alone(cat: Catalog, tmp_path: Path) -> None:
    (tmp_path / "sbcdark_phot.ecsv").write_text("mine\n")
    made = cat.run(NAMES, tmp_path, apertures=APERTURES[0], pictures=False)
    assert (tmp_path / "sbcdark_phot.ecsv").read_text() == "mine\n"
    assert made[-1].warnings[-1].endswith("was not made by sbcdark, so the tables of the associations are not joined")


def test_products_are_reused_only_if_the_catalog_is_the_same() -> None:
    """A new exposure of the same visit may tell the glow of a covered frame."""
    aperture = parse_aperture("circle:700,680,40")
    plan = Plan((), (), 7, (), (aperture,), (5.0,), "key", ())
    options = {"sky": "fit", "growth": [5.0], "apertures": [{"text": aperture.text, "label": aperture.label}]}
    meta = {"inputs_key": "key", "catalog_revision": 7, "options": options}
    job = Job(Path("products"))
    assert is_same(meta, plan, job)
    assert not is_same(meta | {"catalog_revision": 8}, plan, job)
    assert not is_same(meta | {"inputs_key": "other"}, plan, job)
    assert not is_same(meta | {"options": options | {"sky": "none"}}, plan, job)
    assert not is_same(meta | {"options": options | {"growth": []}}, plan, job)


@pytest.mark.parametrize(("text", "radii"), [("5,10, 20", (5, 10, 20)), ("20 5", (5, 20)), ("", ()), ("1e1", (10,))])
def test_radii_are_read(text: str, radii: tuple[float, ...]) -> None:
    assert parse_growth(text) == radii


@pytest.mark.parametrize("text", ["0,5", "-1", "a", "nan", "inf", "5;6"])
def test_wrong_radii_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a list of radii"):
        parse_growth(text)


@pytest.mark.slow
@pytest.mark.long
def test_a_run_without_apertures_is_not_made_again(cat: Catalog, tmp_path: Path) -> None:
    first = cat.run("jcmc11010", tmp_path)
    before = stamps(tmp_path)
    again = cat.run("jcmc11010", tmp_path)
    assert (first.outcome.reused, again.outcome.reused) == (False, True)
    assert stamps(tmp_path) == before
    assert again.outcome.masterdark == first.outcome.masterdark
    assert (again.warnings, again.pictures, len(again.photometry)) == (first.warnings, first.pictures, 0)
    # Without a picture, or after a change of the catalog, they are made.
    again.pictures[0].unlink()
    assert not cat.run("jcmc11010", tmp_path).outcome.reused
    cat.retire("jcrx01iiq", "a change")
    cat.restore("jcrx01iiq", "back again")
    assert not cat.run("jcmc11010", tmp_path).outcome.reused


@pytest.mark.slow
@pytest.mark.long
def test_what_is_unchanged_starts_no_worker(cat: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sbcdark.pipeline.products import run  # noqa: PLC0415  to watch its workers

    pools: list[int] = []
    start = run.worker_pool
    monkeypatch.setattr(run, "worker_pool", lambda size: [pools.append(size), start(size)][1])
    said: list[str] = []
    for names in (["jcmc11010"], ["jcmc11010"], ["jcmc11010", "jcmc11020"]):
        cat.run(names, tmp_path, pictures=False, talk=said.append)
    assert pools == [1, 1]  # for each association once
    assert [line.partition(":")[2][:12] for line in said] == [
        " science pro", " nothing has", " nothing has", " science pro",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="other inputs"):
        cat.run("jcmc11010", tmp_path, combine="mean", talk=said.append)
    assert len(said) == 4  # the error says it once


@pytest.mark.slow
@pytest.mark.long
def test_products_of_other_inputs_are_refused_with_what_differs(cat: Catalog, tmp_path: Path) -> None:
    cat.run("jcmc11010", tmp_path, pictures=False)
    with pytest.raises(UsageError) as caught:
        cat.run("jcmc11010", tmp_path, combine="mean", pictures=False)
    assert "was made from other inputs: --combine was model, now mean; without jcrx01" in caught.value.what
    cat.retire("jcrx01ixq", "a dark less")
    with pytest.raises(UsageError, match=r"other inputs: .*without jcrx01ixq"):
        cat.run("jcmc11010", tmp_path, pictures=False)
    cat.restore("jcrx01ixq", "back again")
