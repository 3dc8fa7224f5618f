"""The commands as a user types them: output forms, exit codes, one message and never a traceback."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from commands import PROGRAM
from twin_archive import REAL_FOLDERS

from sbcdark.catalog.engine import make_engine
from sbcdark.catalog.queries import SORT_KEYS
from sbcdark.pipeline.simulation.darks import Parameters
from sbcdark.pipeline.simulation.files import write_simulated
from sbcdark.pipeline.simulation.simulated_archive import simulate

if TYPE_CHECKING:
    from commands import Commands, Done


def test_ingest_says_what_it_did(sbcdark: Any, shared_data: Path) -> None:
    done = sbcdark("ingest", *(shared_data / folder for folder in REAL_FOLDERS), "--json")
    assert done.code == 0
    report = done.json()
    counts = [report[key] for key in ("added", "updated", "unchanged", "ignored", "rejected")]
    others = [path for path in (shared_data / "science_13655_standin").iterdir() if "_flt." not in path.name]
    assert counts == [32, 0, 0, len(others), 0]


def test_ingest_again_changes_nothing(filled: Any, shared_data: Path) -> None:
    done = filled("ingest", shared_data / "darks_13961", shared_data / "associations_13655", "--json")
    assert json.loads(done.stdout) == {
        "added": 0,
        "updated": 0,
        "unchanged": 24,
        "ignored": 0,
        "rejected": 0,
        "rejections": [],
        "ignored_files": [],
        "superseded": [],
        "programs": [],
        "judged": [],
        "darks_before": None,
        "warnings": [],
    }


def test_box_sums_are_those_of_the_table(filled: Any, real_data: Path) -> None:
    listed = json.loads(filled("darks", "--json").stdout)
    with (real_data / "tables" / "darks_13961_measured.csv").open() as file:
        table = {row["rootname"]: row for row in csv.DictReader(file)}
    assert {row["rootname"]: row["box_count"] for row in listed} == {
        name: float(row["box_sum"]) for name, row in table.items()
    }
    assert len(listed) == 20
    assert all(tuple(row) == SORT_KEYS for row in listed)


def test_listing_forms_agree(filled: Any, tmp_path: Path) -> None:
    as_json = json.loads(filled("exposures", "--hot", "--sort", "-temperature_mean_c", "--json").stdout)
    as_csv = list(
        csv.DictReader(io.StringIO(filled("exposures", "--hot", "--sort", "-temperature_mean_c", "--csv").stdout))
    )
    assert [row["rootname"] for row in as_json] == [row["rootname"] for row in as_csv]
    assert [row["rootname"] for row in as_json][:1] == ["jcrx01j2q"]
    assert len(as_json) == 13
    table = filled("exposures", "--hot").stdout
    assert all(row["rootname"] in table for row in as_json)
    done = filled("exposures", "-o", tmp_path / "list.ecsv")
    assert done.code == 0
    from astropy.table import Table  # noqa: PLC0415  only this test reads a table

    written = Table.read(tmp_path / "list.ecsv")
    assert len(written) == 28
    assert str(written["temperature_mean_c"].unit) == "deg_C"


def test_match_names_the_published_dark(filled: Any) -> None:
    (match,) = json.loads(filled("match", "JCMC11E6Q", "--rule", "notebook", "--json").stdout)
    assert list(match) == ["exposure", "rule", "tier", "darks", "nearest_rejected", "warnings", "templates"]
    assert [dark["dark"] for dark in match["darks"][:2]] == ["jcrx01ixq", "jcrx01iyq"]
    # Box sums 2319.9 against 2196 and 2445.
    assert [dark["score"] for dark in match["darks"][:2]] == pytest.approx([123.9, 125.1], abs=0.05)


def test_match_answers_for_a_program(filled: Any) -> None:
    matches = json.loads(filled("match", "--program", "13655", "--json").stdout)
    assert len(matches) == 8
    assert all(match["darks"] for match in matches)


def test_nothing_matched_is_told(filled: Any) -> None:
    done = filled("match", "jcmc11e6q", "--max-days", "1", "--json")
    assert done.code == 5
    (match,) = json.loads(done.stdout)
    assert match["darks"] == []
    assert match["tier"] == "none"
    assert "days away" in match["nearest_rejected"][0]["reason"]
    assert "Loosen --max-sigma" in done.stderr


def test_saved_selection_is_shown(filled: Any) -> None:
    assert "Stored selection 1" in filled("match", "jcmc11e6q", "--save").stderr
    (known,) = json.loads(filled("show", "jcmc11e6", "--json").stdout)
    assert known["selections"][0]["darks"] == ["jcrx01ixq"]
    assert known["files"][0]["kind"] == "FLT"


def test_list_on_stdin(database_url: str, shared_data: Path) -> None:
    listed = "\n".join(str(path) for path in sorted((shared_data / "darks_13961").iterdir())[:3])
    command = [PROGRAM, "--db", database_url, "ingest", "-", "--json"]
    done = subprocess.run(command, input=listed, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout)["added"] == 3


@pytest.mark.slow
def test_list_on_stdin_of_names_that_are_no_text(database_url: str, shared_data: Path, tmp_path: Path) -> None:
    names = [b"line\nfeed_raw.fits.gz", b"\xff\xfe_raw.fits.gz"]
    for name, source in zip(names, sorted((shared_data / "darks_13961").iterdir()), strict=False):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(source.read_bytes())
    # As `find -print0` gives them; a list without NUL has a name a line.
    for listed, known in ((b"\0".join(names) + b"\0", (2, 0)), (names[1] + b"\n\n", (0, 1))):
        done = subprocess.run(
            [PROGRAM, "--db", database_url, "ingest", "-", "--json"],
            input=listed,
            capture_output=True,
            check=True,
            timeout=120,
            cwd=tmp_path,
        )
        report = json.loads(done.stdout)
        assert (report["added"], report["unchanged"]) == known
    closed = f"exec {shlex.quote(str(PROGRAM))} --db {shlex.quote(database_url)} ingest - --json <&-"
    done = subprocess.run(["sh", "-c", closed], capture_output=True, check=True, timeout=120)
    assert json.loads(done.stdout)["added"] == 0


WRONG_USAGE: tuple[tuple[tuple[str, ...], int, str], ...] = (
    (("ingest", "nowhere"), 2, "'nowhere' does not exist"),
    (("match", "jxxx01abq"), 2, "has no exposure 'jxxx01abq'"),
    (("match", "../../etc"), 2, "has no exposure"),
    (("show", "x'; DROP TABLE exposures; --"), 2, "has no exposure"),
    (("darks", "--temp", "warm"), 2, "not a range of temperatures"),
    (("darks", "--since", "yesterday"), 2, "not a date"),
    (("darks", "--sort", "colour"), 2, "no column 'colour'"),
    (("darks", "--json", "--csv"), 2, "exclude each other"),
    (("darks", "-o", "list.txt"), 2, "gives no table format"),
    (("match",), 2, "No exposure is given"),
    (("match", "--program", "1"), 2, "no science exposure of program 1"),
    (("match", "--rule", "best", "jcmc11e6q"), 2, "best"),
    (("run", "jcmc11010", "-o", "out", "--aperture", "ellipse:1,2,3"), 2, "ellipse"),
    (("run", "jcmc11010", "-o", "out", "--aperture", "square:1,2,3"), 2, "square"),
    (("photometry", "jcmc11010", "-o", "out"), 2, "No aperture is given"),
    (("run", "jcmc11010", "-o", "out", "--regions", "nowhere.reg"), 2, "nowhere.reg"),
    (("run", "jcmc11010", "-o", "out", "--use", "jcmc11e6q"), 2, "is not EXPOSURE=DARK"),
    (("run", "nothing", "-o", "out"), 2, "has no exposure 'nothing'"),
    (("db", "downgrade", "base"), 2, "give --yes"),
    (("darks", "--temp", "27:25"), 2, "not a range of temperatures"),
    (("darks", "--temp", "nan:"), 2, "not a range of temperatures"),
    (("darks", "--program", "99999999999999999999"), 2, "is not the number of a program"),
    (("replay", "99999999999999999999", "-o", "out"), 2, "has no selection 99999999999999999999"),
    (("run", "jcmc11010", "-o", "out", "--use", "jcmc11e6q=jcrx01ixq", "--combine", "model"), 2, "forces a dark"),
    (
        (
            *("run", "jcmc11010", "-o", "out", "--combine", "nearest"),
            *("--use", "jcmc11e6q=jcrx01ixq", "--use", "jcmc11e6q=jcrx01iyq"),
        ),
        2,
        "takes one dark",
    ),
    (("db", "downgrade", "7777", "--yes"), 1, "no revision '7777'"),
)


def test_wrong_usage_is_one_message(filled: Any) -> None:
    for arguments, code, told in WRONG_USAGE:
        done = filled(*arguments)
        assert (done.code, told in done.stderr) == (code, True), (arguments, done.stderr)


def test_rejected_files_are_told(sbcdark: Any, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "x_raw.fits").write_text("SIMPLE is what this is not\n")
    (folder / "notes.txt").write_text("")
    done = sbcdark("ingest", folder)
    assert done.code == 6
    assert "1 ignored, 1 rejected" in done.stdout
    assert "x_raw.fits: not a FITS file" in done.stderr
    assert sbcdark("darks", "--json").stdout == "[]\n"
    assert sbcdark("ingest", folder).code == 6


def test_unreachable_catalogs(commands: Commands, tmp_path: Path) -> None:
    def darks(db: str) -> Done:
        return commands.run(tmp_path, db, "darks")

    done = darks("postgresql://somebody:secret@127.0.0.1:1/none")
    assert done.code == 3
    assert "cannot be reached" in done.stderr
    assert "secret" not in done.stderr
    assert darks(f"sqlite:///{tmp_path / 'nowhere.db'}").code == 3
    (tmp_path / "text.db").write_text("this is no database, but it is long enough to be read as one\n" * 50)
    assert darks(f"sqlite:///{tmp_path / 'text.db'}").code == 3
    assert darks("mysql://host/name").code == 2
    assert "is a folder" in darks(f"sqlite:///{tmp_path}").stderr
    assert "takes no options" in darks(f"sqlite:///{tmp_path / 'x.db'}?mode=ro").stderr
    assert darks("nothing-here.db").code == 3


def test_interrupt_that_comes_after_the_answer_changes_nothing() -> None:
    for number in range(4):
        process = subprocess.Popen([PROGRAM, "--version"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("sbcdark ")
        time.sleep(0.02 * number)  # the interpreter takes as long to go
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        # 130 where it came before the command was quite over.
        assert process.returncode in {0, 130}
        assert "Traceback" not in told


def test_empty_database_is_refused_by_those_that_read(sbcdark: Any, database_url: str) -> None:
    if database_url.startswith("sqlite"):
        make_engine(database_url, create=True).connect().close()
    done = sbcdark("darks")
    assert done.code == 4
    assert "sbcdark ingest" in done.stderr


def test_schema_commands(filled: Any) -> None:
    (known,) = json.loads(filled("db", "status", "--json").stdout)
    assert known["state"] == "current"
    assert filled("db", "upgrade").code == 0
    assert filled("db", "downgrade", "base", "--yes").code == 0
    assert filled("darks").code == 4
    assert filled("db", "upgrade").code == 0
    assert filled("darks", "--json").stdout == "[]\n"


def _mount(folder: Path, options: str) -> None:
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("mounting a small file system needs more rights than this user has")


@pytest.mark.parametrize("options", ["size=200k", "ro"], ids=["full", "read-only"])
def test_full_and_read_only_disks(tmp_path: Path, options: str) -> None:
    """A catalog that cannot be written is told in one message, and nothing half-written is left."""
    archive = tmp_path / "archive"
    archive.mkdir()
    for file in simulate(Parameters(number_of_darks=3, associations=False)).files():
        write_simulated(archive / file.name, file)
    small = tmp_path / "small"
    _mount(small, options)
    try:
        done = subprocess.run(
            [PROGRAM, "--db", f"sqlite:///{small / 'folder' / 'catalog.db'}", "ingest", str(archive)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode in {1, 3}
        assert done.stderr.startswith("sbcdark: ")
        assert "Traceback" not in done.stderr
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("options", ["size=12m", "ro"], ids=["full", "read-only"])
def test_products_on_full_and_read_only_disks(filled: Any, tmp_path: Path, options: str) -> None:
    small = tmp_path / "small"
    _mount(small, options)
    try:
        done = filled("run", "jcmc11010", "-o", small / "products", "--combine", "nearest")
        assert done.code == 1
        assert "sbcdark: " in done.stderr
        products = small / "products"
        assert not products.exists() or not list(products.glob("*.fits"))
        assert not products.exists() or not [path for path in products.iterdir() if path.name.startswith(".")]
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.slow
def test_demo_recovers_its_truth(tmp_path: Path) -> None:
    """Net rates within 3 sigma of truth; the output says where everything is."""
    environment = {key: value for key, value in os.environ.items() if key not in {"SBCDARK_DB", "jref"}}
    command = [PROGRAM, "demo", "-o", str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240, env=environment)
    for name in ("_products.png", "_drz.fits", "_dark.fits", "_phot.ecsv", "report/index.html"):
        assert name in done.stdout
    rows = [line.split() for line in done.stdout.partition("Truth in the aperture")[2].splitlines()]
    truth = [[float(cell) for cell in row[1:]] for row in rows if len(row) == 9 and row[0].startswith("j")]
    assert len(truth) == 2
    for _source, _sky, net_true, net, error, sigma, _dark_true, _dark in truth:
        assert abs(sigma) < 3
        # Both are written with four and two decimals.
        assert sigma == pytest.approx((net - net_true) / error, abs=0.02)
        assert error < 0.1 * net
