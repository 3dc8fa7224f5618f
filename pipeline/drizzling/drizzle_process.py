"""AstroDrizzle in a process without other duties: the only caller of drizzlepac (see `drizzle`).

`python -m sbcdark.pipeline.drizzling.drizzle_process` reads jobs from stdin; the workers of a run call `work`.
"""

from __future__ import annotations

import contextlib
import gc
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
from typing import TYPE_CHECKING, Any, Self, TextIO

import numpy as np

from sbcdark.pipeline.detector.constants import RESET_DQ
from sbcdark.pipeline.drizzling.bare_imports import import_astrodrizzle
from sbcdark.pipeline.drizzling.drizzled_product import mean_sides

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


_BAND = 64
"""Rows that are mapped at a time, to save memory."""


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


def work_on_files(job: dict[str, Any], calls: list[KernelCall]) -> dict[str, Any]:
    """Run one job as `work` does, with the arrays in files of its folder, so that job and answer are JSON."""
    folder = Path(job["folder"])
    try:
        planes = [np.load(folder / f"plane{number}.npy") for number in range(job["planes"])]
        answer = work(job, calls, planes)
        for name in ("corners", "weights", "drizzled"):
            for number, array in enumerate(answer.pop(name, ())):
                np.save(folder / f"{name}{number}.npy", array)
    except OSError as problem:  # a full disk
        return {"error": f"{type(problem).__name__}: {problem}"}
    return answer


def work(job: dict[str, Any], calls: list[KernelCall], planes: Sequence[Sequence[NDArray[Any]]]) -> dict[str, Any]:
    """Run one job in its folder and send all output to the log.

    Parameters
    ----------
    job : dict
        Fields of `drizzle._Job`.
    calls : list of KernelCall
        Those of the last product; a new product replaces them.
    planes : sequence of sequence of ndarray, each of shape (1024, 1024)
        Images to resample, by plane and frame, if the job has no frames to drizzle.

    Returns
    -------
    dict
        With ``error`` if it failed.
    """
    import logging  # noqa: PLC0415  in the worker only

    before = Path.cwd()
    with _output_to(job["log"]), warnings.catch_warnings():
        warnings.simplefilter("default")  # not the user's: AstroDrizzle makes remarks that `-W error` would raise
        logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s", force=True)
        logging.getLogger("drizzlepac").setLevel(logging.DEBUG)  # it logs its parameters at that level
        os.chdir(job["folder"])
        try:
            if not job["frames"]:
                return _resample(planes, calls, paired=job["paired"])
            try:
                return _astrodrizzle(job, calls)
            finally:
                gc.collect()  # AstroDrizzle leaves images in reference cycles
        except Exception as problem:
            logging.getLogger("sbcdark").exception("AstroDrizzle failed")
            text = " ".join(re.sub(r"#+", " ", str(problem)).split())
            return {"error": f"{type(problem).__name__}: {text}"[:300].rstrip(".")}
        finally:
            os.chdir(before)


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


