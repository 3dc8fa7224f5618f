"""What an ingest says came in: by program, against what the catalog had, with the suspects; on both engines."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from helpers import ON_SQLITE, copied, with_background
from twin_archive import REAL_FOLDERS

from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.simulation.darks import Parameters
from sbcdark.pipeline.simulation.files import write_simulated
from sbcdark.pipeline.simulation.simulated_archive import simulate
from sbcdark.pipeline.views.listings import exposures

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa


def test_programs_and_history(empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path) -> None:
    copied(shared_data, tmp_path / "few", "jcrx01iiq_raw", "jcrx01ijq_raw")
    (tmp_path / "few" / "jcrx01zzq_raw.fits").write_text("broken")
    first = ingest(empty_catalog, [tmp_path / "few"])
    (program,) = first.programs
    assert (program.program, program.is_new, program.darks, program.rejected) == (13961, True, 2, 1)
    assert first.history() == ["New to the catalog: program 13961.", "The catalog had no darks before; now it has 2."]
    whole = ingest(empty_catalog, [shared_data / folder for folder in REAL_FOLDERS])
    darks, science = whole.programs
    # The two files are copies at another place.
    assert (darks.program, darks.is_new, darks.darks, darks.science, darks.updated) == (13961, False, 18, 0, 2)
    assert (science.program, science.is_new, science.darks, science.science) == (13655, True, 0, 8)
    assert f"{darks.temperature_min_c:.1f} to {darks.temperature_max_c:.1f}" == "18.2 to 28.3"
    assert f"{darks.first_start_utc:%Y-%m-%d}" == "2015-03-03"
    assert whole.history() == [
        "New to the catalog: program 13655.",
        "The catalog had 2 darks before; now it has 20.",
        "The warmest now has 28.3 C, before 19.8 C.",
    ]
    # With the others to compare with, the two are no longer untested.
    assert [(one.rootname, one.quality) for one in whole.judged] == [("jcrx01iiq", "good"), ("jcrx01ijq", "good")]
    again = ingest(empty_catalog, [shared_data / "darks_13961"])
    assert (again.programs, again.judged, again.history()) == ([], [], [])
    assert [one.updated for one in ingest(empty_catalog, [tmp_path / "few"], dry_run=True).programs] == []


def test_suspects_are_named_with_the_reason(empty_catalog: sa.Engine, tmp_path: Path) -> None:
    files = list(simulate(Parameters(number_of_darks=10, darks_per_run=10, associations=False)).files())
    for number, file in enumerate(files):
        write_simulated(tmp_path / file.name, with_background(file, 0.05) if number == 4 else file)
    report = ingest(empty_catalog, [tmp_path])
    (judged,) = report.judged
    assert judged.rootname == files[4].name.partition("_")[0]
    assert judged.quality == "suspect"
    assert "sigma above" in (judged.reason or "")
    assert sum(program.suspect for program in report.programs) == 1
    (listed,) = exposures(empty_catalog, where=["quality = suspect"])
    assert set(asdict(judged).items()) >= {("rootname", listed.rootname), ("quality", listed.quality)}


@ON_SQLITE
def test_command_says_what_came_in(sbcdark: Any, shared_data: Path) -> None:
    done = sbcdark("ingest", *(shared_data / folder for folder in REAL_FOLDERS), columns=80)
    assert done.stdout.startswith("32 files added, 0 updated, 0 unchanged")
    rows = [line.split() for line in done.stdout.splitlines() if line.split()[:1] in (["13961"], ["13655"])]
    assert rows == [
        ["13961", "20", "2015-03-03", "18.2", "to", "28.3"],
        ["13655", "8", "2015-04-13", "17.3", "to", "26.0"],
    ]
    assert "New to the catalog: programs 13961, 13655." in done.stdout
