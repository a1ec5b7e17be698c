"""The service as a process of its own, started as an operator starts it."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx

from tests.support.http_service import PATIENCE_S, until

PYTHON_M = (sys.executable, "-m", "serving")
UVICORN = (
    *(sys.executable, "-m", "uvicorn", "serving.main:app"),
    *("--http", "serving.main:http", "--ws", "serving.main:websocket"),
)
# Imports take seconds, and the machine may be busy.
START_S = 120.0


def free_port() -> int:
    """A free port, if possible one that no outgoing connection gets meanwhile."""
    for port in (*_never_outgoing(), 0):
        with suppress(OSError), closing(socket.create_server(("127.0.0.1", port))) as free:
            return int(free.getsockname()[1])
    raise RuntimeError("every port is taken")


def _never_outgoing() -> list[int]:
    """Some ports outside the ephemeral range, in any order."""
    outgoing = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not outgoing.exists():
        return []
    ports = range(10_000, int(outgoing.read_text().split()[0]))
    return random.sample(ports, k=min(100, len(ports)))


def environment(folder: Path, **given: str) -> dict[str, str]:
    """Variables that keep everything in `folder`."""
    return (
        {name: value for name, value in os.environ.items() if not name.startswith(("MIEN_", "OTEL_"))}
        | {
            "MIEN_MODEL": str(folder / "model"),
            "MIEN_CACHE_DIR": str(folder / "cache"),
            "MIEN_DATABASE_URL": f"sqlite:///{folder}/observations.db",
            "MIEN_KEEP_IMAGES_DIR": str(folder / "pictures"),
        }
        | given
    )


def ended(command: Sequence[str], folder: Path, **given: str) -> subprocess.CompletedProcess[str]:
    """A start that ends by itself."""
    return subprocess.run(
        command, env=environment(folder, **given), capture_output=True, text=True, timeout=START_S
    )


@contextmanager
def running(
    folder: Path, *, command: Sequence[str] = PYTHON_M, **given: str
) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """The process and a client of it, once a model is live; SIGTERM at the end."""
    port = int(given.pop("MIEN_PORT", 0)) or free_port()
    if command is UVICORN:
        command = (*UVICORN, "--port", str(port))
    process = subprocess.Popen(
        command, env=environment(folder, MIEN_PORT=str(port), **given), stderr=subprocess.PIPE, text=True
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
            until(lambda: process.poll() is not None or answers(client), START_S)
            yield process, client
    finally:
        process.terminate()
        process.communicate(timeout=START_S)


def answers(client: httpx.Client) -> bool:
    """Whether a model is live."""
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
