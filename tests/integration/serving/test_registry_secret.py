"""A password in MIEN_TRACKING_URI is shown nowhere: answers, log, state files, command lines."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import psutil

from tests.support.http_process import PYTHON_M, START_S, environment, free_port
from tests.support.http_service import until

SECRET = "s3cret-word"  # noqa: S105 - what must not be shown


def test_the_registrys_password_is_shown_nowhere(tmp_path: Path) -> None:
    port = free_port()
    given = {
        "MIEN_MODEL": "models:/emotion@production",
        # No server listens there.
        "MIEN_TRACKING_URI": f"http://me:{SECRET}@127.0.0.1:{free_port()}",
        "MIEN_PORT": str(port),
        "MIEN_POLL_S": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://me:{SECRET}@127.0.0.1:1",
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization: Bearer {SECRET}",
    }
    process = subprocess.Popen(
        PYTHON_M, env=environment(tmp_path, **given), stderr=subprocess.PIPE, text=True
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            until(lambda: reason(client), START_S)
            children = psutil.Process(process.pid).children(recursive=True)
            assert children
            lines = [child.cmdline() for child in children]
            shown = [client.get(path).text for path in ("/readyz", "/ping", "/v2/health/ready", "/model")]
    finally:
        process.terminate()
        _, log = process.communicate(timeout=START_S)
    assert SECRET not in " ".join(word for line in lines for word in line)
    assert [text for text in shown if SECRET in text] == []
    assert SECRET not in log
    states = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert states
    assert [path for path in states if SECRET.encode() in path.read_bytes()] == []


def reason(client: httpx.Client) -> bool:
    """Whether the service says that the registry does not answer."""
    try:
        return "127.0.0.1" in client.get("/readyz").json()["detail"]
    except httpx.TransportError:
        return False
