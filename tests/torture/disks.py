"""Disks that are too small or may not be written to: real ones where this user may mount them."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class SmallDisk:
    """A file system in memory, of a size that it is given."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, left_byte: int) -> None:
        """Fill it, so that so many bytes are left."""
        status = os.statvfs(self.path)
        number = max(status.f_bavail * status.f_frsize - left_byte, 0)
        with (self.path / "filler").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(number, 1))

    def free(self) -> None:
        """Make room again."""
        (self.path / "filler").unlink()

    def resize(self, size_byte: int) -> None:
        """Make it larger or smaller."""
        self._remount(f"size={size_byte}")

    def protect(self, *, writable: bool) -> None:
        """Allow or forbid writing."""
        self._remount("rw" if writable else "ro")

    def _remount(self, option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", str(self.path)], check=True, capture_output=True)


@contextmanager
def small_disk(path: Path, size_byte: int) -> Iterator[SmallDisk | None]:
    """Mount a small disk; None where this user may not."""
    path.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_byte}", "sbcdark-torture", str(path)]
    try:
        mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        yield None
        return
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True, capture_output=True)
