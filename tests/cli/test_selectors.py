"""The same selectors on every command that works on exposures, and mistyped ones, as a user types them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest
from helpers import ON_SQLITE

from sbcdark.cli.main import app, register

if TYPE_CHECKING:
    from pathlib import Path


_SELECTING = (
    *("match", "run", "photometry", "masterdark", "subtract", "exposures", "darks", "show", "verify", "plot"),
    *("report", "validate", "changes", "retire", "restore"),
)


def test_every_command_on_exposures_has_the_same_selectors() -> None:
    import typer  # noqa: PLC0415  only here

    register()
    commands = typer.main.get_group(app).commands
    for name in _SELECTING:
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert {"names", "--program", "--association", "--target"} <= options, name


def test_lists_take_names_associations_and_targets(filled: Any) -> None:
    def names(command: str) -> list[str]:
        return [row["rootname"] for row in filled(*shlex.split(command), "--json").json()]

    assert names("darks JCRX01ISQ raw/jcrx01iiq_raw.fits.gz") == ["jcrx01iiq", "jcrx01isq"]
    assert names("darks jcrx01010") == names("exposures --association jcrx01010")
    assert len(names("darks jcrx01010")) == 5
    assert names("exposures program/jcmc11010_asn.fits") == ["jcmc11ctq", "jcmc11e6q"]
    assert names("exposures --target irasf10594+3818 --filter f165lp") == ["jcmc11ctq", "jcmc11e6q"]
    assert names("exposures jcmc11010 --program 13961") == []


def test_selectors_may_be_repeated(filled: Any) -> None:
    def names(command: str) -> list[str]:
        return [row.get("rootname", row.get("exposure")) for row in filled(*shlex.split(command), "--json").json()]

    both = names("match --association jcmc11010 --association JCMC11020")
    assert sorted(both) == ["jcmc11ctq", "jcmc11cwq", "jcmc11dtq", "jcmc11e6q"]
    assert names("exposures --association jcmc11010 --association jcmc11020") == sorted(both)
    assert len(names("exposures --program 13655 --program 13961")) == 28
    assert names("darks --program 13655 --program 13961 --hot") == names("darks --hot")
    assert len(names("exposures --target irasf10594+3818 --target DARK --program 13655")) == 8
    both_filters = names("exposures --filter f165lp --filter F125LP")
    assert both_filters == sorted(both)
    assert len(names("show --program 13655 --program 13961")) == 28
    assert filled("verify", "--program", "13655", "--program", "13961").stdout.startswith("32 present")
    mistyped = filled("match", "--program", "13655", "--program", "13656")
    assert (mistyped.code, "no science exposure of program 13656" in mistyped.stderr) == (2, True)


@ON_SQLITE
def test_selectors_take_several_by_commas(filled: Any) -> None:
    def names(command: str) -> list[str]:
        return [row.get("rootname", row.get("exposure")) for row in filled(*shlex.split(command), "--json").json()]

    both = ["jcmc11ctq", "jcmc11cwq", "jcmc11dtq", "jcmc11e6q"]
    assert names("exposures --filter F125LP,F165LP") == names("exposures --filter 'f125lp, F165LP,'") == both
    assert sorted(names("match --association jcmc11010,JCMC11020")) == both
    assert names("exposures --association jcmc11010,jcmc11020") == both
    assert names("match jcmc11e6q,JCMC11CTQ") == names("match jcmc11e6q, jcmc11ctq") == ["jcmc11e6q", "jcmc11ctq"]
    assert len(names("exposures --program 13655,13961")) == 28
    assert len(names("show --program 13655,13961")) == 28
    assert len(names("exposures --target irasf10594+3818,NGC1275")) == 8
    assert filled("verify", "--association", "jcmc11010,jcmc11020").stdout.startswith("6 present")
    assert names("exposures --filter ''") == names("exposures --filter ,") == []
    assert len(names("darks --quality good --quality suspect")) == len(names("darks --quality good,suspect")) == 20


@ON_SQLITE
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("exposures --filter F125LP,F999W", "no exposure is of filter F999W; the catalog has F125LP, F140LP, F150LP"),
        ("darks --program 13655", "no dark is of program 13655; the catalog has 13961"),
        ("exposures --target NGC1275", "no exposure is of target NGC1275; the catalog has IRASF10594+3818"),
        ("darks --association jcmc11010", "no dark is of association jcmc11010; the catalog has jcrx01010"),
        ("exposures --filter F125LP --hot", ""),
    ],
)
def test_lists_name_what_the_catalog_has_not(filled: Any, typed: str, said: str) -> None:
    done = filled(*shlex.split(typed))
    assert done.code == 0
    assert done.stderr.startswith(said)
    assert bool(done.stderr) == bool(said)


@ON_SQLITE
def test_upkeep_takes_programs_and_associations(filled: Any) -> None:
    assert filled("verify", "--program", "13655").stdout.startswith("12 present")
    assert filled("verify", "--association", "jcrx01010").stdout.startswith("5 present")
    assert filled("verify", "--target", "IRASF10594+3818").stdout.startswith("12 present")
    done = filled("retire", "jcrx01010", "--reason", "test of the whole association")
    assert done.stdout.count("is retired") == 5
    assert filled("restore", "--association", "JCRX01010", "--reason", "again").stdout.count("selected again") == 5
    assert filled("retire", "--reason", "none").code == 2
    assert filled("retire", "jcrx01isq", "jcrx99isq", "--reason", "one is mistyped").code == 2
    assert filled("darks", "--quality", "retired", "--json").json() == []
    assert [one["exposure"] for one in filled("match", "jcmc11010", "--save", "--json").json()] != []
    assert filled("retire", "jcrx01ixq", "--reason", "a change").code == 0
    assert [row["exposure"] for row in filled("changes", "jcmc11010", "--json").json()] == ["jcmc11e6q"]
    assert filled("changes", "--association", "jcmc11020", "--json").json() == []
    assert [one["rootname"] for one in filled("show", "--association", "jcmc11010", "--json").json()[0]["exposures"]]


@ON_SQLITE
def test_a_report_of_some_exposures_links_to_no_others(filled: Any, tmp_path: Path) -> None:
    import re  # noqa: PLC0415  only here

    assert filled("report", "jcmc11010", "-o", "pages").code == 0
    pages = tmp_path / "pages"
    assert sorted(path.stem for path in (pages / "exposures").iterdir()) == ["jcmc11ctq", "jcmc11e6q"]
    assert [path.stem for path in (pages / "associations").iterdir()] == ["jcmc11010"]
    index = (pages / "index.html").read_text(encoding="utf-8")
    assert "pages of 2 of 8 science exposures, 0 of 20 darks and 1 of 4 associations." in index
    assert "below are of the whole catalog" in index
    assert filled("report", "-o", "whole").code == 0
    assert "whole catalog" not in (tmp_path / "whole" / "index.html").read_text(encoding="utf-8")
    for page in pages.rglob("*.html"):
        for link in re.findall(r'href="([^"#:]+)"', page.read_text(encoding="utf-8")):
            assert (page.parent / link).resolve().exists(), (page, link)


@ON_SQLITE
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("fetch --program 13655 --program 13961", "fetch gets one program at a time."),
        ("fetch --program 13655,13961", "fetch gets one program at a time."),
        ("why jcmc11e6q", "Write sbcdark why EXPOSURE DARK;"),
        ("why jcmc11e6q jcrx01isq jcrx01itq", "sbcdark why does not take jcrx01itq."),
        ("why jcmc11e6q jcrx01010", "jcrx01010 is an association of the darks jcrx01iiq, jcrx01ijq"),
        ("run jcmc11010 --o products", "Did you mean -o?"),
        ("run jcmc11010 -o products --region a.reg", "Did you mean --regions?"),
        ("darks --temperature 25:", "Did you mean --temp?"),
        ("darks --limit 3", "No such option: --limit\n"),
        ("run jcmc11010 -o products --sky 5e-6", "sbcdark: --sky '5e-6' is not a valid sky."),
        ("run jcmc11010 -o products --aperture circle@165.5,38.0,4320", "has r = 4320, outside 0.0025-51.2 arcsec."),
        ("show --selection 1,x", "--selection 'x' is not the number of a selection."),
        ("show --selection 1,7", "The catalog has no selection 1."),
        ("validate --sky 5", "Write levels in count/s/pixel, up to 1, e.g."),
        ("plot history h.png", "Give the file with -o h.png"),
        ("match 13655", "A program is given by --program 13655."),
        ("match IRASF10594+3818", "A target is given by --target irasf10594+3818."),
        ("match jcmc11e6*", "Root names take no wildcards."),
        ("darks --program 13961,x", "'x' is not the number of a program."),
        ("relocate nowhere", "'nowhere' does not exist."),
        ("ingest darks/*.fits", "No file has such a name; name the folder."),
        ("ingest ''", "'' does not exist."),
        ("show 1", "sbcdark show --selection N"),
        ("match --target NGC1275", "Its targets are: IRASF10594+3818."),
        ("why jcmc11010 jcrx01isq", "jcmc11010 is an association of jcmc11ctq, jcmc11e6q."),
        ("why jcrx01isq jcmc11e6q", "sbcdark why jcmc11e6q jcrx01isq"),
        ("match jcmc11e6q --use jcrx01isq", "No such option: --use"),
        ("replay jcmc11010 -o new", "Make some: sbcdark run jcmc11010 -o DIR"),
        ("replay 99 -o new", "The catalog has no selection 99."),
        ("plot match -o m.png", "sbcdark plot match EXPOSURE"),
        ("darks --where contrast>high", "'high' is not a number, and 'contrast' holds numbers."),
        ("darks --where contrast", "Write it in quotes: --where 'contrast > 10'"),
        ("darks --sort contrst", "Did you mean 'contrast'?"),
        ("run jcrx01010 -o new", " darks; science exposures are needed."),
        ("match jcrx01010", "The darks: sbcdark darks jcrx01010"),
        ("replay jcrx01010 -o new", "jcrx01010 is an association of "),
        ("run --program 13961 -o new", "no science exposure of program 13961, but 20 darks."),
        ("darks --sort start --sort=contrast", "--sort is given twice: 'start' and 'contrast'.\n  Give it once."),
        ("run jcmc11010 -o a --output b", "-o is given twice: 'a' and 'b'."),
        ("--db sqlite:///one.db --db sqlite:///other.db status", "--db is given twice: "),
        ("ingest . --checksum --no-checksum", "--checksum and --no-checksum exclude each other."),
        ("match jcmc11e6q --top 0", "Invalid value for '--top': it is less than 1\n"),
        ("serve --port 70000", "Invalid value for '--port': it is more than 65535\n"),
    ],
)
def test_what_is_mistyped_is_answered_with_what_to_type(filled: Any, typed: str, said: str) -> None:
    done = filled(*shlex.split(typed))
    assert done.code == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@ON_SQLITE
def test_conditions_are_joined_by_and(filled: Any) -> None:
    def names(*arguments: str) -> list[str]:
        return [row["rootname"] for row in filled("darks", *arguments, "--json").json()]

    both = names("--where", "contrast > 50", "--where", "T mean < 28")
    assert both == ["jcrx01iyq", "jcrx01j0q"]
    assert names("--where", "contrast>50 and T mean<28") == both
    assert names("--where", "contrast > 50 & temperature < 28") == both
    assert names("--where", "start >= 2015-03-03 and start < 2015-03-03T02:20") == ["jcrx01iiq"]
    assert names("--where", "date > 2015-03-03") == []
    assert len(names("--where", "date = 2015-03-03")) == 20
    assert names("--where", "quality != good") == []