class _Mapping:
    """The mapping of a frame's pixels onto the product, for several calls of the kernel.

    It takes the place of `drizzlepac.wcs_functions.WCSMap`. The kernel asks for the four corners of every pixel, line
    by line; drizzlepac's default mapping, which the kernel would use itself, gives each corner once.
    """

    def __init__(self, call: KernelCall) -> None:
        from drizzlepac import cdriz  # noqa: PLC0415  in the worker only

        ny, nx = call.weight.shape
        self._mapping = cdriz.DefaultWCSMapping(call.input_wcs, call.output_wcs, nx, ny, call.options["stepsize"])
        self.corners = self.grid(np.arange(nx + 1) + 0.5, np.arange(ny + 1) + 0.5)

    def __call__(self, _input_wcs: Any, _output_wcs: Any) -> Self:
        """Return itself: the kernel makes its mapping from two WCS."""
        return self

    def grid(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map a grid of native positions: product positions of shape (2, len(y), len(x)), counted from 1."""
        found = np.empty((2, len(y), len(x)))
        for first in range(0, len(y), _BAND):
            rows = y[first : first + _BAND]
            for axis, places in enumerate(self._mapping(np.tile(x, len(rows)), np.repeat(rows, len(x)))):
                found[axis, first : first + _BAND] = places.reshape(len(rows), len(x))
        return found

    def forward(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> Any:
        """Map native positions (n,), counted from 1, as the kernel asks for them."""
        column, row, size = x[0] - 0.5, y[0] - 0.5, len(x)
        # The kernel also asks for pixel centres, and for the corners of smaller drops.
        if column % 1 or row % 1 or x[-1] - x[0] != size - 1 or y[-1] != y[0]:
            return self._mapping(x, y)
        return tuple(self.corners[:, int(row), int(column) : int(column) + size])


def _astrodrizzle(job: dict[str, Any], calls: list[KernelCall]) -> dict[str, Any]:
    import_astrodrizzle()
    from drizzlepac import __version__, adrizzle  # noqa: PLC0415  in the worker only
    from drizzlepac.astrodrizzle import AstroDrizzle  # noqa: PLC0415

    calls.clear()
    corners, natives = [], []
    kernel = adrizzle.do_driz

    def recorded(
        insci: Any, input_wcs: Any, inwht: Any, output_wcs: Any, outsci: Any, outwht: Any, outcon: Any,
        expin: float, in_units: str, wt_scl: float, **options: Any,
    ) -> Any:  # fmt: skip
        call = KernelCall(input_wcs, inwht.copy(), output_wcs, expin, in_units, wt_scl, options)
        mapping = _Mapping(call)
        drops, sides = _corners(call, mapping)
        calls.append(call)
        corners.append(drops)
        natives.append(sides)
        own = options | {"wcsmap": mapping}
        return kernel(insci, input_wcs, inwht, output_wcs, outsci, outwht, outcon, expin, in_units, wt_scl, **own)

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
    return {
        "file": file,
        "drizzlepac": __version__,
        "rate_scales": [_scale(call) ** 2 for call in calls],
        "native": natives,
        "corners": corners,
        "weights": [call.weight * np.float32(call.wt_scl) for call in calls],
    }


def _scale(call: KernelCall) -> float:
    """Return the side of a product pixel over the linear scale of the frame."""
    return float(call.output_wcs.pscale / call.options["wcslin_pscale"])


def _corners(call: KernelCall, mapping: _Mapping) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Return the corners of the drops of native pixels (`FrameMapping`), and the sides of a native pixel.

    drizzlepac maps the corners of a drop (square), or its centre, around which a drop of turbo is a square of
    pixfrac / scale along the axes of the product.
    """
    ny, nx = call.weight.shape

    def mapped(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
        return mapping.grid(x, y) - 1.0  # it counts pixels from 1

    whole = mapping.corners - 1.0
    sides = mean_sides(*whole)
    kernel, pixfrac = call.options["kernel"], call.options["pixfrac"]
    centres = [np.arange(side) + 1.0 for side in (nx, ny)]
    if kernel == "point":
        found = mapped(*centres)
    elif kernel == "turbo":
        found = np.repeat(np.repeat(mapped(*centres), 2, axis=1), 2, axis=2)
        half = 0.5 * pixfrac / _scale(call)
        found[0] += np.tile([-half, half], nx)
        found[1] += np.tile([-half, half], ny)[:, None]
    elif pixfrac < 1:
        found = mapped(*((np.repeat(one, 2) + np.tile([-0.5, 0.5], len(one)) * pixfrac) for one in centres))
    else:
        found = whole
    return found, sides


def _resample(planes: Sequence[Sequence[NDArray[Any]]], calls: Sequence[KernelCall], *, paired: bool) -> dict[str, Any]:
    if not calls:
        return {"error": "no product was made before"}
    alone = len(planes) - 2 * paired
    shape = calls[0].output_wcs.array_shape
    products = [(np.zeros(shape, np.float32), np.zeros(shape, np.float32)) for _ in range(alone + paired)]
    context = np.zeros((len(calls) // 32 + 1, *shape), np.int32)
    for number, call in enumerate(calls):
        images = [np.asarray(plane[number], np.float32) for plane in planes]
        _resample_frame(call, images, products, context, paired=paired)
    empty = products[0][1] == 0
    found = [mean for mean, _ in products[:alone]]
    if paired:
        mean, total = products[-1]
        np.divide(total, products[0][1], where=~empty, out=total)
        mean *= total
        found += [total, mean]
    for image in found:
        image[empty] = np.nan
    return {"drizzled": found}


def _resample_frame(
    call: KernelCall,
    images: Sequence[NDArray[np.float32]],
    products: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
    context: NDArray[np.int32],
    *,
    paired: bool,
) -> None:
    """Add one frame's images to their products; the mapping takes as much memory as four images and ends with it."""
    from drizzlepac import adrizzle  # noqa: PLC0415  in the worker only

    options = call.options | {"wcsmap": _Mapping(call)}
    for (image, weight), (science, total) in zip(_weighted(call, images, paired=paired), products, strict=True):
        adrizzle.do_driz(
            image, call.input_wcs, weight, call.output_wcs, science, total, context,
            call.expin, call.in_units, call.wt_scl, **options,
        )  # fmt: skip


def _weighted(
    call: KernelCall, images: Sequence[NDArray[np.float32]], *, paired: bool
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Yield an image and its weight for each call of the kernel, one at a time."""
    # Pixels without weight must be finite: the kernel multiplies them by 0.
    finite = (np.where(call.weight > 0, image, np.float32(0.0)) for image in images)
    for _ in range(len(images) - 2 * paired):
        yield next(finite), call.weight
    if paired:
        yield _as_ratio(call, next(finite), next(finite))


def _as_ratio(
    call: KernelCall, first: NDArray[np.float32], second: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return an image and its weight that carry two images through one call of the kernel.

    The kernel gives the sum of the weights on each pixel, and the mean of the image with these weights: if `first` is
    the weight, the sum is that of `first`, and the sum times the mean that of `second`.
    """
    time = 1.0 if call.in_units == "cps" else call.expin
    scaled = first * np.float32(_scale(call) ** 2 / time)  # as the kernel scales images, but not weights
    return np.divide(second, scaled, where=scaled > 0, out=np.zeros_like(second)), call.weight * scaled


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
        answers.write(json.dumps(work_on_files(json.loads(jobs.get()), calls)) + "\n")
        answers.flush()


def _listen(jobs: SimpleQueue[str], lines: TextIO) -> None:
    """Queue incoming jobs; exit at once, even during a drizzle, when the parent process has ended."""
    for line in lines:
        jobs.put(line)
    os._exit(0)


if __name__ == "__main__":
    _main()
