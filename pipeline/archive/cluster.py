"""Work on a Dask cluster, through the interface of `concurrent.futures` that a pool of processes has, too."""

from __future__ import annotations

import sys
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sbcdark.catalog.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

_TIMEOUT_S = 10

_RETRIES = 3
"""How often a job starts again whose worker was lost or failed unexpectedly."""


@contextmanager
def cluster(address: str) -> Iterator[Executor]:
    """Yield an executor that runs its jobs on a cluster; a job whose worker is lost runs on another one.

    Parameters
    ----------
    address : str
        Address of the scheduler: ``tcp://host:8786``.

    Raises
    ------
    UsageError
        Dask is not installed, or the address is malformed.
    UnreachableError
        The scheduler does not answer, or has no worker.
    """
    try:
        from distributed import Client  # noqa: PLC0415  slow to import, an extra
    except ImportError:
        what = "--scheduler needs Dask, which is not installed."
        raise UsageError(what, "pip install 'sbcdark[distributed]'") from None
    try:
        client = Client(  # type: ignore[no-untyped-call]
            address, timeout=_TIMEOUT_S, set_as_default=False
        )
    except ValueError as error:
        raise UsageError(f"{address!r} is not the address of a scheduler: {error}.", "Give tcp://HOST:8786.") from error
    except OSError as error:  # a TimeoutError, too
        raise UnreachableError(
            f"The scheduler {address} does not answer.", "Start it with `dask scheduler`, or check the address."
        ) from error
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise UnreachableError(f"The scheduler {address} has no worker.", f"Start one: dask worker {address}")
        executor: Executor = client.get_executor(pure=False, retries=_RETRIES)  # type: ignore[no-untyped-call]
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False)
            raise
        executor.shutdown()


def worker_lost() -> tuple[type[BaseException], ...]:
    """Return the exceptions of a job that no worker could finish."""
    if "distributed" not in sys.modules:
        return (BrokenProcessPool,)
    from distributed import KilledWorker  # noqa: PLC0415  loaded already

    return BrokenProcessPool, KilledWorker, CancelledError
