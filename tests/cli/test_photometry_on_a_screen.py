"""Photometry on a screen: the text of an aperture gives way before what is measured in it, as a user types it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest
from flt_copies import copy_with_counts
from helpers import ON_SQLITE

from sbcdark.cli.output import Column, fitted, print_table

if TYPE_CHECKING:
    from pathlib import Path

APERTURES = (
    "--aperture ellipse@11:02:14.1,+38:02:35,1.2,0.8,30 --aperture ellipse@165.558750123,38.043055612,1.2,0.8,35 "
)


@ON_SQLITE
@pytest.mark.slow
@pytest.mark.long
def test_long_apertures_leave_room_for_flux_and_magnitude(sbcdark: Any, shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "program").mkdir()
    for path in (shared_data / "science_13655_standin").glob("jcmc11???_flt.fits.gz"):
        copy_with_counts(path, tmp_path / "program" / path.stem, PHOTFLAM=1.3e-16, PHOTPLAM=1762.0)
    archive = [shared_data / "darks_13961", shared_data / "associations_13655"]
    assert sbcdark("ingest", *archive, "program").code == 0
    measure = shlex.split(f"photometry jcmc11010 -o products {APERTURES}")
    for width in (80, 120):
        done = sbcdark(*measure, columns=width)
        assert done.code == 0, done.stderr
        heading = next(line for line in done.stdout.splitlines() if line.startswith("no."))
        assert heading.split()[-3:] == ["flux", "AB", "mag"]
        assert max(map(len, done.stdout.splitlines())) <= width
        rows = done.stdout.split("─\n")[1].split("\n\n")[0]
        start = heading.index("aperture")
        texts = "".join(line[start:].split("  ")[0].strip() for line in rows.splitlines())
        assert texts == "ellipse@165.55875,38.0430556,1.2,0.8,30ellipse@165.5587501,38.0430556,1.2,0.8,35"
    # With a column for the association, too, less important columns go before the magnitude.
    both = sbcdark(*measure, "jcmc11020", columns=80)
    assert both.code == 0, both.stderr
    assert next(line for line in both.stdout.splitlines() if line.startswith("association")).split()[-2:] == [
        "AB",
        "mag",
    ]


@pytest.mark.parametrize("width", [40, 30, 25])
def test_prose_continues_after_a_comma_and_no_letter_is_lost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    columns = (Column("number", "no."), Column("aperture", "aperture", folds=True), Column("flux", "flux", spare=1))
    texts = ["ellipse@165.5587500,38.0430556,1.2,0.8,30", "ellipse@165.5587501,38.0430556,1.2,0.8,30"]
    rows = [{"number": number, "aperture": text, "flux": "2.065e-16"} for number, text in enumerate(texts, 1)]
    print_table(rows, columns)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    cells = {column: [str(row[column.key]) for row in rows] for column in columns}
    size = fitted(cells, width)[0][columns[1]]
    assert "".join(line[5 : 5 + size].strip() for line in lines[2:]) == "".join(texts)
    assert ("flux" in lines[0]) == (width >= 40)
