"""Answers that wait for the shadow."""

from __future__ import annotations

import threading

import numpy as np

from serving.detection.routing import LiveAnswer
from serving.experiments.shadow import Backlog
from serving.inference.model_slot import ModelIdentity

MODEL = ModelIdentity(name="emotion", version="1", sha256="a" * 64, source="x")


def answer(size: int = 1) -> LiveAnswer:
    return LiveAnswer(
        id="1", data=b"x" * size, faces="auto", model=MODEL, classes=("happy",),
        probabilities=np.ones(1, np.float32), cost_s=0.01,
    )  # fmt: skip


def test_they_come_out_in_order() -> None:
    backlog = Backlog()
    first, second = answer(), answer()
    assert [backlog.put(one) for one in (first, second)] == [True, True]
    assert backlog.get(0) is first
    assert backlog.get(0) is second
    assert backlog.get(0) is None


def test_what_has_no_room_is_dropped_and_counted_once() -> None:
    backlog = Backlog(max_answers=2)
    assert [backlog.put(answer()) for _ in range(5)] == [True, True, False, False, False]
    assert [backlog.taken_dropped(), backlog.taken_dropped()] == [3, 0]
    backlog.get(0)
    assert backlog.put(answer())


def test_bytes_are_bounded_too() -> None:
    backlog = Backlog(max_bytes=10)
    assert [backlog.put(answer(size)) for size in (11, 6, 5, 4)] == [False, True, False, True]
    backlog.get(0)
    assert backlog.put(answer(6))


def test_a_waiting_reader_gets_the_next_one_and_leaves_when_it_is_closed() -> None:
    backlog = Backlog()
    got: list[LiveAnswer | None] = []
    first = threading.Event()

    def wait() -> None:
        got.append(backlog.get(60))
        first.set()
        got.append(backlog.get(60))

    waiting = threading.Thread(target=wait)
    waiting.start()
    one = answer()
    backlog.put(one)
    assert first.wait(60)
    backlog.close()
    waiting.join(60)
    assert got == [one, None]
    assert not backlog.put(answer())
