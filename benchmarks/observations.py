"""`python -m benchmarks.observations [--url URL] [--rows N]`: cost of recording observations; half a minute.

It prints the time that `record()` takes on the hot path, how many rows per second reach the database and
what processor time a row costs there, and how long a window takes to read: all of a small one, and a sample
of everything. Without `--url` it is an SQLite file in a temporary folder. Expected on two busy cores: 0.6 µs;
50,000 rows/s (PostgreSQL: 25,000); a sample costs the same from 100,000 rows and from a million.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.example_rows import CLASSES, FEATURES, example_rows
from serving.detection.responses import summarize_output
from serving.observations.recorder import Recorder
from serving.observations.records import Observation
from serving.observations.store import Batch, Store

_BATCH_ROWS = 500


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Cost of recording observations.")
    parser.add_argument("--url", help="of an empty database; an SQLite file in a temporary folder without it")
    parser.add_argument("--rows", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        store = Store(arguments.url or f"sqlite:///{Path(folder) / 'observations.db'}")
        store.prepare()
        _report_record(list(example_rows(5000)))
        _report_writing(store, example_rows(arguments.rows))
        _report_reading(store)
        store.close()


def _report_record(rows: list[Observation]) -> None:
    """Record into a buffer without a writer: the cost on the hot path."""
    recorder = Recorder(Store("sqlite:///unused.db"), capacity=len(rows))
    passes = [1e6 * _seconds(lambda: [recorder.record(row) for row in rows]) / len(rows) for _ in range(9)]
    probabilities = np.full(len(CLASSES), 1 / len(CLASSES), np.float32)
    embedding = np.ones(FEATURES, np.float32)
    described = (
        1e6 * _seconds(lambda: [summarize_output(probabilities, embedding) for _ in range(5000)]) / 5000
    )
    print(f"record():        {statistics.median(passes):8.2f} µs")
    print(f"describe():      {described:8.2f} µs")


def _report_writing(store: Store, rows: Iterator[Observation]) -> None:
    seconds, cpu_s, count = [], 0.0, 0
    while batch := list(islice(rows, _BATCH_ROWS)):
        before_s = time.process_time()
        seconds.append(_seconds(lambda batch=batch: store.write(Batch(observations=batch))))
        cpu_s += time.process_time() - before_s
        count += len(batch)
    print(f"written:         {count / sum(seconds):8.0f} rows/s, batches of {_BATCH_ROWS}")
    print(f"batch:           {1e3 * statistics.median(seconds):8.1f} ms, longest {1e3 * max(seconds):.1f} ms")
    print(f"processor here:  {1e6 * cpu_s / count:8.1f} µs per row")


def _report_reading(store: Store) -> None:
    for name, window in (
        ("last 500", {"last_n": 500}),
        ("500 of all", {"max_rows": 500}),
        ("10,000 of all", {"max_rows": 10_000}),
    ):
        seconds = statistics.median(
            _seconds(lambda window=window: store.window("3", **window)) for _ in range(3)
        )
        print(f"{name + ':':16} {1e3 * seconds:8.1f} ms")


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
