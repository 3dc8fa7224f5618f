"""AstroDrizzle in a process without other duties: the only caller of drizzlepac (see `drizzle`).

`python -m sbcdark.pipeline.drizzling.drizzle_process` reads jobs from stdin; the workers of a run call `work`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import io
import json
import os
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from sbcdark.pipeline.detector.constants import RESET_DQ

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SETTINGS: dict[str, Any] = {
    # No MDRIZTAB, no reference file, no update of the WCS: the distortion in the header is used.
    "mdriztab": False,
    "updatewcs": False,
    "runfile": "",
    "num_cores": 1,
    # One file with SCI and WHT; the inputs are copies and need not be kept.
    "build": True,
    "context": False,
    "preserve": False,
    "clean": True,
    "resetbits": RESET_DQ,
    # A MAMA has no cosmic rays and 0.01 count per pixel: a sky fit or a median would be zero.
    "static": False,
    "skysub": False,
    "driz_separate": False,
    "median": False,
    "blot": False,
    "driz_cr": False,
    "driz_combine": True,
    "final_wht_type": "EXP",
    "final_units": "cps",
    "final_bits": 0,
    "final_wcs": True,
}


ENVIRONMENT = {"ASTRODRIZ_NO_PARALLEL": "1", "MPLBACKEND": "Agg"}
"""No process pool for one kernel call, and no display for the plots of drizzlepac."""


@dataclass(frozen=True, slots=True, eq=False)
class KernelCall:
    """The arguments of one call of `do_driz` that do not depend on the image."""

    input_wcs: Any
    weight: NDArray[np.float32]
    output_wcs: Any
    expin: float
    in_units: str
    wt_scl: float
    options: dict[str, Any]


def work(job: dict[str, Any], calls: list[KernelCall]) -> dict[str, Any]:
    """Run one job in its folder and send all output to the log. `calls` are those of the last product."""
    import logging  # noqa: PLC0415  in the worker only

    before = Path.cwd()
    with _output_to(job["log"]), warnings.catch_warnings():
        warnings.simplefilter("default")  # not the user's: AstroDrizzle makes remarks that `-W error` would raise
        logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s", force=True)
        logging.getLogger("drizzlepac").setLevel(logging.DEBUG)  # it logs its parameters at that level
        os.chdir(job["folder"])
        try:
            return _astrodrizzle(job, calls) if job["frames"] else _resample(job, calls)
        except Exception as problem:
            logging.getLogger("sbcdark").exception("AstroDrizzle failed")
            text = " ".join(re.sub(r"#+", " ", str(problem)).split())
            return {"error": f"{type(problem).__name__}: {text}"[:300].rstrip(".")}
        finally:
            os.chdir(before)
            gc.collect()  # AstroDrizzle leaves images in reference cycles


@contextlib.contextmanager
def _output_to(path: str) -> Iterator[None]:
    """Append what this process and its libraries print to a file."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, former in enumerate(kept, 1):
            os.dup2(former, number)
            os.close(former)


def import_astrodrizzle() -> None:
    """Import AstroDrizzle, without the tools for alignment and catalogs that drizzlepac imports with itself.

    They and their libraries take half of the time, and AstroDrizzle does not use them.
    """
    os.environ |= ENVIRONMENT
    if "drizzlepac" not in sys.modules:
        found = importlib.util.find_spec("drizzlepac")
        if found is None:
            raise ImportError("drizzlepac is not installed")
        package = importlib.util.module_from_spec(found)
        sys.modules["drizzlepac"] = package
        package.__dict__["__version__"] = importlib.import_module("drizzlepac.version").__version__
    import drizzlepac.astrodrizzle  # noqa: F401, PLC0415  in the worker only


def _astrodrizzle(job: dict[str, Any], calls: list[KernelCall]) -> dict[str, Any]:
    import_astrodrizzle()
    from drizzlepac import __version__, adrizzle  # noqa: PLC0415  in the worker only
    from drizzlepac.astrodrizzle import AstroDrizzle  # noqa: PLC0415

    calls.clear()
    kernel = adrizzle.do_driz

    def recorded(
        insci: Any, input_wcs: Any, inwht: Any, output_wcs: Any, outsci: Any, outwht: Any, outcon: Any,
        expin: float, in_units: str, wt_scl: float, **options: Any,
    ) -> Any:  # fmt: skip
        calls.append(KernelCall(input_wcs, inwht.copy(), output_wcs, expin, in_units, wt_scl, options))
        return kernel(insci, input_wcs, inwht, output_wcs, outsci, outwht, outcon, expin, in_units, wt_scl, **options)

    adrizzle.do_driz = recorded
    try:
        AstroDrizzle(list(job["frames"]), output="product", **SETTINGS, **job["settings"])
    finally:
        adrizzle.do_driz = kernel
    file = "product_drz.fits"
    if not Path(file).is_file():
        # It reports some problems only in its log and returns.
        return {"error": "it wrote no product"}
    if len(calls) != len(job["frames"]):
        return {"error": f"it drizzled {len(calls)} of {len(job['frames'])} frames"}
    scales, natives = [], []
    for number, call in enumerate(calls):
        scale = float(call.output_wcs.pscale / call.options["wcslin_pscale"])
        corners, native = _corners(call, scale)
        np.save(f"corners{number}.npy", corners)
        np.save(f"weight{number}.npy", call.weight * np.float32(call.wt_scl))
        scales.append(scale**2)
        natives.append(native)
    return {"file": file, "rate_scales": scales, "native": natives, "drizzlepac": __version__}


