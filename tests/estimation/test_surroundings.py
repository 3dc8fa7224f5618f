"""An exposure that a source covers takes its glow from the exposures of its visit."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.io import fits
from flt_copies import copy_with_counts

from sbcdark import Catalog

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_a_planet_over_the_frame(shared_data: Path, tmp_path: Path) -> None:
    standin = shared_data / "science_13655_standin"
    program = tmp_path / "program"
    shutil.copytree(standin, program)
    truth = Catalog(tmp_path / "truth.db")
    truth.ingest([shared_data / "darks_13961", program])
    free = truth.dark("jcmc11dhq", flat=standin)
    covered = program / "jcmc11dhq_flt.fits.gz"
    with fits.open(covered) as hdus:
        seen = hdus["SCI"].data.astype(np.float64)
    y, x = np.indices(seen.shape)
    planet = np.random.default_rng(9).poisson(np.where(np.hypot(x - 500, y - 500) < 450, 2.0, 0.0))
    copy_with_counts(covered, covered, seen + planet)
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.ingest([shared_data / "darks_13961", program])
    dark = catalog.dark("jcmc11dhq", flat=standin)
    assert dark.method == "model with neighbours"
    assert any("jcmc11deq, jcmc11dsq, close in time" in text for text in dark.warnings)
    assert dark.covariance is not None
    assert dark.amplitude is not None
    assert free.amplitude is not None
    assert free.covariance is not None
    error = np.sqrt(dark.covariance[1, 1] + free.covariance[1, 1])
    assert abs(dark.amplitude - free.amplitude) < 3 * error
    # A neighbour that cannot be read is passed over.
    (program / "jcmc11dsq_flt.fits.gz").unlink()
    again = catalog.dark("jcmc11dhq", flat=standin)
    assert any("jcmc11deq, jcmc11dtq, close in time" in text for text in again.warnings)
