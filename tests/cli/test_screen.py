"""Tables on a narrow screen: nothing runs over, and no row loses what names it; headings can be typed back."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from astropy.table import Table
from helpers import ON_SQLITE

from sbcdark.catalog.engine import writing
from sbcdark.catalog.result_records import NewProduct
from sbcdark.catalog.results import write_product, write_selection
from sbcdark.cli.output import Column, fitted, fixed, rounded
from sbcdark.pipeline.selection.choice import choose_for
from sbcdark.pipeline.selection.rules import Combine, Requirements, Rule

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

COMMANDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("darks",), "jcrx01ixq"),
    (("exposures",), "jcmc11e6q"),
    (("show", "jcmc11e6q"), "jcmc11e6q"),
    (("show", "jcmc11010"), "jcmc11e6q"),
    (("show", "--selection", "1"), "jcrx01ixq"),
    (("match", "jcmc11e6q"), "jcrx01ixq"),
    (("match", "--program", "13655"), "jcmc11e6q"),
    (("why", "jcmc11e6q", "jcrx01isq"), "jcrx01isq"),
    (("status",), "13961"),
    (("changes",), ""),
)


@ON_SQLITE
@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
def test_nothing_runs_over_and_rows_keep_their_name(filled: Any, width: int) -> None:
    assert filled("match", "jcmc11e6q", "--save").code == 0
    for arguments, name in COMMANDS:
        done = filled(*arguments, columns=width)
        assert done.code == 0
        assert name in done.stdout
        for line in (done.stdout + done.stderr).splitlines():
            # The path of a file has no place to fold at.
            assert len(line.rstrip()) <= width or len(line.split()) == 1 or "sqlite:" in line, (arguments, line)


@ON_SQLITE
def test_pipe_is_not_folded(filled: Any) -> None:
    listed = filled("exposures").stdout
    assert "association" in listed
    assert "left out" not in filled("exposures").stderr


def test_least_important_columns_go_first() -> None:
    columns = [Column("name", "name"), Column("a", "a b", fixed(2), spare=1), Column("b", "bbbbb", spare=2)]
    cells = {column: ["jcrx01ixq" if column.key == "name" else "12.34"] for column in columns}
    assert list(fitted(cells, 23)[0].values()) == [9, 5, 5]
    kept, left_out = fitted(cells, 22)
    assert [column.key for column in kept] == ["name", "a"]
    assert [column.key for column in left_out] == ["b"]
    assert list(fitted(cells, 5)[0].items()) == [(columns[0], 5)]


def test_errors_give_the_digits() -> None:
    assert rounded(56.86058, 1.18052) == "56.9 +- 1.2"
    assert rounded(1234.5, 20.0) == "1234 +- 20"
    assert rounded(3.0, 0.0) == "3"


@ON_SQLITE
def test_printed_headings_sort_and_filter(filled: Any) -> None:
    def names(*arguments: str) -> list[str]:
        return [row["rootname"] for row in filled("exposures", *arguments, "--json").json()]

    assert names("--sort", "T mean (C)") == names("--sort", "t mean") == names("--sort", "temperature_mean_c")
    assert names("--sort", "-contrast")[0] == "jcrx01j2q"
    assert names("--where", "contrast > 40", "--where", "filter = F165LP") == ["jcmc11e6q"]
    assert names("--where", "contrast_count_s_pix > 40e-6", "--where", "kind=science") == ["jcmc11e6q"]
    assert names("--where", "hot pixels >= 0", "--where", "program = 13655") == []
    for condition in ("colour > 1", "contrast", "contrast >"):
        assert filled("exposures", "--where", condition).code == 2


@ON_SQLITE
def test_lists_hold_what_one_looks_for(filled: Any, tmp_path: Path) -> None:
    """The base with its error, the hot pixels, the quality with its reason; what all rows share stands above them."""
    assert filled("retire", "jcrx01ixq", "jcrx01iyq", "--reason", "edge of the SAA").code == 0
    done = filled("darks", "--quality", "retired,suspect", "--since", "2015-03", columns=120)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("2 darks, 2 hot, 2 retired.")
    assert "All have program 13961, time 1000 s" in done.stdout
    assert "edge of the SAA" in lines[-1]
    (row,) = [row for row in filled("darks", "--json").json() if row["rootname"] == "jcrx01ixq"]
    assert (row["quality"], row["quality_reason"]) == ("retired", "edge of the SAA")
    assert f"{row['quiet_rate_count_s_pix'] * 1e6:.2f} +- {row['quiet_rate_err_count_s_pix'] * 1e6:.2f}" in done.stdout
    assert f" {row['hot_pixels']} " in next(line for line in lines if "jcrx01ixq" in line)
    for name in ("x.csv", "x.ecsv"):
        assert filled("darks", "--until", "57085", "-o", tmp_path / name).code == 0
        assert len(Table.read(tmp_path / name)) == 20


@ON_SQLITE
def test_selection_is_shown(filled: Any) -> None:
    assert filled("match", "jcmc11e6q", "--save").code == 0
    shown = filled("show", "--selection", "1", columns=80).stdout
    assert shown.startswith("Selection 1: darks for jcmc11e6q by the rule glow")
    (known,) = json.loads(filled("show", "--selection", "1", "--json").stdout)
    assert [dark["dark"] for dark in known["darks"]] == ["jcrx01ixq"]
    assert known["darks"][0]["file_state"] == "present"
    missing = filled("show", "--selection", "7")
    assert (missing.code, "no selection 7" in missing.stderr) == (2, True)
    assert filled("show").code == 2


def test_an_association_shows_its_products_and_darks_are_an_association(
    filled: Any, real_catalog: sa.Engine, tmp_path: Path
) -> None:
    there = tmp_path / "jcmc11010_sbcdark_dark.fits"
    there.touch()
    with writing(real_catalog) as session:
        chosen = choose_for(session, ["jcmc11ctq", "jcmc11e6q"], Combine.MODEL, Rule.GLOW, Requirements(top=3))
        fits: dict[int, dict[str, Any]] = {write_selection(session, one, "1"): {} for one in chosen}
        for kind, uri in (
            ("science", "file:///gone/x_drz.fits"),
            ("masterdark", there.as_uri()),
            ("error", there.as_uri()),
        ):
            write_product(session, NewProduct("jcmc11010", kind, uri, "", "", {}, fits), "1", revision=1)
    real_catalog.dispose()
    lines = filled("show", "jcmc11010", columns=100).stdout.splitlines()
    first = lines.index("Stored products, the last of each kind") + 1
    assert re.fullmatch(r"  science of jcmc11010, made \S+ \S+ UTC from selections 1, 2", lines[first])
    assert lines[first + 1] == "  /gone/x_drz.fits (missing)"
    assert lines[first + 2].startswith("  masterdark and error of jcmc11010, made ")
    assert "".join(lines[first + 3 :]).replace(" ", "") == str(there)
    (known,) = filled("show", "jcmc11010", "--json").json()
    assert [one["selections"] for one in known["products"]] == [[1, 2]] * 3
    darks = filled("show", "jcrx01010", columns=100).stdout
    assert darks.startswith("jcrx01010: association of program 13961\n")
    assert "jcrx01iiq" in darks


def test_a_stored_selection_of_templates_tells_the_role_of_each_dark(filled: Any, real_catalog: sa.Engine) -> None:
    with writing(real_catalog) as session:
        chosen = choose_for(session, ["jcmc11e6q"], Combine.MODEL, Rule.GLOW, Requirements(top=3))
        assert write_selection(session, chosen[0], "1") == 1
        assert write_selection(session, chosen[0], "1") == 1
    real_catalog.dispose()
    assert filled("match", "jcmc11e6q", "--save").code == 0
    templates = filled("match", "jcmc11e6q", "--top", "3", "--json").json()[0]["templates"]
    (known,) = filled("show", "--selection", "1", "--json").json()
    assert [(one["dark"], one["role"]) for one in known["darks"]] == [(one["dark"], one["role"]) for one in templates]
    assert {one["role"] for one in known["darks"]} == {"rule", "cold", "warm"}
    assert "roles" not in known["parameters"]
    shown = filled("show", "--selection", "1", columns=80).stdout
    assert "rank  dark       role" in shown
    assert "Roles: rule ranks first" in shown
    # A selection of `match` alone is by the rule, without templates.
    assert "ole" not in filled("show", "--selection", "2").stdout
    assert filled("changes", "--json").json() == []


def test_no_summary_of_a_command_or_an_option_is_cut(commands: Any, tmp_path: Path) -> None:
    def helped(*command: str) -> list[str]:
        done = commands.run(tmp_path, "", *command, "--help", columns=80)
        assert done.code == 0
        lines: list[str] = done.stdout.splitlines()
        assert max(map(len, lines)) <= 80, command
        assert not [line for line in lines if line.endswith("...") and "--" not in line and "Usage" not in line]
        assert "\N{HORIZONTAL ELLIPSIS}" not in done.stdout
        # Words of the field, not of the language: no types, no x>=0.0.
        assert re.search("[<>{}]|list\\[|[a-z]+\\.0", re.sub("'contrast > 10'", "", done.stdout)) is None, command
        return [line.split()[0] for line in lines[lines.index("Commands:") + 1 :]] if "Commands:" in lines else []

    found = helped()
    assert {"ingest", "match", "run", "db"} <= set(found)
    for command in found:
        for second in helped(command):
            helped(command, second)
