"""Admission of requests: API keys with a scope, of which only hashes are kept, and the rate of each client.

    python -m serving.http.auth NAME SCOPE      # prints a new key once, and its entry for MIEN_API_KEYS

Without keys the service answers only on loopback, as a database on a developer's machine does. Requests to
other addresses get 403 until keys are configured or `MIEN_ALLOW_ANONYMOUS` is set.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import starlette.types
from starlette.requests import HTTPConnection
from starlette.responses import Response

from serving.detection.responses import new_id
from serving.errors.requests import Forbidden, Unauthorized
from serving.http.limits import RateLimiter

if TYPE_CHECKING:
    from serving.http.endpoint import Dependencies

Scope = Literal["open", "predict", "label", "admin"]
"""What a key must allow; an endpoint with scope `open` needs no key and has no rate limit."""
_RANK: dict[Scope, int] = {"open": 0, "predict": 1, "label": 2, "admin": 3}
_KEY_SCOPES: Sequence[Scope] = ("predict", "label", "admin")
# A client's own request id is used if it cannot break a log line or a header.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_INTERESTING = frozenset(
    {
        b"authorization", b"content-encoding", b"content-length", b"expect", b"host", b"origin",
        b"traceparent", b"tracestate", b"transfer-encoding", b"x-api-key", b"x-request-id",
    }
)  # fmt: skip
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request, as far as its key identifies it."""

    name: str
    """Name of the key; `anonymous` without one."""
    scope: Scope

    def may(self, needed: Scope) -> bool:
        """Whether the caller's scope includes `needed`; each scope includes those before it."""
        return _RANK[self.scope] >= _RANK[needed]


@dataclass(frozen=True, slots=True)
class Origin:
    """Addresses of a request's client and server, from the connection."""

    server: str | None
    """Address that the client connected to; None for a Unix socket."""
    client: str | None
    host: str
    """The `Host` header, with its port."""


class RequestHead:
    """The head of one request or WebSocket handshake: API key, request id, origin."""

    __slots__ = ("headers", "origin", "request_id")

    def __init__(self, scope: starlette.types.Scope) -> None:
        """Read the head and store the request id in the scope's state."""
        self.headers: Mapping[bytes, bytes] = {
            name: value for name, value in scope["headers"] if name in _INTERESTING
        }
        requested_id = self.headers.get(b"x-request-id", b"")
        self.request_id = requested_id.decode() if _REQUEST_ID.fullmatch(requested_id) else new_id()
        scope.setdefault("state", {})["request_id"] = self.request_id
        server, client = scope.get("server"), scope.get("client")
        self.origin = Origin(
            server=server[0] if server and server[1] is not None else None,
            client=client[0] if client else None,
            host=self.headers.get(b"host", b"").decode("latin-1"),
        )

    @property
    def key(self) -> str | None:
        """The API key from `X-API-Key` or `Authorization: Bearer`; None without one."""
        key = self.headers.get(b"x-api-key")
        if key is not None:
            return key.decode("latin-1")
        scheme, _, token = self.headers.get(b"authorization", b"").partition(b" ")
        return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else None


