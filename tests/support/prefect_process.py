"""A Prefect server in a process of its own, with all its services, on PostgreSQL or SQLite."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from flows.dev_stack.wait import is_healthy
from tests.support.http_process import free_port

# Its hundred migrations take twenty seconds on two idle cores.
PATIENCE_S = 300.0

# Prefect indexes names by their trigrams; the PostgreSQL from PyPI comes without that extension. A class of
# the same name takes its place and keeps nothing: this internal function ignores what it is given and returns
# 0, which is "no keys". It has no operators, so no query uses it.
TRIGRAMS = """
CREATE FUNCTION no_keys(text, internal, internal) RETURNS internal
  LANGUAGE internal AS 'pg_stat_clear_snapshot';
CREATE FUNCTION no_query(text, internal, int2, internal, internal, internal, internal) RETURNS internal
  LANGUAGE internal AS 'pg_stat_clear_snapshot';
CREATE FUNCTION no_match(internal, int2, text, int4, internal, internal, internal, internal) RETURNS bool
  LANGUAGE internal AS 'pg_stat_clear_snapshot';
CREATE OPERATOR CLASS gin_trgm_ops FOR TYPE text USING gin AS
  FUNCTION 2 no_keys(text, internal, internal),
  FUNCTION 3 no_query(text, internal, int2, internal, internal, internal, internal),
  FUNCTION 4 no_match(internal, int2, text, int4, internal, internal, internal, internal);
INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
  SELECT max(oid::int8) + 1, 'pg_trgm', 10, 'public'::regnamespace, true, '1.6' FROM pg_extension;
"""


@contextmanager
def prefect_process(home: Path, database_url: str) -> Iterator[str]:
    """The address of the server's API.

    Args:
        home: Prefect's folder.
        database_url: of an empty database: `postgresql://…` as libpq has it, or `sqlite:///…`.
    """
    url = urlsplit(database_url)
    if url.scheme == "postgresql":
        with psycopg.connect(database_url) as connection:
            connection.execute(TRIGRAMS)
    drivers = {"postgresql": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}
    # Not `geturl`: it drops the empty host of `sqlite:///…`.
    server_url = database_url.replace(url.scheme, drivers[url.scheme], 1)
    port = free_port()
    address = f"http://127.0.0.1:{port}/api"
    variables = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": server_url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
        "DO_NOT_TRACK": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, env=os.environ | variables, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not is_healthy(f"{address}/health"):
            assert server.poll() is None, "the Prefect server ended"
            assert time.monotonic() < deadline, f"the Prefect server does not answer within {PATIENCE_S:g} s"
            time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait()
