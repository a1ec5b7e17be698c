"""A Dask cluster for tests: a scheduler and workers as processes of their own, on loopback, without pages."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from distributed import Client

REPOSITORY = Path(__file__).resolve().parents[2]
START_S = 240


@dataclass(frozen=True)
class DaskNode:
    """One worker and the folder that is its own."""

    process: subprocess.Popen[bytes]
    folder: Path


@dataclass(frozen=True)
class DaskCluster:
    """A running scheduler with its workers."""

    address: str
    nodes: tuple[DaskNode, ...]


@contextmanager
def dask_cluster(folder: Path, *, nodes: int = 2) -> Iterator[DaskCluster]:
    """Start it, wait until every worker is known, stop it."""
    folder.mkdir()
    contact = folder / "scheduler.json"
    with ExitStack() as stack:
        scheduler = ["scheduler", "--port", "0", "--scheduler-file", str(contact)]
        stack.enter_context(_process(scheduler, folder, folder / "scheduler.log"))
        started = tuple(
            stack.enter_context(_node(folder / f"node{number}", contact)) for number in range(nodes)
        )
        _until(contact.exists)
        with Client(scheduler_file=str(contact), set_as_default=False) as client:
            client.wait_for_workers(nodes, timeout=START_S)
            address = client.scheduler.address
        yield DaskCluster(address, started)


@contextmanager
def _node(folder: Path, contact: Path) -> Iterator[DaskNode]:
    folder.mkdir()
    command = [
        "worker",
        "--nthreads",
        "1",
        "--no-nanny",
        "--local-directory",
        str(folder),
        "--scheduler-file",
    ]
    with _process([*command, str(contact)], folder, folder / "worker.log") as process:
        yield DaskNode(process, folder)


@contextmanager
def _process(arguments: list[str], folder: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments, "--host", "127.0.0.1", "--no-dashboard"],
            cwd=folder,
            env=os.environ
            | {
                "PYTHONPATH": str(REPOSITORY),
                "MIEN_CLUSTER_SCRATCH": str(folder / "scratch"),
                "WORKER_PID": str(folder / "pid"),
            },
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    (folder / "pid").write_text(str(process.pid))
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_S
    while not true():
        assert time.monotonic() < deadline, "Dask's scheduler did not start"
        time.sleep(0.1)
