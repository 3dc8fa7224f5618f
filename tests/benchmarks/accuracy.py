"""How well is the dark known? Leave one out of the 20 real darks of program 13961, all methods side by side.

Each dark in turn is a science exposure (the filter BLOCK lets no sky in); every method predicts its counts in random
elliptical apertures from the other 19 (the model with the aperture masked out of its fit), and the counts there are
the truth. Run it as ``cd tests && python -m benchmarks.accuracy [--apertures 200] [--seed 1]``, with SBCDARK_SHARED
naming the folder that holds ``data/darks_13961`` where that is not beside the checkout.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from benchmarks import extrapolation
from twin_archive import real_data_folder

from sbcdark.pipeline.detector.regions import BOX, DETECTOR_SHAPE, QUIET
from sbcdark.pipeline.model import validation
from sbcdark.pipeline.model.dark_error import aperture_dark
from sbcdark.pipeline.model.dark_fit import dark_rate, fit_dark
from sbcdark.pipeline.model.templates import SMOOTH_BASE, SMOOTH_GLOW, DarkFrame, build_templates

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sbcdark.pipeline.detector.defects import Image
    from sbcdark.pipeline.model.templates import Templates

WARM_BOX_SUM = 492
EXTRAPOLATION_APERTURES = 60
ROUGH_STEP = 4  # the unsmoothed model, which nobody should use, is tried on every fourth aperture
LEGEND = """bias, rms: predicted - true, counts. rms/sqrt(truth) = sqrt(mean((predicted - true)^2 / expected truth)).
stated: the same as the method's own errors would have it. pull = (predicted - true) / sqrt(error^2 + expected truth).
+-: standard error from the scatter between frames, as the apertures of one frame share a fit."""
UNSMOOTHED = "model, unsmoothed"
MODEL = "model"


def load_darks(folder: Path) -> tuple[list[DarkFrame], Image]:
    """Read the darks and their mean temperatures (C); counts above 32767 wrap in the raw int16."""
    darks, temperatures = [], []
    for path in sorted(folder.glob("*_raw.fits.gz")):
        with fits.open(path) as hdus:
            counts = hdus[1].data.astype(np.int16).view(np.uint16)
            darks.append(DarkFrame(path.name[:9], counts, float(hdus[0].header["EXPTIME"])))
            temperatures.append((hdus[1].header["MDECODT1"] + hdus[1].header["MDECODT2"]) / 2)
    return darks, np.array(temperatures)


def real_darks() -> tuple[list[DarkFrame], Image]:
    """Read the 20 real darks and their mean temperatures (C)."""
    folder = real_data_folder() / "darks_13961"
    if not folder.is_dir():
        raise SystemExit(f"no real darks: {folder} is missing; set SBCDARK_SHARED to the folder that holds data/")
    return load_darks(folder)


def random_apertures(number: int, seed: int) -> list[Image]:
    """Apertures of the validation, as weights."""
    return [inside.astype(np.float64) for inside in validation.random_apertures(number, seed)]


def simple_methods(
    frame: int, sums: Image, boxes: Image, quiets: Image,
    temperatures: Image,
) -> dict[str, tuple[Image, Image]]:  # fmt: skip
    """Predict by each method that is a sum of coefficients times darks; all exposures are of 1000 s.

    Returns counts (n apertures) and their Poisson error, sqrt(sum c^2 N), by name; sums is (n darks, n apertures).
    """
    number = len(boxes)
    others = np.array([j for j in range(number) if j != frame])
    coefficients = {}

    def unit(j: int, factor: float = 1.0) -> Image:
        return np.eye(number)[j] * factor

    coefficients["nearest in temperature"] = unit(
        int(others[np.abs(temperatures[others] - temperatures[frame]).argmin()])
    )
    nearest = int(others[np.abs(boxes[others] - boxes[frame]).argmin()])
    coefficients["nearest in box sum"] = unit(nearest)
    coefficients["nearest, box ratio"] = unit(nearest, boxes[frame] / boxes[nearest])
    above, below = others[boxes[others] >= boxes[frame]], others[boxes[others] < boxes[frame]]
    if len(above) and len(below):
        high, low = int(above[boxes[above].argmin()]), int(below[boxes[below].argmax()])
        share = (boxes[frame] - boxes[low]) / (boxes[high] - boxes[low])
        coefficients["bracket, interpolate"] = unit(high, share) + unit(low, 1 - share)
    else:
        coefficients["bracket, interpolate"] = unit(nearest)
    cold = (boxes < WARM_BOX_SUM) & (np.arange(number) != frame)
    warm = (boxes >= WARM_BOX_SUM) & (np.arange(number) != frame)
    shapes = np.array([[boxes[cold].mean(), boxes[warm].mean()], [quiets[cold].mean(), quiets[warm].mean()]])
    u, v = np.linalg.solve(shapes, [boxes[frame], quiets[frame]])
    coefficients["base + glow, two regions"] = u * cold / cold.sum() + v * warm / warm.sum()
    return {name: (c @ sums, np.sqrt(c**2 @ sums)) for name, c in coefficients.items()}


def model(dark: DarkFrame, templates: Templates, apertures: list[Image]) -> tuple[Image, Image]:
    """Predicted counts and their error in each aperture, which is masked out of the fit."""
    found = []
    for weights in apertures:
        fit = fit_dark(dark.counts, dark.exptime_s, templates, weights == 0)
        predicted = aperture_dark([(fit, weights)], templates)
        found.append((predicted.rate * dark.exptime_s, predicted.error * dark.exptime_s))
    counts, errors = np.array(found).T
    return counts, errors


def report(
    title: str, names: list[str], difference: Image, error: Image,
    expected: Image,
) -> None:  # fmt: skip
    """Print a table; difference and error are (methods, frames, apertures), expected (frames, apertures)."""
    frames = len(expected)
    print(f"\n{title}")
    print(
        f"{'method':26s} {'bias':>7s} {'rms':>7s} {'rms/sqrt(truth)':>17s} {'stated':>7s}"
        f" {'mean pull':>16s} {'width':>14s}"
    )
    for name, all_differences, all_errors in zip(names, difference, error, strict=True):
        tried = np.isfinite(all_differences[0])
        d, e, counts = all_differences[:, tried], all_errors[:, tried], expected[:, tried]
        ratio = d**2 / counts
        pull = d / np.sqrt(e**2 + counts)
        by_frame = pull.mean(axis=1).std(ddof=1) / np.sqrt(frames)
        width = np.sqrt((pull**2).mean())
        width_error = (pull**2).mean(axis=1).std(ddof=1) / np.sqrt(frames) / 2 / width
        ratio_error = ratio.mean(axis=1).std(ddof=1) / np.sqrt(frames) / 2 / np.sqrt(ratio.mean())
        print(
            f"{name:26s} {d.mean():7.1f} {np.sqrt((d**2).mean()):7.1f} {np.sqrt(ratio.mean()):8.3f}"
            f" +- {ratio_error:.3f} {np.sqrt((1 + e**2 / counts).mean()):7.3f} {pull.mean():+7.3f} +- {by_frame:.3f}"
            f" {width:5.3f} +- {width_error:.3f}"
        )


def smoothing_bias(smoothed: Templates, unsmoothed: Templates) -> str:
    """Say how much the smoothing flattens the glow at its peak, beside the templates' Poisson noise there."""
    y, x = np.indices(DETECTOR_SHAPE)
    text = []
    for radius in (20, 42, 90):
        inside = ((x - 558) ** 2 + (y - 654) ** 2 <= radius**2) & smoothed.good
        raw = unsmoothed.glow_map[inside].sum()
        noise = np.sqrt(unsmoothed.noise[2].sum() * inside.sum() / smoothed.good.sum() * raw / inside.sum())
        change = smoothed.glow_map[inside].sum() / raw - 1
        text.append(f"{change:+.4f} +- {noise / raw:.4f} (radius {radius})")
    return "G smoothed over G unsmoothed at its peak, less 1: " + ", ".join(text)


