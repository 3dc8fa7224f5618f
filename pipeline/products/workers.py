"""Worker processes for whole associations, forked from a process that has imported the heavy libraries once.

drizzlepac and the libraries that it, the apertures and the pictures need take longer to import than an association to
process. `start_imports` starts a server process that imports them beside other work; each worker of a pool is forked
from it and shares its memory. Where processes cannot be forked safely (macOS), each worker imports for itself.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver, get_context, resource_tracker, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbcdark.catalog.workspace import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Iterator

_FORKS = sys.platform == "linux"

_PATIENCE_S = 2.0
"""How long workers may take to end."""

_IMPORTS = "sbcdark.pipeline.products.worker_imports"

SOCKET_FOLDER = "SBCDARK_SOCKET_FOLDER"
"""Environment variable with the folder of the server's socket, which the server removes if this process is killed."""


def start_imports() -> None:
    """Start the process that imports what workers need, unless it runs already; returns at once."""
    if not _FORKS:
        return
    forkserver.set_forkserver_preload([_IMPORTS])
    # A folder called numpy in the user's current folder is not imported, and the user's warning filters stay out.
    changed = {"PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "ignore", SOCKET_FOLDER: util.get_temp_dir()}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        resource_tracker.ensure_running()  # the server asks for it, too, and it changes the signal mask
        with _without_script(), _interrupts_blocked():
            forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def worker_pool(size: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of worker processes with the environment and the current folder of this process.

    Submit jobs inside `submitting`. An exception inside the block, such as an interrupt, ends the workers.
    """
    start_imports()
    context = get_context("forkserver" if _FORKS else "spawn")
    pool = ProcessPoolExecutor(
        size, mp_context=context, initializer=_begin, initargs=(dict(os.environ), str(Path.cwd()))
    )
    try:
        yield pool
    except BaseException:
        processes = list((pool._processes or {}).values())  # noqa: SLF001  `kill_workers` comes with Python 3.14
        pool.shutdown(wait=False, cancel_futures=True)
        # An interrupt from the keyboard reaches the workers, too, which then remove their work folders.
        end = time.monotonic() + _PATIENCE_S
        for process in processes:
            process.join(max(end - time.monotonic(), 0.0))
            process.kill()
        raise
    pool.shutdown()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Keep interrupts from a process that starts here; each worker unblocks them.

    One from the keyboard, or of a notebook's cell, reaches all processes: it would break the imports, with a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _without_script() -> Iterator[None]:
    """Keep multiprocessing from running the user's script again in a worker: it may have no ``if __name__ == ...``."""
    main: Any = sys.modules["__main__"]
    hidden = {name: vars(main).pop(name) for name in ("__file__", "__spec__") if name in vars(main)}
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(hidden)


submitting = _without_script
"""Inside it jobs are submitted: a pool starts its processes when it gets work."""


def _begin(environment: dict[str, str], folder: str) -> None:
    if _FORKS:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    # The server has the environment and the folder of its start.
    own = {name: os.environ[name] for name in ("ASTRODRIZ_NO_PARALLEL", "MPLBACKEND") if name in os.environ}
    os.environ.clear()
    os.environ.update({**environment, **own})
    os.chdir(folder)
    gc.enable()
    end_with_parent()
