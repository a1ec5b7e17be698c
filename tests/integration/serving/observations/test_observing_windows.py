from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sqlalchemy import Engine, event

from serving.observations.store import Batch, Store
from tests.support.observing import NOW, id_of, observation

COUNT = 6000


def numbers(
    store: Store, *, last_n: int | None = None, last_s: float | None = None, max_rows: int = 10_000
) -> list[int]:
    now = NOW + COUNT - 1
    found = store.window("3", last_n=last_n, last_s=last_s, max_rows=max_rows, now=now)
    return [round(row.observation.time - NOW) for row in found.rows]


@pytest.fixture
def filled(store: Store) -> Store:
    """6,000 observations of version 3, a second apart, between those of version 4."""
    template = observation(0)
    values = {name: getattr(template, name) for name in template.__slots__}
    for version in ("3", "4"):
        rows = [
            type(template)(
                **values | {"id": f"{version}{id_of(n)[1:]}", "time": NOW + n, "model_version": version}
            )
            for n in range(COUNT)
        ]
        store.write(Batch(observations=rows))
    return store


def test_windows_hold_the_newest_of_one_version(filled: Store) -> None:
    assert numbers(filled, last_n=3) == [COUNT - 3, COUNT - 2, COUNT - 1]
    assert numbers(filled, last_s=2) == [COUNT - 3, COUNT - 2, COUNT - 1]
    assert numbers(filled, last_s=2, last_n=2) == [COUNT - 2, COUNT - 1]
    assert numbers(filled, last_s=1, last_n=500) == [COUNT - 2, COUNT - 1]
    assert numbers(filled, max_rows=COUNT) == list(range(COUNT))
    window = filled.window("3", last_n=COUNT * 2, max_rows=COUNT)
    assert (window.total, window.sampled) == (COUNT, False)
    assert filled.window("5").rows == ()


def test_large_windows_are_sampled_evenly(filled: Store) -> None:
    window = filled.window("3", last_n=4000, max_rows=500)
    assert window.sampled
    assert len(window.rows) == 500
    # The estimate comes from more than 500 rows: five deviations of a binomial.
    assert abs(window.total - 4000) <= 5 * 4000 / 500**0.5
    times = np.array([row.observation.time - NOW for row in window.rows])
    assert (np.diff(times) > 0).all()
    uniform = stats.uniform(COUNT - 4000, 4000)
    # Ids are fixed, so this p-value is too.
    assert stats.kstest(times, uniform.cdf).pvalue > 0.01


def test_a_small_window_in_a_large_table_is_sampled_too(filled: Store) -> None:
    window = filled.window("3", last_s=299, now=NOW + COUNT - 1, max_rows=50)
    assert len(window.rows) == 50
    assert all(row.observation.time >= NOW + COUNT - 300 for row in window.rows)
    assert window.rows == filled.window("3", last_s=299, now=NOW + COUNT - 1, max_rows=50).rows


def test_rows_of_one_instant_do_not_make_a_window_larger(store: Store) -> None:
    store.write(Batch(observations=[observation(number, time=NOW) for number in range(10)]))
    window = store.window("3", last_n=4)
    assert (len(window.rows), window.total, window.sampled) == (4, 4, False)


def test_sampling_walks_along_the_levels_not_along_time(tmp_path: Path) -> None:
    """SQLite would rather read a whole window than sort a sample of it, if it were asked to sort."""
    queries: list[tuple[str, tuple[object, ...]]] = []

    def note(_connection: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        queries.append((statement, values))

    store = Store(f"sqlite:///{tmp_path / 'o.db'}")
    store.write(Batch(observations=[observation(number) for number in range(100)]))
    event.listen(Engine, "before_cursor_execute", note)
    try:
        store.window("3", max_rows=10)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    store.close()
    with closing(sqlite3.connect(tmp_path / "o.db")) as connection:
        plans = [
            step[3]
            for statement, values in queries
            if "level IN" in statement
            for step in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)
        ]
    assert any("observations_by_level" in plan for plan in plans)
    assert not any("observations_by_model" in plan or "TEMP B-TREE" in plan for plan in plans)
