"""How the service ends, with one worker and with two: nothing is lost or left, and the next one starts."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import psutil
import pytest

from tests.load.endings import run
from tests.support.http_process import running
from tests.support.http_service import picture_of, until
from tests.support.serving_models import model_folder


@pytest.mark.parametrize("workers", [1, 2])
def test_under_load_no_request_is_lost_and_no_process_is_left(tmp_path: Path, workers: int) -> None:
    report = run(tmp_path, [signal.SIGTERM, signal.SIGKILL, signal.SIGTERM], workers=workers)
    assert (report.lost, report.leftover, report.failed) == ([], [], [])
    assert report.ends == 3
    assert report.answered >= 120


def test_requests_that_only_the_kernel_has_are_answered(tmp_path: Path) -> None:
    """While the process is stopped, connections and requests wait; then SIGTERM comes."""
    model_folder(tmp_path / "model")
    body = picture_of(3)
    request = f"POST /detect?faces=none HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with running(tmp_path, MIEN_TIMEOUT_S="60") as (process, client):
        where = ("127.0.0.1", client.base_url.port or 0)
        idle = [socket.create_connection(where, timeout=60) for _ in range(5)]
        for one in idle:
            one.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert one.recv(12) == b"HTTP/1.1 200"
        process.send_signal(signal.SIGSTOP)
        until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
        fresh = [socket.create_connection(where, timeout=60) for _ in range(5)]
        for one in (*fresh, *idle):
            # Two at once: the second one waits for the first one's answer.
            one.sendall((request.encode() + body) * 2)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        answers = [_everything(one).count(b"HTTP/1.1 200") for one in (*fresh, *idle)]
        process.wait(60)
    # An idle connection had its answer to /livez partly unread.
    assert answers == [2] * 10


def test_an_idle_connection_does_not_hold_up_the_end(tmp_path: Path) -> None:
    model_folder(tmp_path / "model")
    with (
        running(tmp_path, MIEN_WORKERS="2") as (process, client),
        socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=60) as idle,
    ):
        idle.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /livez HTTP/1.1\r\nHost: loc")
        assert idle.recv(12) == b"HTTP/1.1 200"
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        # MIEN_SHUTDOWN_S is 30: an idle connection and half a head are not waited for that long.
        assert time.monotonic() - begun < 20
        assert process.returncode == 0


def _everything(connection: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    with connection:
        parts = []
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)
