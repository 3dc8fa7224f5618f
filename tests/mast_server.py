"""A stand-in for MAST: a real HTTP server on loopback that speaks what astroquery 0.4.11 asks, and fails on demand.

It answers the search for HST (column list, search with conditions and pages, product lists) as recorded answers of the
archive look, with root names in capitals and padded instrument names, and gives files. It keeps a log
of requests, and counts the body bytes that it sent of each file.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from mast_content import COLUMNS, Row, Served, darks, products_answer, search_answer, visit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass
class Fault:
    """What goes wrong: `kind` on a route (columns, search, products, file), so many times, for names that hold `name`.

    Kinds: 503, reset, short, wrong length, stall, html, duplicate, empty, same page, and moved (to
    `MastServer.elsewhere`).
    """

    kind: str
    route: str = "file"
    times: int = 1
    name: str = ""


@dataclass(frozen=True)
class Logged:
    """One request."""

    method: str
    route: str
    name: str
    status: int


class MastServer:
    """The stand-in; used as a context manager it serves until its end."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.files: dict[str, Served] = {}
        self.faults: list[Fault] = []
        self.log: list[Logged] = []
        self.sent: Counter[str] = Counter()
        self.whole: Counter[str] = Counter()
        """How often all bytes of a file went out in one answer."""
        self.pause_s = 0.0
        """Between two pieces of 32 kB."""
        self.access = "PUBLIC"
        self.elsewhere = ""
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.mast = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def clear(self) -> None:
        """Forget everything that was published, asked and sent."""
        with self.lock:
            self.rows, self.files, self.faults, self.log = [], {}, [], []
            self.sent.clear()
            self.whole.clear()
            self.pause_s, self.access = 0.0, "PUBLIC"

    def __enter__(self) -> Self:
        """Begin to serve."""
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, silent answers too."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def configure(self, folder: Path, timeout_s: int = 20) -> dict[str, str]:
        """Write astroquery's own configuration into a folder and return the environment that names it."""
        (folder / "astropy").mkdir(parents=True, exist_ok=True)
        (folder / "astropy" / "astroquery.cfg").write_text(f"[mast]\nserver = {self.url}\ntimeout = {timeout_s}\n")
        return {"XDG_CONFIG_HOME": str(folder), "NO_PROXY": "127.0.0.1"}

    def add(self, row: Row, files: Iterable[Served] = (), noise: Iterable[str] = ()) -> None:
        """Publish a data set with its files, and names of products that nobody shall ask for."""
        files = list(files)
        row.products = [*row.products, *noise, *(file.name for file in files)]
        with self.lock:
            self.rows.append(row)
            self.files |= {file.name: file for file in files}

    def add_real_darks(self, data: Path, first: int = 0, last: int = 20) -> list[str]:
        """Publish some of the 20 darks of program 13961 and return their root names."""
        return [self._added(*published) for published in darks(data, first, last)]

    def add_real_visit(self, data: Path) -> None:
        """Publish visit 11 of program 13655: associations, FLTs, HAP duplicates, a frame of the WFC."""
        for published in visit(data):
            self._added(*published)

    def _added(self, row: Row, files: list[Served]) -> str:
        self.add(row, files)
        return row.name

    def fault_for(self, route: str, name: str) -> Fault | None:
        """Return the fault that this request meets, used up by one."""
        with self.lock:
            for fault in self.faults:
                if fault.route == route and fault.times > 0 and fault.name in name:
                    fault.times -= 1
                    return fault
        return None

    def of(self, route: str) -> list[Logged]:
        """Return the requests of a route."""
        return [entry for entry in self.log if entry.route == route]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    mast: MastServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients are killed here on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is the base class's
        """Print nothing; `MastServer.log` has it."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/search/util/api/v0.1/column_list":
            self._answer("columns", "", self._columns)
        elif parts.path == "/search/hst/api/v0.1/retrieve_product":
            product = unquote(parse_qs(parts.query).get("product_name", [""])[0])
            self._file(product.rpartition("/")[2])
        else:
            self._send("other", self.path, 404, b"not here", "text/plain")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))) or b"{}")
        if self.path == "/search/hst/api/v0.1/search":
            self._answer(
                "search",
                json.dumps(asked.get("conditions")),
                lambda fault: search_answer(self._mast.rows, asked, fault and fault.kind),
            )
        elif self.path == "/search/hst/api/v0.1/post_list_products":
            self._answer("products", "", lambda fault: products_answer(self._mast, asked, fault and fault.kind))
        else:
            self._send("other", self.path, 404, b"not here", "text/plain")

    @property
    def _mast(self) -> MastServer:
        return self.server.mast

    def _columns(self, _fault: Fault | None) -> Any:
        return [
            {"column_name": name, "qual_type": kind, "description": name, "field_name": name}
            for name, (kind, _) in COLUMNS.items()
        ]

    def _answer(self, route: str, name: str, make: Any) -> None:
        """Answer a query, with the fault that it meets."""
        fault = self._mast.fault_for(route, name)
        if fault is None or fault.kind in {"duplicate", "empty", "same page"}:
            body = json.dumps(make(fault)).encode()
            self._send(route, name, 200, body, "application/json")
        elif fault.kind in {"503", "html"}:
            self._page(route, name, fault)
        elif fault.kind == "reset":
            self._log(route, name, 0)
            self._reset()
        elif fault.kind == "stall":
            self._log(route, name, 0)
            self._mast.closing.wait(60)
            self.close_connection = True
        else:
            body = json.dumps(make(None)).encode()
            self._send(route, name, 200, body, "application/json", stop_at=len(body) // 2)

    def _page(self, route: str, name: str, fault: Fault) -> None:
        page = b"<html><body>The archive is down for maintenance.</body></html>"
        self._send(route, name, 503 if fault.kind == "503" else 200, page, "text/html")

    def _file(self, name: str) -> None:
        mast = self._mast
        fault = mast.fault_for("file", name)
        if fault is not None and fault.kind in {"503", "html"}:
            self._page("file", name, fault)
            return
        if fault is not None and fault.kind == "moved":
            self._send("moved", name, 302, b"", "text/plain", {"Location": f"{mast.elsewhere}{self.path}"})
            return
        served = mast.files.get(name)
        if served is None:
            self._send("file", name, 404, b"no such product", "text/plain")
            return
        body = served.body
        stop_at = len(body)
        if fault is not None and fault.kind == "wrong length":
            body = body[: len(body) // 2]
            stop_at = len(body)
        elif fault is not None:
            stop_at = len(body) // 2
        whole = self._send("file", name, 200, body, "application/fits", stop_at=stop_at, fault=fault)
        if whole and len(body) == len(served.body):
            with mast.lock:
                mast.whole[name] += 1

    def _log(self, route: str, name: str, status: int) -> None:
        with self._mast.lock:
            self._mast.log.append(Logged(self.command, route, name, status))

    def _send(
        self,
        route: str,
        name: str,
        status: int,
        body: bytes,
        kind: str,
        headers: dict[str, str] | None = None,
        *,
        stop_at: int | None = None,
        fault: Fault | None = None,
    ) -> bool:
        """Send an answer, or the beginning of its body; tell whether all of it went out."""
        self._log(route, name, status)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        until = len(body) if stop_at is None else stop_at
        for start in range(0, until, 2**15):
            piece = body[start : min(start + 2**15, until)]
            self.wfile.write(piece)
            with self._mast.lock:
                if route == "file":
                    self._mast.sent[name] += len(piece)
            if self._mast.pause_s:
                time.sleep(self._mast.pause_s)
        if until == len(body):
            return True
        if fault is not None and fault.kind == "stall":
            self._mast.closing.wait(60)
        elif fault is not None and fault.kind == "reset":
            self._reset()
        self.close_connection = True
        return False

    def _reset(self) -> None:
        """Break the connection off by a RST."""
        self.close_connection = True
        self.wfile.flush()
        time.sleep(0.05)  # a RST throws away what the other side has not read yet
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
