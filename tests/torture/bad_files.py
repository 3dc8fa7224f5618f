"""Bad input: damaged and hostile files, ingested into a catalog that has to keep what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bad_input import corpus, flips, run_bad_input

from sbcdark.catalog.opening import open_catalog
from torture.databases import opened

if TYPE_CHECKING:
    from pathlib import Path

    from torture.kills import Stage

_AT_ONCE = 200
"""Cases to a catalog: what fails in one of them does not hide what others would show."""


def bad_files(stage: Stage, shared: Path, number: int) -> None:
    """Ingest so many bad files, half of them from the corpus and half damaged at random, in an order that is drawn."""
    databases, tally = stage.databases, stage.tally
    named = corpus(shared)
    step = max(2 * len(named) // number, 1)
    cases = [*named[::step], *flips(shared, stage.seed, number // 2)]
    for start in range(0, len(cases), _AT_ONCE):
        if start and stage.end.passed():
            break
        some = cases[start : start + _AT_ONCE]
        url = databases.fresh()
        open_catalog(url, create=True).dispose()
        place = stage.bench.folder / f"bad{start}"
        place.mkdir(parents=True)
        with opened(url) as engine:
            try:
                run_bad_input(shared, engine, place, some)
            except AssertionError as error:
                tally.blame("wrong", f"bad files from {start} on", [str(error)[:600]])
            except Exception as error:  # noqa: BLE001  no file may raise anything
                tally.blame("tracebacks", f"bad files from {start} on", [f"{type(error).__name__}: {error}"[:600]])
        tally.count("bad files", len(some))
        databases.drop(url)
