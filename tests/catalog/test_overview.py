"""The catalog at a glance, on both engines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from helpers import SCI_HEADER, copied, unpacked_raw, with_card

from sbcdark import Catalog

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa


def test_status_counts_what_is_there(empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path) -> None:
    catalog = Catalog(empty_catalog)
    nothing = catalog.status().overview
    assert (nothing.programs, nothing.files, nothing.revision) == ((), {}, 0)
    copied(shared_data, tmp_path / "raw", "jcrx01iiq_raw", "jcrx01j2q_raw")
    bad = with_card(unpacked_raw(shared_data), "MDECODT1", f"{'cold':>20}", start=SCI_HEADER)
    (tmp_path / "raw" / "jcrx01zzq_raw.fits").write_bytes(bad)
    catalog.ingest(tmp_path / "raw")
    catalog.retire("jcrx01iiq", "edge of the SAA")
    seen = catalog.status().overview
    (program,) = seen.programs
    assert (program.program, program.darks, program.hot_darks, program.science) == (13961, 2, 1, 0)
    assert program.set_aside == 2  # one by hand, one that nothing can be compared with
    assert program.first_start_utc < program.last_start_utc
    assert program.temperature_min_c < 20
    assert program.temperature_max_c > 25
    assert seen.files == {"present": 2}
    assert seen.rejected_files == 1
    assert [run.action for run in seen.last_runs] == ["retire", "ingest"]
    assert seen.revision == seen.last_runs[0].id
    # By hand, with the reason; what a test of the ingest judged is not a change by itself.
    assert [(run.marked, run.reason) for run in seen.last_runs] == [(("jcrx01iiq",), "edge of the SAA"), ((), None)]
    assert json.dumps(catalog.status().catalog)
