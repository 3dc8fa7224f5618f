"""What `match` shows: the ranking, the templates that a run would use, and all of it in one file; warnings once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from astropy.table import Table
from helpers import ON_SQLITE

from sbcdark.catalog.engine import reading
from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.selection.choice import TOP, choose_for
from sbcdark.pipeline.selection.rules import Combine, Requirements, Rule

if TYPE_CHECKING:
    from pathlib import Path


def test_templates_are_those_of_a_run(filled: Any, database_url: str) -> None:
    engine = open_catalog(database_url)
    wanted = Requirements(top=TOP[Combine.MODEL])
    for arguments, exposures in ((("jcmc11010",), ["jcmc11ctq", "jcmc11e6q"]), (("jcmc11e6q",), ["jcmc11e6q"])):
        matched = filled("match", *arguments, "--json").json()
        with reading(engine) as session:
            run = choose_for(session, exposures, Combine.MODEL, Rule.GLOW, wanted)
        shown = [[(dark["dark"], dark["role"]) for dark in one["templates"]] for one in matched]
        assert shown == [[(dark.dark, dark.role) for dark in one.darks] for one in run]
        for one in matched:
            roles = {dark["dark"]: dark["role"] for dark in one["templates"]}
            assert all(roles[dark["dark"]] == "rule" for dark in one["darks"])
            # The rule of a cold exposure takes the cold darks of this archive.
            assert set(roles.values()) == ({"rule", "cold", "warm"} if len(exposures) == 1 else {"rule", "warm"})


@ON_SQLITE
def test_screen_shows_ranking_and_templates_without_repetition(filled: Any) -> None:
    shown = filled("match", "jcmc11010", "--top", "2", columns=120).stdout
    assert "sbcdark run fits the model with templates from" in shown
    assert shown.count("sbcdark run fits") == 1, "both exposures have the same templates"
    for role in ("rule", "cold", "warm"):
        assert f"\n  {role} " in shown
    heading = next(line for line in shown.splitlines() if line.startswith("rank"))
    assert "score" not in heading
    assert "weight" not in heading


@pytest.mark.slow
@ON_SQLITE
def test_one_file_has_all_that_the_screen_shows(filled: Any, tmp_path: Path) -> None:
    arguments = ("match", "jcmc11010", "--aperture", "circle:735,710,30")
    assert filled(*arguments, "-o", tmp_path / "m.ecsv").code == 0
    (tmp_path / "m.csv").write_text(filled(*arguments, "--csv").stdout)
    table = Table.read(tmp_path / "m.ecsv")
    assert Table.read(tmp_path / "m.csv").colnames == table.colnames
    known = filled(*arguments, "--json").json()
    for one in known:
        rows = table[table["exposure"] == one["exposure"]]
        by_kind = {kind: rows[rows["what"] == kind] for kind in set(rows["what"])}
        assert list(by_kind["selected"]["dark"]) == [dark["dark"] for dark in one["darks"]]
        assert list(by_kind["not selected"]["reason"]) == [dark["reason"] for dark in one["nearest_rejected"]]
        assert list(by_kind["template"]["role"]) == [dark["role"] for dark in one["templates"]]
        residuals = [residual for outlook in one["apertures"] for residual in outlook["residuals"]]
        assert list(by_kind["residual"]["residual_count"]) == pytest.approx(
            [residual["residual_count"] for residual in residuals]
        )


@ON_SQLITE
def test_missing_flat_is_told_once_at_the_start_with_its_place(filled: Any) -> None:
    told = filled("match", "jcmc11010", "--aperture", "circle:735,710,30").stderr
    assert told.startswith("warning: jcmc11ctq, jcmc11e6q: the flat (jref$")
    assert told.count("is not found") == 1
    what, todo = told.splitlines()[:2]
    assert what.endswith("so the dark is not divided by it")
    assert "https://hst-crds.stsci.edu/unchecked_get/references/hst/" in todo
    assert "crds bestrefs --files FLT --sync-references=1" in todo
    assert "--flat FOLDER or set jref" in todo
