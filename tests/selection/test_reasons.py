"""why: the pass/fail table of one pair, and that the relaxation it names admits the dark."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from helpers import copied

from sbcdark.catalog import models
from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.ingest.quality import retire
from sbcdark.pipeline.selection import reasons
from sbcdark.pipeline.selection.choice import match
from sbcdark.pipeline.selection.reasons import why
from sbcdark.pipeline.selection.rules import Requirements, Rule
from sbcdark.pipeline.views.listings import exposures

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def catalog(real_catalog: sa.Engine) -> sa.Engine:
    return real_catalog


def _relaxed(wanted: Requirements, options: str) -> Requirements:
    words = shlex.split(options)
    values = dict(zip(words[::2], words[1::2], strict=True))
    if "--top" in values:
        wanted = replace(wanted, top=int(values.pop("--top")))
    if "--max-sigma" in values:
        wanted = replace(wanted, max_sigma=float(values.pop("--max-sigma")))
    if "--max-days" in values:
        wanted = replace(wanted, max_days=float(values.pop("--max-days")))
    if "--min-exptime" in values:
        wanted = replace(wanted, min_exptime_s=float(values.pop("--min-exptime")))
    assert not values
    return wanted


@pytest.mark.slow
@pytest.mark.parametrize("rule", list(Rule))
@pytest.mark.parametrize(
    "wanted", [Requirements(top=2), Requirements(top=1, max_days=1.0, min_exptime_s=1200.0)], ids=["plain", "strict"]
)
def test_relaxation_admits_every_dark(catalog: sa.Engine, rule: Rule, wanted: Requirements) -> None:
    """For each of the 20 darks: it is taken, or what `why` says makes `match` take it, and less does not."""
    for dark in [record.rootname for record in exposures(catalog) if record.kind == "dark"]:
        found = why(catalog, "jcmc11e6q", dark, rule=rule, wanted=wanted)
        (plain,) = match(catalog, ["jcmc11e6q"], rule=rule, wanted=wanted)
        assert found.taken == (dark in {one.dark for one in plain.darks})
        if found.taken:
            assert found.relaxation is None
            continue
        assert found.relaxation is not None
        if "brighter than the exposure" in found.summary:
            # No option of `match` lets in a dark that is brighter than the whole exposure.
            assert found.relaxation.startswith(f"only by name: --use jcmc11e6q={dark} ")
            (failed,) = [check for check in found.checks if check.check.startswith("box of") and check.passed is False]
            assert float(failed.value.split()[0]) > 5
            continue
        relaxed = _relaxed(wanted, found.relaxation)
        (loose,) = match(catalog, ["jcmc11e6q"], rule=rule, wanted=relaxed)
        assert dark in {one.dark for one in loose.darks}
        if relaxed.top > wanted.top:
            (less,) = match(catalog, ["jcmc11e6q"], rule=rule, wanted=replace(relaxed, top=relaxed.top - 1))
            assert dark not in {one.dark for one in less.darks}
        if relaxed.max_sigma is not None:
            tighter = replace(relaxed, max_sigma=relaxed.max_sigma - 0.01)
            (less,) = match(catalog, ["jcmc11e6q"], rule=rule, wanted=tighter)
            assert dark not in {one.dark for one in less.darks}


def test_gates_are_told(catalog: sa.Engine) -> None:
    retire(catalog, "jcrx01ixq", "edge of the anomaly")
    found = why(catalog, "jcmc11e6q", "jcrx01ixq")
    failed = [check.check for check in found.checks if check.passed is False]
    assert failed[0] == "quality"
    assert "retired: edge of the anomaly" in found.summary
    assert found.relaxation == 'sbcdark restore jcrx01ixq --reason "..."'
    itself = why(catalog, "jcrx01iyq", "jcrx01iyq")
    assert not itself.taken
    assert itself.relaxation is None
    with pytest.raises(UsageError, match="is not a dark"):
        why(catalog, "jcrx01iyq", "jcmc11e6q")


def test_temperature_misleads_and_is_shown(catalog: sa.Engine) -> None:
    """The dark of the very same temperature is 24 sigma off in glow: the line that informs says so."""
    found = why(catalog, "jcmc11e6q", "jcrx01isq", rule=Rule.TEMPERATURE)
    assert found.taken
    assert found.rank == 1
    told = {check.check.split()[0]: check for check in found.checks}
    assert told["temperature"].passed is True
    assert told["glow"].passed is None
    assert told["glow"].value == "+24.06 sigma"


def test_ranks_are_those_of_match(catalog: sa.Engine) -> None:
    """Every dark that passes the gates has the rank that `match` gives it with room for all."""
    for rule in Rule:
        wide = Requirements(top=100, max_sigma=1000.0)
        (every,) = match(catalog, ["jcmc11e6q"], rule=rule, wanted=wide)
        assert len(every.darks) > 10
        for dark in every.darks:
            found = why(catalog, "jcmc11e6q", dark.dark, rule=rule, wanted=replace(wide, top=1))
            assert found.rank == dark.rank
            assert found.taken == (dark.rank == 1)
            assert found.relaxation == (None if dark.rank == 1 else f"--top {dark.rank}")


def test_counting_ends(catalog: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasons, "_COUNTED", 3)
    (every,) = match(catalog, ["jcmc11e6q"], wanted=Requirements(top=100, max_sigma=1000.0))
    last = every.darks[-1].dark
    found = why(catalog, "jcmc11e6q", last, wanted=Requirements(top=1, max_sigma=1000.0))
    assert (found.rank, found.taken, found.relaxation) == (4, False, None)
    assert "rank 4 or later" in found.summary


def test_file_that_changed_is_told(catalog: sa.Engine, shared_data: Path, tmp_path: Path) -> None:
    (path,) = copied(shared_data, tmp_path / "raw", "jcrx01ixq_raw")
    with catalog.begin() as connection:
        connection.execute(
            sa.update(models.File).where(models.File.uri.like("%jcrx01ixq%")).values(uri=path.as_uri(), mtime_ns=1)
        )
    assert why(catalog, "jcmc11e6q", "jcrx01ixq").taken  # the content is the same
    path.write_bytes(path.read_bytes() + b" ")
    found = why(catalog, "jcmc11e6q", "jcrx01ixq")
    assert not found.taken
    assert f"its RAW changed after the ingest: {path.as_uri()}" in found.summary
    assert found.relaxation == "sbcdark ingest PATH, with its current RAW"
    assert {check.check: check.value for check in found.checks}["RAW file"] == "changed"
