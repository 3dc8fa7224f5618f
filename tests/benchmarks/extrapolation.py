"""How well is a glow known that is hotter than every dark? Templates from the coolest of the 20 real darks.

The hotter darks are blank science frames, sky allowed and not. Run it as
``python tests/benchmarks/extrapolation.py [--apertures 60] [--seed 1]``, with SBCDARK_SHARED as for accuracy.py.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from accuracy import load_darks, random_apertures

from sbcdark.pipeline.glow import aperture_dark
from sbcdark.pipeline.regions import BOX
from sbcdark.pipeline.sources import fit_dark_with_sources
from sbcdark.pipeline.templates import build_templates


def main() -> None:
    """Print a row for each number of cool darks, without and with a sky."""
    parser = argparse.ArgumentParser(description="Errors of the dark where the glow is hotter than the darks'.")
    parser.add_argument("--apertures", type=int, default=60, help="number of random apertures")
    parser.add_argument("--seed", type=int, default=1, help="seed of the apertures")
    arguments = parser.parse_args()
    shared = Path(os.environ.get("SBCDARK_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    darks = sorted(load_darks(shared / "data" / "darks_13961")[0], key=lambda d: float(d.counts[BOX.slices].sum()))
    apertures = random_apertures(arguments.apertures, arguments.seed)
    print("coolest darks, sky, pull width, mean pull, largest mask, least and largest chi2/dof, largest extrapolation")
    for number in (10, 11, 12, 13):
        templates = build_templates(darks[:number])
        for sky in (False, True):
            pulls, frames = [], []
            for dark in darks[number:]:
                fit, sources = fit_dark_with_sources(dark.counts, dark.exptime_s, templates, sky=sky)
                frames.append((float(sources.mean()), fit.chi2_per_dof, fit.extrapolation))
                for weights in (aperture * templates.good for aperture in apertures):
                    found = aperture_dark([(fit, weights)], templates, include_sky=sky)
                    expected = max(found.rate * dark.exptime_s, 1.0)
                    difference = expected - float((dark.counts * weights).sum())
                    pulls.append(difference / np.sqrt((found.error * dark.exptime_s) ** 2 + expected))
            width, mean = np.sqrt(np.mean(np.square(pulls))), np.mean(pulls)
            masks, chi2, reach = zip(*frames, strict=True)
            print(
                f"{number} {sky!s:5s} {width:5.2f} {mean:+5.2f} {max(masks):6.3f} {min(chi2):5.2f} {max(chi2):5.2f} "
                f"{max(reach):5.2f}"
            )


if __name__ == "__main__":
    main()
