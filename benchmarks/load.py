"""A load generator in a process of its own: wrk where it is installed, else this file; both keep connections.

    python -m benchmarks.load URL FILE --connections 8 --seconds 5 [--rate 100]

POSTs the file's bytes again and again and prints one JSON line. wrk (`apt-get install wrk`) takes about 25 µs
of processor time per request, this file about 200.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

# wrk counts slower answers as failures; its own two seconds are little for a slow server on a busy machine.
_TIMEOUT_S = 30
_SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True, kw_only=True)
class Load:
    """Measurements of a generator."""

    requests: int
    seconds: float
    failed: int
    """Answers other than 2xx, and connections that broke."""
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_s: float
    """Of the generator itself."""
    answers: Sequence[int] = ()
    """Answers with status 2xx by connection; empty if wrk generated the load."""

    @property
    def per_s(self) -> float:
        """Requests answered per second."""
        return self.requests / self.seconds


def generator() -> str:
    """Name of the generator that is used here."""
    return "wrk" if shutil.which("wrk") else "benchmarks/load.py"


def measure(
    url: str,
    body: Path,
    *,
    connections: int,
    seconds: float,
    rate: float = 0.0,
    content_type: str = "application/octet-stream",
    by_connection: bool = False,
) -> Load:
    """Put load on a URL.

    Args:
        url: POSTed to.
        body: file that is sent.
        connections: kept open, each with at most one request at a time.
        seconds: how long.
        rate: requests per second, evenly spaced; 0: as fast as they are answered.
        content_type: what the body is.
        by_connection: count the answers of each connection, which wrk does not.
    """
    environment = os.environ | {
        "MIEN_BODY": str(body),
        "MIEN_RATE": str(rate),
        "MIEN_CONTENT_TYPE": content_type,
    }
    if generator() == "wrk" and not by_connection:
        # It takes whole seconds.
        command = ["wrk", "-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s", f"--timeout={_TIMEOUT_S}s"]
        command += ["-s", str(_SCRIPT), url]
    else:
        command = [sys.executable, "-m", "benchmarks.load", url, str(body)]
        command += [f"--connections={connections}", f"--seconds={seconds}", f"--rate={rate}"]
        command += [f"--content-type={content_type}"]
    before = _children_s()
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("{"))
    return Load(**json.loads(line), cpu_s=_children_s() - before)


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def post_request(url: str, body: bytes, *, content_type: str) -> tuple[tuple[str, int], bytes]:
    """Host and port of a URL, and the bytes of a POST request to it."""
    parts = urlsplit(url)
    head = f"POST {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return (parts.hostname or "127.0.0.1", parts.port or 80), head.encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one answer with a content-length; its status and its body.

    Raises:
        ValueError: the answer has no content-length.
        asyncio.IncompleteReadError: the connection ended before the answer did.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    body = await reader.readexactly(length)
    return int(head.split(b" ", 2)[1]), body


def main() -> None:
    """Generate and print."""
    parser = argparse.ArgumentParser(description="Load on one URL.")
    parser.add_argument("url")
    parser.add_argument("body", type=Path)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--content-type", default="application/octet-stream")
    arguments = parser.parse_args()
    clients = _Clients(
        arguments.url,
        arguments.body.read_bytes(),
        rate=arguments.rate,
        content_type=arguments.content_type,
    )
    print(json.dumps(asyncio.run(clients.run(arguments.connections, arguments.seconds))))


class _Clients:
    """Connections that share one timetable."""

    def __init__(self, url: str, body: bytes, *, rate: float, content_type: str) -> None:
        self._address, self._request = post_request(url, body, content_type=content_type)
        self._interval_s = 1 / rate if rate else 0.0
        self._next = 0.0
        self._latencies: list[float] = []
        self._failed = 0

    async def run(self, connections: int, seconds: float) -> dict[str, float | list[int]]:
        """Run for the given time; return the measurements."""
        begun = time.monotonic()
        answers = await asyncio.gather(*(self._client(begun + seconds) for _ in range(connections)))
        took = sorted(self._latencies)
        at = {f"p{of}_ms": 1e3 * took[min(len(took) - 1, len(took) * of // 100)] for of in (50, 95, 99)}
        return {
            "requests": len(took),
            "seconds": time.monotonic() - begun,
            "failed": self._failed,
            "answers": answers,
            **at,
        }

    async def _client(self, end: float) -> int:
        """Ask on one connection until the end; the number of answers with status 2xx."""
        answered = 0
        reader, writer = await asyncio.open_connection(*self._address)
        while time.monotonic() < end:
            await self._wait_for_place()
            start = time.monotonic()
            writer.write(self._request)
            try:
                succeeded = (await read_answer(reader))[0] // 100 == 2
            except (OSError, asyncio.IncompleteReadError):
                succeeded = False
                reader, writer = await asyncio.open_connection(*self._address)
            self._latencies.append(time.monotonic() - start)
            self._failed += not succeeded
            answered += succeeded
        writer.close()
        return answered

    async def _wait_for_place(self) -> None:
        if self._interval_s:
            now = time.monotonic()
            self._next = max(self._next + self._interval_s, now - 1)
            await asyncio.sleep(max(0.0, self._next - now))


if __name__ == "__main__":
    main()
