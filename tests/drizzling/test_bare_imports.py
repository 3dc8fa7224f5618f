"""The libraries of the workers are imported without what is not used."""

from __future__ import annotations

import subprocess
import sys


def test_workers_do_not_import_what_astrodrizzle_needs_for_other_tasks() -> None:
    code = (
        "import sbcdark.pipeline.products.worker_imports, sys\n"
        "print(*{'drizzlepac.tweakreg', 'requests', 'scipy.stats', 'tweakwcs'} & set(sys.modules))\n"
        "from scipy import signal\n"
        "print(signal.fftconvolve([1.0, 2.0], [1.0, 1.0]).round(6).tolist(), 'scipy.stats' in sys.modules)\n"
    )
    answer = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout

    assert answer.splitlines() == ["", "[1.0, 3.0, 2.0] True"]
