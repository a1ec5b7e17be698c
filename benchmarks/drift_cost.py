"""`python -m benchmarks.drift_cost [--url URL] [--rows 10000 1000000]`: cost of a drift result; minutes.

For each number of observations in the table it prints the time to read the window (all of them, sampled
down to 10,000 rows at the database), to set the thresholds, and for the whole result, Evidently and its
process included. Without `--url` it is an SQLite file in a temporary folder, 0.7 kB a row. Expected: equal
cost for a million and for ten thousand.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.example_rows import CLASSES, FEATURES, SHA256, VERSION, example_rows
from serving.drift.columns import columns_of
from serving.drift.compute import traffic_of
from serving.drift.data import REFERENCE, read_current, read_reference
from serving.drift.result import DriftRequest, WindowRule
from serving.drift.runner import compute_in_process
from serving.drift.thresholds import thresholds
from serving.observations.store import Batch, Store

_PEOPLE, _PICTURES = 50, 7
_ROUNDS = 5


def main() -> None:
    """Fill, measure and print."""
    parser = argparse.ArgumentParser(description="Cost of a drift result.")
    parser.add_argument("--url", help="of an empty database; an SQLite file in a temporary folder without it")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        url = arguments.url or f"sqlite:///{Path(folder) / 'observations.db'}"
        _write_reference(Path(folder) / REFERENCE)
        store, filled = Store(url), 0
        rows = example_rows(max(arguments.rows))
        print(f"{'rows':>10} {'window':>10} {'thresholds':>11} {'whole result':>13}")
        for count in sorted(arguments.rows):
            while filled < count and (batch := list(islice(rows, min(500, count - filled)))):
                store.write(Batch(observations=batch))
                filled += len(batch)
            _report(store, url, Path(folder), count)
        store.close()


def _report(store: Store, url: str, folder: Path, count: int) -> None:
    rule = WindowRule(last_n=None)
    window = [
        _seconds(lambda: read_current(store, rule, version=VERSION, sha256=SHA256)) for _ in range(_ROUNDS)
    ]
    current = read_current(store, rule, version=VERSION, sha256=SHA256)
    reference = read_reference(folder)
    distances = {column.name: column.distance() for column in columns_of(reference, current.table).compared}
    traffic = traffic_of(reference, current, per_person=None)
    limits = _seconds(lambda: thresholds(distances, reference.people, traffic, false_alarms=0.005))
    request = DriftRequest(
        database_url=url,
        model_folder=str(folder),
        model_version=VERSION,
        model_sha256=SHA256,
        window=rule,
    )
    whole = _seconds(lambda: _compute(request))
    print(f"{count:10,} {min(window):8.2f} s {limits:9.2f} s {whole:11.1f} s")


def _compute(request: DriftRequest) -> None:
    with compute_in_process(request) as done:
        if done.result.verdict == "unknown":
            raise SystemExit(done.result.reason)


def _write_reference(path: Path) -> None:
    random, rows = np.random.default_rng(1), _PEOPLE * _PICTURES
    columns: dict[str, object] = {
        "group": [f"id{number // _PICTURES}" for number in range(rows)],
        "label": random.choice(CLASSES, rows),
        "predicted": random.choice(CLASSES, rows),
    }
    for name in ("brightness", "contrast", "sharpness", "confidence", "entropy"):
        columns[name] = random.random(rows)
    columns["embedding"] = list(random.normal(size=(rows, FEATURES)).astype(np.float16))
    pq.write_table(pa.table(columns), path)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
