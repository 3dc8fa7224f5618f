"""What does dividing the dark by the flat gain? The eight stand-in exposures against their truth.

The detector counts dark without regard to the flat; calibration divides the frame by the flat, and the dark with it. So
the dark to be subtracted from an FLT is dark / flat. Here the dark model is fitted to each stand-in with its flat and
without (as where the flat cannot be found), and dark + sky is compared with the FLT's counts in squares outside the
source, and with the truth table's mean background in the box, which is kept out of the fit. Run it in the folder
tests as ``python -m benchmarks.flat_gain``, with SBCDARK_SHARED naming the folder that holds ``data/`` where
that is not beside the checkout.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from benchmarks.accuracy import load_darks
from benchmarks.chain import shared_folder

from sbcdark.pipeline.detector.regions import BOX, DETECTOR_SHAPE
from sbcdark.pipeline.model.sources import fit_dark_with_sources
from sbcdark.pipeline.model.templates import build_templates

if TYPE_CHECKING:
    from sbcdark.pipeline.detector.defects import Image, Mask
    from sbcdark.pipeline.model.templates import Templates

SIDE = 64
"""Of the squares, pixels: 31 counts of a cold dark in 1000 s."""

FARTHEST_SIGMA = 6.0
"""The source, a Gaussian, is left out within so many sigma."""


def squares(image: Image) -> Image:
    """Sum over squares, shape (16, 16)."""
    side = DETECTOR_SHAPE[0] // SIDE
    return np.asarray(image.reshape(side, SIDE, side, SIDE).sum(axis=(1, 3)))


def background(counts: Image, seconds: float, templates: Templates, outside: Mask, flat: Image | None) -> Image:
    """Return what the fit says that the FLT holds without the source: dark / flat + sky, counts in each pixel."""
    fit, _ = fit_dark_with_sources(counts, seconds, templates, outside, flat=flat, sky=True)
    dark = (fit.base * templates.base_map + fit.amplitude * templates.glow_map) * seconds
    return np.asarray((dark if flat is None else dark / flat) + (fit.sky or 0.0) * seconds)


def true_box(row: dict[str, str], flat: Image) -> float:
    """Return the expected background of the FLT in the box: of the true raw counts the dark's part is divided."""
    inside = flat[BOX.slices]
    sky = float(row["sky_count_s_pix"]) * float(row["exptime_s"])
    dark = float(row["background_counts_box_expected"]) - sky * inside.sum()
    return float(dark * (1 / inside).mean() + sky * inside.size)


def main() -> None:
    """Run the benchmark and print its table."""
    data = shared_folder()
    folder = data / "science_13655_standin"
    darks, _ = load_darks(data / "darks_13961")
    templates = build_templates(darks)
    flat = fits.getdata(folder / "sbc_standin_pfl.fits.gz", 1).astype(np.float64)
    y, x = np.indices(DETECTOR_SHAPE, dtype=np.float64)
    box = np.zeros(DETECTOR_SHAPE, dtype=bool)
    box[BOX.slices] = True
    print(
        f"flat in the box: {flat[BOX.slices].mean():.3f}; each pair of numbers: with the flat | without\n"
        f"chi2/n and rms (counts) of FLT - (dark + sky) in n squares of {SIDE} pixels outside the source and the box\n"
        "box (200 x 200): FLT, true mean, dark + sky, counts; its difference from the true mean in photon errors"
    )
    print(
        f"{'exposure':10s}{'filter':7s} {'n':>4s} {'chi2/n':>15s} {'rms':>15s} {'box':>7s} {'true':>7s} {'model':>15s}"
    )
    totals, off = np.zeros((2, 2)), []
    with (folder / "truth.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        with fits.open(folder / f"{row['rootname']}_flt.fits.gz") as hdus:
            flt = hdus[1].data.astype(np.float64)
        seconds, sigma = float(row["exptime_s"]), float(row["source_sigma_pix"])
        distance = np.hypot(x - float(row["source_x"]), y - float(row["source_y"]))
        # The box is taken for an aperture: like the source it has no part in the fit.
        outside = templates.good & (distance > FARTHEST_SIGMA * sigma) & ~box
        models = [
            background(flt * flat, seconds, templates, outside, flat),
            background(flt, seconds, templates, outside, None),
        ]
        use = squares(outside.astype(np.float64)) > 0.9 * SIDE**2
        variance = squares(flt * outside / flat)[use].sum()  # of counts / flat
        rests = [squares((flt - model) * outside)[use] for model in models]
        totals += [[(rest**2).sum(), variance] for rest in rests]
        chi2 = [(rest**2).sum() / variance for rest in rests]
        rms = [np.sqrt((rest**2).mean()) for rest in rests]
        true, modelled = true_box(row, flat), [float(model[box].sum()) for model in models]
        off.append([(one - true) / np.sqrt((flt / flat)[box].sum()) for one in modelled])
        print(
            f"{row['rootname']:10s}{row['filter1']:7s} {use.sum():4d} {chi2[0]:7.3f} |{chi2[1]:6.3f} {rms[0]:7.2f} |"
            f"{rms[1]:6.2f} {flt[box].sum():7.0f} {true:7.0f} {modelled[0]:7.0f} |{modelled[1]:6.0f} "
            f"{off[-1][0]:+6.2f} |{off[-1][1]:+6.2f}"
        )
    both = totals[:, 0] / totals[:, 1]
    mean = np.mean(off, axis=0)
    print(f"all: chi2/n {both[0]:.3f} | {both[1]:.3f}; mean difference in the box {mean[0]:+.2f} | {mean[1]:+.2f}")


if __name__ == "__main__":
    main()
