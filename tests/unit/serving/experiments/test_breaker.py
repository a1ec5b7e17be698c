"""When a candidate is taken off the requests; all figures are worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from serving.experiments.canary import MAX_FAILURES, MIN_LIVE_ANSWERS, MIN_RATIOS, WINDOW, Breaker


def breaker(live: Sequence[float] = (0.010,) * MIN_LIVE_ANSWERS) -> Breaker:
    made = Breaker(max_slowdown=3.0)
    for seconds in live:
        made.measured(seconds)
    return made


def answered(made: Breaker, seconds: Sequence[float | None]) -> list[str | None]:
    return [made.answered(one) for one in seconds]


def test_a_slow_candidate_is_stopped_at_the_first_answer_that_makes_enough() -> None:
    reasons = answered(breaker(), [0.031] * MIN_RATIOS)
    assert reasons[:-1] == [None] * (MIN_RATIOS - 1)
    assert reasons[-1] == "it is 3.1 times slower than the live model, 3 are allowed"


def test_as_slow_as_allowed_is_allowed() -> None:
    assert answered(breaker(), [0.029] * 200) == [None] * 200


def test_the_median_counts_so_that_a_few_slow_answers_do_not() -> None:
    # Of the first 30, 14 are slow: the median is the mean of the 15th and 16th, both 1.0.
    assert answered(breaker(), [0.010] * 16 + [1.0] * 14) == [None] * 30
    # With 16 of 30 slow, both middle ones are.
    assert answered(breaker(), [0.010] * 14 + [1.0] * 16)[-1] == (
        "it is 100.0 times slower than the live model, 3 are allowed"
    )


def test_each_answer_is_compared_with_the_live_model_of_its_own_time() -> None:
    made = breaker([0.100] * WINDOW)
    # The machine is busy: both are slow.
    assert answered(made, [0.200] * 29) == [None] * 29
    for _ in range(WINDOW):
        made.measured(0.001)
    # It is not any more: 0.2 s beside 1 ms would be 200 times as slow, if it were compared now.
    assert answered(made, [0.002] * 50) == [None] * 50


def test_without_enough_answers_of_the_live_model_the_candidate_is_not_slow() -> None:
    made = breaker([0.010] * (MIN_LIVE_ANSWERS - 1))
    assert answered(made, [9.0] * 100) == [None] * 100
    made.measured(0.010)
    assert answered(made, [9.0] * MIN_RATIOS)[-1] is not None


def test_pictures_without_an_input_say_nothing_of_speed() -> None:
    assert answered(breaker(), [None] * 100) == [None] * 100


def test_only_times_of_one_workload_are_compared() -> None:
    made = Breaker(max_slowdown=3.0)
    for _ in range(WINDOW):
        made.measured(0.001, "tensors in batches of 64")
        made.measured(0.010, "pictures")
    # Ten times the tensors' time, and that of the live model's pictures.
    assert [made.answered(0.010, "pictures") for _ in range(2 * MIN_RATIOS)] == [None] * 2 * MIN_RATIOS
    # The live model has no answers of this kind.
    assert [made.answered(9.0, "tensors in batches of 1") for _ in range(100)] == [None] * 100
    slow = [made.answered(0.010, "tensors in batches of 64") for _ in range(WINDOW)]
    assert slow[-1] == "it is 10.0 times slower than the live model, 3 are allowed"


def test_the_fifth_failure_stops_it() -> None:
    made = breaker()
    answered(made, [0.010] * 5)
    reasons = [made.failed("out of bounds") for _ in range(MAX_FAILURES)]
    assert reasons[:-1] == [None] * 4
    assert reasons[-1] == "it failed at 5 of its last 10 requests, at last: out of bounds"


def test_failures_that_are_long_ago_are_forgotten() -> None:
    made = breaker()
    for _ in range(3):
        # Four failures in each fifty requests.
        assert [made.failed("x") for _ in range(4)] == [None] * 4
        assert answered(made, [0.010] * (WINDOW - 4)) == [None] * (WINDOW - 4)


@pytest.mark.parametrize("factor", [1.5, 10.0])
def test_the_factor_is_the_operators(factor: float) -> None:
    made = Breaker(max_slowdown=factor)
    for _ in range(MIN_LIVE_ANSWERS):
        made.measured(0.010)
    assert answered(made, [0.0099 * factor] * MIN_RATIOS)[-1] is None
    assert answered(made, [0.0101 * factor] * MIN_RATIOS)[-1] is not None
