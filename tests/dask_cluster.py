"""A real Dask cluster on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def local_cluster(workers: int) -> Iterator[Any]:
    """Start a scheduler and some workers with one thread each, every one a process of its own."""
    from distributed import LocalCluster  # noqa: PLC0415  slow to import

    with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster


def kill_a_worker(cluster: Any) -> int:
    """Kill the process of one worker; its nanny starts another one. Return the process id."""
    pid: int = next(iter(cluster.workers.values())).pid
    os.kill(pid, signal.SIGKILL)
    return pid
