"""AstroDrizzle for SBC frames.

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
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sbcdark.catalog.errors import SbcdarkError
from sbcdark.pipeline.drizzling.bare_imports import ENVIRONMENT
from sbcdark.pipeline.drizzling.drizzle_process import KernelCall, work
from sbcdark.pipeline.drizzling.drizzled_product import DrizzledProduct, FrameMapping
from sbcdark.pipeline.drizzling.grid import Grid, require_usable
from sbcdark.pipeline.frames.fits_output import write_grid
from sbcdark.pipeline.frames.pixels import read_product
from sbcdark.pipeline.frames.untrusted_fits import trusted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_]+_flt\.fits")
"""AstroDrizzle interprets commas, brackets, blanks and @ as lists."""


@dataclass(frozen=True, slots=True)
class _Job:
    folder: str
    frames: tuple[str, ...]
    planes: int
    paired: bool
    settings: dict[str, Any]
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
        self._calls: list[KernelCall] | None = [] if here else None

    def __enter__(self) -> Self:
        """Start the process and return itself."""
        if self._calls is None:
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._end()

    def drizzle(self, frames: Sequence[Path], *, folder: Path, log: Path, grid: Grid | None = None) -> DrizzledProduct:
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
        grid : Grid, optional
            The grid of the product and the kernel.

        Returns
        -------
        DrizzledProduct

        Raises
        ------
        SbcdarkError
            AstroDrizzle failed, or no good pixel of the frames falls on the product.
        BadFileError
            The reference image of the grid is not a drizzled product.
        UsageError
            A flux would not be conserved on its grid (`grid.require_usable`).
        """
        from astropy.io import fits  # noqa: PLC0415  costly, and light commands import this module
        from astropy.wcs import WCS  # noqa: PLC0415

        names = tuple(frame.name for frame in frames)
        if not names or len(set(names)) < len(names) or not all(_PLAIN_NAME.fullmatch(name) for name in names):
            raise ValueError(f"{', '.join(names)} are not valid frame names for AstroDrizzle")
        settings = _settings(grid or Grid(), folder)
        answer = self._ask(_Job(str(folder.resolve()), names, 0, False, settings, str(log.resolve())))
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
        # One copy of each image in memory, and with the NaN also in what is written.
        hdus["SCI", 1].data, hdus["WHT", 1].data = science, weight
        mappings = []
        for rate_scale, (corner_x, corner_y), used, native in zip(
            answer["rate_scales"], answer["corners"], answer["weights"], answer["native"], strict=True
        ):
            mappings.append(FrameMapping(used, corner_x, corner_y, rate_scale, *native))
        return DrizzledProduct(science, weight, WCS(hdus["SCI", 1].header), hdus, tuple(mappings), answer["drizzlepac"])

    def resample(
        self,
        planes: Sequence[Sequence[NDArray[np.floating]]],
        *,
        folder: Path,
        log: Path,
        pair: Sequence[Sequence[NDArray[np.floating]]] = (),
    ) -> list[NDArray[np.float32]]:
        """Resample other images of the last product's frames onto its grid, with the same kernel calls.

        Parameters
        ----------
        planes : sequence of sequence of ndarray, each of shape (1024, 1024)
            Counts in each frame's exposure time, one image per frame; finite where the frame has weight.
        folder, log : Path
            As for `drizzle`.
        pair : sequence of sequence of ndarray, optional
            Two more planes, of which the first is positive where the frame has weight. One call of the kernel resamples
            both, within a few roundings of float32 of what two calls give. There must be a plane in `planes`.

        Returns
        -------
        list of ndarray of float32, each of shape (ny, nx)
            One per plane, then those of the pair: count/s, NaN where no pixel has weight.

        Raises
        ------
        SbcdarkError
            The process failed.
        """
        every = [*planes, *pair]
        answer = self._ask(_Job(str(folder.resolve()), (), len(every), bool(pair), {}, str(log.resolve())), every)
        if "error" in answer:
            raise SbcdarkError(f"The dark could not be drizzled: {answer['error']}.", f"Read {log}.")
        drizzled: list[NDArray[np.float32]] = answer["drizzled"]
        return drizzled

    def _ask(self, job: _Job, planes: Sequence[Sequence[NDArray[np.floating]]] = ()) -> dict[str, Any]:
        """Return the answer to a job with its arrays, which go to and from a process in files of the folder."""
        if self._calls is not None:
            return work(asdict(job), self._calls, planes)
        folder = Path(job.folder)
        for number, plane in enumerate(planes):
            np.save(folder / f"plane{number}.npy", np.asarray(plane, dtype=np.float32))
        answer = self._from_process(job)
        if "error" not in answer:
            names, number = (("corners", "weights"), len(job.frames)) if job.frames else (("drizzled",), len(planes))
            answer |= {name: [np.load(folder / f"{name}{each}.npy") for each in range(number)] for name in names}
        return answer

    def _from_process(self, job: _Job) -> dict[str, Any]:
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
        environment |= ENVIRONMENT
        # -P: a folder called numpy in the user's current folder is not imported.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sbcdark.pipeline.drizzling.drizzle_process"],
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


def _settings(grid: Grid, folder: Path) -> dict[str, Any]:
    """Return the settings of AstroDrizzle for a grid; write its reference image into the folder."""
    found: dict[str, Any] = {"final_kernel": grid.kernel, "final_pixfrac": grid.pixfrac}
    if grid.reference is None:
        found["final_scale"] = grid.scale_arcsec
        if grid.rotation_deg is not None:
            found["final_rot"] = grid.rotation_deg
        return found
    # A copy with nothing but the WCS: AstroDrizzle sees neither the name nor the cards of the user's file.
    reference = read_product(grid.reference)
    with trusted(grid.reference):
        require_usable(grid.reference, reference.wcs)
    write_grid(folder / "reference.fits", reference)
    return found | {"final_refimage": "reference.fits[SCI,1]"}
