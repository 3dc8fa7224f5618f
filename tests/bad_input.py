"""A corpus of bad input, named (`corpus`) and random (`flips`), and what has to hold whatever is ingested."""

from __future__ import annotations

import gzip
import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa
from helpers import BLOCK, CARD, dump

from sbcdark.catalog import models
from sbcdark.pipeline.ingest.ingestion import ingest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

KINDS = ("raw", "flt", "asn")

LONGEST_REASON = 300
LONGEST_TEXT = 2100  # a URI; all else is shorter
FILES_AT_ONCE = 60
"""Files that are ingested together: enough that the transactions do not count, few enough for 2 MB each in memory."""

VALUES: tuple[str | bytes | None, ...] = (
    None,
    "",
    "T",
    "0",
    "-1",
    "1E9",
    "-1.0E300",
    "1E-320",
    "NaN",
    "'NaN'",
    "99999999999999999999",
    "(1.0, 2.0)",
    "''",
    "'../../x'",
    "'jref$../../etc/passwd'",
    "'a''b\";DROP TABLE files;--'",
    b"'\x1b[2J\x1b]0;x\x07'",
    b"'line\nfeed'",
    b"'nul\x00nul'",
    b"'\xff\xfe\x80'",
    "'<script>alert(1)</script>'",
    "'0000-00-00'",
    "'%s%n{0}$(id)`id`'",
    "'unclosed",
)
"""What is written in place of a keyword's value; None takes the card away."""

