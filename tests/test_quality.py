"""Quality flags: the outlier test on its own and in an ingest, retire and restore, on both engines."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.queries import catalog_revision, match_values
from sbcdark.catalog.records import RunDark
from sbcdark.pipeline.catalogs import open_catalog
from sbcdark.pipeline.frame_writer import write_simulated
from sbcdark.pipeline.ingest import ingest
from sbcdark.pipeline.listing import exposures
from sbcdark.pipeline.outliers import FEWEST, outliers, runs
from sbcdark.pipeline.quality import restore, retire
from sbcdark.pipeline.select import match
from sbcdark.pipeline.simulate import simulate
from sbcdark.pipeline.simulated_darks import Parameters

if TYPE_CHECKING:
    from pathlib import Path

    from sbcdark.pipeline.simulated_darks import SimulatedFile


def _frame(number: int, temperature: float, box: float, quiet: float) -> RunDark:
    seconds = 1000.0
    return RunDark(
        f"jsim{number:02d}abq",
        57000.0 + number * 0.0117,
        temperature,
        box,
        math.sqrt(box * 40_000 * seconds) / (40_000 * seconds),
        quiet,
        math.sqrt(quiet * 131_071 * seconds) / (131_071 * seconds),
        "good",
        by_hand=False,
    )


def _run(generator: np.random.Generator) -> list[RunDark]:
    """Return a run as the real one: base scattering by 8 %, glow from 25 C on, Poisson noise."""
    frames = []
    for number, temperature in enumerate(np.linspace(18.0, 28.0, 20)):
        base = 7.5e-6 * generator.normal(1.0, 0.08)
        glow = 8.0e-5 * max(0.0, (temperature - 24.5) / 3.5) ** 2
        box = generator.poisson((base + glow) * 4e7) / 4e7
        quiet = generator.poisson((base + 0.027 * glow) * 1.31e8) / 1.31e8
        frames.append(_frame(number, float(temperature), box, quiet))
    return frames


def test_sound_runs_are_left_alone() -> None:
    """At most one false flag in 200 runs of 20 frames: at 5 sigma none is expected (0.002)."""
    generator = np.random.default_rng(1)
    assert sum(len(outliers(_run(generator))) for _ in range(200)) <= 1


@pytest.mark.parametrize("place", [0, 3, 10, 17, 19])
def test_frame_at_the_anomaly_is_found(place: int) -> None:
    """A uniform background of four times the base, anywhere in the run, and nothing else is flagged."""
    frames = _run(np.random.default_rng(place))
    frame = frames[place]
    frames[place] = replace(frame, box_rate=frame.box_rate + 3e-5, quiet_rate=frame.quiet_rate + 3e-5)
    (found,) = outliers(frames)
    assert found.rootname == frame.rootname
    assert "sigma above" in found.reason


def test_two_bad_frames_beside_each_other_are_found() -> None:
    frames = _run(np.random.default_rng(7))
    for place in (5, 6):
        frame = frames[place]
        frames[place] = replace(frame, box_rate=frame.box_rate + 5e-5, quiet_rate=frame.quiet_rate + 5e-5)
    assert {found.rootname for found in outliers(frames)} == {frames[5].rootname, frames[6].rootname}


def test_leap_of_the_glow_condemns_no_frame() -> None:
    """Twice the glow of its neighbours, as the real darks show below 25 C, is what the glow does."""
    frames = _run(np.random.default_rng(9))
    frame = frames[15]
    frames[15] = replace(frame, box_rate=2 * frame.box_rate, quiet_rate=frame.quiet_rate + 0.027 * frame.box_rate)
    assert outliers(frames) == []


def test_short_runs_tell_nothing() -> None:
    frames = _run(np.random.default_rng(3))[: FEWEST - 1]
    frames[2] = replace(frames[2], quiet_rate=1e-3)
    assert outliers(frames) == []


def test_runs_are_split_by_time() -> None:
    frames = _run(np.random.default_rng(4))
    later = [replace(frame, start_mjd=frame.start_mjd + 1.0, rootname=frame.rootname + "x") for frame in frames]
    assert [len(run) for run in runs([*later, *frames])] == [20, 20]
    assert runs([]) == []


def test_real_run_is_sound(database_url: str, shared_data: Path) -> None:
    engine = open_catalog(database_url, create=True)
    ingest(engine, [shared_data / "darks_13961"])
    assert {record.quality for record in exposures(engine)} == {"good"}


def _with_background(file: SimulatedFile, counts: float) -> SimulatedFile:
    science = file.extensions[0]
    assert science.data is not None
    generator = np.random.default_rng(5)
    data = (science.data + generator.poisson(counts, science.data.shape)).astype(science.data.dtype)
    return replace(file, extensions=(replace(science, data=data), *file.extensions[1:]))


def test_ingest_flags_and_people_decide(database_url: str, tmp_path: Path) -> None:
    """A frame of the anomaly is flagged when its run is known; what a person says stays said."""
    archive = tmp_path / "archive"
    archive.mkdir()
    files = list(simulate(Parameters(number_of_darks=10, darks_per_run=10, associations=False)).files())
    bad = files[4].name
    for file in files:
        write_simulated(archive / file.name, _with_background(file, 0.05) if file.name == bad else file)
    rootname = bad.partition("_")[0]
    engine = open_catalog(database_url, create=True)
    names = sorted(path for path in archive.iterdir())
    ingest(engine, names[:5])
    assert {record.quality for record in exposures(engine)} == {"good"}
    ingest(engine, names)
    assert [record.rootname for record in exposures(engine) if record.quality == "suspect"] == [rootname]
    with reading(engine) as session:
        values = match_values(session, rootname)
        assert values is not None
        assert "sigma above" in (values.quality_reason or "")
    (found,) = match(engine, [names[0].name.partition("_")[0]])
    assert rootname not in {dark.dark for dark in found.darks}
    assert ingest(engine, names).unchanged == 10
    restore(engine, rootname, "looked at: a lamp was on")
    ingest(engine, names)
    assert {record.quality for record in exposures(engine)} == {"good"}


def test_retire_and_restore(database_url: str, shared_data: Path) -> None:
    engine = open_catalog(database_url, create=True)
    ingest(engine, [shared_data / "darks_13961", shared_data / "science_13655_standin"])
    with reading(engine) as session:
        before = catalog_revision(session)
    assert retire(engine, "JCRX01IX", "edge of the\x1b[31m anomaly\n") == "jcrx01ixq"
    (found,) = match(engine, ["jcmc11e6q"])
    assert [dark.dark for dark in found.darks] == ["jcrx01iyq"]
    assert found.tier == "5 sigma"
    assert found.nearest_rejected[0].reason == "quality retired: edge of the[31m anomaly"
    with reading(engine) as session:
        assert catalog_revision(session) == before + 1
    restore(engine, "jcrx01ixq", "no anomaly at that time")
    (found,) = match(engine, ["jcmc11e6q"])
    assert [dark.dark for dark in found.darks] == ["jcrx01ixq"]
    for name, reason in (("jcrx01ixq", "  "), ("jcrx99zzq", "none such")):
        with pytest.raises(UsageError):
            retire(engine, name, reason)
