"""The class Catalog as a notebook uses it: what it takes, what it returns, what it says of wrong types."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy import units as u
from astropy.time import Time

import sbcdark
from sbcdark import Catalog
from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.selection.choice import match
from sbcdark.pipeline.selection.rules import Rule

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def cat(real_file: Path) -> Catalog:
    """Return a catalog that is only read."""
    return Catalog(real_file)


def test_names_are_taken_as_text_path_one_or_many(cat: Catalog) -> None:
    alone = cat.match("jcmc11e6q")
    assert alone.darks[0].dark == "jcrx01ixq"
    assert cat.match(Path("program/jcmc11e6q_flt.fits")) == alone
    assert cat.match(["JCMC11E6"]) == [alone]
    assert cat.match("jcmc11e6q", rule="glow") == cat.match("jcmc11e6q", rule=Rule.GLOW) == alone
    assert [one.exposure for one in cat.match(program="13655")] == [one.exposure for one in cat.match(program=13655)]
    both = cat.match(program=[13655, "13655"], association=("jcmc11010", "jcmc11020"))
    assert len(both) == 8
    assert len(cat.exposures(program=set(cat.exposures()["program"]))) == 28
    assert len(cat.exposures(association=["jcmc11010", "JCMC11020"])) == 4
    assert len(cat.exposures(target=["IRASF10594+3818", "elsewhere"], kind="science")) == 8
    with pytest.raises(TypeError, match="program: expected a number"):
        cat.match(program=[13655, None, 1.5])  # type: ignore[list-item]  what a user may type
    assert cat.show(["jcmc11e6q"]) == [cat.show("jcmc11e6q")]
    assert cat.why(Path("jcmc11e6q_flt.fits"), "JCRX01ISQ").taken is False
    # So do the functions of the pipeline.
    assert [one.exposure for one in match(cat.engine, "jcmc11e6q", rule="glow")] == ["jcmc11e6q"]


@pytest.mark.parametrize(
    "since",
    [
        "2015-04",
        "2015-04-01",
        57113,
        57113.0,
        np.float64(57113.0),
        date(2015, 4, 1),
        datetime(2015, 4, 1, tzinfo=UTC),
        datetime(2015, 4, 1),  # noqa: DTZ001  taken as UTC
        Time("2015-04-01"),
    ],
)
def test_times_are_taken_as_people_have_them(cat: Catalog, since: Any) -> None:
    assert set(cat.exposures(since=since)["program"]) == {13655}
    assert set(cat.exposures(until=since)["program"]) == ({13961, 13655} if since == "2015-04" else {13961})


def test_listing_takes_texts(cat: Catalog) -> None:
    assert len(cat.darks(temperature_c="25:")) == len(cat.darks(temperature_c=(25.0, None))) == 12
    assert len(cat.darks(quality="good,untested")) == len(cat.darks(quality=["good", "untested"])) == 20
    assert cat.exposures(where="contrast > 40", sort="T mean")["rootname"][0] == "jcmc11e6q"
    assert list(cat.exposures("jcmc11e6q")["rootname"]) == ["jcmc11e6q"]
    assert list(cat.exposures("jcmc11010")["rootname"]) == list(cat.exposures(association="JCMC11010")["rootname"])
    assert len(cat.darks(Path("raw/jcrx01iiq_raw.fits"), program="13961")) == 1
    assert len(cat.exposures(target="irasf10594+3818", kind="science")) == 8


def test_tables_have_units_times_and_descriptions(cat: Catalog) -> None:
    darks = cat.darks(sort="T mean")
    assert isinstance(darks["start_utc"], Time)
    assert str(darks["start_utc"][0]).startswith("2015-03-03T02:06:")
    assert darks["temperature_mean_c"].unit == u.deg_C
    assert darks["contrast_count_s_pix"].unit == u.ct / u.s / u.pix
    assert all(darks[name].info.description for name in darks.colnames)
    table = cat.match("jcmc11e6q").table
    assert all(table[name].info.description for name in table.colnames)
    assert set(cat.match("jcmc11e6q").template_table["role"]) == {"rule", "cold", "warm"}


def test_empty_results_are_empty_tables_with_columns(cat: Catalog) -> None:
    full, empty = cat.darks(), cat.darks(program=1)
    assert len(empty) == 0
    assert empty.colnames == full.colnames
    assert isinstance(empty["start_utc"], Time)
    assert empty["temperature_mean_c"].unit == u.deg_C
    assert empty["program"].dtype == full["program"].dtype
    unmatched = cat.match("jcmc11e6q", max_days=1)
    assert (len(unmatched.table), unmatched.table.colnames) == (0, cat.match("jcmc11e6q").table.colnames)
    changes = cat.changes()
    assert (changes, len(changes.table)) == ([], 0)
    assert "reasons" in changes.table.colnames


WRONG: tuple[tuple[Callable[[Any], Any], str], ...] = (
    (lambda cat: cat.match(5), "names: expected a root name or the path of a file"),
    (lambda cat: cat.match(["jcmc11e6q", None]), "names: expected a root name"),
    (
        lambda cat: cat.match("jcmc11e6q", tpo=2),
        "There is no keyword 'tpo'. Did you mean 'top'?",
    ),
    (lambda cat: cat.match("jcmc11e6q", top="many"), "top: expected an integer, got str: 'many'"),
    (lambda cat: cat.match("jcmc11e6q", max_sigma="2"), "max_sigma: expected a number"),
    (lambda cat: cat.match("jcmc11e6q", rule=3), "rule: expected a rule such as 'glow'"),
    (lambda cat: cat.match(program="x"), "program: expected a number such as 13655"),
    (lambda cat: cat.darks(since=[1]), "since: expected a date such as '2015-04'"),
    (lambda cat: cat.darks(temperature_c=25), "temperature_c: expected a pair"),
    (lambda cat: cat.darks(quality=3), "quality: expected a str"),
    (lambda cat: cat.darks(colour="red"), "There is no keyword 'colour'"),
    (lambda cat: cat.run("jcmc11010", "out", aperture="circle:1,2,3"), "Did you mean 'apertures'?"),
    (lambda cat: cat.run("jcmc11010"), "folder: expected a path"),
    (lambda cat: cat.exposures(kind="darks"), "kind: expected 'dark' or 'science'"),
    (lambda cat: cat.run("jcmc11010", 7), "folder: expected a path"),
    (
        lambda cat: cat.run("jcmc11010", "out", tpo=1),
        "There is no keyword 'tpo'. Did you mean 'top'?",
    ),
    (lambda cat: cat.dark("jcmc11e6q", tpo=1), "There is no keyword 'tpo'"),
    (lambda cat: cat.dark("jcmc11e6q", use="jcrx01isq"), "use: expected a dict such as"),
    (lambda cat: cat.dark("jcmc11e6q", final_scale="x"), "final_scale: expected a number, got str: 'x'"),
    (lambda cat: cat.dark("jcmc11e6q", combine=5), "combine: expected a method such as 'model'"),
    (lambda cat: cat.run("jcmc11010", "out", talk=5), "talk: expected a function of a message"),
    (lambda cat: cat.validate(skies=5), "skies: expected numbers"),
    (lambda cat: cat.darks(hot="no"), "hot: expected True or False"),
    (lambda cat: cat.fetch(13961, visit=1.5), "visit: expected an integer or a str"),
    (lambda cat: cat.retire("jcmc11e6q", 5), "reason: expected a str"),
    (lambda cat: cat.match("jcmc11e6q", top=0), "top: 0 is not at least 1."),
    (lambda cat: cat.dark("jcmc11e6q", max_days=-1), "max_days: -1 is not at least 0."),
    (lambda cat: cat.dark("jcmc11e6q", max_sigma=float("nan")), "max_sigma: nan is not at least 0."),
    (lambda cat: cat.validate(apertures=0), "apertures: 0 is not from 2 to 1000."),
    (lambda cat: cat.serve(port=80000), "port: 80000 is not from 0 to 65535."),
    (lambda cat: cat.why("jcmc11e6q"), "why: missing a required argument: 'dark'. why takes: exposure, dark, rule"),
    (lambda cat: cat.status(5), "status: too many positional arguments. status takes: none."),
    (lambda cat: cat.verify(foo=1), "There is no keyword 'foo'."),
    (lambda cat: cat.plot("match", "m.png"), "Give path='m.png'"),
    (lambda cat: cat.match(5), "help(Catalog.match) describes the arguments."),
    (
        lambda cat: cat.preview("jcmc11e6q", "circle:700,700,40"),
        "matches: expected what Catalog.match returned, got str",
    ),
    (lambda cat: cat.preview([3], "circle:700,700,40"), "matches: expected what Catalog.match returned, got list: [3]"),
    (lambda cat: cat.known_values("exptime"), "key: expected one of program, filter, target, association, got str"),
    (lambda cat: cat.ingest(3), "paths: expected a path or an address"),
    (lambda _: Catalog(3), "catalog: expected a path, a URL or an engine"),  # type: ignore[arg-type]
)


def test_one_match_is_previewed_like_several(cat: Catalog, flats: Path) -> None:
    found, _ = cat.preview(cat.match("jcmc11e6q", top=1), "circle:700,700,40", flat=flats)
    assert [seen.exposure for seen in found] == ["jcmc11e6q"]


@pytest.mark.parametrize(("call", "said"), WRONG, ids=[said[:30] for _, said in WRONG])
def test_wrong_types_say_what_is_expected(cat: Catalog, call: Callable[[Any], Any], said: str) -> None:
    with pytest.raises(TypeError) as told:
        call(cat)
    assert said in str(told.value)


def test_wrong_values_say_what_there_is(cat: Catalog) -> None:
    for call in (
        lambda: cat.darks(sort="colour"),
        lambda: cat.darks(since="yesterday"),
        lambda: cat.darks(temperature_c="warm"),
        lambda: cat.match("jcmc11e6q", rule="best"),
        lambda: cat.selection(3),
    ):
        with pytest.raises(UsageError) as told:
            call()
        assert told.value.todo


def test_dark_is_an_image(cat: Catalog) -> None:
    dark = cat.dark("jcmc11e6q", combine="nearest")
    image = dark.image
    assert image.unit == u.ct / u.s / u.pix
    assert np.array_equal(image.data, dark.rate)
    assert np.array_equal(image.uncertainty.array, dark.error)
    (again,) = cat.dark([Path("jcmc11e6q_flt.fits")], combine="nearest")
    assert np.array_equal(again.rate, dark.rate)


def test_dark_of_an_association_is_a_list_with_tables(cat: Catalog) -> None:
    first, second = cat.dark("jcmc11010")
    assert (first.exposure, second.exposure) == ("jcmc11ctq", "jcmc11e6q")
    table = second.table
    assert table["fit_amplitude_count_s_pix"].unit == u.ct / u.s / u.pix
    assert table["fit_amplitude_count_s_pix"][0].value == second.amplitude
    assert all(table[name].info.description for name in table.colnames)
    assert len(repr(second)) < 200
    assert "jcmc11e6q: model, base " in repr(second)


def test_what_a_notebook_shows_is_short(cat: Catalog) -> None:
    assert repr(cat.match("jcmc11e6q")) == "<Match jcmc11e6q: rule glow, tier 2 sigma: jcrx01ixq>"
    assert "no dark fits" in repr(cat.match("jcmc11e6q", max_days=1))


def test_values_are_quantities_and_masked_only_where_one_is_absent(cat: Catalog) -> None:
    darks = cat.darks()
    assert type(darks["contrast_count_s_pix"]) is u.Quantity
    assert not hasattr(darks["rootname"], "mask")
    mixed = cat.exposures()
    assert list(mixed["hot_pixels"].mask) == [kind == "science" for kind in mixed["kind"]]


def test_progress_is_a_bar_or_a_callable(real_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cat = Catalog(shutil.copy(real_file, tmp_path / "catalog.db"))
    counted: list[tuple[int, int]] = []
    cat.verify(progress=lambda done, total: counted.append((done, total)))
    assert counted[-1] == (32, 32)
    cat.verify(progress=True)
    assert "32/32" in capsys.readouterr().out
    with pytest.raises(TypeError, match="progress: expected True or a callable"):
        cat.verify(progress="yes")  # type: ignore[arg-type]


def test_version_is_there() -> None:
    assert sbcdark.__version__.count(".") == 2


def test_what_is_shown_has_times_and_what_is_explained_is_a_table(cat: Catalog, tmp_path: Path) -> None:
    known = cat.show("jcmc11e6q")
    (row,) = cat.exposures("jcmc11e6q")
    assert isinstance(known["start_utc"], Time)
    assert abs(known["start_utc"] - row["start_utc"]) < 1 * u.ms
    assert all(isinstance(one["start_utc"], Time) for one in cat.show("jcmc11010")["exposures"])
    mine = Catalog(shutil.copy(str(cat.engine.url.database), tmp_path / "mine.db"))
    stored = mine.match("jcmc11e6q", save=True).selection_id
    assert stored is not None
    assert isinstance(mine.selection(stored)["created_utc"], Time)
    why = cat.why("jcmc11e6q", "jcrx01isq")
    assert list(why.table["check"]) == [check.check for check in why.checks]
    assert list(why.table["passed"].filled(fill_value=False)) == [bool(check.passed) for check in why.checks]
    test, _ = cat.validate("jcrx01010", apertures=3)
    assert len(test.table) == len(test.rows) > 0
    assert test.table["bias_count"].unit == u.ct
    assert repr(why) == f"<Explanation jcmc11e6q, jcrx01isq: {why.summary}>"
    assert repr(test) == f"<CatalogValidation: {test.verdict}>"
    status = cat.status()
    assert repr(status).endswith(": 20 darks and 8 science exposures of 2 programs>")
    assert list(status.table["program"]) == [13961, 13655]
    assert status.table["temperature_max_c"].unit == u.deg_C
    for table in (why.table, test.table, status.table):
        assert all(column.info.description for column in table.itercols())
