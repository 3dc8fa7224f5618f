"""Twins of real exposures hold what the real ones hold, and are ranked as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from helpers import taken
from twin_archive import DARKS, REAL_FOLDERS, SCIENCE, real_darks, real_science, write_twin

from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.frames.exposure_files import read_file
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.selection.choice import match
from sbcdark.pipeline.selection.names import Selector
from sbcdark.pipeline.selection.rules import Requirements, Rule

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import sqlalchemy as sa


@pytest.fixture
def twin(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    return made_once("twin", write_twin)


def test_twins_have_the_facts_and_counts_of_real_exposures(twin: Path) -> None:
    darks = [(real, twin / DARKS / f"{real.rootname}_raw.fits.gz", 0.0) for real in real_darks()]
    # The counts of an FLT are divided by a flat: its sum is the nearest of many draws.
    science = [(real, twin / SCIENCE / f"{real.rootname}_flt.fits.gz", 0.05) for real in real_science()]
    assert (len(darks), len(science)) == (20, 8)
    for real, path, tolerance in [*darks, *science]:
        exposure = taken(read_file(path)).exposure
        assert exposure is not None
        assert (exposure.rootname, exposure.start_mjd) == (real.rootname, real.start_mjd)
        assert exposure.exptime_s == real.exptime_s
        assert exposure.temperature_start_c == real.temperature_start_c
        assert exposure.temperature_end_c == real.temperature_end_c
        counts = {one.region: one.counts for one in exposure.measurements}
        assert counts["box"] == pytest.approx(real.box_count, abs=tolerance)
        assert counts["quiet"] == pytest.approx(real.quiet_count, abs=tolerance)


def test_twins_are_ranked_as_the_real_exposures(real_data: Path, real_file: Path, twin: Path, tmp_path: Path) -> None:
    assert real_data.is_dir()
    of_twins = open_catalog(tmp_path / "twins.db", create=True)
    ingest(of_twins, [twin / folder for folder in REAL_FOLDERS], workers=1)
    of_real = open_catalog(real_file)

    def ranked(catalog: sa.Engine, rule: Rule) -> list[tuple[str, str, list[str]]]:
        found = match(catalog, Selector(program=(13655,)), rule=rule, wanted=Requirements(top=5))
        return [(one.exposure, one.tier, [dark.dark for dark in one.darks]) for one in found]

    for rule in Rule:
        assert ranked(of_twins, rule) == ranked(of_real, rule)
    for catalog in (of_twins, of_real):
        catalog.dispose()
