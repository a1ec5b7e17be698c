"""`python -m serving` as an operator runs it: settings from the environment, workers, SIGTERM."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.http_service import picture_of, until
from tests.support.serving_models import model_folder


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])


def environment(folder: Path, **given: str) -> dict[str, str]:
    return (
        os.environ
        | {
            "MIEN_MODEL": str(folder / "model"),
            "MIEN_CACHE_DIR": str(folder / "cache"),
            "MIEN_DATABASE_URL": f"sqlite:///{folder}/observations.db",
        }
        | given
    )


@contextmanager
def running(folder: Path, **given: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    model_folder(folder / "model")
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "serving"],
        env=environment(folder, MIEN_PORT=str(port), **given),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            until(lambda: process.poll() is not None or answers(client))
            yield process, client
    finally:
        process.terminate()
        process.communicate(timeout=30)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def rows(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "observations.db")) as database:
        return int(database.execute("SELECT count(*) FROM observations").fetchone()[0])


def test_sigterm_loses_no_accepted_request_and_no_row(tmp_path: Path) -> None:
    with running(tmp_path) as (process, client):
        data = picture_of(3)
        connections = [accepted(client.base_url, data) for _ in range(20)]
        process.send_signal(signal.SIGTERM)
        for connection in connections:
            connection.sendall(data)
        statuses = [connection.recv(12) for connection in connections]
        process.wait(timeout=30)
        for connection in connections:
            connection.close()
    assert statuses == [b"HTTP/1.1 200"] * 20
    assert rows(tmp_path) == 20


def accepted(address: httpx.URL, data: bytes) -> socket.socket:
    """A connection whose request the application has begun to read; its body is still to be sent."""
    connection = socket.create_connection((address.host, address.port or 80), timeout=30)
    head = f"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n"
    connection.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
    assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    return connection


def test_several_workers_answer_alike_and_their_numbers_are_joined(tmp_path: Path) -> None:
    with running(tmp_path, MIEN_WORKERS="2") as (_, client):
        digests = set()
        for _ in range(20):
            with httpx.Client(base_url=client.base_url, timeout=30) as own:
                until(lambda own=own: answers(own))
                digests.add(own.post("/detect", content=picture_of(3)).json()["model"]["sha256"])
        assert len(digests) == 1
        found = re.search(r"^mien_predictions_total\{.*\} (\S+)$", client.get("/metrics").text, re.MULTILINE)
        assert found is not None
        assert float(found[1]) == 20


def test_the_log_is_json_and_names_no_address(tmp_path: Path) -> None:
    with running(tmp_path) as (process, client):
        client.post("/detect", content=picture_of(3), headers={"x-request-id": "find-me"})
        process.terminate()
        lines = process.communicate(timeout=30)[1].splitlines()
    assert all(line.startswith("{") and line.endswith("}") for line in lines), lines
    told = next(line for line in lines if "find-me" in line)
    assert "POST /detect 200" in told
    assert "127.0.0.1" not in told


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MIEN_PORT", "high", "MIEN_PORT: "),
        ("MIEN_API_KEYS", "secret", "MIEN_API_KEYS: "),
        ("MIEN_MODEL", "runs:/1/model", "MIEN_MODEL='runs:/1/model'"),
        ("MIEN_DATABASE_URL", "mysql://x", "MIEN_DATABASE_URL"),
    ],
)
def test_a_setting_that_cannot_be_used_ends_it_with_its_name(
    tmp_path: Path, name: str, value: str, message: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "serving"],
        env=environment(tmp_path, **{"MIEN_PORT": "0", name: value}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode != 0
    assert message in ended.stderr
    assert "secret" not in ended.stderr
