"""The client's side of `WS /stream`: a real WebSocket client, and what it gets."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close
from websockets.sync.client import ClientConnection, connect
from websockets.sync.connection import Connection

from tests.support.http_service import PATIENCE_S


def stream_of(client: httpx.Client, **options: Any) -> ClientConnection:
    """A stream of the service that `client` talks to; `headers` are added to the handshake."""
    address = f"ws://localhost:{client.base_url.port}/stream"
    headers = options.pop("headers", None)
    return connect(address, additional_headers=headers, open_timeout=PATIENCE_S, proxy=None, **options)


def refused(client: httpx.Client, **options: Any) -> tuple[int, str]:
    """Status and kind of problem of a handshake that is refused."""
    with pytest.raises(InvalidStatus) as caught:
        stream_of(client, **options)
    response = caught.value.response
    return response.status_code, kind(json.loads(response.body or b""))


def answer(socket: Connection) -> dict[str, Any]:
    """The next message."""
    message = json.loads(socket.recv(timeout=PATIENCE_S))
    assert isinstance(message, dict)
    return message


def asked(socket: Connection, frame: bytes) -> dict[str, Any]:
    """The answer to a frame on a stream that is not busy."""
    socket.send(frame)
    return answer(socket)


def kind(problem: dict[str, Any]) -> str:
    """Last part of a problem's type; empty for an answer that is none."""
    return str(problem.get("type", "")).rpartition(":")[2]


def ending(socket: Connection) -> tuple[list[dict[str, Any]], Close]:
    """What still comes, and how the service closes the connection."""
    messages: list[dict[str, Any]] = []
    close: Close | None = None
    try:
        while True:
            messages.append(answer(socket))
    except ConnectionClosed as closed:
        close = closed.rcvd
    assert close is not None, "the connection broke off"
    return messages, close


def metric(client: httpx.Client, name: str) -> float:
    """Value of one series, as it stands in the text that Prometheus scrapes; 0 before it exists."""
    lines = client.get("/metrics").text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(name + " ")), 0.0)
