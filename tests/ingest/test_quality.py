"""Quality flags: the outlier test on its own and in an ingest, retire and restore, on both engines."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import with_background

from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.opening import open_catalog
from sbcdark.catalog.queries import catalog_revision, match_values
from sbcdark.catalog.records import RunDark
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.ingest.outliers import judge, outliers, runs
from sbcdark.pipeline.ingest.quality import restore, retire
from sbcdark.pipeline.selection.choice import match
from sbcdark.pipeline.simulation.darks import Parameters
from sbcdark.pipeline.simulation.files import write_simulated
from sbcdark.pipeline.simulation.simulated_archive import simulate
from sbcdark.pipeline.views.listings import exposures

if TYPE_CHECKING:
    from pathlib import Path


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


def _run(generator: np.random.Generator, length: int = 20, scatter: float = 0.08) -> list[RunDark]:
    """Return a run as the real one: base scattering by 8 %, glow from 25 C on, Poisson noise."""
    frames = []
    for number, temperature in enumerate(np.linspace(18.0, 28.0, length)):
        base = 7.5e-6 * generator.normal(1.0, scatter)
        glow = 8.0e-5 * max(0.0, (temperature - 24.5) / 3.5) ** 2
        frames.append(_counted(generator, number, float(temperature), base, glow))
    return frames


def _counted(generator: np.random.Generator, number: int, temperature: float, base: float, glow: float) -> RunDark:
    box = generator.poisson((base + glow) * 4e7) / 4e7
    quiet = generator.poisson((base + 0.027 * glow) * 1.31e8) / 1.31e8
    return _frame(number, temperature, box, quiet)


def _raised(frame: RunDark, factor: float, generator: np.random.Generator) -> RunDark:
    """Return a frame with a uniform background on it, so that its base is so many times what it was."""
    more = (factor - 1.0) * 7.5e-6
    return replace(
        frame,
        box_rate=frame.box_rate + generator.poisson(more * 4e7) / 4e7,
        quiet_rate=frame.quiet_rate + generator.poisson(more * 1.31e8) / 1.31e8,
    )


def _later(frames: list[RunDark], days: float, name: str) -> list[RunDark]:
    return [
        replace(frame, start_mjd=frame.start_mjd + days, rootname=f"{name}{number:02d}abq")
        for number, frame in enumerate(frames)
    ]


def test_sound_runs_are_left_alone() -> None:
    """At most one false flag in 200 runs of 20 frames: 0.2 are expected, one in 25,000 frames."""
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


TRIALS = 300


@pytest.mark.parametrize(
    ("length", "scatter", "factor", "power"),
    [
        (20, 0.08, 1.5, 0.72),
        (20, 0.08, 1.7, 0.96),
        (6, 0.08, 1.5, 0.50),
        (6, 0.08, 1.7, 0.80),
        (20, 0.11, 1.5, 0.52),
        (20, 0.11, 1.7, 0.83),
    ],
)
def test_outlier_test_sees_what_it_says(length: int, scatter: float, factor: float, power: float) -> None:
    """How often a frame whose base is raised by 50 or 70 % is found, as the module says; the number is binomial."""
    generator = np.random.default_rng(round(1000 * length * scatter * factor))
    found = 0
    for _ in range(TRIALS):
        frames = _run(generator, length, scatter)
        place = int(generator.integers(length))
        frames[place] = _raised(frames[place], factor, generator)
        found += frames[place].rootname in judge(frames).suspect
    # 3 sigma of this number, and 3 % for the digits that are told.
    assert found / TRIALS == pytest.approx(power, abs=3 * math.sqrt(power * (1 - power) / TRIALS) + 0.03)


def test_few_sound_darks_are_flagged() -> None:
    """4,000 frames whose bases scatter by 11 %, in runs of 20 by themselves: one in 2,000 is expected."""
    generator = np.random.default_rng(11)
    found = sum(len(judge(_run(generator, 20, 0.11)).suspect) for _ in range(200))
    assert found <= 2 + 3 * math.sqrt(2)


def test_short_runs_are_judged_by_the_whole_catalog() -> None:
    """The frame of the issue: a quiet rate of 5.9e-5 in a run of three, beside a run of 20."""
    generator = np.random.default_rng(59)
    short = _later(_run(generator)[:3], 30.0, "jnew")
    short[1] = replace(short[1], quiet_rate=5.9e-5, box_rate=6.0e-5)
    alone = judge(short)
    assert alone.suspect == {}
    assert set(alone.untested) == {frame.rootname for frame in short}
    assert "run has fewer than 6 darks" in alone.untested[short[1].rootname]
    together = judge([*_run(generator), *short])
    assert set(together.suspect) == {short[1].rootname}
    assert "of 20 darks of other runs" in together.suspect[short[1].rootname]
    assert together.untested == {}


@pytest.mark.parametrize("factor", [1.5, 1.7])
def test_short_runs_are_judged_as_well_as_long_ones(factor: float) -> None:
    generator = np.random.default_rng(7)
    found = 0
    for _ in range(TRIALS):
        short = _later(_run(generator)[:2], 30.0, "jnew")
        short[0] = _raised(short[0], factor, generator)
        found += judge([*_run(generator), *short]).suspect.keys() == {short[0].rootname}
    expected = {1.5: 0.72, 1.7: 0.96}[factor]
    assert found / TRIALS >= expected - 3 * math.sqrt(expected * (1 - expected) / TRIALS) - 0.03


def test_one_bad_frame_condemns_no_short_run() -> None:
    """Of three frames two are raised by 100 %: these are suspect, and the third is not."""
    generator = np.random.default_rng(3)
    short = _later(_run(generator)[:3], 30.0, "jnew")
    short[1:] = [_raised(frame, 2.0, generator) for frame in short[1:]]
    assert set(judge([*_run(generator), *short]).suspect) == {frame.rootname for frame in short[1:]}


def test_darks_of_the_time_are_compared_with_first() -> None:
    """The base has doubled in ten years: a short run of then is sound beside its own time and odd beside the other."""
    generator = np.random.default_rng(10)
    old = _run(generator)
    doubled = [
        replace(frame, quiet_rate=2 * frame.quiet_rate, box_rate=2 * frame.box_rate) for frame in _run(generator)
    ]
    short = _later(doubled[:2], 3700.0, "jnew")
    assert {frame.rootname for frame in short} <= set(judge([*old, *short]).suspect)
    # Six darks of that time are enough, though twenty are nearer to none of them.
    same_time = [_later([frame], 3650.0 + 9 * number, f"jt{number}x")[0] for number, frame in enumerate(doubled[2:8])]
    verdicts = judge([*old, *same_time, *short])
    assert verdicts.suspect.keys().isdisjoint({frame.rootname for frame in short})


def test_whole_run_that_is_high_is_noticed() -> None:
    """A run of 20 whose base is raised by 25 %, beside another of 20: in nine of ten cases all of it is suspect."""
    generator = np.random.default_rng(25)
    seen = 0
    for _ in range(100):
        high = [_raised(frame, 1.25, generator) for frame in _later(_run(generator), 100.0, "jhig")]
        suspect = judge([*_run(generator), *high]).suspect
        assert all(name.startswith("jhig") for name in suspect)
        seen += len(suspect) == 20
        if len(suspect) == 20:
            assert all("whole run is high" in reason for reason in suspect.values())
    assert seen >= 90 - 3 * math.sqrt(100 * 0.9 * 0.1)


def test_low_run_condemns_nobody() -> None:
    """Two runs, one of them 7 % lower than the other, which is 3.6 sigma of both medians short of 20 %."""
    generator = np.random.default_rng(85)
    for _ in range(50):
        low = [replace(f, quiet_rate=0.93 * f.quiet_rate, box_rate=0.93 * f.box_rate) for f in _run(generator)]
        assert len(judge([*_run(generator), *_later(low, 50.0, "jlow")]).suspect) <= 1


def test_hot_pixels_beyond_those_of_the_time_are_suspect() -> None:
    generator = np.random.default_rng(55)
    frames = [replace(frame, hot_pixels=int(generator.integers(6, 10))) for frame in _run(generator)]
    assert judge(frames).suspect == {}
    for number, suspect in ((15, False), (40, True)):
        (reason,) = [*judge([*frames[1:], replace(frames[0], hot_pixels=number)]).suspect.values()] or [None]
        assert (reason is not None) == suspect
    assert reason == f"40 hot pixels; darks of its epoch have {np.median([f.hot_pixels for f in frames]):.0f}"
    # Ten years later there are more of them everywhere, and darks of which none were counted are left alone.
    later = _later([replace(frame, hot_pixels=40) for frame in frames], 3650.0, "jlat")
    assert judge([*frames, *later]).suspect == {}
    assert judge([replace(frames[0], hot_pixels=None), *frames[1:]]).suspect == {}


def test_runs_are_split_by_time() -> None:
    frames = _run(np.random.default_rng(4))
    later = [replace(frame, start_mjd=frame.start_mjd + 1.0, rootname=frame.rootname + "x") for frame in frames]
    assert [len(run) for run in runs([*later, *frames])] == [20, 20]
    assert runs([]) == []
    assert judge([]).suspect == judge([]).untested == {}


def test_real_run_is_sound(database_url: str, shared_data: Path) -> None:
    engine = open_catalog(database_url, create=True)
    ingest(engine, [shared_data / "darks_13961"])
    assert {record.quality for record in exposures(engine)} == {"good"}


def test_ingest_flags_and_people_decide(database_url: str, tmp_path: Path) -> None:
    """A frame of the anomaly is flagged when its run is known; what a person says stays said."""
    archive = tmp_path / "archive"
    archive.mkdir()
    files = list(simulate(Parameters(number_of_darks=10, darks_per_run=10, associations=False)).files())
    bad = files[4].name
    for file in files:
        write_simulated(archive / file.name, with_background(file, 0.05) if file.name == bad else file)
    rootname = bad.partition("_")[0]
    engine = open_catalog(database_url, create=True)
    names = sorted(path for path in archive.iterdir())
    ingest(engine, names[:5])
    assert {record.quality for record in exposures(engine)} == {"untested"}
    with reading(engine) as session:
        assert catalog_revision(session) == 1
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
    assert retire(engine, "JCRX01IX", "edge of the\x1b[31m anomaly\n") == ["jcrx01ixq"]
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
