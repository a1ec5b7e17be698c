"""Coverage and size of prediction sets, counted by hand; intervals against SciPy's exact test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from pipelines.evaluate.sets import coverage_of, measure_sets
from pipelines.metrics import Answers
from serving.contract import ConformalThreshold

ANSWERS = Answers.of(
    ["a", "a", "b", "b", "b"],
    np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.3, 0.4, 0.3], [0.45, 0.1, 0.45], [0.34, 0.33, 0.33]]),
    ("a", "b", "c"),
)


def test_sets_are_counted_by_class() -> None:
    found = measure_sets(ANSWERS, ConformalThreshold(threshold=0.35, coverage=0.9, measured_coverage=0.5))
    assert found is not None
    # {a}, {b}, {b}, {a, c}, and {a}, which would be empty.
    assert found.mean_size == pytest.approx(6 / 5)
    assert (found.measured.images, found.measured.share) == (5, 0.4)
    shares = {name: (one.images, one.share) for name, one in found.classes.items()}
    assert shares == {"a": (2, 0.5), "b": (3, 0.333333), "c": (0, None)}
    assert (found.coverage, found.threshold) == (0.9, 0.35)


def test_nothing_is_measured_without_a_threshold() -> None:
    assert measure_sets(ANSWERS, None) is None


@pytest.mark.parametrize(("hits", "images"), [(0, 7), (7, 7), (3, 10), (930, 1035)])
def test_intervals_are_exact(hits: int, images: int) -> None:
    found, expected = coverage_of(hits, images), binomtest(hits, images).proportion_ci(method="exact")
    assert found.low == pytest.approx(expected.low, abs=1e-6)
    assert found.high == pytest.approx(expected.high, abs=1e-6)
