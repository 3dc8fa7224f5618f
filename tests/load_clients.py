"""Clients of a server that ask one thing after another, many at once; prints the numbers as JSON.

A process of its own, so that it does not take the server's time in Python: python load.py PORT CLIENTS SECONDS PATH...
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time


async def _client(port: int, paths: list[str], start: int, end: float, seconds: list[float], wrong: list[str]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = start
    while time.monotonic() < end:
        begun = time.perf_counter()
        writer.write(f"GET {paths[number % len(paths)]} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        length = next(int(line.partition(b":")[2]) for line in lines if line.lower().startswith(b"content-length"))
        body = await reader.readexactly(length)
        seconds.append(time.perf_counter() - begun)
        if b" 200 " not in lines[0]:
            wrong.append(f"{lines[0]!r} {body[:200]!r}")
        number += 1
    writer.close()


async def _load(port: int, clients: int, duration: float, paths: list[str]) -> dict[str, object]:
    seconds: list[float] = []
    wrong: list[str] = []
    end = time.monotonic() + duration
    await asyncio.gather(*(_client(port, paths, 7 * one, end, seconds, wrong) for one in range(clients)))
    ordered = sorted(seconds)
    return {
        "requests": len(seconds),
        "wrong": wrong[:5],
        "median_ms": 1000 * statistics.median(ordered),
        "p99_ms": 1000 * ordered[int(0.99 * len(ordered))],
        "max_ms": 1000 * ordered[-1],
    }


if __name__ == "__main__":
    answer = asyncio.run(_load(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))
    print(json.dumps(answer))
