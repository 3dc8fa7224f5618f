"""AstroDrizzle for SBC frames: the only caller of drizzlepac.

AstroDrizzle changes its inputs, writes beside them, prints, hangs handlers on the root logger and wants the current
folder: so it runs in a process of its own, on copies. `Drizzler` keeps that process for several products, since the
import of drizzlepac takes longer than a drizzle.

What a product holds (measured with drizzlepac 3.11): SCI in count/s, such that 1 count in each native pixel of t
seconds gives 1/t in each product pixel; a drizzled sum is therefore f times the native count rate, f being the native
pixel's area over the product pixel's. WHT is the exposure time over f, summed over the frames. SCI is NaN wherever
WHT is 0.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sbcdark.catalog.errors import BadFileError, SbcdarkError
from sbcdark.pipeline.frame_writer import publish_drizzled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SCALE_ARCSEC = 0.025
"""Side of a product pixel, arcsec: the SCALE of the SBC's IDCTAB, at which PHOTFLAM holds."""

RESET_DQ = 4096
"""AstroDrizzle's flag of a cosmic ray. A MAMA sees none, so a set flag is an earlier run's mistake, and is cleared."""

DROPPED_DQ = 0xFFFF & ~RESET_DQ
"""DQ bits of pixels that get no weight: every one. A hot pixel (16) alone would bring more dark counts than a whole
aperture, and a dead row (4) or a blemish (32, 1024) would count sky that it cannot see. The same DQ array rides in the
copy that carries the dark, so that science and dark lose the same pixels."""

GRID = ("NAXIS1", "NAXIS2", "CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")
"""The keywords that say which pixel lies where on the sky."""

