"""Answers of a server that are made once and kept: many who ask the same thing wait for one computation.

An answer is kept until the catalog changes, and for a minute at most: files may go without a change of the catalog.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Message, Receive, Send], Awaitable[None]]

TIME_LIMIT_S = 30.0
"""How long a client waits for an answer; a longer computation goes on, and its answer is kept for the next client."""

_FRESH_S = 60.0
_LOOK_S = 1.0  # how often the catalog is asked for changes
_KEPT_BYTES = 64_000_000
_LONGEST_ADDRESS = 4000  # characters
_WAITING = 200  # computations at once; the server refuses more


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    made: float


class Answers:
    """An ASGI application that keeps the answers of another one.

    Parameters
    ----------
    application : callable
        The application; it is only asked with GET and without a body.
    state : callable
        Returns a value that changes with the catalog; called in a thread.
    renewed : callable
        Called when that value has changed.
    hosts : frozenset of str, optional
        The names that requests may give as their host; any by default.
    """

    def __init__(
        self,
        application: Application,
        state: Callable[[], Any],
        renewed: Callable[[], None],
        hosts: frozenset[str] | None = None,
    ) -> None:
        self._application, self._state, self._renewed, self._hosts = application, state, renewed, hosts
        self._kept: OrderedDict[tuple[str, bytes], Answer] = OrderedDict()
        self._bytes = 0
        self._running: dict[tuple[str, bytes], asyncio.Task[Answer]] = {}
        self._seen: Any = None
        self._looked = float("-inf")
        self._looking = asyncio.Lock()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or pass on what is not HTTP."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        answer = await self._answer(scope)
        head = scope["method"] == "HEAD"
        headers = [*answer.headers, (b"content-length", str(len(answer.body)).encode())]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if head else answer.body})

    async def _answer(self, scope: Message) -> Answer:
        if scope["method"] not in {"GET", "HEAD"}:
            return refusal(405, "This server only reads.", "Ask with GET.", [(b"allow", b"GET, HEAD")])
        if self._hosts is not None and _host_of(scope) not in self._hosts:
            return refusal(400, "The request is for another host.", "Give serve this name with --host.")
        key = (scope["path"], scope["query_string"])
        if len(key[0]) + len(key[1]) > _LONGEST_ADDRESS:
            return refusal(414, "The address is too long.", "Ask for fewer names at once.")
        try:
            await self._look()
        except Exception as error:  # noqa: BLE001  whatever the database says: the client gets an answer
            return refusal(503, "The catalog cannot be reached.", str(getattr(error, "todo", "")))
        kept = self._kept.get(key)
        if kept is not None and time.monotonic() - kept.made < _FRESH_S:
            self._kept.move_to_end(key)
            return kept
        task = self._running.get(key)
        if task is None:
            if len(self._running) >= _WAITING:
                return refusal(503, "The server is busy.", "Ask again later.", [(b"retry-after", b"5")])
            task = asyncio.create_task(self._compute(scope, key))
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        try:
            return await asyncio.wait_for(asyncio.shield(task), TIME_LIMIT_S)
        except TimeoutError:
            return refusal(504, f"The answer takes more than {TIME_LIMIT_S:.0f} s.", "Ask again later, or for less.")

    async def _look(self) -> None:
        """Forget the answers if the catalog has changed."""
        if time.monotonic() - self._looked < _LOOK_S:
            return
        async with self._looking:
            if time.monotonic() - self._looked < _LOOK_S:
                return
            seen = await asyncio.to_thread(self._state)
            if seen != self._seen:
                self._kept.clear()
                self._running.clear()
                self._bytes, self._seen = 0, seen
                self._renewed()
            self._looked = time.monotonic()

    async def _compute(self, scope: Message, key: tuple[str, bytes]) -> Answer:
        seen = self._seen
        start: Message = {"status": 500, "headers": []}
        parts: list[bytes] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                parts.append(message.get("body", b""))

        await self._application(dict(scope, method="GET"), receive, send)
        headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
        answer = Answer(start["status"], headers, b"".join(parts), time.monotonic())
        if answer.status == 200 and seen == self._seen:
            self._keep(key, answer)
        return answer

    def _keep(self, key: tuple[str, bytes], answer: Answer) -> None:
        old = self._kept.pop(key, None)
        self._bytes += len(answer.body) - (0 if old is None else len(old.body))
        self._kept[key] = answer
        while self._bytes > _KEPT_BYTES and self._kept:
            self._bytes -= len(self._kept.popitem(last=False)[1].body)


def _host_of(scope: Message) -> str:
    """Return the host that a request names, without the port."""
    named = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1").lower()
    return named.partition("]")[0].lstrip("[") if named.startswith("[") else named.partition(":")[0]


def refusal(status: int, what: str, todo: str, headers: list[tuple[bytes, bytes]] | None = None) -> Answer:
    """Return an error as JSON: what happened, and what to do."""
    body = json.dumps({"error": what, "todo": todo}).encode()
    given = [(b"content-type", b"application/json"), *(headers or ())]
    return Answer(status, given, body, time.monotonic())
