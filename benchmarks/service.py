"""The service as in production: a process of its own that follows a registry, everything switched on."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.ports import free_ports

_PATIENCE_S = 120.0
_MIB = 1 << 20
_MODEL = "benchmark"


class Registry:
    """An MLflow store with versions of one model."""

    def __init__(self, folder: Path) -> None:
        """Make an empty one; its file goes to `folder`."""
        os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "ERROR"}
        from mlflow import MlflowClient

        self.uri = f"sqlite:///{folder}/mlflow.db"
        self._client = MlflowClient(tracking_uri=self.uri)
        self._client.create_registered_model(_MODEL)

    def add(self, files: Path) -> str:
        """Register a folder with `model.onnx`; its version."""
        return str(self._client.create_model_version(_MODEL, source=files.as_uri()).version)

    def promote(self, version: str) -> None:
        """Move the alias that the service follows."""
        self._client.set_registered_model_alias(_MODEL, "production", version)


def registry_with(model: Path, folder: Path) -> str:
    """A new MLflow store in which `model` is in production; its URI."""
    registry = Registry(folder)
    files = folder / "registered"
    files.mkdir()
    shutil.copyfile(model, files / "model.onnx")
    registry.promote(registry.add(files))
    return registry.uri


class Service:
    """A running service."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, ready_s: float) -> None:
        self._process = process
        self.port = port
        self.ready_s = ready_s
        """From the start of the process until it was ready."""

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether that process has not ended."""
        return self._process.poll() is None

    @property
    def url(self) -> str:
        """Address that pictures are sent to."""
        return f"http://127.0.0.1:{self.port}/detect?faces=none"

    def cpu_s(self) -> float:
        """Processor time of all its processes so far, those that have ended included."""
        return cpu_s(self._process.pid)

    def proportional_mib(self) -> float:
        """Memory of all processes together, what they share counted once."""
        return proportional_mib(self._process.pid)

    def memory_mib(self) -> tuple[float, float]:
        """Resident memory of the largest answering process, and of all processes together."""
        sizes = {process.pid: _resident_mib(process) for process in self._processes()}
        follower = self._json("/model")["following"]["follower_pid"]
        answering = max(size for pid, size in sizes.items() if pid != follower)
        return answering, sum(sizes.values())

    def live_version(self) -> str:
        """Version of the live model, as the registry names it."""
        return str(self._json("/model")["live"]["version"])

    def face_detector(self) -> str:
        """Name of the detector that finds faces for the live model."""
        return str(self._json("/model")["live"]["face_detector"])

    def settle(self) -> None:
        """Wait for two polls of the registry: after the second, MLflow's process has ended."""
        deadline = time.monotonic() + _PATIENCE_S
        seen: set[float] = set()
        begun = time.time()
        while time.monotonic() < deadline:
            checked = self._json("/model")["following"]["checked_at"]
            if checked is not None and _seconds(checked) > begun:
                seen.add(_seconds(checked))
            if len(seen) == 2:
                return
            time.sleep(0.1)
        raise TimeoutError("the follower did not look at the registry")

    def rest(self) -> None:
        """Wait for periodic work, such as drift over the answers so far."""
        deadline = time.monotonic() + _PATIENCE_S
        # Rows reach the database within half a second, and are looked at after that.
        time.sleep(2)
        while any("serving.drift" in _command(process) for process in self._processes()):
            if time.monotonic() > deadline:
                raise TimeoutError("drift is still being computed")
            time.sleep(0.1)

    def _processes(self) -> list[psutil.Process]:
        return processes_of(self._process.pid)

    def _json(self, path: str) -> Any:
        return json.loads(_get(self.port, path)[1])


def processes_of(pid: int) -> list[psutil.Process]:
    """A process and all that descend from it; none when it has ended."""
    try:
        main = psutil.Process(pid)
        return [main, *main.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_s(pid: int) -> float:
    """Processor time of a process and all that descend from it, those that have ended included."""
    return sum(_cpu_s(process) for process in processes_of(pid))


def proportional_mib(pid: int) -> float:
    """Proportional set size of a process and all that descend from it: pages they share count once."""
    return sum(_proportional_mib(process) for process in processes_of(pid))


# A process may end between being listed and being asked; a zombie is one that has (psutil.ZombieProcess).
def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _cpu_s(process: psutil.Process) -> float:
    try:
        return sum(process.cpu_times()[:4])
    except psutil.NoSuchProcess:
        return 0.0


def _resident_mib(process: psutil.Process) -> float:
    try:
        return process.memory_info().rss / _MIB
    except psutil.NoSuchProcess:
        return 0.0


def _proportional_mib(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss) / _MIB
    except psutil.NoSuchProcess:
        return 0.0


@contextmanager
def service(
    folder: Path, *, registry: str, workers: int, threads: int, own_session: bool = False
) -> Iterator[Service]:
    """Start one, and end it; a second one in the same folder finds its model in the cache.

    Args:
        folder: for its files.
        registry: URI of the MLflow store.
        workers: answering processes.
        threads: of each.
        own_session: Linux shares a busy processor out between sessions (`sched_autogroup_enabled`), so what
            is compared with something in a session of its own needs one too.
    """
    (port,) = free_ports(1)
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
        command = [sys.executable, "-m", "serving"]
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=own_session
        )
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