@dataclass
class Results:
    """What was predicted and what was true, by aperture; the lists run over the frames."""

    predicted: list[dict[str, tuple[Image, Image]]]
    truth: list[Image]
    expected: list[Image]


def leave_one_out(
    darks: list[DarkFrame], temperatures: Image, whole: list[Image], everything: Templates
) -> tuple[Results, Results, list[float]]:
    """Predict each dark from the others: without and with the hot pixels in the apertures; chi2/dof of the fits."""
    hot = everything.hot
    boxes = np.array([float(d.counts[BOX.slices].sum()) for d in darks])
    quiets = np.array([float((d.counts * everything.good)[QUIET.slices].sum()) for d in darks])
    clean = [weights.copy() for weights in whole]
    for weights in clean:
        weights[hot.y, hot.x] = 0
    differ = np.array([not np.array_equal(a, b) for a, b in zip(whole, clean, strict=True)])
    sums = [np.array([[float(d.counts[a > 0].sum()) for a in s] for d in darks]) for s in (clean, whole)]
    without, included = Results([], [], []), Results([], [], [])
    chi2 = []
    for frame, dark in enumerate(darks):
        others = darks[:frame] + darks[frame + 1 :]
        templates = build_templates(others)
        full = fit_dark(dark.counts, dark.exptime_s, templates)
        chi2.append(full.chi2_per_dof)
        rate = dark_rate(full, templates) * dark.exptime_s
        # Counts of a hot pixel that are subtracted from themselves cannot scatter, so they are not expected to.
        rate[full.hot_y, full.hot_x] -= full.hot_rate * full.hot_own * dark.exptime_s
        found = model(dark, templates, clean)
        found_whole = found[0].copy(), found[1].copy()
        found_whole[0][differ], found_whole[1][differ] = model(
            dark, templates, [a for a, d in zip(whole, differ, strict=True) if d]
        )
        rough = model(dark, build_templates(others, smoothing=(0.0, 0.0)), clean[::ROUGH_STEP])
        for results, images, total, values in (
            (without, clean, sums[0], found),
            (included, whole, sums[1], found_whole),
        ):
            predicted = simple_methods(frame, total, boxes, quiets, temperatures)
            if results is without:
                padded = np.full((2, len(clean)), np.nan)
                padded[:, ::ROUGH_STEP] = rough
                predicted[UNSMOOTHED] = padded[0], padded[1]
            predicted[MODEL] = values
            results.predicted.append(predicted)
            results.truth.append(total[frame])
            results.expected.append(np.array([float(rate[a > 0].sum()) for a in images]))
    return without, included, chi2


