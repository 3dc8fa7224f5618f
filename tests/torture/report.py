"""The report of a torture: a line for each subject and engine, then what was found, then one sentence."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from torture.tally import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torture.tally import Tally

_SHOWN = 5

_ROW = "{:18} {:11} {:44} {:>5} {:>6} {:>10} {:>11} {:>6}"


def lines(tallies: Sequence[Tally], *, header: bool) -> str:
    """Return the lines of some tallies."""
    told = [_ROW.format("subject", "engine", "tried", *KINDS, "s")] if header else []
    for tally in tallies:
        tried = ", ".join(f"{number} {what}" for what, number in tally.tried.items()) or "nothing"
        found = [len(tally.faults[kind]) for kind in KINDS]
        told.append(_ROW.format(tally.subject, tally.engine, tried, *found, f"{tally.seconds:.0f}"))
        told += [f"    {note}" for note in tally.notes]
        for kind in KINDS:
            told += [f"    {kind}: {text}" for text in tally.faults[kind][:_SHOWN]]
            if len(tally.faults[kind]) > _SHOWN:
                told.append(f"    {kind}: and {len(tally.faults[kind]) - _SHOWN} more")
    return "\n".join(told)


def verdict(tallies: Sequence[Tally]) -> str:
    """Return all counts in one sentence."""
    tried: Counter[str] = Counter()
    for tally in tallies:
        tried += tally.tried
    found = {kind: sum(len(tally.faults[kind]) for tally in tallies) for kind in KINDS}
    return (
        "Tried: "
        + (", ".join(f"{number} {what}" for what, number in tried.items()) or "nothing")
        + ". Found: "
        + ", ".join(f"{kind} {number}" for kind, number in found.items())
        + f". {sum(tally.seconds for tally in tallies):.0f} s in all."
    )
