"""Dark and sky subtracted together: leave one out of the 20 real darks, with a Poisson sky added.

It is what ``sbcdark validate`` does, at the size of the other benchmarks. Run it as
``cd tests && python -m benchmarks.source [--apertures 200] [--seed 1]``, with SBCDARK_SHARED as for accuracy.py.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.accuracy import real_darks

from sbcdark.pipeline.model.validation import validate

SKIES = (0.0, 1e-6, 5e-6, 2e-5)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Accuracy of dark and sky together, by level of sky.")
    parser.add_argument("--apertures", type=int, default=200, help="number of random apertures")
    parser.add_argument("--seed", type=int, default=1, help="seed of the apertures and of the sky")
    arguments = parser.parse_args()
    start = time.perf_counter()
    found = validate(real_darks()[0], skies=SKIES, apertures=arguments.apertures, seed=arguments.seed)
    print(
        f"{'sky':>7s} {'frames':6s} {'method':18s} {'rms/sqrt(counts)':>17s} {'bias':>7s} {'pull':>15s} {'width':>14s}"
    )
    for row in found.rows:
        errors = ""
        if row.pull is not None:
            errors = f" {row.pull:+6.3f} +- {row.pull_err:.3f} {row.width:5.3f} +- {row.width_err:.3f}"
        print(
            f"{row.sky_count_s_pix:7.0e} {row.frames:6s} {row.method:18s} {row.rms:8.3f} +- {row.rms_err:.3f} "
            f"{row.bias_count:7.1f}{errors}"
        )
    print(f"drift of the shape {found.drift:.4f}. {found.verdict} {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
