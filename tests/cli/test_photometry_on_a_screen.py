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
    "--aperture ellipse:735,710,70,40,90 --aperture 'fk5; ellipse(11:02:14.1,+38:02:35,1.75\",1.0\",30)' "
    "--aperture circle:735,710,30"
)
NUMBERED = ["1  ellipse:735,710,70,40,90", "2  ellipse@165.5587473,38.0430594,1.75,1,-60", "3  circle:735,710,30"]
"""What stands above the table."""


@ON_SQLITE
@pytest.mark.slow
@pytest.mark.long
def test_long_apertures_leave_room_for_flux_and_magnitude(sbcdark: Any, shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "program").mkdir()
    for path in (shared_data / "science_13655_standin").glob("jcmc11???_flt.fits.gz"):
        copy_with_counts(path, tmp_path / "program" / path.stem, PHOTFLAM=1.3e-16, PHOTPLAM=1762.0)
    archive = [shared_data / "darks_13961", shared_data / "associations_13655"]
    assert sbcdark("ingest", *archive, "program").code == 0
    names = ["jcmc11010", "jcmc11020", "jcmc11030", "jcmc11040"]
    measure = shlex.split(f"photometry {' '.join(names)} -o products {APERTURES}")
    for width in (80, 120):
        done = sbcdark(*measure, columns=width)
        assert done.code == 0, done.stderr
        lines = [line.strip() for line in done.stdout.splitlines()]
        assert max(map(len, lines)) <= width
        assert [line for line in lines if line in NUMBERED] == NUMBERED
        place = next(place for place, line in enumerate(lines) if line.startswith("association"))
        assert lines[place].split()[:2] == ["association", "no."]
        assert {"source", "sigma", "flux"} < set(lines[place].split())
        assert lines[place].endswith("AB mag")
        rows = [line.split()[:2] for line in lines[place + 2 : place + 14]]
        assert rows == [[name, number] for name in names for number in "123"]
        assert ("left out" in done.stderr) == (width == 80)
    # A pipe has room for the texts in the rows, and a curve of growth has the numbers, too.
    assert "no.  aperture" in sbcdark(*measure).stdout
    grown = sbcdark(
        *shlex.split("photometry jcmc11010 -o products --aperture circle:735,710,30 --growth 9"), columns=80
    )
    assert grown.code == 0, grown.stderr
    growth = grown.stdout.split("Curves of growth of jcmc11010\n")[1].splitlines()
    assert growth[0].startswith("All have radius 9.0 pix") or growth[0].split()[:2] == ["no.", "radius"]


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
