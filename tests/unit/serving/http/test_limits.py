"""How often one client may ask."""

from __future__ import annotations

import pytest

from serving.errors.requests import RateLimited
from serving.http import limits
from serving.http.limits import RateLimit


class Clock:
    """Shows what it is set to, seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_passes_and_the_next_one_waits(clock: Clock) -> None:
    limit = RateLimit(2.0, 3, clock=clock)
    for _ in range(3):
        limit.take("a")
    with pytest.raises(RateLimited) as error:
        limit.take("a")
    assert error.value.retry_after_s == pytest.approx(0.5)


def test_tokens_come_back_with_time_but_never_more_than_the_burst(clock: Clock) -> None:
    limit = RateLimit(2.0, 2, clock=clock)
    limit.take("a")
    limit.take("a")
    clock.now += 0.5
    limit.take("a")
    clock.now += 1000
    limit.take("a")
    limit.take("a")
    with pytest.raises(RateLimited):
        limit.take("a")


def test_refused_requests_cost_nothing(clock: Clock) -> None:
    limit = RateLimit(1.0, 1, clock=clock)
    limit.take("a")
    for _ in range(5):
        with pytest.raises(RateLimited):
            limit.take("a")
    clock.now += 1
    limit.take("a")


def test_clients_do_not_hold_each_other_back(clock: Clock) -> None:
    limit = RateLimit(1.0, 1, clock=clock)
    limit.take("a")
    limit.take("b")


def test_the_table_stays_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MAX_CLIENTS", 10)
    limit = RateLimit(1.0, 1, clock=clock)
    for number in range(100):
        limit.take(str(number))
    assert len(limit._clients) == 10
