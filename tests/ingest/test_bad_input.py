"""Bad input: a corpus, random damage and made-up header cards, on both engines and through the command line."""

from __future__ import annotations

import json
import os
import resource
import string
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bad_input import Case, corpus, flipped, flips, keywords, overwritten, run_bad_input, sound
from bombs import bombs
from commands import PROGRAM
from helpers import ON_SQLITE
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sbcdark.catalog.records import FileReading
from sbcdark.pipeline.frames.exposure_files import read_file
from sbcdark.pipeline.frames.untrusted_fits import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

pytestmark = pytest.mark.slow


SEED = 20261124
FLIPS = 1000

FOUND_BY_SEED: tuple[tuple[int, int], ...] = ()
"""Seed and place of random damage that once did what it must not."""

MEMORY_BYTES = 3 * 2**29
"""What a process may ask for that reads bombs; the libraries alone ask for 0.7 GB."""

EXAMPLES = 300
CARD_KEYWORDS = ("ROOTNAME", "PROPOSID", "TARGNAME", "EXPTIME", "EXPSTART", "PROCTIME", "NEXTEND", "ASN_ID", "FILTER1")


@pytest.fixture
def memory() -> Iterator[Path]:
    """Return an empty folder, in memory where there is one: bad files are many and large."""
    shared = Path("/dev/shm")  # noqa: S108  a folder of its own is made there
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as folder:
        yield Path(folder)


def test_corpus_is_large_and_the_same_each_time(shared_data: Path) -> None:
    cases = [*corpus(shared_data), *flips(shared_data, SEED, FLIPS)]
    assert len(cases) > 3000
    assert len({case.name for case in cases}) == len(cases)
    assert sum(case.name.startswith("raw cut after byte") for case in cases) >= 741
    again = flips(shared_data, SEED, 40)
    assert [case.content(1) for case in again] == [case.content(1) for case in flips(shared_data, SEED, 40)]
    assert all(case.content(1) != sound(shared_data, case.kind, 1) for case in cases[::50])


@pytest.mark.parametrize("database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True)
def test_all_of_the_corpus(empty_catalog: sa.Engine, shared_data: Path, memory: Path) -> None:
    # Keywords reach the database, and are tried on both engines; the rest is dealt between them.
    cases = corpus(shared_data)
    names = {case.name for case in keywords(shared_data)}
    dealt = [case for case in cases if case.name not in names] + flips(shared_data, SEED, FLIPS)
    hand = dealt[empty_catalog.dialect.name == "sqlite" :: 2]
    hand += [case for case in cases if case.name in names]
    hand += [flipped(shared_data, seed, place) for seed, place in FOUND_BY_SEED]
    tried = run_bad_input(shared_data, empty_catalog, memory, hand)
    assert tried.total() == len(hand) > 2000
    assert tried["ignored"] > 10
    assert min(tried["added"], tried["rejected"]) > 500


def run_limited(*arguments: str | Path, db: str, cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the program in bounded time and memory, and hold that it says nothing that acts on a terminal."""
    done = subprocess.run(
        [PROGRAM, "--db", db, *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=300,
        cwd=cwd,
        # Each thread of a linear algebra library asks for memory that it never uses.
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES)),
    )
    said = done.stdout.decode() + done.stderr.decode()
    assert all(letter.isprintable() or letter == "\n" for letter in said), said
    assert "Traceback" not in said
    assert "should not have happened" not in said
    return done


@ON_SQLITE
def test_bombs_are_rejected_in_bounded_time_and_memory(database_url: str, shared_data: Path, memory: Path) -> None:
    folder = memory / "files"
    folder.mkdir()
    made = bombs(shared_data)
    for name, content in made.items():
        (folder / f"{name}.fits").write_bytes(content())
    done = run_limited("ingest", folder, "--workers", "1", "--json", db=database_url, cwd=memory)
    assert done.returncode == 6
    report = json.loads(done.stdout)
    assert {Path(entry["path"]).stem for entry in report["rejections"]} == set(made)
    assert not any("memory" in entry["reason"] or "MemoryError" in entry["reason"] for entry in report["rejections"])


def test_command_line_tells_bad_files_in_plain_lines(shared_data: Path, memory: Path) -> None:
    folder, db = memory / "files", f"sqlite:///{memory / 'catalog.db'}"
    folder.mkdir()
    cases = corpus(shared_data)[5::37]
    assert len(cases) > 48  # so many that processes of their own read them
    for number, case in enumerate(cases):
        odd = b"\x1b[2J\n\xe2\x80\xae\x07" if number % 2 else b"\xff"
        path = os.fsencode(folder) + f"/{number}".encode() + odd + f"_{case.kind}.fits".encode()
        Path(os.fsdecode(path)).write_bytes(case.content(number))
    for name in (b"\x1b[31m\xff.txt", b"hst_\x07\xfe_raw.fits"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"")
    done = run_limited("ingest", folder, "--workers", "2", db=db, cwd=memory)
    assert done.returncode == 6
    assert b"\\x1b[2J\\n" in done.stderr
    assert b"\\xff" in done.stderr
    assert done.stderr.count(b"\n") < 60
    report = run_limited("ingest", folder, "--json", "--workers", "1", db=db, cwd=memory)
    entries = json.loads(report.stdout)
    assert entries["rejected"] == len(entries["rejections"]) > 20
    # What is no character to another program is spelt out.
    assert b"\\udc" not in report.stdout
    assert run_limited("exposures", "-o", "list.vot", db=db, cwd=memory).returncode == 0


CARD_VALUES = st.one_of(
    st.integers().map(str),
    st.floats().map(repr),
    st.sampled_from(("T", "F", "", "''", "(1.0, 2.0)")),
    st.text(string.printable, max_size=70).map(lambda text: "'" + text.replace("'", "''") + "'"),
    st.binary(max_size=70),
)


def test_made_up_cards_never_raise(empty_catalog: sa.Engine, shared_data: Path, memory: Path) -> None:
    read: list[Case] = []
    path = memory / "x_raw.fits"
    content = sound(shared_data, "raw", 1)

    # Derandomized: the same examples in every run.
    @settings(
        max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, phases=[Phase.explicit, Phase.generate]
    )
    @given(st.dictionaries(st.sampled_from(CARD_KEYWORDS), CARD_VALUES, min_size=1, max_size=3))
    def try_cards(cards: dict[str, Any]) -> None:
        path.write_bytes(_with_cards(content, cards))
        result = read_file(path)
        if isinstance(result, FileReading):
            assert result.exposure is not None
            assert clean(result.exposure.rootname) == result.exposure.rootname
            if "ROOTNAME" not in cards and "EXPSTART" not in cards:
                read.append(
                    Case(repr(cards), "raw", lambda number: _with_cards(sound(shared_data, "raw", number), cards))
                )
        else:
            assert result.reason.isprintable()
            assert 0 < len(result.reason) < 300

    try_cards()
    path.unlink()
    assert len(read) > 20
    assert run_bad_input(shared_data, empty_catalog, memory, read[:60])["added"] == len(read[:60])


def _sound_with_cards(data: Path, cards: dict[str, Any], number: int) -> bytes:
    return _with_cards(sound(data, "raw", number), cards)


def _with_cards(content: bytes, cards: dict[str, Any]) -> bytes:
    for keyword, value in cards.items():
        content = overwritten(content, keyword, value)
    return content
