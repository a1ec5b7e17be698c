"""Whose request it is, for the canary's share: one client is answered by one model for as long as it runs."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Any

from starlette.requests import HTTPConnection
from starlette.responses import Response

from serving.http.keys import Caller
from serving.http.parts import parts_of

MARK = "mien-canary"
"""Header of an answer that the candidate gave."""


def subject_of(request: HTTPConnection) -> str | None:
    """The key's name, else the client's address, else the request's id; None where there is no canary.

    An address of this machine is nobody's: behind a proxy that names no clients, all of them would be one.
    """
    if parts_of(request).trials.canary is None:
        return None
    state: dict[str, Any] = request.scope["state"]
    caller: Caller | None = state.get("caller")
    if caller is not None and caller.name != "anonymous":
        return f"key {caller.name}"
    client: str | None = state.get("client")
    if client is not None and not _is_local(client):
        return f"from {client}"
    return f"request {state['request_id']}"


def marked(response: Response, *, canary: bool) -> Response:
    """The answer, with a header when the candidate gave it."""
    if canary:
        response.headers[MARK] = "true"
    return response


@lru_cache(1024)
def _is_local(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return True
