"""A frame that leaves few free pixels: its amplitude from its neighbours in time, on the 12 warm real darks.

Each warm dark in turn is a science exposure with 2 % of its pixels free, in several places, and the rest of the run
are its neighbours. Run it as ``cd tests && python -m benchmarks.neighbours``, with SBCDARK_SHARED as for accuracy.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from benchmarks.accuracy import WARM_BOX_SUM, real_darks
from dark_frames import masked_to, run_of_darks

from sbcdark.pipeline.detector.regions import BOX, DETECTOR_SHAPE
from sbcdark.pipeline.model.combination import Surroundings, combine_darks
from sbcdark.pipeline.model.dark_fit import fit_dark
from sbcdark.pipeline.model.templates import build_templates
from sbcdark.pipeline.selection.rules import Combine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sbcdark.pipeline.model.combination import Exposure


def places() -> dict[str, NDArray[np.bool_]]:
    """Masks that leave 2 % of the frame, or nothing, by name."""
    masks = {name: np.zeros(DETECTOR_SHAPE, dtype=bool) for name in ("corner", "bottom", "left", "edge", "nothing")}
    masks["corner"][:145, :145] = True
    masks["bottom"][:20] = True
    masks["left"][:, :20] = True
    masks["edge"][:5], masks["edge"][-5:], masks["edge"][:, :5], masks["edge"][:, -5:] = True, True, True, True
    return masks | {"scattered": np.random.default_rng(2).random(DETECTOR_SHAPE) < 0.02}


def main() -> None:
    """Print the table."""
    darks = real_darks()[0]
    run = run_of_darks(darks)
    warm = [place for place, dark in enumerate(darks) if dark.counts[BOX.slices].sum() >= WARM_BOX_SUM]
    print("free pixels  sky    rms of amplitude  pull width")
    for sky in (False, True):
        for name, mask in places().items():
            relative, pulls = [], []
            for place in warm:
                templates = build_templates([dark for number, dark in enumerate(darks) if number != place])

                def near(one: Exposure) -> tuple[list[Exposure], list[Exposure]]:
                    return [x for x in run[::-1] if x.mjd < one.mjd], [x for x in run if x.mjd > one.mjd]

                exposure = masked_to(run[place], mask, sky=sky)
                made = combine_darks(
                    Combine.MODEL, [exposure], [[]], Surroundings(near), lambda _, made=templates: made
                )
                fit, truth = made.exposures[0].fit, fit_dark(darks[place].counts, 1000.0, templates)
                assert fit is not None
                relative.append(fit.amplitude / truth.amplitude - 1)
                pulls.append((fit.amplitude - truth.amplitude) / fit.covariance[1, 1] ** 0.5)
            rms, width = np.sqrt(np.mean(np.square(relative))), np.sqrt(np.mean(np.square(pulls)))
            print(f"{name:12s} {sky!s:6s} {rms:16.3f} {width:11.2f} +- {width / np.sqrt(2 * len(warm)):.2f}")


if __name__ == "__main__":
    main()