SETTINGS: dict[str, Any] = {
    # No MDRIZTAB, no reference file, no update of the WCS: the header's own distortion is what counts.
    "mdriztab": False,
    "updatewcs": False,
    "runfile": "",
    "num_cores": 1,
    # One file with SCI and WHT, the inputs not kept: they are copies already.
    "build": True,
    "context": False,
    "preserve": False,
    "clean": True,
    "resetbits": RESET_DQ,
    # A MAMA has no cosmic rays and 0.01 count per pixel: a sky fit or a median would come out as zero.
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


@dataclass(frozen=True, slots=True)
class DrizzledProduct:
    """A product of AstroDrizzle.

    Attributes
    ----------
    path : Path
        Multi-extension FITS: SCI (count/s, NaN without weight) and WHT (s).
    shape : tuple of int
        (ny, nx).
    exposure_time_s : float
        Sum over the frames.
    frames : tuple of str
        File names of the frames.
    drizzlepac : str
        The version of drizzlepac that made it.
    log : Path
        What AstroDrizzle said.
    """

    path: Path
    shape: tuple[int, int]
    exposure_time_s: float
    frames: tuple[str, ...]
    drizzlepac: str
    log: Path


@dataclass(frozen=True, slots=True)
class _Job:
    folder: str
    frames: tuple[str, ...]
    output: str
    reference: str | None
    scale_arcsec: float
    log: str


def dropped(dq: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Return which native pixels get no weight in a product.

    Parameters
    ----------
    dq : ndarray of int, shape (ny, nx)
        A frame's DQ array.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        True where a bit of `DROPPED_DQ` is set.
    """
    return np.asarray((dq.astype(np.int32) & DROPPED_DQ) != 0)


def drizzle(
    frames: Sequence[Path],
    product: Path,
    *,
    working_folder: Path,
    log: Path,
    reference: Path | None = None,
    scale_arcsec: float = SCALE_ARCSEC,
) -> DrizzledProduct:
    """Drizzle one product in a process of its own; see `Drizzler.drizzle`."""
    with Drizzler() as drizzler:
        return drizzler.drizzle(
            frames, product, working_folder=working_folder, log=log, reference=reference, scale_arcsec=scale_arcsec
        )


class Drizzler:
    """A process that runs AstroDrizzle, one product after the other; it starts and ends with the context.

    It imports drizzlepac, which takes longer than a drizzle, while its owner reads files and chooses darks.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Start the process and return itself."""
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._end()

    def drizzle(
        self,
        frames: Sequence[Path],
        product: Path,
        *,
        working_folder: Path,
        log: Path,
        reference: Path | None = None,
        scale_arcsec: float = SCALE_ARCSEC,
    ) -> DrizzledProduct:
        """Drizzle frames onto one product.

        Parameters
        ----------
        frames : sequence of Path
            FLTs, plain or gzipped, with their distortion in the header; they are copied, never touched.
        product : Path
            The product; it appears under this name when it is whole. An older one is replaced.
        working_folder : Path
            Where a temporary folder for the copies may be made.
        log : Path
            What AstroDrizzle says is added to this file.
        reference : Path, optional
            A product on whose pixel grid the frames shall land: same shape, same WCS to the last digit.
        scale_arcsec : float
            Side of a product pixel, where there is no reference.

        Returns
        -------
        DrizzledProduct
            Where it is, and its shape.

        Raises
        ------
        BadFileError
            A frame cannot be read.
        SbcdarkError
            AstroDrizzle failed, or the product is not on the reference's grid, or cannot be written.
        """
        names = tuple(_plain_name(frame) for frame in frames)
        if not names or len(set(names)) < len(names):
            raise SbcdarkError(f"These frames cannot be drizzled together: {', '.join(names)}.", "Name each one once.")
        output = re.sub(r"_drz$", "", _plain_name(product).removesuffix(".fits"))
        with _temporary_folder(working_folder) as folder:
            for frame, name in zip(frames, names, strict=True):
                _copy_plain(frame, folder / name)
            if reference:
                _copy_plain(reference, folder / "reference.fits")
            job = _Job(
                folder=str(folder),
                frames=names,
                output=output,
                reference="reference.fits" if reference else None,
                scale_arcsec=scale_arcsec,
                log=str(log.resolve()),
            )
            answer = self._ask(job)
            if "error" in answer:
                what = f"AstroDrizzle could not make {product.name}: {answer['error']}."
                raise SbcdarkError(what, f"Read {log} for what it did before.")
            shape = publish_drizzled(folder / answer["file"], product)
        return DrizzledProduct(
            path=product,
            shape=shape,
            exposure_time_s=float(answer["exposure_time_s"]),
            frames=names,
            drizzlepac=str(answer["drizzlepac"]),
            log=log,
        )

    def _ask(self, job: _Job) -> dict[str, Any]:
        process = self._process or self._start()
        line = ""
        # A broken pipe tells the same as the missing answer does.
        with contextlib.suppress(BrokenPipeError):
            assert process.stdin is not None  # noqa: S101  for the type checker: both ends were asked for
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
        # No pool of processes for one kernel call, and no window system for the plots that drizzlepac could make.
        environment |= {"ASTRODRIZ_NO_PARALLEL": "1", "MPLBACKEND": "Agg"}
        # -P: a folder called numpy in the user's current folder is not imported.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sbcdark.pipeline.drizzle"],
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
        # Between jobs it has nothing to lose, and taking down an interpreter with drizzlepac in it takes a second.
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        process.wait()


def _plain_name(path: Path) -> str:
    """Return a file's name as AstroDrizzle takes it: it reads commas, brackets, blanks and @ as lists."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", path.name.removesuffix(".gz"))


@contextlib.contextmanager
def _temporary_folder(parent: Path) -> Any:
    try:
        folder = tempfile.TemporaryDirectory(dir=parent, prefix="drizzle_", ignore_cleanup_errors=True)
    except OSError as problem:
        raise SbcdarkError(
            f"No folder can be made in {parent}: {problem.strerror}.", "Name another with -o."
        ) from problem
    with folder as name:
        yield Path(name).resolve()


def _copy_plain(source: Path, target: Path) -> None:
    try:
        with source.open("rb") as raw, target.open("wb") as plain:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            shutil.copyfileobj(gzip.GzipFile(fileobj=raw) if zipped else raw, plain)
    except (OSError, EOFError) as problem:
        what = f"{source} cannot be copied to {target.parent}: {problem}."
        raise BadFileError(what, "Get the file again, or free some space there.") from problem


def _work(job: dict[str, Any]) -> dict[str, Any]:
    """Run AstroDrizzle in the job's folder; everything that it prints goes to the log."""
    import logging  # noqa: PLC0415  in the worker only

    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("drizzlepac").setLevel(logging.DEBUG)  # it tells its parameters at that level
    os.chdir(job["folder"])
    try:
        return _astrodrizzle(job)
    except Exception as problem:
        logging.getLogger("sbcdark").exception("AstroDrizzle failed")
        text = " ".join(re.sub(r"#+", " ", str(problem)).split())
        return {"error": f"{type(problem).__name__}: {text}"[:300].rstrip(".")}
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.chdir(tempfile.gettempdir())


def _astrodrizzle(job: dict[str, Any]) -> dict[str, Any]:
    from astropy.io import fits  # noqa: PLC0415  in the worker only
    from drizzlepac import __version__  # noqa: PLC0415  3 s
    from drizzlepac.astrodrizzle import AstroDrizzle  # noqa: PLC0415

    grid = {"final_scale": job["scale_arcsec"]}
    if job["reference"]:
        grid = {"final_refimage": f"{job['reference']}[sci,1]"}
    AstroDrizzle(list(job["frames"]), output=job["output"], **SETTINGS, **grid)
    file = f"{job['output']}_drz.fits"
    if not Path(file).is_file():
        # It tells of some problems in its log alone and returns.
        return {"error": "it made no product"}
    header = fits.getheader(file, ("SCI", 1))
    if job["reference"]:
        wanted = fits.getheader(job["reference"], ("SCI", 1))
        off = [keyword for keyword in GRID if header[keyword] != wanted[keyword]]
        if off:
            return {"error": f"the product is not on the grid of its reference ({', '.join(off)})"}
    return {"file": file, "exposure_time_s": fits.getval(file, "EXPTIME"), "drizzlepac": __version__}


def _main() -> None:
    """Take one job a line from stdin; give one answer a line on what was stdout."""
    answers = os.fdopen(os.dup(1), "w")
    # What the import prints is no answer.
    os.dup2(2, 1)
    jobs: SimpleQueue[str] = SimpleQueue()
    Thread(target=_listen, args=(jobs,), daemon=True).start()
    with contextlib.suppress(ImportError):  # told by the first job
        import drizzlepac.astrodrizzle  # noqa: F401, PLC0415  in the worker only
    while True:
        answers.write(json.dumps(_work(json.loads(jobs.get()))) + "\n")
        answers.flush()


def _listen(jobs: SimpleQueue[str]) -> None:
    """Hand on what comes; end at once, whatever is being drizzled, when the owner has ended: nobody waits for it."""
    for line in sys.stdin:
        jobs.put(line)
    os._exit(0)


if __name__ == "__main__":
    _main()