def tables(text: str, results: Results, warm: NDArray[np.bool_]) -> tuple[Image, Image, Image]:
    """Print the tables of warm and cold frames; return the model's differences, errors and expected counts."""
    names = list(results.predicted[0])
    predicted = np.array([[values[name] for values in results.predicted] for name in names])
    difference = predicted[:, :, 0] - np.array(results.truth)
    expected = np.maximum(np.array(results.expected), 1.0)
    for which, label in ((warm, "warm"), (~warm, "cold")):
        title = f"{which.sum()} {label} frames, {text}"
        report(title, names, difference[:, which], predicted[:, which, 1], expected[which])
    return difference[-1], predicted[-1, :, 1], expected


def evidence(found: tuple[Image, Image, Image], areas: Image, warm: NDArray[np.bool_]) -> None:
    """Print what limits the model: the halves of the apertures by area."""
    difference, error, expected = found
    small = areas < np.median(areas)
    for part, label in ((small, "smaller"), (~small, "larger")):
        cut = np.ix_(warm, part)
        title = f"{warm.sum()} warm frames, {label} half of the apertures: {areas[part].min():.0f} to "
        report(
            title + f"{areas[part].max():.0f} pixels", [MODEL], difference[cut][None], error[cut][None], expected[cut]
        )


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description="Leave-one-out accuracy of the dark, all methods side by side.")
    parser.add_argument("--apertures", type=int, default=200, help="number of random apertures")
    parser.add_argument("--seed", type=int, default=1, help="seed of the apertures")
    arguments = parser.parse_args()
    start = time.perf_counter()
    darks, temperatures = real_darks()
    apertures = random_apertures(arguments.apertures, arguments.seed)
    everything = build_templates(darks)
    areas = np.array([a.sum() for a in apertures])
    print(
        f"{len(darks)} darks, {len(apertures)} apertures of {areas.min():.0f} to {areas.max():.0f} pixels, "
        f"seed {arguments.seed}; smoothing {SMOOTH_BASE:.0f} (L), {SMOOTH_GLOW:.0f} (G)"
    )
    print(LEGEND)
    print(f"drift of the dark's shape over 256 pixels, from the darks themselves: {everything.shape_scatter:.4f}")
    without, included, chi2 = leave_one_out(darks, temperatures, apertures, everything)
    boxes = np.array([float(d.counts[BOX.slices].sum()) for d in darks])
    warm = boxes >= WARM_BOX_SUM
    found = tables("hot pixels left out", without, warm)
    evidence(found, areas, warm)
    print(
        "\nmodel by frame: box sum, bias (counts), rms/sqrt(truth), mean pull, pull width, chi2/dof of the frame's fit"
    )
    difference, error, expected = found
    pull = difference / np.sqrt(error**2 + expected)
    for j, dark in enumerate(darks):
        print(
            f"{dark.rootname} {boxes[j]:5.0f} {difference[j].mean():7.2f} "
            f"{np.sqrt((difference[j] ** 2 / expected[j]).mean()):6.3f} {pull[j].mean():+6.2f} "
            f"{np.sqrt((pull[j] ** 2).mean()):5.2f} {chi2[j]:6.3f}"
        )
    tables("hot pixels included", included, warm)
    print(f"\ntemplates that do not fit the frame, {EXTRAPOLATION_APERTURES} apertures")
    extrapolation.table(darks, apertures[:EXTRAPOLATION_APERTURES], arguments.seed)
    print("\n" + smoothing_bias(everything, build_templates(darks, smoothing=(0.0, 0.0))))
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
