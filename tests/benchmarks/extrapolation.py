"""How well is a glow known that the darks do not show? Blank science frames with templates that do not fit them.

Templates from the coolest of the 20 real darks, with the hotter darks as frames; from all darks, with the frames
shifted along x; from one cold and one warm dark drawn at random. Run it as
``cd tests && python -m benchmarks.extrapolation [--apertures 60] [--seed 1]``, with SBCDARK_SHARED as for accuracy.py,
which prints the same table.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.pipeline.detector.defects import block_sum
from sbcdark.pipeline.detector.regions import BOX
from sbcdark.pipeline.model.dark_error import aperture_dark, smooth_variance
from sbcdark.pipeline.model.sources import fit_dark_with_sources
from sbcdark.pipeline.model.templates import BIN, DarkFrame, build_templates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sbcdark.pipeline.detector.defects import Image
    from sbcdark.pipeline.model.dark_fit import DarkFit
    from sbcdark.pipeline.model.templates import Templates

COOLEST = (10, 11, 12, 13)
SHIFTS = (32, 64)  # pixels
PAIRS = 4
COLD = 8  # of the 20 darks in the order of their box sums, as in accuracy.py


def trials(darks: list[DarkFrame], seed: int) -> Iterator[tuple[str, list[DarkFrame], list[DarkFrame], int]]:
    """Yield a label, the template darks, the blank science frames of each trial, and what they are shifted by."""
    order = sorted(darks, key=lambda dark: float(dark.counts[BOX.slices].sum()))
    for number in COOLEST:
        yield f"{number} coolest", order[:number], order[number:], 0
    for shift in SHIFTS:
        moved = [DarkFrame(d.rootname, np.roll(d.counts, shift, axis=1), d.exptime_s) for d in order[12::2]]
        yield f"shift {shift} pix", order, moved, shift
    rng = np.random.default_rng(seed)
    colds, warms = rng.permutation(COLD)[:PAIRS], rng.permutation(np.arange(COLD, len(order)))[:PAIRS]
    for cold, warm in zip(colds, warms, strict=True):
        frames = [dark for j, dark in enumerate(order) if j >= COLD and j != warm]
        yield f"pair {cold} {warm}", [order[cold], order[warm]], frames[::2], 0


def unexplained(fit: DarkFit, templates: Templates) -> float:
    """Return the misfit of a frame beyond the templates' noise, over the share of its amplitude beyond the darks."""
    alone = replace(fit, covariance=np.zeros_like(fit.covariance), misfit=0.0, beyond=0.0)
    noise = np.sqrt(smooth_variance(alone, replace(templates, shape_scatter=0.0)))
    mean = fit.base * templates.base_map + fit.amplitude * templates.glow_map
    counts, errors = (block_sum(image * templates.good, BIN) * fit.exptime_s for image in (mean, noise))
    seen = counts > 0
    explained = float((errors[seen] ** 2 / counts[seen]).sum() / counts[seen].sum())
    return float(np.sqrt(max(fit.misfit**2 - explained, 0.0)) * fit.amplitude / fit.beyond)


def table(darks: list[DarkFrame], apertures: list[Image], seed: int) -> None:
    """Print a row for each trial, without and with a sky in the fit."""
    print(
        f"{'template darks':14s} {'sky':5s} {'width':>6s} {'mean':>6s} {'mask':>6s} {'chi2/dof':>12s} {'misfit':>7s}"
        f" {'reach':>6s}"
    )
    shares: list[float] = []
    for label, chosen, frames, shift in trials(darks, seed):
        templates = build_templates(chosen)
        good = templates.good & np.roll(templates.good, shift, axis=1)  # the hot pixels move too
        for sky in (False, True):
            pulls, masks, fits = [], [], []
            for dark in frames:
                fit, sources = fit_dark_with_sources(dark.counts, dark.exptime_s, templates, good, sky=sky)
                masks.append(float(sources.mean()))
                fits.append(fit)
                for weights in (aperture * good for aperture in apertures):
                    found = aperture_dark([(fit, weights)], templates, include_sky=sky)
                    expected = max(found.rate * dark.exptime_s, 1.0)
                    difference = expected - float((dark.counts * weights).sum())
                    pulls.append(difference / np.sqrt((found.error * dark.exptime_s) ** 2 + expected))
            if "coolest" in label:
                shares += [unexplained(fit, templates) for fit in fits if fit.beyond > 0]
            chi2 = [fit.chi2_per_dof for fit in fits]
            print(
                f"{label:14s} {sky!s:5s} {np.sqrt(np.mean(np.square(pulls))):6.2f} {np.mean(pulls):+6.2f} "
                f"{max(masks):6.3f} {min(chi2):5.2f} - {max(chi2):4.2f} {max(fit.misfit for fit in fits):7.3f} "
                f"{max(fit.extrapolation for fit in fits):6.2f}"
            )
    print(
        "width, mean: of the pulls. mask: largest share of a frame. reach: amplitude over the hottest dark's.\n"
        "misfit beyond the templates' noise, over the share of the amplitude beyond the darks: rms "
        f"{np.sqrt(np.mean(np.square(shares))):.3f} of {len(shares)} frames"
    )


def main() -> None:
    """Print the table."""
    from benchmarks.accuracy import random_apertures, real_darks  # noqa: PLC0415  it imports this module

    parser = argparse.ArgumentParser(description="Errors of the dark where the templates do not fit the frame.")
    parser.add_argument("--apertures", type=int, default=60, help="number of random apertures")
    parser.add_argument("--seed", type=int, default=1, help="seed of the apertures and of the pairs")
    arguments = parser.parse_args()
    table(real_darks()[0], random_apertures(arguments.apertures, arguments.seed), arguments.seed)


if __name__ == "__main__":
    main()
