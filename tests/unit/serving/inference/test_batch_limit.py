"""The limit of a batch by a table that was reckoned by hand."""

from __future__ import annotations

import gc
import logging
from pathlib import Path
from typing import Any

import pytest

from serving.inference.batch_limit import BatchLimit, Choice, Costs, Turn, choose
from serving.inference.model_slot import LiveModel, ModelIdentity

NETWORK_S = {1: 0.003, 2: 0.004, 4: 0.006, 8: 0.010, 16: 0.018}
"""Time of the network: 2 ms for each run and 1 ms for each picture."""
# Twice a batch of 1, 2, 4, 8, 16 takes
#   with nothing else:                        6,  8, 12, 20, 36 ms
#   with 1.5 ms beside it for each picture:   9, 14, 24, 44, 84 ms
#   the network half as fast as well:        15, 22, 36, 64, 120 ms
PLAIN = Costs(network_s=NETWORK_S)
OWN = Costs(network_s=NETWORK_S, own_s=0.0015)
SLOW = Costs(network_s=NETWORK_S, own_s=0.0015, slowdown=2.0)


@pytest.mark.parametrize(
    ("costs", "target_ms", "images", "met"),
    [
        (PLAIN, 5, 1, False),
        (PLAIN, 7, 1, True),
        (PLAIN, 19, 4, True),
        (PLAIN, 21, 8, True),
        (PLAIN, 35, 8, True),
        (PLAIN, 37, 16, True),
        (PLAIN, 1000, 16, True),
        (OWN, 8, 1, False),
        (OWN, 21, 2, True),
        (OWN, 37, 4, True),
        (OWN, 83, 8, True),
        (OWN, 85, 16, True),
        (SLOW, 14, 1, False),
        (SLOW, 37, 4, True),
        (SLOW, 119, 8, True),
        (SLOW, 121, 16, True),
    ],
)
def test_the_largest_batch_of_which_two_are_within_the_target(
    costs: Costs, target_ms: float, images: int, met: bool
) -> None:
    choice = choose(costs, target_s=target_ms / 1e3, most=16)
    assert (choice.images, choice.met) == (images, met)


@pytest.mark.parametrize("most", [1, 4, 8, 12, 16])
def test_never_more_than_the_setting_allows(most: int) -> None:
    assert choose(PLAIN, target_s=1.0, most=most).images == most
    assert choose(PLAIN, target_s=0.013, most=most).images == min(most, 4)


@pytest.mark.parametrize(
    ("costs", "target_s", "most"), [(PLAIN, None, 16), (Costs(), 0.001, 16), (PLAIN, 0.001, 64)]
)
def test_without_a_target_or_a_time_of_every_size_the_setting_decides(
    costs: Costs, target_s: float | None, most: int
) -> None:
    assert choose(costs, target_s=target_s, most=most) == Choice(images=most, reason="MIEN_BATCH_SIZE")


def test_the_reason_has_the_times_of_the_limit_and_of_the_next_size() -> None:
    reason = choose(PLAIN, target_s=0.025, most=16).reason
    assert "2 × 10.0 = 20.0 ms" in reason
    assert "2 × 18.0 = 36.0 ms" in reason
    assert "25 ms" in reason


def test_the_averages_come_to_what_batches_take() -> None:
    costs = PLAIN
    # Five pictures run as 4 and 1: 9 ms at admission, 18 ms here, and 7.5 ms besides.
    for _ in range(200):
        costs = costs.after(Turn(sizes=(4, 1), infer_s=0.018, own_s=0.0075))
    assert costs.slowdown == pytest.approx(2.0, abs=1e-3)
    assert costs.own_s == pytest.approx(0.0015, abs=1e-5)
    assert costs.batch_s(8) == pytest.approx(2 * 0.010 + 8 * 0.0015, rel=1e-3)


def test_one_batch_moves_the_averages_by_a_sixteenth() -> None:
    costs = PLAIN.after(Turn(sizes=(1,), infer_s=0.003 * 17, own_s=0.016))
    assert costs.slowdown == pytest.approx(2.0)
    assert costs.own_s == pytest.approx(0.001)


def test_a_size_that_was_not_measured_teaches_nothing() -> None:
    costs = Costs(network_s={1: 0.003})
    assert costs.after(Turn(sizes=(8,), infer_s=9.0, own_s=9.0)) is costs


def model(version: str) -> LiveModel:
    classifier: Any = object()
    identity = ModelIdentity(name="m", version=version, sha256=version, source="test")
    return LiveModel(classifier=classifier, identity=identity, folder=Path(), batch_s=NETWORK_S)


SLOW_TURN = Turn(sizes=(8,), infer_s=0.040, own_s=0.0)


def test_a_slow_model_gets_smaller_batches_and_the_next_one_does_not() -> None:
    limit = BatchLimit(most=16, target_s=0.037)
    slow, following = model("1"), model("2")
    assert limit.of(slow) == 16
    for _ in range(200):
        limit.observe(slow, SLOW_TURN)
    # Four times the network's time: 24, 32, 48 ms for two batches of 1, 2, 4.
    assert limit.of(slow) == 2
    assert limit.of(following) == 16


def test_without_a_target_the_setting_is_the_limit() -> None:
    limit = BatchLimit(most=16)
    live = model("1")
    assert limit.of(live) == 16
    assert limit.choice(live).reason == "MIEN_BATCH_SIZE"


def test_a_model_that_is_gone_is_forgotten() -> None:
    limit = BatchLimit(most=16, target_s=0.037)
    live = model("1")
    limit.observe(live, SLOW_TURN)
    assert len(limit._known) == 1
    del live
    gc.collect()
    assert not limit._known


def test_the_log_says_the_limit_once_and_warns_of_a_target_that_cannot_be_met(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger="serving.inference.batch_limit"):
        within = BatchLimit(most=16, target_s=0.037)
        live = model("1")
        for _ in range(10):
            within.observe(live, Turn(sizes=(1,), infer_s=0.003, own_s=0.0))
        BatchLimit(most=16, target_s=0.001).observe(live, SLOW_TURN)
    said, warned = caplog.records
    assert (said.levelno, warned.levelno) == (logging.INFO, logging.WARNING)
    assert " 16 pictures" in said.getMessage()
    assert "MIEN_TARGET_P99_MS" in warned.getMessage()