def _corners(call: KernelCall, scale: float) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Return the corners of the drops of native pixels (`FrameMapping`), and the sides of a native pixel.

    drizzlepac maps the corners of a drop (square), or its centre, around which a drop of turbo is a square of
    pixfrac / scale along the axes of the product.
    """
    from drizzlepac import cdriz  # noqa: PLC0415  in the worker only

    ny, nx = call.weight.shape
    mapping = cdriz.DefaultWCSMapping(call.input_wcs, call.output_wcs, nx, ny, call.options["stepsize"])

    def mapped(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
        places = np.array(mapping(np.tile(x, len(y)), np.repeat(y, len(x))))
        return places.reshape(2, len(y), len(x)) - 1.0  # it counts pixels from 1

    whole = mapped(np.arange(nx + 1) + 0.5, np.arange(ny + 1) + 0.5)
    sides = [float(np.hypot(*np.diff(whole, axis=axis)).mean()) for axis in (2, 1)]
    kernel, pixfrac = call.options["kernel"], call.options["pixfrac"]
    centres = [np.arange(side) + 1.0 for side in (nx, ny)]
    if kernel == "point":
        found = mapped(*centres)
    elif kernel == "turbo":
        found = np.repeat(np.repeat(mapped(*centres), 2, axis=1), 2, axis=2)
        half = 0.5 * pixfrac / scale
        found[0] += np.tile([-half, half], nx)
        found[1] += np.tile([-half, half], ny)[:, None]
    elif pixfrac < 1:
        found = mapped(*((np.repeat(one, 2) + np.tile([-0.5, 0.5], len(one)) * pixfrac) for one in centres))
    else:
        found = whole
    return found, (sides[0], sides[1])


def _resample(job: dict[str, Any], calls: list[KernelCall]) -> dict[str, Any]:
    from drizzlepac import adrizzle  # noqa: PLC0415  in the worker only

    if not calls:
        return {"error": "no product was made before"}
    for number in range(job["planes"]):
        shape = calls[0].output_wcs.array_shape
        science, weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        context = np.zeros((len(calls) // 32 + 1, *shape), np.int32)
        for image, call in zip(np.load(f"plane{number}.npy"), calls, strict=True):
            # Pixels without weight must be finite: the kernel multiplies them by 0.
            counts = np.where(call.weight > 0, image, np.float32(0.0))
            adrizzle.do_driz(
                counts, call.input_wcs, call.weight, call.output_wcs, science, weight, context,
                call.expin, call.in_units, call.wt_scl, **call.options,
            )  # fmt: skip
        np.save(f"drizzled{number}.npy", np.where(weight > 0, science, np.float32(np.nan)))
    return {}


def _main() -> None:
    """Read one job per line from stdin; write one answer per line to the original stdout."""
    answers = os.fdopen(os.dup(1), "w")
    # The output of the import must not mix with the answers.
    os.dup2(2, 1)
    jobs: SimpleQueue[str] = SimpleQueue()
    Thread(target=_listen, args=(jobs, sys.stdin), daemon=True).start()
    # AstroDrizzle prompts on stdin about some files: with an empty stdin it fails instead of waiting.
    sys.stdin = io.StringIO()
    with contextlib.suppress(ImportError):  # the first job reports it
        import_astrodrizzle()
    calls: list[KernelCall] = []
    while True:
        answers.write(json.dumps(work(json.loads(jobs.get()), calls)) + "\n")
        answers.flush()


def _listen(jobs: SimpleQueue[str], lines: TextIO) -> None:
    """Queue incoming jobs; exit at once, even during a drizzle, when the parent process has ended."""
    for line in lines:
        jobs.put(line)
    os._exit(0)


if __name__ == "__main__":
    _main()
