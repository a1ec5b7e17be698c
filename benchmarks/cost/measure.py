"""Measures what a request costs: processor time and memory of the real service, bytes of its observations."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.cost.record import RequestCost, StorageCost
from benchmarks.example_rows import example_rows
from benchmarks.load import measure
from benchmarks.open_load import percentile
from benchmarks.packages import write_package
from benchmarks.peers.contender import portrait
from benchmarks.peers.recipes import BINARY, FORM, as_form
from benchmarks.service import Registry, Service, service
from benchmarks.soak.processes import ANSWERING, uses
from serving.cores import usable_cores
from serving.observations.images import PictureFolder
from serving.observations.records import Observation
from serving.observations.store import Batch, Store

_WARM_S = 0.5
_BATCH_ROWS = 500
_ROWS, _PICTURES = 10_000, 200
_BLOCK_BYTES = 512
"""Unit of `st_blocks`, independent of the file system (stat(2))."""


def request_costs(
    models: Mapping[str, Path], *, network_ms: Mapping[str, float], seconds: float
) -> list[RequestCost]:
    """Start the service with each model in turn, ask it with one client, end it.

    Args:
        models: title → ONNX file with a contract.
        network_ms: title → time of the network alone, where it is recorded.
        seconds: of each of the two measurements of a model.

    Raises:
        RuntimeError: a request failed, or none was answered.
    """
    with tempfile.TemporaryDirectory(prefix="mien-cost-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "raw").write_bytes(portrait())
        (folder / "form").write_bytes(as_form(portrait()))
        registry = Registry(folder)
        costs: list[RequestCost] = []
        for title, model in models.items():
            print(f"{title}: {model}", file=sys.stderr, flush=True)
            registry.promote(registry.add(write_package(model, folder / f"registered-{len(costs)}")))
            costs.append(_request_cost(title, folder, registry, network_ms.get(title), seconds=seconds))
    return costs


def _request_cost(
    title: str, folder: Path, registry: Registry, network_ms: float | None, *, seconds: float
) -> RequestCost:
    # One of its own: nothing of another model is in its cache.
    with (
        tempfile.TemporaryDirectory(dir=folder) as own,
        service(Path(own), registry=registry.uri, workers=1, threads=usable_cores()) as running,
    ):
        raw, form = folder / "raw", folder / "form"
        whole_ms = _processor_ms(running, "/detect?faces=none", raw, content_type=BINARY, seconds=seconds)
        searched_ms = _processor_ms(running, "/detect", form, content_type=FORM, seconds=seconds)
        found, detector = list(uses(running.pid)), running.face_detector()
    return RequestCost(
        title=title,
        network_ms=network_ms,
        whole_ms=whole_ms,
        searched_ms=searched_ms,
        answering_mib=sum(use.memory_mib for use in found if use.role == ANSWERING),
        all_mib=sum(use.memory_mib for use in found),
        detector=detector,
    )


def _processor_ms(running: Service, path: str, body: Path, *, content_type: str, seconds: float) -> float:
    url = f"http://127.0.0.1:{running.port}{path}"
    measure(url, body, connections=1, seconds=_WARM_S, content_type=content_type)
    before_s = running.cpu_s()
    load = measure(url, body, connections=1, seconds=seconds, content_type=content_type)
    if load.failed or not load.requests:
        raise RuntimeError(f"{path}: {load.failed} of {load.requests} requests failed; nothing was measured")
    return 1e3 * (running.cpu_s() - before_s) / load.requests


def storage_cost(*, rows: int = _ROWS, pictures: int = _PICTURES) -> StorageCost:
    """Write observations and pictures as the service does, and look at their size."""
    with tempfile.TemporaryDirectory(prefix="mien-cost-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        kept = PictureFolder(folder / "pictures", fraction=1.0)
        file = portrait()
        names = [kept.write(file, id=row.id, time=row.time) for row in example_rows(pictures)]
        plain_bytes, rows_per_s = _written(folder / "plain.db", rows, lambda row: row)
        named_bytes, _ = _written(folder / "named.db", rows, lambda row: replace(row, picture=names[0]))
        on_disk = sum((kept.folder / name).stat().st_blocks for name in names) * _BLOCK_BYTES
    return StorageCost(
        rows=rows,
        row_bytes=plain_bytes / rows,
        row_with_picture_bytes=named_bytes / rows,
        picture_bytes=on_disk / pictures,
        rows_per_s=rows_per_s,
    )


def _written(database: Path, rows: int, change: Callable[[Observation], Observation]) -> tuple[int, float]:
    """Write rows into a new database; its size in bytes, and the median of rows per second."""
    store = Store(f"sqlite:///{database}")
    store.prepare()
    rates = []
    for batch in _batches(map(change, example_rows(rows))):
        begun = time.perf_counter()
        store.write(Batch(observations=batch))
        rates.append(len(batch) / (time.perf_counter() - begun))
    # The last connection moves the write-ahead log into the file.
    store.close()
    return database.stat().st_size, percentile(rates, 0.5)


def _batches(rows: Iterator[Observation]) -> Iterator[list[Observation]]:
    while batch := [row for row, _ in zip(rows, range(_BATCH_ROWS), strict=False)]:
        yield batch
