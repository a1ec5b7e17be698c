"""The current window out of both databases."""

from __future__ import annotations

import time

import numpy as np
import pytest

from serving.drift.data import read_current
from serving.drift.result import WindowRule
from serving.errors.operation import WindowTooSmall
from serving.observations.records import Feedback
from serving.observations.store import Batch, Store
from tests.support.observing import MODEL, NOW, observation

RULE = WindowRule(last_n=40, min_rows=10)
OURS = {"version": MODEL.version, "sha256": MODEL.sha256}


@pytest.fixture
def rows(store: Store) -> list[int]:
    numbers = list(range(60))
    labels = [Feedback(observation_id=observation(number).id, time=NOW, emotion="sad") for number in (50, 55)]
    store.write(Batch(observations=[observation(number) for number in numbers], feedback=labels))
    return numbers


def test_the_newest_rows_become_columns(store: Store, rows: list[int]) -> None:
    current = read_current(store, RULE, **OURS)
    seen = [observation(number) for number in rows[20:]]
    assert (current.since, current.until) == (NOW + 20, NOW + 59)
    assert (current.total, current.sampled) == (40, False)
    assert current.table.predicted.tolist() == [one.predicted for one in seen]
    for name in ("brightness", "contrast", "sharpness", "confidence", "entropy"):
        assert current.table.numbers[name].tolist() == [getattr(one, name) for one in seen]
    assert current.table.embedding.tolist() == [np.frombuffer(one.embedding, "<f2").tolist() for one in seen]
    labels = {index: emotion for index, emotion in enumerate(current.feedback) if emotion is not None}
    assert labels == {30: "sad", 35: "sad"}


def test_the_face_is_what_was_cut_out_of_the_picture(store: Store) -> None:
    whole = [observation(number, box=None) for number in range(5)]
    faces = [observation(number, box=(-3, 4, 90, 100)) for number in range(5, 10)]
    store.write(Batch(observations=[*whole, *faces]))
    current = read_current(store, RULE, **OURS)
    assert current.table.numbers["face_size"].tolist() == [480.0] * 5 + [90.0] * 5


def test_a_large_window_is_sampled(store: Store, rows: list[int]) -> None:
    current = read_current(store, WindowRule(last_n=None, min_rows=5, max_rows=20), **OURS)
    assert len(current.table) == 20
    assert current.sampled
    assert 30 <= current.total <= 100


def test_too_few_rows_are_said(store: Store, rows: list[int]) -> None:
    with pytest.raises(WindowTooSmall, match="version 3") as few:
        read_current(store, WindowRule(min_rows=61, last_n=100), **OURS)
    assert (few.value.got, few.value.expected) == (60, 61)
    with pytest.raises(WindowTooSmall, match="version 4") as none:
        read_current(store, RULE, version="4", sha256=MODEL.sha256)
    assert none.value.got == 0


def test_rows_that_are_too_old_do_not_count(store: Store) -> None:
    now = time.time()
    old = [observation(number, time=now - 7200 + number) for number in range(20)]
    new = [observation(number, time=now - 2) for number in range(20, 23)]
    store.write(Batch(observations=[*old, *new]))
    with pytest.raises(WindowTooSmall, match="only 3 observations"):
        read_current(store, WindowRule(min_rows=5, last_s=3600.0), **OURS)
    assert len(read_current(store, WindowRule(min_rows=5, last_s=9000.0), **OURS).table) == 23


def test_another_file_of_the_same_version_does_not_count(store: Store, rows: list[int]) -> None:
    """A model that is served from a path is always version `local`."""
    newer = [observation(number, model_sha256="cd" * 32) for number in range(60, 75)]
    store.write(Batch(observations=newer))
    assert len(read_current(store, RULE, version=MODEL.version, sha256="cd" * 32).table) == 15
    assert len(read_current(store, RULE, **OURS).table) == 25
