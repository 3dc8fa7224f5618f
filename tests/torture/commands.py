"""The program itself, in processes of their own, and what it leaves behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MARK = "SBCDARK_TORTURE"
"""Environment variable by which every process of a command is known, however deep it was started."""

PROGRAM = [sys.executable, "-m", "sbcdark.cli"]

DONE, FAILED, WRONG_USAGE, NOT_REACHED, SCHEMA, NO_MATCH, REJECTED = range(7)

_UNTOLD = re.compile(r"Traceback \(most recent call last\)|should not have happened|Exception ignored")
_LOCKED = re.compile(r"database (table )?is locked|deadlock", re.IGNORECASE)
_LONGEST_WAIT_S = 180.0

_BOUNDED = """import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))
from sbcdark.cli.entry import main
main()"""


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that came to its end, by itself or killed."""

    arguments: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    seconds: float

    def tracebacks(self) -> list[str]:
        """Return what no user should see."""
        found = _UNTOLD.search(self.stdout + self.stderr)
        return [f"{self.arguments[0]} printed: {self.stderr.strip()[-600:]}"] if found else []

    def misbehaviour(self, codes: Sequence[int]) -> list[str]:
        """Return what is not as promised: another exit code, more or less than one message, a lock that is told."""
        wrong = []
        told = self.stderr.strip()[-400:]
        if self.code not in codes:
            wrong.append(f"{' '.join(self.arguments)[:120]} ended with {self.code}, not {codes}: {told}")
        messages = len(re.findall(r"^sbcdark: ", self.stderr, re.MULTILINE))
        if self.code >= 0 and messages != (self.code != DONE):
            wrong.append(f"{self.arguments[0]} ended with {self.code} and {messages} messages: {told}")
        if _LOCKED.search(self.stderr):
            wrong.append(f"{self.arguments[0]} told of a lock: {told}")
        return wrong


class Running:
    """A command that goes on."""

    def __init__(self, process: subprocess.Popen[str], arguments: tuple[str, ...]) -> None:
        self.process = process
        self._arguments = arguments
        self._start = time.monotonic()

    def until(self, moment: Callable[[], bool]) -> bool:
        """Wait until `moment` says so; False where the command ended before."""
        while self.process.poll() is None:
            if moment():
                return True
            time.sleep(0.001)
        return False

    def kill_when(self, moment: Callable[[], bool]) -> bool:
        """Kill -9 the command as soon as `moment` says so; False where it ended before."""
        if not self.until(moment):
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        return self.process.wait() == -signal.SIGKILL

    def end(self) -> Ended:
        """Wait for its end."""
        try:
            stdout, stderr = self.process.communicate(timeout=_LONGEST_WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            stdout, stderr = self.process.communicate()
            stderr += f"\n(it hung for {_LONGEST_WAIT_S:.0f} s and was ended)"
        return Ended(self._arguments, self.process.returncode, stdout, stderr, time.monotonic() - self._start)


class Bench:
    """A folder with its own place for temporary files, in which commands are run and whose remains are known."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        self._mark = uuid.uuid4().hex
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("SBCDARK_")}
        self._environment |= {MARK: self._mark, "TMPDIR": str(self.temporary)}

    def start(self, url: str, *arguments: str | Path, largest_file: int | None = None) -> Running:
        """Start a command on a catalog; with `largest_file` no file may grow beyond so many bytes."""
        program = PROGRAM if largest_file is None else [sys.executable, "-c", _BOUNDED.format(largest_file)]
        command = [*program, "--db", url, *map(str, arguments)]
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return Running(process, tuple(map(str, arguments)))

    def run(self, url: str, *arguments: str | Path, largest_file: int | None = None) -> Ended:
        """Run a command to its end."""
        return self.start(url, *arguments, largest_file=largest_file).end()

    def survivors(self, patience_s: float = 8.0) -> list[str]:
        """Return the processes of commands that still live after a while, and end them."""
        end = time.monotonic() + patience_s
        while alive := self._alive():
            if time.monotonic() > end:
                for pid in alive:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return [f"process {' '.join(told.split())[:120]}" for told in alive.values()]
            time.sleep(0.02)
        return []

    def _alive(self) -> dict[int, str]:
        found = {}
        wanted = f"{MARK}={self._mark}".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                # Processes end while they are looked at, and those of others may not be read.
                with contextlib.suppress(OSError):
                    if wanted in (entry / "environ").read_bytes():
                        told = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                        found[int(entry.name)] = told or "(ended, not waited for)"
        return found

    def remains(self) -> list[str]:
        """Return what lies in the place for temporary files."""
        return [f"temporary {path.relative_to(self.folder)}" for path in self.temporary.iterdir()]
