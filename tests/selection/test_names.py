"""Names as people type them: root names, files, programs, targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from helpers import insert_science

from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.selection.names import Selector, as_root_name, named_exposures, resolve_exposure, resolve_target

if TYPE_CHECKING:
    import sqlalchemy as sa

ASSOCIATIONS = ["jcmc11010", "jcmc11020", "jcmc11030", "jcmc11040"]


@pytest.mark.parametrize(
    "typed",
    [
        "jcmc11e6q",
        " JCMC11E6Q ",
        "jcmc11e6q_flt.fits",
        "jcmc11e6q_raw.fits.gz",
        "program/jcmc11e6q_flt.fits",
        "/data/My Program/JCMC11E6Q_flt.fits.bz2",
        "./jcmc11e6q.fits",
    ],
)
def test_a_file_names_its_exposure(typed: str) -> None:
    assert as_root_name(typed) == "jcmc11e6q"


@pytest.mark.parametrize("typed", ["jcmc11e6q_flt.txt", "../jcmc11e6q", "a/b", "x'; DROP TABLE files; --_flt.fits"])
def test_what_is_not_a_file_of_the_archive_stays_as_it_is(typed: str) -> None:
    assert as_root_name(typed) == typed.lower()


def test_exposures_and_associations_are_found_by_their_files(real_catalog: sa.Engine) -> None:
    with reading(real_catalog) as session:
        assert resolve_exposure(session, "raw/jcrx01iiq_raw.fits.gz") == "jcrx01iiq"
        assert resolve_exposure(session, "jcmc11e6_flt.fits") == "jcmc11e6q"
        (target,) = resolve_target(session, ["program/jcmc11010_asn.fits", "JCMC11010"])
        assert target.name == "jcmc11010"
        with pytest.raises(UsageError, match="has no exposure"):
            resolve_exposure(session, "program/jcmc99e6q_flt.fits")


def test_programs_and_targets_select_associations(real_catalog: sa.Engine) -> None:
    with reading(real_catalog) as session:
        by_program = resolve_target(session, Selector(program=(13655,)))
        name = session.connection().exec_driver_sql("SELECT target FROM exposures WHERE program = 13655").scalar()
        by_target = resolve_target(session, Selector(target=(f" {name.lower()} ",)))
        assert [one.name for one in by_program] == [one.name for one in by_target]
        assert sorted(one.name for one in by_program) == ASSOCIATIONS
        both = resolve_target(session, Selector(["jcmc11020"], program=(13655,)))
        assert next(one.name for one in both) == "jcmc11020"
        assert sorted(one.name for one in both) == ASSOCIATIONS
        exposures = named_exposures(session, Selector(association=("jcmc11010",)))
        assert sorted(exposures) == ["jcmc11ctq", "jcmc11e6q"]


@pytest.mark.parametrize(
    ("selector", "reason"),
    [
        (Selector(), "No exposure is given"),
        (Selector(program=(13961,)), "no science exposure of program 13961"),
        (Selector(target=("M 31",)), "no science exposure of target 'M 31'"),
        (Selector(program=(13655,), target=("M 31",)), "of program 13655 and of target 'M 31'"),
        (Selector(program=(13655, 13656)), "no science exposure of program 13656"),
        (Selector(program=(13656, 13657)), "of program 13656 or 13657"),
        (Selector(target=("IRASF10594+3818", "M 31")), "no science exposure of target 'M 31'"),
    ],
)
def test_empty_selections_are_refused(real_catalog: sa.Engine, selector: Selector, reason: str) -> None:
    with reading(real_catalog) as session, pytest.raises(UsageError, match=reason):
        resolve_target(session, selector)


def test_an_association_without_its_table_says_what_to_ingest(empty_catalog: sa.Engine) -> None:
    for name in ("jcmc11ctq", "jcmc11e6q"):
        insert_science(empty_catalog, name, association="jcmc11010")
    with reading(empty_catalog) as session, pytest.raises(UsageError) as told:
        resolve_target(session, ["jcmc11010"])
    assert told.value.what == (
        "The catalog has exposures of the association jcmc11010, jcmc11ctq, jcmc11e6q, but not its table."
    )
    assert told.value.todo.startswith("Ingest the ASN file")
