"""The HTTP server: uvicorn with an end that loses no request.

    serve(settings, sockets)

On SIGTERM uvicorn closes the listening socket and idle connections as they are. The kernel resets what has
arrived on them and was not read yet: connections that wait to be accepted, requests that wait to be read.
This server accepts and reads them first: a request whose last byte came before SIGTERM is answered.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import socket
import termios
import time
from typing import Any

import uvicorn

from serving.main import SERVER
from serving.settings import Settings

APP = "serving.main:app"
_LOOK_S = 0.01
# For what had arrived to be read: a body of MIEN_MAX_BYTES takes milliseconds, several requests that one
# client sent ahead wait for each other's answers.
_READ_S = 5.0
# An idle client's next request may be on its way: it is answered, with `Connection: close`. Longer than a
# round trip between continents (0.3 s).
_IDLE_S = 0.4


class Server(uvicorn.Server):
    """Ends in an order in which nothing is reset."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn, which says where it listens only when it has opened the sockets itself."""
        await super().startup(sockets)
        if sockets:
            self._log_started_message(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept and read what has come, let clients know, then end as uvicorn does."""
        begun = time.monotonic()
        await self._accept_rest(sockets or [])
        await self._read_rest()
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        await self._let_go()
        longest_s = self.config.timeout_graceful_shutdown or _READ_S
        self.config.timeout_graceful_shutdown = max(1, round(longest_s - (time.monotonic() - begun)))
        await super().shutdown(sockets)

    async def _accept_rest(self, sockets: list[socket.socket]) -> None:
        """Accept the connections that the kernel has made already, then refuse new ones."""
        # The event loop closes its own, with which the kernel would close what waits.
        copies = [one.dup() for one in sockets]
        for server in self.servers:
            server.close()
        deadline = time.monotonic() + _READ_S
        for listening in copies:
            with listening:
                listening.setblocking(False)
                while time.monotonic() < deadline and (accepted := _accepted(listening)):
                    await asyncio.get_running_loop().connect_accepted_socket(self._protocol, accepted)

    def _protocol(self) -> asyncio.Protocol:
        """The protocol of one connection, as uvicorn makes it."""
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg] # as in uvicorn
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=asyncio.get_running_loop(),
        )
        return protocol

    async def _read_rest(self) -> None:
        """Wait until each connection was seen with nothing left to read."""
        seen: set[Any] = set()
        deadline = time.monotonic() + _READ_S
        while time.monotonic() < deadline and not self.force_exit:
            # First: connections that were just accepted are known to the server after a turn of the loop.
            await asyncio.sleep(_LOOK_S)
            seen |= {one for one in self.server_state.connections if not _waits(one)}
            if seen >= self.server_state.connections:
                return

    async def _let_go(self) -> None:
        """Close each connection after the answer that is under way, or while it is idle."""
        idle_until = time.monotonic() + _IDLE_S
        deadline = idle_until + _READ_S
        while time.monotonic() < deadline and not self.force_exit:
            patient = time.monotonic() < idle_until
            closing = [_closes(one, patient=patient) for one in list(self.server_state.connections)]
            if all(closing):
                return
            await asyncio.sleep(_LOOK_S)


def serve(settings: Settings, sockets: list[socket.socket]) -> bool:
    """Answer on these sockets until SIGTERM; whether the start succeeded."""
    config = uvicorn.Config(
        APP,
        host=settings.host,
        port=settings.port,
        http=SERVER["http"],
        ws=SERVER["ws"],
        timeout_graceful_shutdown=max(1, round(settings.shutdown_s)),
        access_log=False,
        server_header=False,
    )
    config.load()
    server = Server(config)
    # Ctrl-C: the server has ended as it should, and raises what it was interrupted by.
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets)
    return server.started


def _accepted(listening: socket.socket) -> socket.socket | None:
    """The next connection that waits; None when none does."""
    while True:
        try:
            connection, _ = listening.accept()
        except ConnectionAbortedError:
            # This client went away; the next one may be there.
            continue
        except OSError:
            # None waits, or no file descriptor is left for it.
            return None
        connection.setblocking(False)
        return connection


def _closes(connection: Any, *, patient: bool) -> bool:
    """Have a connection close as soon as it can; False when it is to be looked at again.

    Args:
        connection: one of uvicorn's protocols.
        patient: whether an idle connection may still bring a request.
    """
    if not hasattr(connection, "cycle") or connection.transport.is_closing():
        # A stream, which has had its own end (`serving.http.stream`), or one that is gone.
        return True
    if _waits(connection):
        return False
    cycle = connection.cycle
    is_idle = cycle is None or cycle.response_complete
    # An answer whose head was sent without `Connection: close` ends first, and is followed by an idle time.
    if patient if is_idle else cycle.response_started:
        return False
    connection.shutdown()
    return True


def _waits(connection: Any) -> bool:
    """Whether requests, or parts of them, have arrived and wait to be read or to be begun."""
    if getattr(connection, "pipeline", None):
        return True
    # h11 keeps them in its own buffer while it answers.
    h11 = getattr(connection, "conn", None)
    if h11 is not None and connection.cycle is not None and h11.trailing_data[0]:
        return not connection.cycle.response_complete
    transport = connection.transport
    if transport is None or transport.is_closing():
        return False
    arrived = array.array("i", [0])
    try:
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, arrived)
    except OSError:
        return False
    return arrived[0] > 0
