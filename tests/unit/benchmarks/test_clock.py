"""Where time goes, with a clock that is turned by hand."""

import threading

import pytest

from benchmarks.clock import Clock
from benchmarks.pipeline import Times, Training, architecture_table


class Hands:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_time_is_the_innermosts() -> None:
    hands = Hands()
    clock = Clock(now=hands)

    def inner() -> None:
        hands.now += 2

    timed = clock.wrapped(inner, "import")

    def outer() -> None:
        hands.now += 1
        timed()
        hands.now += 4

    clock.wrapped(outer, "fit", call="Model.fit")()
    hands.now += 8
    clock.enter("rest")
    assert clock.seconds == {"rest": 8, "fit": 5, "import": 2}
    assert clock.calls == {"Model.fit": [7]}


def test_recursion_counts_once() -> None:
    hands = Hands()
    clock = Clock(now=hands)

    def deep(levels: int) -> None:
        hands.now += 1
        if levels:
            timed(levels - 1)

    timed = clock.wrapped(deep, "import", call="import")
    timed(3)
    assert clock.seconds["import"] == 4
    assert clock.calls["import"] == [4]


def test_a_failure_still_counts() -> None:
    hands = Hands()
    clock = Clock(now=hands)

    def fails() -> None:
        hands.now += 3
        raise KeyError

    with pytest.raises(KeyError):
        clock.wrapped(fails, "input")()
    assert clock.seconds["input"] == 3
    assert not clock.running("input")


def test_other_threads_do_not_count() -> None:
    clock = Clock()
    timed = clock.wrapped(lambda: None, "fit", call="fit")
    thread = threading.Thread(target=timed)
    thread.start()
    thread.join()
    assert clock.calls == {}


def training(*, fit: list[float], predict: list[float], wall: float, of: int) -> Training:
    calls = {"Model.fit": fit, "Model.predict": predict, "CheckpointFile.save": [0.5], "RunLog.epoch": [0.5]}
    return Training(times=Times(wall=wall, parts={}, calls=calls), epochs=len(fit), of=of)


def test_later_epochs_are_projected_without_the_first_ones_compilation() -> None:
    trained = training(fit=[10, 2, 3], predict=[4, 1, 1], wall=40, of=11)
    assert trained.fit == 10 + 10 * 2.5
    # 40 − 15 of fit here; predictions: 14 instead of 6; checkpoints and log: 5.5 instead of 0.5 each.
    assert trained.beyond == 25 + 8 + 5 + 5


def test_what_is_beyond_the_goal_stands_out() -> None:
    trained = training(fit=[10], predict=[4], wall=40, of=1)
    short, long = (Times(wall=seconds, parts={}, calls={}) for seconds in (1.0, 50.0))
    stages = dict.fromkeys(("export", "quantize", "evaluate"), short)
    (line,) = list(architecture_table({"vgg": trained}, {"vgg": stages}))[2:]
    assert line == "| `vgg` | 10.0 | 30.0 | 1.0 | 1.0 | 1.0 | 33.0 |"
    (line,) = list(architecture_table({"vgg": trained}, {"vgg": stages | {"export": long}}))[2:]
    assert "**82.0** (wanted: 60)" in line
