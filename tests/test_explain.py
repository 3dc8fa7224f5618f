"""why: the pass/fail table of one pair, and that the relaxation it names admits the dark."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.catalogs import open_catalog
from sbcdark.pipeline.explain import why
from sbcdark.pipeline.ingest import ingest
from sbcdark.pipeline.listing import exposures
from sbcdark.pipeline.matching import Requirements, Rule
from sbcdark.pipeline.quality import retire
from sbcdark.pipeline.select import match

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa


@pytest.fixture
def catalog(database_url: str, shared_data: Path) -> sa.Engine:
    engine = open_catalog(database_url, create=True)
    ingest(engine, [shared_data / "darks_13961", shared_data / "science_13655_standin"])
    return engine


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
    with pytest.raises(UsageError, match="is no dark"):
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
