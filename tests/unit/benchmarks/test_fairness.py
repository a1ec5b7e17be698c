"""Answers by connection, and whether the least served gets its share."""

from __future__ import annotations

import pytest

from benchmarks.fairness import fairness_table
from benchmarks.load import Load


def row(answers: list[int]) -> list[str]:
    load = Load(
        requests=sum(answers) + 7,
        seconds=2.0,
        failed=7,
        p50_ms=1,
        p95_ms=2,
        p99_ms=3,
        cpu_s=1,
        answers=answers,
    )
    return list(fairness_table(load))[-1].strip("| ").split(" | ")


def test_the_row_has_rate_least_median_mean_most_and_refusals() -> None:
    assert row([4, 10, 6, 8]) == ["14", "4", "7", "7.0", "10", "7", "0.57", "met"]


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [([5, 10, 15], "met"), ([4, 10, 16], "**missed**"), ([0, 0], "**missed**")],
    ids=["half", "less", "none"],
)
def test_the_least_served_gets_half_the_mean(answers: list[int], verdict: str) -> None:
    assert row(answers)[-1] == verdict
