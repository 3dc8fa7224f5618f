"""AstroDrizzle for SBC frames: the only caller of drizzlepac.

AstroDrizzle modifies its inputs, writes files next to them, prints, adds handlers to the root logger and works in the
current folder. It therefore runs on copies, in a process without other duties: a worker of a run (`workers`), or a
process of its own, which `Drizzler` keeps for several products, since importing drizzlepac takes longer than a drizzle.

The process records how AstroDrizzle calls its kernel (`drizzlepac.adrizzle.do_driz`): the weight of each native pixel
and the mapping from native to product pixels. The same calls resample other images, such as the dark, onto the same
grid (`Drizzler.resample`), and the errors of sums over the product follow from the same weights and mapping.

Contents of a product (measured with drizzlepac 3.11): SCI is in count/s, such that 1 count in each native pixel of t
seconds gives 1/t in each product pixel; a drizzled sum is therefore f times the native count rate, where f is the area
of a native pixel over that of a product pixel. WHT is the exposure time over f, summed over the frames. SCI is NaN
where WHT is 0.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Self, TextIO

import numpy as np

from sbcdark.catalog.errors import SbcdarkError
from sbcdark.pipeline.detector.constants import RESET_DQ, SCALE_ARCSEC
from sbcdark.pipeline.products.drizzled_product import DrizzledProduct, FrameMapping

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_]+_flt\.fits")
"""AstroDrizzle interprets commas, brackets, blanks and @ as lists."""

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
    "final_kernel": "square",
    "final_pixfrac": 1.0,
    "final_units": "cps",
    "final_bits": 0,
    "final_wcs": True,
}


_ENVIRONMENT = {"ASTRODRIZ_NO_PARALLEL": "1", "MPLBACKEND": "Agg"}
"""No process pool for one kernel call, and no display for the plots of drizzlepac."""


@dataclass(frozen=True, slots=True)
class _Job:
    folder: str
    frames: tuple[str, ...]
    planes: int
    scale_arcsec: float
    log: str


class Drizzler:
    """A process that runs AstroDrizzle, one product at a time; it starts and ends with the context.

    It imports drizzlepac, which takes longer than a drizzle, while the parent process reads files and selects darks.

    Parameters
    ----------
    here : bool
        Run AstroDrizzle in this process, which is then a worker without other duties.
    """

    def __init__(self, *, here: bool = False) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._calls: list[_KernelCall] | None = [] if here else None

    def __enter__(self) -> Self:
        """Start the process and return itself."""
        if self._calls is None:
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._end()

    def drizzle(
        self, frames: Sequence[Path], *, folder: Path, log: Path, scale_arcsec: float = SCALE_ARCSEC
    ) -> DrizzledProduct:
        """Drizzle frames onto one product.

        Parameters
        ----------
        frames : sequence of Path
            Uncompressed FLTs in `folder`, with the distortion in the header and names of only letters, digits and
            ``_``. AstroDrizzle modifies them: pass copies.
        folder : Path
            Working folder of AstroDrizzle.
        log : Path
            File to which the output of AstroDrizzle is appended.
        scale_arcsec : float
            Side of a product pixel.

        Returns
        -------
        DrizzledProduct

        Raises
        ------
        SbcdarkError
            AstroDrizzle failed, or no good pixel of the frames falls on the product.
        """
        from astropy.io import fits  # noqa: PLC0415  costly, and light commands import this module
        from astropy.wcs import WCS  # noqa: PLC0415

        names = tuple(frame.name for frame in frames)
        if not names or len(set(names)) < len(names) or not all(_PLAIN_NAME.fullmatch(name) for name in names):
            raise ValueError(f"{', '.join(names)} are not valid frame names for AstroDrizzle")
        answer = self._ask(_Job(str(folder.resolve()), names, 0, scale_arcsec, str(log.resolve())))
        if "error" in answer:
            raise SbcdarkError(f"AstroDrizzle failed on {', '.join(names)}: {answer['error']}.", f"Read {log}.")
        # AstroDrizzle wrote this file, so it is trusted and read without the limits for untrusted files.
        with fits.open(folder / answer["file"], memmap=False) as hdus:
            for hdu in hdus:
                _ = hdu.data
        weight = hdus["WHT", 1].data.astype(np.float32)
        if not (weight > 0).any():
            raise SbcdarkError(f"No good pixel of {', '.join(names)} falls on the product.", "Check their DQ arrays.")
        # Where all inputs are flagged, AstroDrizzle keeps the value of the flagged pixel, such as a hot pixel.
        science = np.where(weight > 0, hdus["SCI", 1].data.astype(np.float32), np.float32(np.nan))
        mappings = []
        for number, rate_scale in enumerate(answer["rate_scales"]):
            corner_x, corner_y = np.load(folder / f"corners{number}.npy")
            mappings.append(FrameMapping(np.load(folder / f"weight{number}.npy"), corner_x, corner_y, rate_scale))
        return DrizzledProduct(science, weight, WCS(hdus["SCI", 1].header), hdus, tuple(mappings), answer["drizzlepac"])

    def resample(
        self, planes: Sequence[Sequence[NDArray[np.float64]]], *, folder: Path, log: Path
    ) -> list[NDArray[np.float32]]:
        """Resample other images of the last product's frames onto its grid, with the same kernel calls.

        Parameters
        ----------
        planes : sequence of sequence of ndarray, each of shape (1024, 1024)
            Counts in each frame's exposure time, one image per frame; finite where the frame has weight.
        folder, log : Path
            As for `drizzle`.

        Returns
        -------
        list of ndarray of float32, each of shape (ny, nx)
            One per plane: count/s, NaN where no pixel has weight.

        Raises
        ------
        SbcdarkError
            The process failed.
        """
        for number, plane in enumerate(planes):
            np.save(folder / f"plane{number}.npy", np.asarray(plane, dtype=np.float32))
        answer = self._ask(_Job(str(folder.resolve()), (), len(planes), 0.0, str(log.resolve())))
        if "error" in answer:
            raise SbcdarkError(f"The dark could not be drizzled: {answer['error']}.", f"Read {log}.")
        return [np.load(folder / f"drizzled{number}.npy") for number in range(len(planes))]

    def _ask(self, job: _Job) -> dict[str, Any]:
        if self._calls is not None:
            return _work(asdict(job), self._calls)
        process = self._process or self._start()
        line = ""
        # A broken pipe also means that there is no answer.
        with contextlib.suppress(BrokenPipeError):
            assert process.stdin is not None  # noqa: S101  for the type checker: both pipes are open
            assert process.stdout is not None  # noqa: S101
            process.stdin.write(json.dumps(asdict(job)) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        if not line:
            self._end()
            return {"error": f"its process ended with code {process.returncode}"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _start(self) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
        environment |= _ENVIRONMENT
        # -P: a folder called numpy in the user's current folder is not imported.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sbcdark.pipeline.products.drizzle"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # Between jobs there is nothing to save, and a regular exit with drizzlepac loaded takes a second.
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        process.wait()


@dataclass(frozen=True, slots=True, eq=False)
class _KernelCall:
    """The arguments of one call of `do_driz` that do not depend on the image."""

    input_wcs: Any
    weight: NDArray[np.float32]
    output_wcs: Any
    expin: float
    in_units: str
    wt_scl: float
    options: dict[str, Any]


def _work(job: dict[str, Any], calls: list[_KernelCall]) -> dict[str, Any]:
    """Run one job in its folder and send all output to the log. `calls` are those of the last product."""
    import logging  # noqa: PLC0415  in the worker only

    before = Path.cwd()
    with _output_to(job["log"]):
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
    os.environ |= _ENVIRONMENT
    if "drizzlepac" not in sys.modules:
        found = importlib.util.find_spec("drizzlepac")
        if found is None:
            raise ImportError("drizzlepac is not installed")
        package = importlib.util.module_from_spec(found)
        sys.modules["drizzlepac"] = package
        package.__dict__["__version__"] = importlib.import_module("drizzlepac.version").__version__
    import drizzlepac.astrodrizzle  # noqa: F401, PLC0415  in the worker only


def _astrodrizzle(job: dict[str, Any], calls: list[_KernelCall]) -> dict[str, Any]:
    import_astrodrizzle()
    from drizzlepac import __version__, adrizzle, cdriz  # noqa: PLC0415  in the worker only
    from drizzlepac.astrodrizzle import AstroDrizzle  # noqa: PLC0415

    calls.clear()
    kernel = adrizzle.do_driz

    def recorded(
        insci: Any, input_wcs: Any, inwht: Any, output_wcs: Any, outsci: Any, outwht: Any, outcon: Any,
        expin: float, in_units: str, wt_scl: float, **options: Any,
    ) -> Any:  # fmt: skip
        calls.append(_KernelCall(input_wcs, inwht.copy(), output_wcs, expin, in_units, wt_scl, options))
        return kernel(insci, input_wcs, inwht, output_wcs, outsci, outwht, outcon, expin, in_units, wt_scl, **options)

    adrizzle.do_driz = recorded
    try:
        AstroDrizzle(list(job["frames"]), output="product", final_scale=job["scale_arcsec"], **SETTINGS)
    finally:
        adrizzle.do_driz = kernel
    file = "product_drz.fits"
    if not Path(file).is_file():
        # It reports some problems only in its log and returns.
        return {"error": "it wrote no product"}
    if len(calls) != len(job["frames"]):
        return {"error": f"it drizzled {len(calls)} of {len(job['frames'])} frames"}
    y, x = np.mgrid[: calls[0].weight.shape[0] + 1, : calls[0].weight.shape[1] + 1] + 0.5
    scales = []
    for number, call in enumerate(calls):
        ny, nx = call.weight.shape
        mapping = cdriz.DefaultWCSMapping(call.input_wcs, call.output_wcs, nx, ny, call.options["stepsize"])
        corners = np.array(mapping(x.ravel(), y.ravel())).reshape(2, ny + 1, nx + 1) - 1.0  # it counts pixels from 1
        np.save(f"corners{number}.npy", corners)
        np.save(f"weight{number}.npy", call.weight * np.float32(call.wt_scl))
        scales.append(float(call.output_wcs.pscale / call.options["wcslin_pscale"]) ** 2)
    return {"file": file, "rate_scales": scales, "drizzlepac": __version__}


def _resample(job: dict[str, Any], calls: list[_KernelCall]) -> dict[str, Any]:
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
    calls: list[_KernelCall] = []
    while True:
        answers.write(json.dumps(_work(json.loads(jobs.get()), calls)) + "\n")
        answers.flush()


def _listen(jobs: SimpleQueue[str], lines: TextIO) -> None:
    """Queue incoming jobs; exit at once, even during a drizzle, when the parent process has ended."""
    for line in lines:
        jobs.put(line)
    os._exit(0)


if __name__ == "__main__":
    _main()