PRIMARY_KEYWORDS = (
    "SIMPLE",
    "BITPIX",
    "NAXIS",
    "NEXTEND",
    "ROOTNAME",
    "PROPOSID",
    "IMAGETYP",
    "TARGNAME",
    "INSTRUME",
    "DETECTOR",
    "OBSTYPE",
    "OBSMODE",
    "FILTER1",
    "ASN_ID",
    "DATE-OBS",
    "EXPTIME",
    "EXPSTART",
    "EXPFLAG",
    "PROCTIME",
    "CAL_VER",
    "DARKCORR",
    "FLATCORR",
    "PFLTFILE",
)
EXTENSION_KEYWORDS = {
    "raw": (
        "XTENSION",
        "BITPIX",
        "NAXIS",
        "NAXIS1",
        "PCOUNT",
        "GCOUNT",
        "EXTNAME",
        "MDECODT1",
        "MDECODT2",
        "BUNIT",
        "PHOTFLAM",
    ),
    "flt": ("BITPIX", "NAXIS2", "MDECODT1", "BUNIT", "PHOTFLAM", "PHOTPLAM", "MEANDARK"),
    "asn": ("NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "TFIELDS", "TTYPE1", "TTYPE2", "TFORM1", "TFORM2", "TFORM3"),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One bad file.

    Attributes
    ----------
    name : str
        What is bad, and the seed where it is random.
    kind : str
        raw, flt or asn, as the file is called.
    content : callable
        Its bytes, made when they are needed, from the number that makes its exposure another one than all others.
    rejected : bool
        Whether nothing else than a rejection is right.
    """

    name: str
    kind: str
    content: Callable[[int], bytes]
    rejected: bool = False


@lru_cache(maxsize=1)
def _real(data: Path) -> dict[str, bytes]:
    """Return a real RAW, FLT and ASN, unpacked."""
    return {
        "raw": gzip.decompress((data / "darks_13961" / "jcrx01iiq_raw.fits.gz").read_bytes()),
        "flt": gzip.decompress((data / "science_13655_standin" / "jcmc11ctq_flt.fits.gz").read_bytes()),
        "asn": (data / "associations_13655" / "jcmc11010_asn.fits").read_bytes(),
    }


def sound(data: Path, kind: str, number: int) -> bytes:
    """Return a real file that says it is an exposure (or association) of its own, a day after the one before."""
    content = _real(data)[kind]
    content = overwritten(content, "ROOTNAME", f"'j{kind[0]}{number:06d}q'")
    if kind == "asn":
        return content
    return overwritten(content, "EXPSTART", f"{56_000 + number}.5")


def overwritten(content: bytes, keyword: str, value: str | bytes | None, extension: int = 0) -> bytes:
    """Return a FITS file with another value of a keyword that it has; None blanks the card."""
    start = 0 if extension == 0 else content.index(b"XTENSION")
    name = f"{keyword:8}=".encode()
    at = next((place for place in range(start, len(content), CARD) if content.startswith(name, place)), None)
    if at is None:
        raise ValueError(f"there is no {keyword}")
    raw = value.encode() if isinstance(value, str) else value
    card = b"" if raw is None else name + b" " + raw
    return content[:at] + card[:CARD].ljust(CARD) + content[at + CARD :]


def corpus(data: Path) -> list[Case]:
    """Return the named cases: truncations, keywords, and damage to the packing."""
    return [*truncations(data), *keywords(data), *packing(data)]


def truncations(data: Path) -> Iterator[Case]:
    """Cut a RAW after every block, an FLT and an ASN after some, and all of them within a block."""
    rng = np.random.default_rng(741)
    for kind in KINDS:
        length = len(_real(data)[kind])
        blocks = range(length // BLOCK)
        chosen = rng.choice(len(blocks), 40, replace=False).tolist() if kind == "flt" else blocks
        cuts = [block * BLOCK for block in chosen] + [1, 79, 81, BLOCK + 1, length // 2 + 7, length - BLOCK - 1]
        for cut in cuts:

            def content(number: int, kind: str = kind, cut: int = cut) -> bytes:
                return sound(data, kind, number)[:cut]

            yield Case(f"{kind} cut after byte {cut}", kind, content, rejected=True)


def keywords(data: Path) -> Iterator[Case]:
    """Write every value into every keyword that matters, of a RAW and an ASN; half of them into an FLT's."""
    for kind in KINDS:
        places = [(keyword, 0) for keyword in PRIMARY_KEYWORDS if kind != "flt"]
        places += [(keyword, 1) for keyword in EXTENSION_KEYWORDS[kind]]
        real = _real(data)[kind]
        for keyword, extension in places:
            try:
                overwritten(real, keyword, "", extension)
            except ValueError:
                continue  # an ASN has no FILTER1
            for value in VALUES[:: 2 if kind == "flt" else 1]:

                def content(
                    number: int,
                    kind: str = kind,
                    keyword: str = keyword,
                    value: str | bytes | None = value,
                    extension: int = extension,
                ) -> bytes:
                    return overwritten(sound(data, kind, number), keyword, value, extension)

                yield Case(f"{kind} {keyword}[{extension}] = {value!r}", kind, content)


def packing(data: Path) -> Iterator[Case]:
    """Damage the gzip stream of a RAW."""
    damages: dict[str, Callable[[bytes], bytes]] = {
        "no checksum": lambda packed: packed[:-8],
        "wrong checksum": lambda packed: packed[:-8] + bytes(8),
        "half": lambda packed: packed[: len(packed) // 2],
        "header alone": lambda packed: packed[:10],
        "junk behind": lambda packed: packed + b"junk",
        "twice": lambda packed: gzip.compress(packed, 1),
        "two files": lambda packed: packed + packed,
        "reserved flags": lambda packed: packed[:3] + b"\xff" + packed[4:],
        "endless name": lambda packed: packed[:3] + b"\x08" + packed[4:10] + b"x" * 1_000_000,
        "many empty streams": lambda packed: gzip.compress(b"") * 5000 + packed,
    }
    for name, damage in damages.items():

        def content(number: int, damage: Callable[[bytes], bytes] = damage) -> bytes:
            return damage(gzip.compress(sound(data, "raw", number), 1))

        yield Case(f"gzip: {name}", "raw", content, rejected=True)


def flips(data: Path, seed: int, number: int) -> list[Case]:
    """Return cases of random damage, each the same for a seed and its place, weighted to headers."""
    return [flipped(data, seed, place) for place in range(number)]


def flipped(data: Path, seed: int, place: int) -> Case:
    """Return one case of random damage, by which it can be made again alone."""
    rng = np.random.default_rng((seed, place))
    kind = str(rng.choice(KINDS, p=(0.5, 0.1, 0.4)))
    way = str(rng.choice(("bits", "bytes", "text", "cards", "blocks", "pixels"), p=(0.2, 0.15, 0.3, 0.15, 0.1, 0.1)))

    def content(number: int) -> bytes:
        return _damaged(np.random.default_rng((seed, place, 1)), sound(data, kind, number), way)

    return Case(f"{kind} {way}, seed {seed}, place {place}", kind, content)


def _damaged(rng: np.random.Generator, content: bytes, way: str) -> bytes:
    pixels = np.frombuffer(content, np.uint8).copy()
    header_blocks = np.array(_header_blocks(content))
    count = int(rng.integers(1, 24))
    if way == "pixels":
        places = rng.integers(0, len(pixels), count)
    else:
        places = rng.choice(header_blocks, count) * BLOCK + rng.integers(0, BLOCK, count)
    if way in {"bits", "pixels"}:
        pixels[places] ^= (1 << rng.integers(0, 8, count)).astype(np.uint8)
    elif way == "bytes":
        pixels[places] = rng.integers(0, 256, count)
    elif way == "text":
        pixels[places] = rng.integers(32, 127, count)
    elif way == "cards":
        # A card in another card's place: a keyword said twice, or one where it does not belong.
        cards = pixels[: len(pixels) // CARD * CARD].reshape(-1, CARD)
        cards[places // CARD] = cards[rng.permutation(places // CARD)]
    else:
        one, other = rng.choice(header_blocks, 2)
        blocks = pixels[: len(pixels) // BLOCK * BLOCK].reshape(-1, BLOCK)
        blocks[[one, other]] = blocks[[other, one]]
    return pixels.tobytes()


def _header_blocks(content: bytes) -> list[int]:
    """Return the numbers of the blocks that hold text alone."""
    blocks = np.frombuffer(content[: len(content) // BLOCK * BLOCK], np.uint8).reshape(-1, BLOCK)
    # Pixels of so few counts hold no letters: a look at a block's first card tells most of them.
    return [number for number, block in enumerate(blocks) if block[0] >= 32 and ((block >= 32) & (block < 127)).all()]


def run_bad_input(data: Path, engine: sa.Engine, folder: Path, cases: Sequence[Case]) -> Counter[str]:
    """Ingest bad files, many at a time, and hold what must hold.

    Every file ends as added, ignored or rejected, the last two with a reason of one printable line; nothing is raised;
    what the catalog held before and what lies beside the files is as it was; what is stored can be.

    Parameters
    ----------
    data : Path
        The folder of real data.
    engine : Engine
        A catalog; the sound files that are put there first have to stay as they are.
    folder : Path
        A folder to work in, empty, best in memory.

    Returns
    -------
    Counter
        How many cases ended as added, ignored and rejected.

    Raises
    ------
    AssertionError
        Something does not hold; the message names the case.
    """
    beside, place = folder / "beside", folder / "files"
    beside.mkdir()
    place.mkdir()
    (beside / "kept.txt").write_text("as it was")
    for number, kind in enumerate(KINDS):
        (beside / f"sound_{kind}.fits").write_bytes(sound(data, kind, 23_000 + number))
    assert ingest(engine, [beside], workers=1).added == len(KINDS)
    tried: Counter[str] = Counter()
    for start in range(0, len(cases), FILES_AT_ONCE):
        batch = cases[start : start + FILES_AT_ONCE]
        written = {}
        for number, case in enumerate(batch, start=start):
            path = place / f"case{number:06d}_{case.kind}.fits"
            path.write_bytes(case.content(number))
            written[path] = case
        tried += _ingested(engine, folder, written)
        for path in written:
            path.unlink()
    return tried


def _rows(engine: sa.Engine) -> dict[str, set[str]]:
    """Return every row as text, without the quality of exposures: that follows from all darks together."""
    rows = {name: set(map(repr, found)) for name, found in dump(engine).items() if name != "exposures"}
    kept = [column for column in models.Exposure.__table__.columns if not column.name.startswith("quality")]
    with engine.connect() as connection:
        rows["exposures"] = {repr(tuple(row)) for row in connection.execute(sa.select(*kept))}
    return rows


def _ingested(engine: sa.Engine, folder: Path, written: dict[Path, Case]) -> Counter[str]:
    before, tree = _rows(engine), _tree(folder)
    report = ingest(engine, [folder / "files"], workers=1)
    after = dump(engine)
    assert _tree(folder) == tree
    now = _rows(engine)
    for name, rows in before.items():
        lost = rows - now[name]
        # The row of a run grows with its batches; every other row is written once.
        assert not lost or name == "ingest_runs", f"{name} lost {lost}"
    outcomes = {written[path]: "added" for path in written}
    for word, entries in (("ignored", report.ignored_files), ("rejected", report.rejections)):
        for entry in entries:
            outcomes[written[Path(entry["path"])]] = word
            reason = entry["reason"]
            assert reason.isprintable(), entry
            assert 0 < len(reason) < LONGEST_REASON, entry
    found = Counter(outcomes.values())
    assert (found["added"], found["ignored"], found["rejected"]) == (report.added, report.ignored, report.rejected)
    assert report.updated == report.unchanged == 0
    for case, outcome in outcomes.items():
        assert not case.rejected or outcome == "rejected", f"{case.name} was {outcome}"
    check_stored(engine, after)
    return found


def _tree(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*"))


def check_stored(engine: sa.Engine, tables: dict[str, list[tuple[Any, ...]]]) -> None:
    """Hold that everything in a catalog is finite, printable, and within bounds.

    Raises
    ------
    AssertionError
    """
    for name, rows in tables.items():
        for value in _scalars(rows):
            if isinstance(value, float):
                assert math.isfinite(value), (name, value)
            elif isinstance(value, str):
                assert value.isprintable(), (name, value)
                assert len(value) < LONGEST_TEXT, (name, value)
    exposure, file, measured = models.Exposure, models.File, models.Measurement
    with engine.connect() as connection:
        for row in connection.execute(sa.select(exposure.__table__)):
            assert 0.01 < row.exptime_s < 20_000
            assert 52_000 < row.start_mjd < 80_000
            assert -50 < row.temperature_mean_c < 100
            assert row.program is None or 0 < row.program < 1_000_000
            assert row.box_rate_err_count_s_pix > 0
        query = (
            sa.select(measured.__table__, file.exposure_facts, file.dark_correction)
            .join(file, file.id == measured.file_id)
            .where(file.exposure_facts.is_not(None))
        )
        for row in connection.execute(query):
            assert row.good_pixels > 0
            assert row.rate_err_count_s_pix > 0
            # What a dark was subtracted from may sum to less than nothing.
            assert row.counts >= 0 or row.dark_correction == "COMPLETE"
            expected = row.counts / (row.good_pixels * row.exposure_facts["exptime_s"])
            assert math.isclose(row.rate_count_s_pix, expected, rel_tol=1e-12)


def _scalars(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        yield from _scalars(list(value.items()))
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _scalars(entry)
    else:
        yield value
