"""A real S3 server on loopback (moto's), in a process of its own, that takes anonymous requests and notes them."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_ASKED = "/moto-api/sbcdark-asked"


class S3Server:
    """What the tests see of the server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def put(self, path: str, content: bytes = b"", *, public: bool = True) -> None:
        """Make a bucket (``/bucket``) or an object (``/bucket/key``) that anybody may read, or nobody."""
        headers = {
            "Content-Type": "application/octet-stream",
            "x-amz-acl": "public-read" if public else "private",
        }
        request = urllib.request.Request(self.url + path, data=content, method="PUT", headers=headers)  # noqa: S310
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310  loopback

    def asked(self) -> list[dict[str, Any]]:
        """Return what was asked since the last time: method, path, query, status and bytes of the body."""
        with urllib.request.urlopen(self.url + _ASKED, timeout=30) as answer:  # noqa: S310  loopback
            found: list[dict[str, Any]] = json.load(answer)
        return found


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Serve on a free port of loopback until the block ends."""
    process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield S3Server(f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.communicate(timeout=30)


class _Noting:
    """Notes each answer on its way out."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._asked: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == _ASKED:
            with self._lock:
                asked, self._asked = self._asked, []
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(asked).encode()]
        statuses: list[int] = []

        def start(status: str, *arguments: Any) -> Any:
            statuses.append(int(status[:3]))
            return start_response(status, *arguments)

        body = b"".join(self._application(environ, start))
        with self._lock:
            self._asked.append(
                {
                    "method": environ["REQUEST_METHOD"],
                    "path": environ["PATH_INFO"],
                    "signed": "HTTP_AUTHORIZATION" in environ,
                    "status": statuses[-1],
                    "body": 0 if environ["REQUEST_METHOD"] == "HEAD" else len(body),
                }
            )
        return [body]


def _serve() -> None:
    from moto.server import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415  the server's process alone
    from werkzeug.serving import make_server  # noqa: PLC0415  the server's process alone

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, _Noting(DomainDispatcherApplication(create_backend_app)), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()  # until the test closes it


if __name__ == "__main__":
    _serve()
