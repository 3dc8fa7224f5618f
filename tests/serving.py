"""A served catalog: the program itself in a process of its own, on a free port of loopback."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands import plain_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOAD = Path(__file__).with_name("load_clients.py")


class Served:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port

    def get(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, str, bytes]:
        """Return status, content type and body of an answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers.get("content-type", ""), answer.read()
        finally:
            connection.close()

    def json(self, path: str) -> Any:
        """Return the JSON of a good answer."""
        status, kind, body = self.get(path)
        assert (status, kind) == (200, "application/json"), body
        return json.loads(body)

    def loaded(self, clients: int, seconds: float, paths: list[str]) -> subprocess.Popen[str]:
        """Start many clients at once, in a process of their own."""
        words = [sys.executable, str(_LOAD), str(self.port), str(clients), str(seconds), *paths]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def serving(url: str) -> Iterator[Served]:
    """Serve a catalog; at the end the server is interrupted and must end by itself."""
    words = [sys.executable, "-W", "error", "-m", "sbcdark.cli", "--db", url, "serve", "--port", "0"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=plain_environment())
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        match = re.search(r"serving http://127\.0\.0\.1:(\d+)/", said)
        assert match is not None, said + process.stderr.read()
        yield Served(process, int(match[1]))
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
            assert errors == ""
    finally:
        process.kill()
        process.communicate()
