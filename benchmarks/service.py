"""The service as an operator runs it: a process of its own that follows a registry, nothing switched off."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil

_PATIENCE_S = 120.0
_MIB = 1 << 20
_MODEL = "benchmark"


def registry_with(model: Path, folder: Path) -> str:
    """A new MLflow store in which `model` is in production; its URI."""
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "ERROR"}
    from mlflow import MlflowClient

    files = folder / "registered"
    files.mkdir()
    shutil.copyfile(model, files / "model.onnx")
    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(tracking_uri=uri)
    client.create_registered_model(_MODEL)
    version = client.create_model_version(_MODEL, source=files.as_uri())
    client.set_registered_model_alias(_MODEL, "production", version.version)
    return uri


class Service:
    """A running service."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, ready_s: float) -> None:
        self._process = process
        self._port = port
        self.ready_s = ready_s
        """From the start of the process until it was ready."""

    @property
    def url(self) -> str:
        """Where pictures are sent."""
        return f"http://127.0.0.1:{self._port}/detect?faces=none"

    def cpu_s(self) -> float:
        """Processor time of all its processes so far, those that have ended included."""
        return sum(sum(process.cpu_times()[:4]) for process in self._processes())

    def memory_mib(self) -> tuple[float, float]:
        """Resident memory of the largest answering process, and of all processes together."""
        sizes = {process.pid: process.memory_info().rss / _MIB for process in self._processes()}
        follower = self._json("/model")["following"]["follower_pid"]
        answering = max(size for pid, size in sizes.items() if pid != follower)
        return answering, sum(sizes.values())

    def settle(self) -> None:
        """Wait until the registry was looked at, so that the follower has loaded what it needs."""
        begun, deadline = time.time(), time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            checked = self._json("/model")["following"]["checked_at"]
            if checked is not None and _seconds(checked) > begun:
                return
            time.sleep(0.1)
        raise TimeoutError("the follower did not look at the registry")

    def rest(self) -> None:
        """Wait for what is only computed now and then, such as drift over the answers so far."""
        deadline = time.monotonic() + _PATIENCE_S
        # Rows reach the database within half a second, and are looked at after that.
        time.sleep(2)
        while any("serving.drift" in " ".join(process.cmdline()) for process in self._processes()):
            if time.monotonic() > deadline:
                raise TimeoutError("drift is still being computed")
            time.sleep(0.1)

    def _processes(self) -> list[psutil.Process]:
        main = psutil.Process(self._process.pid)
        return [main, *main.children(recursive=True)]

    def _json(self, path: str) -> Any:
        return json.loads(_get(self._port, path)[1])


@contextmanager
def service(folder: Path, *, registry: str, workers: int, threads: int) -> Iterator[Service]:
    """Start one, and end it; a second one in the same folder finds its model in the cache."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = int(free.getsockname()[1])
    own = {name: value for name, value in os.environ.items() if not name.startswith("MIEN_")}
    environment = own | {
        "MIEN_MODEL": f"models:/{_MODEL}@production",
        "MIEN_TRACKING_URI": registry,
        "MIEN_CACHE_DIR": str(folder / "cache"),
        "MIEN_DATABASE_URL": f"sqlite:///{folder}/observations.db",
        "MIEN_PORT": str(port),
        "MIEN_WORKERS": str(workers),
        "MIEN_THREADS": str(threads),
    }
    begun = time.perf_counter()
    with (folder / "service.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "serving"], env=environment, stderr=log)
    try:
        _wait_until_ready(process, port)
        yield Service(process, port, time.perf_counter() - begun)
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if _get(port, "/readyz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.005)
    reason = "it ended" if process.poll() is not None else _get(port, "/readyz")[1].decode()
    raise RuntimeError(f"the service did not become ready: {reason}")


def _get(port: int, path: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()
