"""One thread that ends what takes too long."""

from __future__ import annotations

import threading
import time

import pytest

from serving.inference import watchdog
from serving.inference.watchdog import Watchdog, call_when_lost

PATIENCE_S = 20.0


def test_what_is_done_in_time_is_left_alone() -> None:
    dog = Watchdog()
    watch = dog.begin(limit_s=0.1, cancel=lambda: pytest.fail("it was cancelled"))
    dog.end(watch)
    time.sleep(0.8)
    assert not watch.expired


def test_what_takes_too_long_is_cancelled_and_its_thread_goes_on() -> None:
    dog, cancelled = Watchdog(), threading.Event()
    watch = dog.begin(limit_s=0.1, cancel=cancelled.set)
    assert cancelled.wait(PATIENCE_S)
    dog.end(watch)
    assert watch.expired
    assert not watch.is_lost


def test_what_cannot_be_cancelled_is_lost_and_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "_GRACE_S", 0.2)
    dog, lost, goes_on = Watchdog(), [], threading.Event()

    def work() -> None:
        call_when_lost(lambda: lost.append(threading.current_thread().name))
        watch = dog.begin(limit_s=0.1, cancel=lambda: None)
        goes_on.wait(PATIENCE_S)
        dog.end(watch)

    thread = threading.Thread(target=work)
    thread.start()
    deadline = time.monotonic() + PATIENCE_S
    while not lost and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.6)
    goes_on.set()
    thread.join()
    assert lost == ["watchdog"]


def test_one_thread_watches_for_all() -> None:
    dog, cancelled = Watchdog(), threading.Barrier(9)
    before = threading.active_count()

    def work() -> None:
        watch = dog.begin(limit_s=0.2, cancel=lambda: None)
        deadline = time.monotonic() + PATIENCE_S
        while not watch.expired and time.monotonic() < deadline:
            time.sleep(0.01)
        dog.end(watch)
        cancelled.wait(PATIENCE_S)

    for _ in range(8):
        threading.Thread(target=work).start()
    cancelled.wait(PATIENCE_S)
    assert threading.active_count() <= before + 8 + 1


def test_a_thread_is_cancelled_before_its_limit_when_the_process_ends() -> None:
    dog, cancelled = Watchdog(), threading.Event()
    watch = dog.begin(limit_s=3600, cancel=cancelled.set)
    dog.cancel_thread(threading.get_ident() + 1)
    assert not cancelled.is_set()
    dog.cancel_thread(threading.get_ident())
    assert cancelled.is_set()
    assert watch.expired
    dog.end(watch)
