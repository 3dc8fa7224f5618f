"""Many writers at once: ingests of overlapping folders, and choices that are saved meanwhile."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

from torture import canonical
from torture.commands import DONE, NO_MATCH, NOT_REACHED, REJECTED, SCHEMA, WRONG_USAGE
from torture.databases import opened
from torture.kills import blame_command, look

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torture.kills import Stage

INGESTING = 8
MATCHING = 4

RULES = ("glow", "box", "temperature", "notebook")

_SAVED = re.compile(r"Stored selection (\d+) for")

_SHARE = 0.6
"""Of the files, that each writer takes: every file is then taken by five of eight."""


def writers(stage: Stage, files: Sequence[Path], science: Sequence[str], rounds: int) -> None:
    """Let 8 processes ingest overlapping parts of the files at once, from no catalog on, while 4 match and save."""
    bench, databases, tally = stage.bench, stage.databases, stage.tally
    url = databases.fresh()
    blame_command(tally, "undisturbed ingest", bench.run(url, "ingest", *files), (DONE, REJECTED))
    with opened(url) as engine:
        wanted = canonical.canonical(engine)
    databases.drop(url)
    for number in range(rounds):
        if number and stage.end.passed():
            break
        where = f"writers {number}"
        url = databases.fresh()
        saved = _one_round(stage, url, files, science, number)
        # What no writer happened to draw.
        blame_command(tally, where, bench.run(url, "ingest", *files), (DONE, REJECTED))
        tally.blame("left over", where, bench.survivors() + bench.remains())
        with opened(url) as engine:
            look(tally, where, engine, wanted)
            tally.blame("wrong", where, canonical.ragged_selections(engine))
            stored = canonical.canonical(engine)["selections"].total()
        if stored != saved:
            tally.blame("lost" if stored < saved else "wrong", where, [f"{stored} selections, {saved} were saved"])
        databases.drop(url)


def _one_round(stage: Stage, url: str, files: Sequence[Path], science: Sequence[str], number: int) -> int:
    """Return how many selections the four saved: equal ones are stored once, under one number."""
    bench, tally = stage.bench, stage.tally
    busy = threading.Event()
    busy.set()
    saved: set[str] = set()

    def ingest(writer: int) -> None:
        rng = stage.chance("writers", number, writer)
        part = rng.sample(list(files), round(_SHARE * len(files)))
        ended = bench.run(url, "ingest", *part, "--workers", "1" if writer % 4 else "2")
        blame_command(tally, f"writer {number}.{writer}", ended, (DONE, REJECTED))
        tally.count("writers")

    def match(matcher: int) -> None:
        rng = stage.chance("matchers", number, matcher)
        while busy.is_set():
            ended = bench.run(url, "match", rng.choice(science), "--save", "--json", "--rule", rng.choice(RULES))
            # There may be no catalog yet, none of its tables, not this exposure, or no dark that fits it.
            allowed = (DONE, NOT_REACHED, SCHEMA, WRONG_USAGE, NO_MATCH)
            blame_command(tally, f"matcher {number}.{matcher}", ended, allowed)
            tally.blame("wrong", f"matcher {number}.{matcher}", _unreached(ended.code, ended.stderr))
            tally.count("choices")
            if ended.code == DONE:
                saved.update(_SAVED.findall(ended.stderr))

    matchers = [threading.Thread(target=match, args=(one,)) for one in range(MATCHING)]
    ingesters = [threading.Thread(target=ingest, args=(one,)) for one in range(INGESTING)]
    for thread in [*ingesters, *matchers]:
        thread.start()
    for thread in ingesters:
        thread.join()
    busy.clear()
    for thread in matchers:
        thread.join()
    return len(saved)


def _unreached(code: int, stderr: str) -> list[str]:
    """Return what was told of a catalog that could not be reached, where it was not that there is none yet."""
    return [stderr.strip()] if code == NOT_REACHED and "There is no catalog" not in stderr else []
