"""Checks before the service starts; each error is one line.

Both ways to start the service, `python -m serving` and `uvicorn serving.main:app …`, run them first. What may
be repaired later does not end the start: an unreachable registry or PostgreSQL server, a full disk, a model
that has not been promoted yet.
"""

from __future__ import annotations

import errno
import ipaddress
import resource
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from serving.errors import ServingError
from serving.errors.operation import StartRefused, StoreUnavailable
from serving.settings import PREFIX, Settings

EXIT_STATUS = 3
"""Uvicorn's for a failed start: its supervisor of several workers then ends instead of trying again."""
# Their values may be or hold a secret.
_UNSHOWN = frozenset({"api_keys", "database_url", "tracking_uri"})
# The path, its permissions or its content are wrong; locks and full disks are temporary and not listed here.
_HOPELESS = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM}
)
# Beside its connections an idle worker has 26 files open; traces, a shadow and a canary add theirs.
_OWN_DESCRIPTORS = 256
_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
# Workers of a service that was killed end within milliseconds of it, on a busy machine within a second.
_TAKEN_S = 3.0
_RETRY_S = 0.1


@contextmanager
def exit_on_error() -> Iterator[None]:
    """End the process with one line on standard error when the block finds something wrong."""
    try:
        yield
    except ServingError as error:
        print(error, file=sys.stderr)
        raise SystemExit(EXIT_STATUS) from None


def read_settings() -> Settings:
    """The settings of the environment.

    Raises:
        StartRefused: one cannot be used.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise StartRefused(_settings_problem(error)) from None


def check_server(asked: Collection[str]) -> None:
    """Check that the server that loads the application also uses the protocols of `serving.main`.

    Raises:
        StartRefused: it does not, so heads, connections and frames would be unbounded.
    """
    if not {"http", "websocket"} <= set(asked):
        raise StartRefused(
            "the server was started with protocols of its own, which bound neither heads of requests nor "
            "connections; start `python -m serving`, or "
            "`uvicorn serving.main:app --http serving.main:http --ws serving.main:websocket`"
        )


def address(host: str, sockets: Sequence[socket.socket]) -> str:
    """The URL to open in a browser on this machine: with the port in use, without a wildcard."""
    port = sockets[0].getsockname()[1]
    name = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"


def access_warning(settings: Settings) -> str | None:
    """Why requests from other machines will be refused; None when they are answered."""
    if settings.api_keys or settings.allow_anonymous or _is_loopback(settings.host):
        return None
    return (
        f"MIEN_HOST={settings.host}, and there is no key: every request from another machine gets 403; "
        "set MIEN_API_KEYS, or MIEN_ALLOW_ANONYMOUS=true where everybody may ask"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check(settings: Settings) -> None:
    """Check the settings that the service needs to start; a new SQLite file is created.

    Raises:
        LocationInvalid: a model's setting is not a location.
        StoreUrlInvalid: the database's URL is not valid.
        StoreTooNew: a newer service has changed the tables.
        StartRefused: a path cannot be written, or signatures cannot be checked.
    """
    from serving.model_sync.location import parse_location
    from serving.signatures import check_keys

    parse_location(settings.model)
    if settings.shadow_model:
        parse_location(settings.shadow_model, setting="MIEN_SHADOW_MODEL")
    if settings.canary:
        parse_location(settings.canary_model, setting="MIEN_CANARY_MODEL")
    _check_folder("MIEN_CACHE_DIR", settings.cache_dir)
    if settings.trusted_keys:
        check_keys(settings.trusted_keys)
    _check_store(settings.database_url.reveal())
    _check_descriptors(settings.max_connections)


def bind(host: str, port: int) -> list[socket.socket]:
    """Open the sockets that the service listens on; a port that is taken is tried again for some seconds.

    They do not listen yet: until an answering process does, connections are refused.

    Raises:
        StartRefused: the name is unknown, the port taken or not allowed.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise StartRefused(
            f"MIEN_HOST={host!r}: {error.strerror}; expected an address or a name of this machine"
        ) from error
    deadline = time.monotonic() + _TAKEN_S
    sockets: list[socket.socket] = []
    # A name can have one address several times.
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            sockets.append(_bound(family, kind, protocol, address, deadline))
        except OSError as error:
            for one in sockets:
                one.close()
            reason = (error.strerror or str(error)).lower()
            raise StartRefused(
                f"MIEN_HOST={host} MIEN_PORT={port}: {reason}; "
                "end the program that listens there or choose another port or address"
            ) from error
    return sockets


def _bound(family: int, kind: int, protocol: int, address: Any, deadline: float) -> socket.socket:
    while True:
        bound = socket.socket(family, kind, protocol)
        try:
            # Connections that just ended would otherwise count as a program that listens there.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # `::` takes IPv6 only, as asyncio's servers do: 0.0.0.0 may be another program's.
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind(address)
        except OSError as error:
            bound.close()
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)
        else:
            return bound


def _check_descriptors(connections: int) -> None:
    """Raise the limit of open files to the maximum number of connections plus the files of its own."""
    needed = connections + _OWN_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise StartRefused(
            f"MIEN_MAX_CONNECTIONS={connections}: this process may open {hard} files, expected {needed}; "
            "raise the limit (`ulimit -Hn`, LimitNOFILE=, --ulimit nofile=) or lower the setting"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _check_folder(name: str, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno not in _PASSING:
            reason = error.strerror or str(error)
            raise StartRefused(f"{name}={folder}: {reason}; expected a folder that can be written") from error


def _check_store(url: str) -> None:
    from serving.observations.store import Store

    store = Store(url)
    # A database server is contacted after the start; the service answers while it waits for it.
    if not url.startswith("sqlite"):
        return
    try:
        store.prepare()
    except StoreUnavailable as error:
        if _is_hopeless(error.__cause__):
            raise StartRefused(
                f"MIEN_DATABASE_URL: {error.url}: {error.reason}; expected a path that can be written"
            ) from error
    finally:
        store.close()


def _is_hopeless(cause: BaseException | None) -> bool:
    error = getattr(cause, "orig", cause)
    if isinstance(error, sqlite3.Error):
        # The low byte is the kind, the rest its details: https://sqlite.org/rescode.html
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in _HOPELESS
    return isinstance(error, OSError) and error.errno not in _PASSING


def _settings_problem(error: ValidationError) -> str:
    """A line for each setting that cannot be used."""
    lines = []
    for item in error.errors(include_url=False, include_context=False):
        field = str(item["loc"][0]).lower().removeprefix(PREFIX.lower()) if item["loc"] else ""
        name = f"{PREFIX}{field.upper()}" if field else "settings"
        shown = f"={item['input']!r}"[:100] if field and field not in _UNSHOWN else ""
        reason = item["msg"].removeprefix("Value error, ")
        lines.append(f"{name}{shown}: {reason}; docs/service-settings.md lists what it takes")
    return "\n".join(lines)
