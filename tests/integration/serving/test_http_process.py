"""`python -m serving` as an operator runs it: settings from the environment, workers, SIGTERM."""

from __future__ import annotations

import re
import signal
import socket
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.support.http_process import PYTHON_M, UVICORN, answers, running
from tests.support.http_service import PATIENCE_S, picture_of, until
from tests.support.pictures import encoded, textured
from tests.support.serving_models import model_folder
from tests.support.streams import ending, metric, stream_of


@pytest.fixture(autouse=True)
def model(tmp_path: Path) -> Path:
    return model_folder(tmp_path / "model")


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


@pytest.mark.parametrize("command", [PYTHON_M, UVICORN], ids=["python -m serving", "uvicorn"])
def test_sigterm_ends_streams_after_the_frames_they_took(tmp_path: Path, command: Sequence[str]) -> None:
    slow = encoded(textured(1, width=4000, height=3000), "JPEG", quality=50)
    with running(tmp_path, command=command) as (process, client), stream_of(client) as socket:
        for _ in range(3):
            socket.send(slow)
            # The service has it: otherwise the second can replace the first before anything looks at it.
            assert socket.ping().wait(PATIENCE_S)
            client.get("/health")
        # The first is being looked at and the last one waits.
        until(lambda: metric(client, 'mien_stream_frames_total{outcome="dropped"}') > 0)
        process.send_signal(signal.SIGTERM)
        messages, close = ending(socket)
        process.wait(timeout=30)
    assert [(item["frame"], item["whole_image"]) for item in messages] == [(1, True), (3, True)]
    assert (close.code, close.reason) == (1001, "the service is shutting down")
    assert rows(tmp_path) == 1  # one frame per second is kept


def test_several_workers_answer_alike_and_count_together(tmp_path: Path) -> None:
    given = {"MIEN_WORKERS": "2", "MIEN_RATE_PER_S": "0.001", "MIEN_RATE_BURST": "25"}
    with running(tmp_path, **given) as (_, client):
        digests = set()
        for _ in range(20):
            with httpx.Client(base_url=client.base_url, timeout=30) as own:
                until(lambda own=own: answers(own))
                digests.add(own.post("/detect", content=picture_of(3)).json()["model"]["sha256"])
        assert len(digests) == 1
        found = re.search(r"^mien_predictions_total\{.*\} (\S+)$", client.get("/metrics").text, re.MULTILINE)
        assert found is not None
        assert float(found[1]) == 20
        # Both count one client's requests together: 20, the metrics, and 4 more.
        statuses = []
        for _ in range(10):
            with httpx.Client(base_url=client.base_url, timeout=30) as own:
                statuses.append(own.get("/model").status_code)
        assert statuses == [200] * 4 + [429] * 6


def test_the_log_is_json_and_names_no_address(tmp_path: Path) -> None:
    with running(tmp_path) as (process, client):
        client.post("/detect", content=picture_of(3), headers={"x-request-id": "find-me"})
        process.terminate()
        lines = process.communicate(timeout=30)[1].splitlines()
    assert all(line.startswith("{") and line.endswith("}") for line in lines), lines
    messages = next(line for line in lines if "find-me" in line)
    assert "POST /detect 200" in messages
    assert "127.0.0.1" not in messages
