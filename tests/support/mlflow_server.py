"""A real MLflow server behind an address that can be dead, silent, or somebody else's.

The server takes many seconds to start on a busy machine, so it is started once; what clients see of it goes
through a front that is taken away and given back within milliseconds.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import httpx

from tests.support.http_process import START_S, free_port
from tests.support.http_service import until

_ROOT = Path(__file__).parents[2]
_PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 27\r\nConnection: close\r\n\r\n<html>log in, please</html>"


class Front:
    """An address; behind it the server, no server, one that does not answer, or one that requires a login."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self._port = free_port()
        self._mode: Literal["server", "silence", "nonsense"] = "server"
        self._listening: socket.socket | None = None
        self._connections: list[socket.socket] = []

    @property
    def uri(self) -> str:
        """The same one all the time."""
        return f"http://127.0.0.1:{self._port}"

    def appear(self, mode: Literal["server", "silence", "nonsense"] = "server") -> None:
        """Be there; what was there before is gone."""
        self.vanish()
        self._mode = mode
        self._listening = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def vanish(self) -> None:
        """Be gone, as after kill −9: connections break off, new ones are refused."""
        listening, self._listening = self._listening, None
        if listening is not None:
            # Closing alone would leave a thread in `accept`, which keeps the port.
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        while self._connections:
            connection = self._connections.pop()
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                self._connections.append(client)
                if self._mode == "nonsense":
                    client.recv(65536)
                    client.sendall(_PAGE)
                elif self._mode == "server":
                    server = socket.create_connection(("127.0.0.1", self._behind))
                    self._connections.append(server)
                    for pair in ((client, server), (server, client)):
                        threading.Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


@contextmanager
def registry_front(store_uri: str, artifacts: Path) -> Iterator[Front]:
    """A running MLflow server of a store; its front does not listen yet."""
    port = free_port()
    # What `mlflow server` tells its own processes.
    environment = os.environ | {
        "_MLFLOW_SERVER_FILE_STORE": store_uri,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": artifacts.as_uri(),
    }
    process = subprocess.Popen([sys.executable, "-m", __name__, str(port)], env=environment, cwd=_ROOT)
    front = Front(port)
    try:
        until(lambda: process.poll() is not None or _answers(port), START_S)
        yield front
    finally:
        front.vanish()
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def main() -> None:
    """Serve until killed, as `mlflow server` does, without its job runners."""
    from mlflow.server import app
    from werkzeug.serving import run_simple

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True)


if __name__ == "__main__":
    main()
