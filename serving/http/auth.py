"""Who may ask for what: API keys with a scope, nobody's secrets in memory.

    python -m serving.http.auth NAME SCOPE      # prints a new key once, and its entry for MIEN_API_KEYS

Without keys the service answers on loopback only, as a database on a developer's machine does; reached on any
other address it says 403 until keys are configured or `MIEN_ALLOW_ANONYMOUS` is set.

Whose request it is, for the canary's share: one client is answered by one model for as long as it runs.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from starlette.requests import HTTPConnection
from starlette.responses import Response

from serving.errors import Forbidden, Unauthorized
from serving.http.dependencies import parts_of

Scope = Literal["open", "predict", "admin"]
_RANK: dict[Scope, int] = {"open": 0, "predict": 1, "admin": 2}
# Anybody may ask whether the service lives, and how it is used: nothing of a model or a picture is in them.
OPEN_PATHS = frozenset(
    {
        *("/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/ping", "/health"),
        *("/docs", "/openapi.json"),
        # The page asks for the key that it then sends, and says beforehand what happens with a picture.
        *("/", "/about"),
    }
)
_PAGE_FILES = "/page/"
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    name: str
    """Of the key; `anonymous` without one."""
    scope: Scope


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from and goes to, as far as the connection tells."""

    server: str | None
    """Address that the client reached; None for a Unix socket."""
    client: str | None
    host: str
    """The `Host` header, with its port."""


class Access:
    """Decides whether a request is answered."""

    def __init__(self, entries: Sequence[str], *, allow_anonymous: bool) -> None:
        """Take the keys.

        Args:
            entries: `NAME:SCOPE:SHA256`, as `hash_key` writes them and the settings check them.
            allow_anonymous: whether scope `predict` is open to all, on every address.
        """
        self._keys = [_parsed(entry) for entry in entries]
        self._allow_anonymous = allow_anonymous

    def check(self, needed: Scope, *, key: str | None, origin: Origin) -> Caller:
        """Let the request pass.

        Raises:
            Unauthorized: no key where one is needed, or an unknown one.
            Forbidden: the scope does not reach, or nobody is answered on this address.
        """
        caller = self._known(key) if key is not None and self._keys else self._anonymous(origin)
        if caller is None:
            if needed == "open":
                return Caller("anonymous", "open")
            raise self._refusal()
        if _RANK[caller.scope] < _RANK[needed]:
            raise Forbidden(f"this needs a key with scope {needed}, {caller.name} has {caller.scope}")
        return caller

    def _anonymous(self, origin: Origin) -> Caller | None:
        if not self._keys and _is_local(origin):
            return Caller("anonymous", "admin")
        return Caller("anonymous", "predict") if self._allow_anonymous else None

    def _known(self, key: str) -> Caller:
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        found: Caller | None = None
        # Every entry is compared, in constant time: how long it takes tells nothing about a key.
        for caller, expected in self._keys:
            if hmac.compare_digest(digest, expected):
                found = caller
        if found is None:
            raise Unauthorized("the key is not known; check it, or ask for one")
        return found

    def _refusal(self) -> Forbidden | Unauthorized:
        if self._keys:
            return Unauthorized("no key was sent; send `Authorization: Bearer KEY` or `X-API-Key: KEY`")
        return Forbidden(
            "no keys are configured, so only clients on this machine are answered (at localhost); "
            "set MIEN_API_KEYS, or MIEN_ALLOW_ANONYMOUS=true to answer everybody"
        )


def needed_scope(method: str, path: str) -> Scope:
    """The scope that a request needs."""
    if path in OPEN_PATHS or path.startswith(_PAGE_FILES):
        return "open"
    return "admin" if method == "DELETE" else "predict"


def hash_key(name: str, scope: str, key: str) -> str:
    """The entry of a key for `MIEN_API_KEYS`.

    A key is 256 random bits, so one round of SHA-256 keeps it as safe as a slow hash keeps a password.
    """
    return f"{name}:{scope}:{hashlib.sha256(key.encode()).hexdigest()}"


def _parsed(entry: str) -> tuple[Caller, bytes]:
    name, scope, digest = entry.split(":")
    return Caller(name, "admin" if scope == "admin" else "predict"), bytes.fromhex(digest)


@lru_cache(1024)
def _is_local(origin: Origin) -> bool:
    """Whether a program on this machine asks, and not a page that a browser was lured to.

    The name in `Host` must be a local one: a foreign page whose name resolves to 127.0.0.1 (DNS
    rebinding) still sends its own.
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


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def main() -> None:
    """Make a key."""
    parser = argparse.ArgumentParser(description="Make an API key.")
    parser.add_argument("name", help="who will use it: letters, digits, `.`, `-`, `_`")
    parser.add_argument("scope", choices=("predict", "admin"))
    arguments = parser.parse_args()
    key = secrets.token_urlsafe(32)
    print(f"key, shown only now:  {key}")
    print(f"for MIEN_API_KEYS:    {hash_key(arguments.name, arguments.scope, key)}")


if __name__ == "__main__":
    main()


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
    if client is not None and not _is_local_peer(client):
        return f"from {client}"
    return f"request {state['request_id']}"


def marked(response: Response, *, canary: bool) -> Response:
    """The answer, with a header when the candidate gave it."""
    if canary:
        response.headers[MARK] = "true"
    return response


@lru_cache(1024)
def _is_local_peer(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return True
