"""The pages of a catalog live, with JSON beside them; the catalog is only read."""

from __future__ import annotations

import contextlib
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import SbcdarkError, SchemaError, UnreachableError, UsageError
from sbcdark.catalog.result_listings import newest_rows
from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.pipeline.archive.urls import is_loopback
from sbcdark.pipeline.pages.answers import TIME_LIMIT_S, Answers
from sbcdark.pipeline.pages.rendering import Pages, read_page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from fastapi import FastAPI, Request, Response

_THREADS = 8  # computations at once
_CSP = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
_CSP_DRAWN = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src 'self' data: blob:; "
_FRAMES = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_TYPES = {"html": "text/html; charset=utf-8", "css": "text/css", "js": "text/javascript", "png": "image/png"}


def serve(engine: sa.Engine, host: str, port: int, *, started: Callable[[str], None] = lambda _: None) -> None:
    """Serve the pages of a catalog until it is interrupted.

    Parameters
    ----------
    engine : Engine
        The catalog; a role that may only read suffices.
    host, port
        The address; port 0 takes a free one.
    started : callable
        Called with the address of the pages once requests are answered.

    Raises
    ------
    UsageError
        FastAPI or uvicorn is not installed.
    SbcdarkError
        The address cannot be used.
    """
    try:
        import uvicorn  # noqa: PLC0415  only the server needs it

        application = make_application(engine, host)
    except ModuleNotFoundError as error:
        raise UsageError(f"serve needs {error.name}, which is not installed.", "pip install 'sbcdark[web]'") from error
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise SbcdarkError(f"{host} port {port} cannot be used: {error}.", "Give another --host or --port.") from error
    with listening:
        shown = f"[{host}]" if ":" in host else host
        started(f"http://{shown}:{listening.getsockname()[1]}/")
        config = uvicorn.Config(
            application, log_level="warning", server_header=False, timeout_keep_alive=10,
            h11_max_incomplete_event_size=16_384, timeout_graceful_shutdown=5,
        )  # fmt: skip
        with contextlib.suppress(KeyboardInterrupt):  # that is how a server ends
            uvicorn.Server(config).run(sockets=[listening])


def make_application(engine: sa.Engine, host: str = "127.0.0.1") -> Answers:
    """Return the ASGI application of a catalog.

    Parameters
    ----------
    engine : Engine
        The catalog. Its connections are set to read only.
    host : str
        Where it is served; on loopback, requests for other names are refused, so no other page can read it.
    """
    from fastapi import FastAPI  # noqa: PLC0415  only the server needs it

    from sbcdark.pipeline.pages.api import api_router  # noqa: PLC0415

    _read_only(engine)
    live = _LivePages(engine)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        from anyio.to_thread import current_default_thread_limiter  # noqa: PLC0415  FastAPI brings it

        current_default_thread_limiter().total_tokens = _THREADS
        yield

    application = FastAPI(
        title="sbcdark", version=SOFTWARE_VERSION, openapi_url="/api/openapi.json", docs_url=None, redoc_url=None,
        lifespan=lifespan, summary="A catalog of HST ACS/SBC dark frames, read-only",
    )  # fmt: skip
    application.include_router(api_router(engine))
    application.add_api_route("/{path:path}", live.page, methods=["GET"], include_in_schema=False)
    _answer_errors(application, live)

    def state() -> tuple[int, ...]:
        with reading(engine) as session:
            return newest_rows(session)

    hosts = frozenset({"localhost", "127.0.0.1", "::1", host}) if is_loopback(host) else None
    return Answers(application, state, live.renew, hosts)


class _LivePages:
    """The pages at the present state of the catalog."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self.renew()

    def renew(self) -> None:
        """Forget what was read."""
        self._pages = Pages(self._engine, live=True)

    def page(self, path: str) -> Response:
        """Return a page or a file that it links to."""
        from fastapi.responses import Response  # noqa: PLC0415  only the server needs it

        if path == "favicon.ico":  # browsers ask for it where a page names no icon
            return Response(status_code=204)
        path = path or "index.html"
        drawn = path in {"coverage.html", "history.html"}
        headers = {
            "content-security-policy": (_CSP_DRAWN if drawn else _CSP) + _FRAMES,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
        }
        kind = _TYPES.get(path.rpartition(".")[2], "text/plain; charset=utf-8")
        return Response(read_page(self._pages, self._engine, path), headers=headers, media_type=kind)

    def error(self, asked: Request, status: int, error: str, todo: str) -> Response:
        """Return the page of an error: what happened, what to do, and where the others are."""
        from fastapi.responses import HTMLResponse  # noqa: PLC0415  only the server needs it

        title = "Not found" if status == HTTPStatus.NOT_FOUND else "No answer"
        root = "../" * (asked.scope["raw_path"].count(b"/") - 1)  # a browser counts no %2f
        page = self._pages.of_error(root, title, error, todo)
        return HTMLResponse(
            page, status, {"content-security-policy": _CSP + _FRAMES, "x-content-type-options": "nosniff"}
        )


def _read_only(engine: sa.Engine) -> None:
    """Set each connection to read only, and on PostgreSQL limit the time of a statement."""

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        if engine.dialect.name == "sqlite":
            cursor.execute("PRAGMA query_only = ON")
        else:
            cursor.execute("SET default_transaction_read_only = on")
            cursor.execute("SELECT set_config('statement_timeout', %s, false)", (str(int(TIME_LIMIT_S * 1000)),))
            connection.commit()
        cursor.close()


def _answer_errors(application: FastAPI, live: _LivePages) -> None:
    """Answer errors with the right status: what happened, and what to do. Under /api/ as JSON, else as a page."""
    from fastapi.exceptions import RequestValidationError  # noqa: PLC0415  only the server needs it
    from fastapi.responses import JSONResponse  # noqa: PLC0415
    from starlette.exceptions import HTTPException  # noqa: PLC0415

    def answer(request: Request, status: int, error: str, todo: str) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": error, "todo": todo}, status)
        return live.error(request, status, error, todo)

    def known(request: Request, error: Exception) -> Response:
        assert isinstance(error, SbcdarkError)  # noqa: S101  registered for it alone
        page = not request.url.path.startswith("/api/")
        status = 404 if page or error.what.startswith(("The catalog has no", "There is no page")) else 400
        if not isinstance(error, UsageError):
            status = 503 if isinstance(error, UnreachableError | SchemaError) else 500
        return answer(request, status, error.what, error.todo)

    def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        wrong = "; ".join(f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in error.errors())
        return answer(request, 422, f"The request is not valid: {wrong}.", "See /api/openapi.json.")

    def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        return answer(request, error.status_code, str(error.detail), "See /api/openapi.json.")

    def unknown(request: Request, error: Exception) -> Response:
        return answer(request, 500, f"This should not have happened: {type(error).__name__}.", "")

    application.add_exception_handler(SbcdarkError, known)
    application.add_exception_handler(RequestValidationError, invalid)
    application.add_exception_handler(HTTPException, http)
    application.add_exception_handler(Exception, unknown)
