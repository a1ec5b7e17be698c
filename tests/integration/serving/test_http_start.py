"""A start that cannot succeed: one line that says why, and a status that says so, both ways to start."""

from __future__ import annotations

import socket
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from serving.observations.store import Store
from tests.support.http_process import PYTHON_M, UVICORN, ended, free_port

WAYS = {"python -m serving": PYTHON_M, "uvicorn": UVICORN}


def newer(path: Path) -> None:
    """A database whose tables a later service has changed."""
    store = Store(f"sqlite:///{path}")
    store.prepare()
    store.close()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE schema_version SET version = version + 1")


# variable, its value ({} is the test's folder), what its line begins with; more of them in the unit tests
REFUSED = {
    "setting": ("MIEN_API_KEYS", "secret", "MIEN_API_KEYS: an entry is not"),
    "model": ("MIEN_MODEL", "runs:/1/model", "MIEN_MODEL='runs:/1/model': "),
    "newer tables": ("MIEN_DATABASE_URL", "sqlite:///{}/newer.db", "sqlite:///{}/newer.db: its tables have"),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_it_cannot_start_with_is_said_in_one_line(
    tmp_path: Path, case: tuple[str, str, str], way: Sequence[str]
) -> None:
    newer(tmp_path / "newer.db")
    name, value, expected = (text.replace("{}", str(tmp_path)) for text in case)
    found = ended(way, tmp_path, **{"MIEN_PORT": "0", name: value})
    assert found.returncode == 3
    assert found.stderr.count("\n") == 1, found.stderr
    assert found.stderr.startswith(expected)
    assert "secret" not in found.stderr


@pytest.mark.parametrize("given", [(), ("--http", "serving.main:http"), ("--ws", "serving.main:websocket")])
def test_a_server_with_protocols_of_its_own_is_refused(tmp_path: Path, given: Sequence[str]) -> None:
    found = ended((sys.executable, "-m", "uvicorn", "serving.main:app", *given), tmp_path)
    assert found.returncode == 3
    errors = [line for line in found.stderr.splitlines() if '"ERROR"' in line]
    assert any("--http serving.main:http --ws serving.main:websocket" in line for line in errors), (
        found.stderr
    )
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_more_connections_than_files_may_be_opened_are_refused(tmp_path: Path, way: Sequence[str]) -> None:
    command = ("bash", "-c", 'ulimit -n 500; exec "$@"', "bash", *way)
    found = ended(command, tmp_path, MIEN_PORT="0", MIEN_MAX_CONNECTIONS="400")
    assert (found.returncode, found.stderr.count("\n")) == (3, 1), found.stderr
    assert found.stderr.startswith("MIEN_MAX_CONNECTIONS=400: this process may open 500 files")


def test_of_several_workers_none_is_started(tmp_path: Path) -> None:
    found = ended(
        PYTHON_M, tmp_path, MIEN_WORKERS="2", MIEN_PORT=str(free_port()), MIEN_DATABASE_URL="mysql://x"
    )
    assert (found.returncode, found.stderr.count("\n")) == (3, 1)
    assert found.stderr.startswith("MIEN_DATABASE_URL: 'mysql' is not supported")


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        found = ended(PYTHON_M, tmp_path, MIEN_PORT=port)
        assert (found.returncode, found.stderr.count("\n")) == (3, 1)
        assert found.stderr.startswith(f"MIEN_HOST=127.0.0.1 MIEN_PORT={port}: address already in use")
        # Uvicorn tells of it, in the log's form, once the application has started.
        found = ended((*UVICORN, "--port", port), tmp_path)
        assert found.returncode != 0
        assert [line for line in found.stderr.splitlines() if '"ERROR"' in line and "in use" in line]
        assert "Traceback" not in found.stderr
