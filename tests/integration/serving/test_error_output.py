"""Standard error of the service: the JSON log, also when libraries and child processes write to it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.hostile_pictures import PICTURE, between_segments
from tests.support.http_process import PYTHON_M, START_S, UVICORN, answers, environment, free_port
from tests.support.http_service import PATIENCE_S, until
from tests.support.pictures import encoded, png
from tests.support.serving_models import model_folder

WARNINGS = 9_000
# Each makes libpng write a line; the picture is intact.
NOISY = png(
    40, 32, depth=8, color=0, rows=[bytes(40)] * 32, chunks=[(b"gAMA", b"\0\0\xb1\x8f")] * (WARNINGS + 1)
)
STRAY = between_segments(encoded(PICTURE, "JPEG"), b"\0")


class Service:
    """A service whose standard error goes into a file; it ends with the block."""

    def __init__(self, folder: Path, *command: str, **given: str) -> None:
        model_folder(folder / "model")
        port = free_port()
        if "uvicorn" in command:
            command = (*command, "--port", str(port))
        self._path = folder / "stderr"
        with self._path.open("wb") as stderr:
            self.process = subprocess.Popen(
                command, env=environment(folder, MIEN_PORT=str(port), **given), stderr=stderr
            )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S)

    def __enter__(self) -> Service:
        try:
            until(lambda: self.process.poll() is not None or answers(self.client), START_S)
        except AssertionError:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def raw(self) -> str:
        """What was written."""
        return self._path.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """The log; a line that is not JSON fails the test."""
        return [json.loads(line) for line in self.raw().splitlines()]

    def of_libraries(self) -> list[dict[str, Any]]:
        """Records of what native code wrote."""
        return [line for line in self.lines() if line["logger"] == "serving.libraries"]

    def end(self) -> None:
        """SIGTERM."""
        self.client.close()
        self.process.terminate()
        self.process.wait(START_S)


@pytest.mark.parametrize(
    ("command", "given"),
    [
        pytest.param(PYTHON_M, {}, id="python-m"),
        pytest.param(PYTHON_M, {"MIEN_WORKERS": "2"}, id="workers"),
        pytest.param(UVICORN, {}, id="uvicorn"),
    ],
)
def test_thousands_of_lines_of_libpng_become_a_few_records(
    tmp_path: Path, command: tuple[str, ...], given: dict[str, str]
) -> None:
    with Service(tmp_path, *command, **given) as service:
        for _ in range(3):
            assert service.client.post("/detect", content=NOISY).status_code == 200
        assert service.client.post("/detect", content=STRAY).status_code == 200
        until(lambda: any("extraneous" in record["message"] for record in service.of_libraries()))
    records = service.of_libraries()
    assert sum(record["lines"] for record in records) == 3 * WARNINGS + 1
    assert len(records) <= 10
    assert sum(len(line) for line in service.raw().splitlines() if "libpng" in line) < 10_000


def test_an_odd_form_leaves_no_raw_line(tmp_path: Path) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        + encoded(PICTURE)
        + b"\r\n--b--\r\nsomething behind the last boundary"
    )
    kind = {"content-type": "multipart/form-data; boundary=b"}
    with Service(tmp_path, *PYTHON_M) as service:
        for _ in range(200):
            assert service.client.post("/detect", content=body, headers=kind).status_code < 500
    assert sum("multipart" in line["logger"] for line in service.lines()) <= 60


def test_lines_just_before_the_end_and_a_crash_are_not_lost(tmp_path: Path) -> None:
    with Service(tmp_path, *PYTHON_M) as service:
        assert service.client.post("/detect", content=NOISY).status_code == 200
    assert sum(record["lines"] for record in service.of_libraries()) == WARNINGS

    with Service(tmp_path, *PYTHON_M) as crashing:
        crashing.process.send_signal(signal.SIGSEGV)
        crashing.process.wait(START_S)
    # What faulthandler writes is shown as it is.
    assert "Fatal Python error: Segmentation fault" in crashing.raw()
    assert "serving/__main__.py" in crashing.raw()


def test_a_terminal_shows_the_log(tmp_path: Path) -> None:
    model_folder(tmp_path / "model")
    shown, terminal = pty.openpty()
    port = free_port()
    process = subprocess.Popen(
        PYTHON_M, env=environment(tmp_path, MIEN_PORT=str(port)), stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
            until(lambda: answers(client), START_S)
    finally:
        process.terminate()
    text = b""
    # Linux ends a terminal without a program behind it with EIO.
    try:
        while part := os.read(shown, 65_536):
            text += part
    except OSError:
        pass
    process.wait(START_S)
    os.close(shown)
    assert f"http://127.0.0.1:{port}".encode() in text
    assert b'"Application startup complete."' in text


def test_an_exception_that_ends_the_process_is_shown(tmp_path: Path) -> None:
    program = (
        "from serving.libraries import take_error_output; import os; take_error_output(); "
        "os.write(2, b'a library\\n'); raise RuntimeError('the reason')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=START_S, cwd=Path.cwd()
    )
    assert done.returncode == 1
    assert "RuntimeError: the reason" in done.stderr
    assert "a library" in done.stderr