class Access:
    """Decides whether a request is answered: by its key, its address and the rate of its client."""

    def __init__(
        self, entries: Sequence[str], *, allow_anonymous: bool, rate: RateLimiter | None = None
    ) -> None:
        """Read the keys.

        Args:
            entries: `NAME:SCOPE:SHA256`, as `hash_key` writes them; the settings have checked them.
            allow_anonymous: whether requests without a key have scope `predict`, on every address.
            rate: limit for each client; None: unlimited.
        """
        self._keys = [_parsed(entry) for entry in entries]
        self._allow_anonymous = allow_anonymous
        self._rate = rate

    def admit(self, needed: Scope, *, key: str | None, origin: Origin) -> Caller:
        """Admit a request to an endpoint of scope `needed`, and count it; return its caller.

        Raises:
            Unauthorized: the key is missing or unknown.
            Forbidden: the key's scope does not suffice, or this address needs a key and none is configured.
            RateLimited: the client sent too many requests.
        """
        caller = self._check(needed, key, origin)
        if self._rate is not None and needed != "open":
            named = caller.name != "anonymous"
            self._rate.take(f"key {caller.name}" if named else f"from {origin.client}")
        return caller

    def _check(self, needed: Scope, key: str | None, origin: Origin) -> Caller:
        caller = self._known(key) if key is not None and self._keys else self._anonymous(origin)
        if caller is None:
            if needed == "open":
                return Caller("anonymous", "open")
            raise self._refusal()
        if not caller.may(needed):
            raise Forbidden(f"this request needs a key with scope {needed}, {caller.name} has {caller.scope}")
        return caller

    def _anonymous(self, origin: Origin) -> Caller | None:
        if not self._keys and _is_local(origin):
            return Caller("anonymous", "admin")
        return Caller("anonymous", "predict") if self._allow_anonymous else None

    def _known(self, key: str) -> Caller:
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        found: Caller | None = None
        # All entries are compared, in constant time, so that the duration reveals nothing about a key.
        for caller, expected in self._keys:
            if hmac.compare_digest(digest, expected):
                found = caller
        if found is None:
            raise Unauthorized("the key is not known; check it, or ask the operator for one")
        return found

    def _refusal(self) -> Forbidden | Unauthorized:
        if self._keys:
            return Unauthorized("no key was sent; send `Authorization: Bearer KEY` or `X-API-Key: KEY`")
        return Forbidden(
            "no keys are configured, so only clients on this machine are answered (at localhost); "
            "set MIEN_API_KEYS, or MIEN_ALLOW_ANONYMOUS=true to answer all clients"
        )


def hash_key(name: str, scope: str, key: str) -> str:
    """Return the entry of a key for `MIEN_API_KEYS`.

    A key has 256 random bits, so one round of SHA-256 protects it as well as a slow hash protects a password.
    """
    return f"{name}:{scope}:{hashlib.sha256(key.encode()).hexdigest()}"


def _parsed(entry: str) -> tuple[Caller, bytes]:
    name, scope, digest = entry.split(":")
    return Caller(name, next(known for known in _KEY_SCOPES if known == scope)), bytes.fromhex(digest)


@lru_cache(1024)
def _is_local(origin: Origin) -> bool:
    """Whether a program on this machine sent the request, and not a page of another host in a browser.

    The name in `Host` must be a local one: with DNS rebinding, a foreign name resolves to 127.0.0.1, but the
    browser still sends that name.
    """
    if origin.server is None:
        return True
    name = origin.host.rpartition(":")[0] if _has_port(origin.host) else origin.host
    return (
        _is_loopback(origin.server)
        and (origin.client is None or _is_loopback(origin.client))
        and name.lower() in _LOCAL_NAMES
    )


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdigit() and not host.endswith("]")


@lru_cache(1024)
def _is_loopback(address: str, *, otherwise: bool = False) -> bool:
    """Whether an address is one of this machine's own; `otherwise` for a text that is not an address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return otherwise


CANARY_HEADER = "mien-canary"
"""Response header of answers from the canary's candidate."""


def client_id_of(request: HTTPConnection) -> str | None:
    """Identify the client for the canary, so that one client always gets the same model.

    The key's name, else the client's address, else the request id; None without a canary. A local address
    does not identify a client: behind a proxy that does not forward addresses all clients would have it.
    """
    state: dict[str, Any] = request.scope["state"]
    dependencies: Dependencies = state["dependencies"]
    if dependencies.experiments.canary is None:
        return None
    caller: Caller | None = state.get("caller")
    if caller is not None and caller.name != "anonymous":
        return f"key {caller.name}"
    client: str | None = state.get("client")
    if client is not None and not _is_loopback(client, otherwise=True):
        return f"from {client}"
    return f"request {state['request_id']}"


def mark_canary(response: Response, *, canary: bool) -> Response:
    """Add the canary header to a response of the candidate."""
    if canary:
        response.headers[CANARY_HEADER] = "true"
    return response


def main() -> None:
    """Print a new key and its entry."""
    parser = argparse.ArgumentParser(description="Create an API key.")
    parser.add_argument("name", help="name of the key's user: letters, digits, `.`, `-`, `_`")
    parser.add_argument("scope", choices=_KEY_SCOPES)
    arguments = parser.parse_args()
    key = secrets.token_urlsafe(32)
    print(f"key, shown only now:  {key}")
    print(f"for MIEN_API_KEYS:    {hash_key(arguments.name, arguments.scope, key)}")


if __name__ == "__main__":
    main()
