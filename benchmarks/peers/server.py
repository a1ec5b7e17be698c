"""Peers as running processes."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.peers.recipes import Launch, Recipe, Way
from benchmarks.ports import free_ports
from benchmarks.service import cpu_s, proportional_mib

_PATIENCE_S = 180.0
_END_S = 10.0
_LAST_LINES = 20
_QUIET = {"BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}


@dataclass(frozen=True, kw_only=True)
class Server:
    """A peer that answers."""

    recipe: Recipe
    port: int
    pid: int

    def cpu_s(self) -> float:
        """Processor time of all its processes so far."""
        return cpu_s(self.pid)

    def memory_mib(self) -> float:
        """Of all its processes, what they share counted once."""
        return proportional_mib(self.pid)


@contextmanager
def serving(
    recipe: Recipe,
    *,
    programs: Path,
    folder: Path,
    model: Path,
    workers: int,
    picture: bytes,
    face_model: Path | None = None,
) -> Iterator[Server]:
    """Start one, wait until it answers, end it and all its processes.

    `face_model` is YuNet's file, for recipes that find faces with it.

    Raises:
        RuntimeError: it ended, or did not answer in three minutes; with the last lines of its log.
    """
    shutil.copytree(Path(__file__).parent / recipe.name, folder)
    first, second, third = free_ports(3)
    launch = Launch(
        programs=programs,
        folder=folder,
        ports=(first, second, third),
        workers=workers,
        environment=_environment(programs, model, workers, face_model),
    )
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            recipe.command(launch),
            cwd=folder,
            env=dict(launch.environment),
            stdout=output,
            stderr=subprocess.STDOUT,
            # A process group of its own: some servers leave children behind when only the first process ends.
            start_new_session=True,
        )
    try:
        server = Server(recipe=recipe, port=launch.ports[0], pid=process.pid)
        _wait_until_it_answers(server, process, log, picture)
        yield server
    finally:
        _end(process)


def ask(port: int, way: Way, picture: bytes, *, timeout_s: float = 30.0) -> tuple[int, bytes]:
    """Status and body of one answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)) as connection:
        connection.request("POST", way.path, way.encode(picture), {"Content-Type": way.content_type})
        answer = connection.getresponse()
        return answer.status, answer.read()


def _environment(programs: Path, model: Path, workers: int, face_model: Path | None) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MIEN_", "PYTHON"))}
    return own | {
        **_QUIET,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(programs.parent),
        "PYTHONPATH": str(Path(__file__).parent / "shared"),
        "MIEN_PEER_MODEL": str(model.absolute()),
        "MIEN_PEER_WORKERS": str(workers),
        **({"MIEN_PEER_FACE_MODEL": str(face_model.absolute())} if face_model else {}),
    }


def _wait_until_it_answers(
    server: Server, process: subprocess.Popen[bytes], log: Path, picture: bytes
) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if ask(server.port, server.recipe.ways[0], picture)[0] == 200:
                return
        time.sleep(0.1)
    reason = "ended" if process.poll() is not None else f"did not answer within {_PATIENCE_S:.0f} s"
    lines = log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
    raise RuntimeError("\n".join([f"{server.recipe.name} {reason}; the end of its log:", *lines]))


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # A killed process ends when the kernel gets to it, not when the signal was sent.
    psutil.wait_procs(family, timeout=_END_S)
