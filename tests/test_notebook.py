"""What a notebook shows: results, progress, errors; and the interrupt of a cell."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy import units as u

from sbcdark import Catalog
from sbcdark.apertures_and_radii import apertures_from, radii_from
from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.result_records import PhotometryRecord
from sbcdark.pipeline.ingest.report import IngestReport
from sbcdark.pipeline.products.run import Outcome
from sbcdark.results import Products

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cat(real_file: Path) -> Catalog:
    """Return a catalog that is only read."""
    return Catalog(real_file)


def test_results_show_a_line_their_warnings_and_a_table(cat: Catalog) -> None:
    several: Any = cat.match(["jcmc11e6q", "jcmc11ctq"])
    shown = several._repr_html_()
    assert shown.count("<table") == 2
    assert "Match jcmc11e6q: rule glow, tier 2 sigma: jcrx01ixq" in shown
    assert re.sub(r"table\d+", "", cat.match("jcmc11e6q")._repr_html_()) in re.sub(r"table\d+", "", shown)
    unmatched = cat.match("jcmc11e6q", max_days=1)._repr_html_()
    assert "<table" not in unmatched
    assert "days away, more than 1" in unmatched
    for one in (cat.why("jcmc11e6q", "jcrx01isq"), cat.status(), cat.dark("jcmc11e6q", combine="nearest")):
        assert "<table" in one._repr_html_()
    assert "glow_27c_count_s_pix" in cat.history()._repr_html_()


def test_figures_of_several_exposures_are_shown(cat: Catalog) -> None:
    drawn: Any = cat.plot("match", ["jcmc11e6q", "jcmc11ctq"])
    assert drawn._repr_html_().count('<img src="data:image/png;base64,iVBOR') == 2


def test_failures_say_what_to_do_and_texts_are_not_html() -> None:
    failed = Products(Outcome("jcmc11010", failure=UsageError("No <b>dark</b>.", "Loosen it.")))
    assert "No &lt;b&gt;dark&lt;/b&gt;." in failed._repr_html_()
    assert "<li>Loosen it.</li>" in failed._repr_html_()
    warned = Products(Outcome("jcmc11010", warnings=("<i>",), failure=UsageError("No.")))
    assert "<li>&lt;i&gt;</li>" in warned._repr_html_()


def test_a_report_of_an_ingest_is_short_and_names_rejected_files() -> None:
    report = IngestReport(added=2, unchanged=1)
    assert repr(report) == "<IngestReport: 2 added, 1 unchanged>"
    for number in range(5):
        report.reject(f"{number}_raw.fits", "not FITS")
    assert "2 added, 1 unchanged, 5 rejected. rejected 0_raw.fits: not FITS; " in repr(report)
    assert repr(report).endswith("; and 2 more>")
    assert repr(IngestReport()) == "<IngestReport: no file>"


def test_subtracted_frames_show_their_warnings_and_progress(cat: Catalog, tmp_path: Path) -> None:
    counted: list[tuple[int, int]] = []
    made: Any = cat.subtract(
        ["jcmc11010", "jcmc11cwq"],
        tmp_path,
        combine="nearest",
        progress=lambda done, total: counted.append((done, total)),
    )
    assert counted == [(0, 2), (1, 2), (2, 2)]
    assert re.fullmatch(
        r"<Subtracted jcmc11ctq: dark \(nearest\) \S+ count/pixel, \d+ warnings?, .*/jcmc11ctq_flt\.fits>",
        repr(made[0]),
    )
    assert made._repr_html_().count("<li>") == sum(len(one.warnings) for one in made) > 0


def test_signatures_show_every_keyword() -> None:
    for method, names in (
        (Catalog.match, {"rule", "top", "max_days"}),
        (Catalog.run, {"combine", "flat", "final_scale", "apertures"}),
        (Catalog.darks, {"temperature_c", "since", "where"}),
        (Catalog.plot, {"rule", "apertures", "overwrite"}),
    ):
        signature = inspect.signature(method)
        assert names <= set(signature.parameters)
        assert "**" not in str(signature)
        assert "ForwardRef" not in str(signature)
        assert " at 0x" not in str(signature)


def test_radii_of_growth_are_texts_numbers_and_quantities() -> None:
    on_sky, in_pixels = apertures_from("circle@165.5585,38.0431,1.2", None), apertures_from("circle:735,710,40", None)
    assert radii_from([0.5, 1] * u.arcsec, on_sky) == radii_from("0.5,1") == (0.5, 1.0)
    assert radii_from([1 / 60] * u.arcmin, on_sky) == radii_from(np.array([1.0])) == radii_from(1) == (1.0,)
    assert radii_from([20, 10] * u.pix, in_pixels) == (10.0, 20.0)
    assert radii_from((), on_sky) == ()
    for radii, apertures in (([1] * u.arcsec, in_pixels), ([1] * u.pix, on_sky)):
        with pytest.raises(UsageError, match=r"The radii of growth are in (arcsec|pix), the aperture circle"):
            radii_from(radii, apertures)
    for wrong in (["a"], [None], [True], 3 * u.s, object()):
        with pytest.raises(TypeError, match="growth: expected numbers"):
            radii_from(wrong, on_sky)


def test_curve_of_growth_has_its_warnings_as_text() -> None:
    values: dict[str, Any] = dict.fromkeys(PhotometryRecord.__dataclass_fields__)
    with_one = PhotometryRecord(**values | {"warnings": ("one", "two")})
    without = PhotometryRecord(**values | {"warnings": ()})
    points = tuple(
        SimpleNamespace(record=one, aperture="a", radius_pix=1.0, radius_arcsec=None) for one in (with_one, without)
    )
    grown = Products(Outcome("jcmc11010", growth=points)).growth  # type: ignore[arg-type]
    assert list(grown["warnings"].filled("")) == ["one; two", ""]


def test_an_error_shows_the_line_of_the_user_and_no_line_of_the_package(
    cat: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SbcdarkError) as told:
        cat.match("nosuch")
    shown = told.value._render_traceback_()
    assert '----> cat.match("nosuch")' in "".join(shown)
    assert __file__ in "".join(shown)
    assert "choosing.py" not in "".join(shown)
    assert shown[-2:] == ["UsageError: The catalog has no exposure 'nosuch'.", "List them: catalog.exposures()"]
    monkeypatch.setenv("SBCDARK_DEBUG", "1")
    assert not hasattr(told.value, "_render_traceback_")


def test_a_wrong_type_and_an_interrupt_are_short(cat: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: Any = 5
    with pytest.raises(TypeError) as told:
        cat.match(wrong)
    assert told.value._render_traceback_()[-2].startswith("ArgumentError: names: expected a root name")  # type: ignore[attr-defined]

    def stopped(done: int, _: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as interrupted:
        cat.dark(["jcmc11e6q", "jcmc11ctq"], combine="nearest", progress=stopped)
    said = "Interrupted; everything stored so far is kept. Run it again to continue."
    assert interrupted.value._render_traceback_() == [said]  # type: ignore[attr-defined]
    monkeypatch.setattr(Catalog, "list_exposures", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match="Interrupted"):
        cat.darks()  # within another call
    monkeypatch.setenv("SBCDARK_DEBUG", "1")
    assert not hasattr(interrupted.value, "_render_traceback_")


def test_cells_of_a_notebook(real_file: Path, tmp_path: Path) -> None:
    """In a real kernel; Jupyter is there where the documentation is made."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    shutil.copy(real_file, tmp_path / "catalog.db")
    cells = [
        "from sbcdark import Catalog\ncat = Catalog('catalog.db')\nchecked = cat.verify(progress=True)",
        "cat.verify('nosuch', progress=True)",
        "cat.plot('match', 'jcmc11e6q')",
        "import signal\ncat.verify(progress=lambda *_: signal.raise_signal(signal.SIGINT))",
        "cat.match(5)",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(
        book, allow_errors=True, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    checked, failed, drawn, interrupted, mistyped = (cell.outputs for cell in book.cells)
    (bar,) = checked  # one line, no warning
    assert bar.data["text/plain"].startswith("checking files: 32/32 in 0:0")
    assert bar.data["text/html"] == bar.data["text/plain"]
    assert "stopped after" in failed[0].data["text/plain"]
    assert "Cell In[2], line 1" in failed[1].traceback[0]
    assert len(failed[1].traceback) < 5
    assert interrupted[-1].traceback == ["Interrupted; everything stored so far is kept. Run it again to continue."]
    assert len(mistyped[0].traceback) == 3
    assert mistyped[0].traceback[1].startswith("ArgumentError: names: expected")
    (figure,) = drawn
    assert "image/png" in figure.data


INTERRUPTED = """
import os, signal, sys, time
from multiprocessing import forkserver
from sbcdark.pipeline.products.workers import start_imports, submitting, worker_pool

signal.signal(signal.SIGINT, lambda *_: None)  # as a shell that lives on
start_imports()
first = forkserver._forkserver._forkserver_pid
print("imports", flush=True)
sys.stdin.readline()
with worker_pool(1) as pool:
    with submitting():
        found = pool.submit(os.getpid)
    assert found.result(timeout=120) != os.getpid()
print(forkserver._forkserver._forkserver_pid == first)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process imports ahead")
def test_an_interrupt_while_workers_import_says_nothing_and_the_next_job_uses_them(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    with subprocess.Popen(
        [sys.executable, script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "imports\n"
        for _ in range(5):  # while the interpreter starts, and within the imports
            os.killpg(process.pid, signal.SIGINT)  # as Jupyter does
            time.sleep(0.1)
        said, errors = process.communicate("\n", timeout=300)
    assert (said, errors, process.returncode) == ("True\n", "", 0)
