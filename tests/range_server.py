"""A real HTTP server on loopback: byte ranges, ETag, Last-Modified; it counts, and misbehaves if told."""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass
class Served:
    """One file and how it is served."""

    content: bytes
    etag: str | None = '"1"'
    modified: float | None = 1_700_000_000.0
    statuses: list[int] = field(default_factory=list)
    """Answered first, one each, instead of the file; the last one for ever where `always`."""
    always: bool = False
    ranges: bool = True
    head: bool = True
    tells_size: bool = True
    tells_no_ranges: bool = False
    stalls: float = 0.0
    """Silence before the body, s."""
    cut: int | None = None
    """The connection is closed after so many bytes of each body."""
    leads_to: str | None = None
    encoding: str | None = None


@dataclass(frozen=True)
class Asked:
    """One request that was answered."""

    method: str
    path: str
    range: tuple[int, int] | None
    status: int
    body: int
    signed: bool


class RangeServer:
    """What the tests see of the server."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._server = server
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.files: dict[str, Served] = {}
        self._answered: list[Asked] = []
        self._open = 0
        self._quiet = threading.Condition()

    @property
    def asked(self) -> list[Asked]:
        """What was asked, once every answer is finished: a client may have its answer before the server notes it."""
        with self._quiet:
            self._quiet.wait_for(lambda: not self._open, timeout=10)
            return self._answered

    @contextmanager
    def answering(self) -> Iterator[list[Asked]]:
        """Count an answer as open until it is noted in the list that is given."""
        with self._quiet:
            self._open += 1
            self._quiet.notify_all()
        try:
            yield self._answered
        finally:
            with self._quiet:
                self._open -= 1
                self._quiet.notify_all()

    def put(self, path: str, content: bytes, **behaviour: Any) -> str:
        """Serve a file from now on, and return its URL."""
        self.files[path] = Served(content, **behaviour)
        return f"{self.url}{path}"

    def wait_for_requests(self, number: int) -> None:
        """Wait until so many requests have come, answered or not."""
        with self._quiet:
            assert self._quiet.wait_for(lambda: self._open + len(self._answered) >= number, timeout=60)

    def stop(self) -> None:
        """Go away: nothing listens any more."""
        self._server.shutdown()
        self._server.server_close()

    def body_bytes(self, path: str | None = None) -> int:
        """Return how many bytes of bodies were sent, of all files or of one."""
        return sum(one.body for one in self.asked if path in {None, one.path})


@contextmanager
def range_server() -> Iterator[RangeServer]:
    """Serve on a free port of loopback until the block ends."""
    server = _Server(("127.0.0.1", 0), _Handler)
    shown = RangeServer(server)
    server.shown = shown  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield shown
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take a connection into which little fits that the other side does not read."""
        connection, address = super().get_request()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        return connection, address

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that go away in the middle of an answer."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._count()

    def do_GET(self) -> None:
        self._count()

    def _count(self) -> None:
        shown: RangeServer = self.server.shown  # type: ignore[attr-defined]
        with shown.answering() as answered:
            self._answer(answered)

    def _answer(self, answered: list[Asked]) -> None:
        shown: RangeServer = self.server.shown  # type: ignore[attr-defined]
        found = _RANGE.fullmatch(self.headers.get("Range", ""))
        part = (int(found[1]), int(found[2])) if found else None
        file = shown.files.get(self.path)
        status = 404 if file is None else 0
        if file is not None and file.statuses:
            status = file.statuses[0] if file.always else file.statuses.pop(0)
        if file is not None and self.command == "HEAD" and not file.head:
            status = 405
        if file is None or status:
            self._send(status, {}, b"<html>an error</html>", part, None, answered)
            return
        if file.leads_to is not None:
            self._send(302, {"Location": file.leads_to}, b"", part, file, answered)
            return
        headers, content, status = {}, file.content, 200
        if file.etag is not None:
            headers["ETag"] = file.etag
        if file.modified is not None:
            headers["Last-Modified"] = formatdate(file.modified, usegmt=True)
        if file.encoding is not None:
            headers["Content-Encoding"] = file.encoding
        if file.tells_no_ranges:
            headers["Accept-Ranges"] = "none"
        if part is not None and file.ranges:
            whole = len(content)
            content, status = content[part[0] : part[1] + 1], 206
            headers["Content-Range"] = f"bytes {part[0]}-{part[0] + len(content) - 1}/{whole}"
        self._send(status, headers, content, part, file, answered)

    def _send(
        self,
        status: int,
        headers: dict[str, str],
        body: bytes,
        part: tuple[int, int] | None,
        file: Served | None,
        answered: list[Asked],
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if file is None or file.tells_size or status == 206:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        sent = 0
        if self.command != "HEAD":
            self.wfile.flush()
            if file is not None and file.stalls:
                time.sleep(file.stalls)
            cut = body if file is None or file.cut is None else body[: file.cut]
            sent = self._write(cut)
            if len(cut) < len(body):
                self.close_connection = True
        answered.append(Asked(self.command, self.path, part, status, sent, "Authorization" in self.headers))

    def _write(self, body: bytes) -> int:
        """Write in pieces, and return how many bytes the other side has let us send before it went away."""
        sent = 0
        try:
            for start in range(0, len(body), 65536):
                self.wfile.write(body[start : start + 65536])
                sent += len(body[start : start + 65536])
        except OSError:
            self.close_connection = True
        return sent
