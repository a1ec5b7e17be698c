"""Pools of sample pictures, answered by the real service, from which `benchmarks.drift` draws windows.

Each pool is drawn once, sent once over HTTP to `python -m serving`, and read back from the observations that
the service wrote; the benchmark remembers the person of each picture, which the service does not know.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray

from benchmarks.ports import free_ports
from sample_faces.dataset import SampleSpec, write_sample
from serving.drift.data import Probabilities, Table, table_of
from serving.observations.records import StoredObservation
from serving.observations.store import Store

_BATCH = 32
_PATIENCE_S = 120.0
_FOLLOWED = "**/reference.parquet"


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Answered pictures of many people."""

    table: Table
    people: NDArray[np.intp]
    """Person of each row, numbered from 0 without gaps."""
    labels: NDArray[np.str_]
    """True class of each picture."""
    probabilities: Probabilities
    """Of each picture's classes."""


class Service:
    """A running service, and the database and cache that are its own."""

    def __init__(self, client: httpx.Client, folder: Path) -> None:
        self._client = client
        self._folder = folder

    @property
    def model_folder(self) -> Path:
        """Of the served model's files, as the service fetched them."""
        return next((self._folder / "cache").glob(_FOLLOWED)).parent

    def answer(self, spec: SampleSpec, name: str) -> Pool:
        """Draw a sample and have every picture of it answered."""
        folder = self._folder / name
        write_sample(spec, folder)
        files = sorted(folder.rglob("*.jpg"))
        file_by_id: dict[str, Path] = {}
        for start in range(0, len(files), _BATCH):
            file_by_id |= self._send(files[start : start + _BATCH])
        return _pool(self._written(file_by_id), file_by_id)

    def _send(self, files: list[Path]) -> dict[str, Path]:
        answer = self._client.post(
            "/detect/batch", files=[("file", (file.name, file.read_bytes())) for file in files]
        )
        answer.raise_for_status()
        return {
            entry["result"]["id"]: file for entry, file in zip(answer.json()["results"], files, strict=True)
        }

    def _written(self, file_by_id: dict[str, Path]) -> list[StoredObservation]:
        """The observations of these answers, once all are in the database."""
        store = Store(f"sqlite:///{self._folder}/observations.db")
        version = self._client.get("/model").json()["live"]["version"]
        deadline = time.monotonic() + _PATIENCE_S
        try:
            while True:
                window = store.window(version, last_n=len(file_by_id), max_rows=len(file_by_id))
                rows = [row for row in window.rows if row.observation.id in file_by_id]
                if len(rows) == len(file_by_id):
                    return rows
                if time.monotonic() >= deadline:
                    raise SystemExit(f"{len(rows)} of {len(file_by_id)} observations were written")
                time.sleep(0.5)
        finally:
            store.close()


@contextmanager
def running_service(folder: Path, *, model: str | None) -> Iterator[Service]:
    """`python -m serving` with its own database; `model` as MIEN_MODEL, the default one without it."""
    (port,) = free_ports(1)
    environment = os.environ | {
        "MIEN_PORT": str(port),
        "MIEN_CACHE_DIR": str(folder / "cache"),
        "MIEN_DATABASE_URL": f"sqlite:///{folder}/observations.db",
        "MIEN_LOG_LEVEL": "ERROR",
        "MIEN_ACCESS_LOG": "false",
        # The benchmark itself uses the processor, and it may share the machine.
        "MIEN_DRIFT": "false",
        "MIEN_TIMEOUT_S": "60",
    }
    if model is not None:
        environment["MIEN_MODEL"] = model
    process = subprocess.Popen([sys.executable, "-m", "serving"], env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_PATIENCE_S) as client:
            _wait(process, client)
            yield Service(client, folder)
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], client: httpx.Client) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if client.get("/readyz").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit("the service did not become ready; `make run` registers a model, --model names another")


def _pool(rows: list[StoredObservation], file_by_id: dict[str, Path]) -> Pool:
    files = [file_by_id[row.observation.id] for row in rows]
    people = [file.name.partition("_")[0] for file in files]
    labels = np.array([file.parent.name for file in files])
    return Pool(
        table=table_of(rows),
        people=np.unique(people, return_inverse=True)[1].astype(np.intp),
        labels=labels,
        # A model that was trained on all classes has them in this order.
        probabilities=Probabilities(
            classes=tuple(sorted(set(labels.tolist()))),
            values=np.stack([row.probabilities() for row in rows]).astype(np.float64),
        ),
    )
