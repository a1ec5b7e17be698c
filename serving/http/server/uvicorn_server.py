"""The HTTP server: uvicorn with a shutdown that loses no request.

    serve(settings, sockets)

On SIGTERM uvicorn closes the listening socket and idle connections immediately. The kernel then resets
connections that wait to be accepted and requests that wait to be read. This server accepts and reads them
first: a request whose last byte arrived before SIGTERM is answered.
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

from serving.settings import Settings

APP = "serving.main:app"
_HTTP, _WEBSOCKET = "serving.main:http", "serving.main:websocket"
_POLL_S = 0.01
# Time to read what has arrived: a body of MIEN_MAX_BYTES takes milliseconds; pipelined requests of one client
# wait for each other's responses.
_READ_S = 5.0
# An idle client may be sending its next request: it is answered with `Connection: close`. Longer than a round
# trip between continents (0.3 s).
_IDLE_S = 0.4


class Server(uvicorn.Server):
    """Uvicorn's server with an ordered shutdown."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and log the addresses: uvicorn logs them only for sockets that it opened."""
        await super().startup(sockets)
        if sockets:
            self._log_started_message(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept and read what has arrived, close idle connections, then shut down as uvicorn does."""
        start = time.monotonic()
        await self._accept_rest(sockets or [])
        await self._read_rest()
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        await self._close_connections()
        timeout_s = self.config.timeout_graceful_shutdown or _READ_S
        self.config.timeout_graceful_shutdown = max(1, round(timeout_s - (time.monotonic() - start)))
        await super().shutdown(sockets)

    async def _accept_rest(self, sockets: list[socket.socket]) -> None:
        """Accept the connections that the kernel has established already, then refuse new ones."""
        # The event loop closes its sockets; without copies the kernel would close the waiting connections.
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
        """Create the protocol of one connection, as uvicorn does."""
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg] # as in uvicorn
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=asyncio.get_running_loop(),
        )
        return protocol

    async def _read_rest(self) -> None:
        """Wait until each connection has had no unread data at least once."""
        seen: set[Any] = set()
        deadline = time.monotonic() + _READ_S
        while time.monotonic() < deadline and not self.force_exit:
            # Sleep first: the server knows new connections only after one iteration of the event loop.
            await asyncio.sleep(_POLL_S)
            seen |= {one for one in self.server_state.connections if not _has_unread(one)}
            if seen >= self.server_state.connections:
                return

    async def _close_connections(self) -> None:
        """Close each connection after its current response, or when it is idle."""
        idle_until = time.monotonic() + _IDLE_S
        deadline = idle_until + _READ_S
        while time.monotonic() < deadline and not self.force_exit:
            patient = time.monotonic() < idle_until
            closing = [_try_close(one, patient=patient) for one in list(self.server_state.connections)]
            if all(closing):
                return
            await asyncio.sleep(_POLL_S)


def serve(settings: Settings, sockets: list[socket.socket]) -> bool:
    """Answer on these sockets until SIGTERM; return whether the startup succeeded."""
    config = uvicorn.Config(
        APP,
        host=settings.host,
        port=settings.port,
        http=_HTTP,
        ws=_WEBSOCKET,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_s)),
        access_log=False,
        server_header=False,
    )
    config.load()
    server = Server(config)
    # Ctrl-C: the server has shut down in order, and raises the interrupt again.
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets)
    return server.started


def _accepted(listening: socket.socket) -> socket.socket | None:
    """Accept the next waiting connection; None if there is none."""
    while True:
        try:
            connection, _ = listening.accept()
        except ConnectionAbortedError:
            # This client disconnected; others may be waiting.
            continue
        except OSError:
            # No connection is waiting, or no file descriptor is left.
            return None
        connection.setblocking(False)
        return connection


def _try_close(connection: Any, *, patient: bool) -> bool:
    """Close a connection if possible; False if it must be tried again later.

    Args:
        connection: one of uvicorn's protocols.
        patient: whether to leave idle connections open for another request.
    """
    if not hasattr(connection, "cycle") or connection.transport.is_closing():
        # A stream, which `serving.http.stream` has ended, or a closed connection.
        return True
    if _has_unread(connection):
        return False
    cycle = connection.cycle
    is_idle = cycle is None or cycle.response_complete
    # A response whose head was sent without `Connection: close` must end first; then the idle time passes.
    if patient if is_idle else cycle.response_started:
        return False
    connection.shutdown()
    return True


def _has_unread(connection: Any) -> bool:
    """Whether requests, or parts of them, have arrived and are not being handled yet."""
    if getattr(connection, "pipeline", None):
        return True
    # h11 buffers them while it answers.
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
