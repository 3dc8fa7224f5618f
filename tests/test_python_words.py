"""What to type is said in Python's words to a user of `Catalog`, and in those of the command line to the other."""

from __future__ import annotations

import inspect
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

from sbcdark import Catalog
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.python_words import KEYWORDS, METHODS, in_python
from sbcdark.cli.app import app
from sbcdark.cli.main import register

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("said", "python"),
    [
        ("Ingest it: sbcdark ingest '/a b/c.fits'", 'Ingest it: catalog.ingest("/a b/c.fits")'),
        (
            "Create one: sbcdark ingest PATH (or give --db another URL).",
            'Create one: catalog.ingest("PATH") (or give Catalog another URL).',
        ),
        ("Give --db sqlite:///path/catalog.db.", 'Give Catalog("sqlite:///path/catalog.db").'),
        ("`sbcdark show NAME` lists those.", '`catalog.show("NAME")` lists those.'),
        ("A stored selection: sbcdark show --selection N", "A stored selection: catalog.selection(N)"),
        ("Make some: sbcdark run jcmc11010 -o DIR", 'Make some: catalog.run("jcmc11010", folder="DIR")'),
        ("sbcdark plot fit jcmc11e6q -o fit.png", 'catalog.plot("fit", "jcmc11e6q", path="fit.png")'),
        ("Measure it: sbcdark run NAME --aperture SPEC", 'Measure it: catalog.run("NAME", apertures="SPEC")'),
        (
            "sbcdark fetch --program 13961 --darks, or sbcdark fetch --update --since DATE",
            'catalog.fetch(program=13961, science=False), or catalog.fetch(update=True, since="DATE")',
        ),
        ("by name: --use jcmc11e6q=jcrx01isq (run)", 'by name: use={"jcmc11e6q": "jcrx01isq"} (run)'),
        ("Name one with --use JCRX01ISQ.", 'Name one with use="JCRX01ISQ".'),
        ("Loosen --max-sigma, --max-days or --min-exptime", "Loosen `max_sigma`, `max_days` or `min_exptime_s`"),
        ("--min-exptime 300 --top 7", "min_exptime_s=300 top=7"),
        ("Give another file with -o, or --overwrite.", "Give another file, or overwrite=True."),
        (
            "Give --overwrite to replace it, or -o another folder.",
            "Give overwrite=True to replace it, or another folder.",
        ),
        ("Use --sky annulus:R_IN,R_OUT or --sky none.", 'Use sky="annulus:R_IN,R_OUT" or sky="none".'),
        ("the archive's; get the archive's with --renew", "the archive's; get the archive's with renew=True"),
        ("List them: sbcdark exposures", "List them: catalog.exposures()"),
        ("Run: sbcdark db upgrade", "Run: sbcdark db upgrade"),
        ("crds bestrefs --files FLT", "crds bestrefs --files FLT"),
        ("Write `x`.", "Write `x`."),
    ],
)
def test_commands_are_calls_and_options_keywords(said: str, python: str) -> None:
    assert in_python(said) == python


OF_OUTPUT = {"json", "csv", "output", "overwrite", "help", "selection", "all"}
"""Options of what is printed, and those that Python has otherwise."""


def test_every_command_and_option_has_its_words() -> None:
    register()
    commands: Any = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    named = {name: one for name, one in commands.items() if name != "db"}
    assert set(named) - set(METHODS) == {"demo"}
    assert {f"db {name}" for name in commands["db"].commands} & set(METHODS) == {"db export", "db import"}
    for name in set(named) & set(METHODS):
        keywords = inspect.signature(getattr(Catalog, METHODS[name])).parameters
        options = {max(one.opts, key=len)[2:] for one in named[name].params if one.param_type_name == "option"}
        missing = {one for one in options - OF_OUTPUT if KEYWORDS[one] not in keywords}
        # Python shows the residuals in apertures by `preview`, and takes the levels of sky as numbers.
        assert missing == {"match": {"aperture", "flat"}, "validate": {"sky"}}.get(name, set()), name


def test_errors_and_warnings_have_the_words_of_who_asks(real_file: Path, tmp_path: Path, commands: Any) -> None:
    shutil.copy(real_file, tmp_path / "catalog.db")
    cat = Catalog(tmp_path / "catalog.db")
    with pytest.raises(UsageError) as told:
        cat.match("nosuch")
    assert str(told.value) == "The catalog has no exposure 'nosuch'. List them: catalog.exposures()"
    assert told.value.todo == "List them: sbcdark exposures"
    assert cat.why("jcmc11e6q", "jcrx01iyq", top=1).relaxation == "max_sigma=3.7 top=2"
    assert "`max_sigma`" in cat.advice("jcmc11e6q")
    (warning,) = cat.match("jcmc11e6q", rule="temperature").warnings
    assert "rule=" in warning
    (flat, _) = cat.missing_flats("jcmc11010")
    assert 'flat="FOLDER"' in flat
    said = commands.run(tmp_path, f"sqlite:///{tmp_path}/catalog.db", "match", "jcmc11e6q", "--rule", "temperature")
    assert "rule=" not in said.stderr
    assert "--rule glow" in said.stderr
    said = commands.run(tmp_path, f"sqlite:///{tmp_path}/catalog.db", "match", "nosuch")
    assert "List them: sbcdark exposures" in said.stderr
