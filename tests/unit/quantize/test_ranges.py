"""Which values eight bits cover, on distributions whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.quantize.calibration import Histogram, entropy, minmax, percentile


def _histogram(values: np.ndarray, *, bins: int = 2048) -> Histogram:
    others = values[values != 0]
    low, high = float(values.min()), float(values.max())
    counts, _ = np.histogram(others, bins=bins, range=(low, high))
    return Histogram(counts=counts, low=low, high=high, zeros=int((values == 0).sum()))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        pytest.param(-1.0, 2.0, (-1.0, 2.0), id="both-signs"),
        pytest.param(0.5, 2.0, (0.0, 2.0), id="zero-is-covered-from-below"),
        pytest.param(-3.0, -1.0, (-3.0, 0.0), id="zero-is-covered-from-above"),
        pytest.param(0.0, 0.0, (0.0, 0.0), id="nothing-but-zeros"),
    ],
)
def test_minmax_covers_everything_and_zero(low: float, high: float, expected: tuple[float, float]) -> None:
    assert minmax(low, high) == expected


def test_percentile_keeps_the_middle_share() -> None:
    """A hundred bins of one value each: 90 % leaves five out at either end."""
    found = percentile(Histogram(counts=np.ones(100, np.int64), low=-50.0, high=50.0), 90.0)
    assert found == pytest.approx((-45.0, 45.0))


def test_percentile_counts_zeros_where_they_belong() -> None:
    """Nine zeros and ten values up to ten: of nineteen the middle 80 % leaves out the largest one alone."""
    counts = np.ones(10, np.int64)
    found = percentile(Histogram(counts=counts, low=0.0, high=10.0, zeros=9), 80.0)
    assert found == pytest.approx((0.0, 9.0))


def test_percentile_of_everything_is_minmax() -> None:
    values = np.random.default_rng(0).normal(1, 2, 5000)
    assert percentile(_histogram(values), 100.0) == pytest.approx((values.min(), values.max()))


def test_percentile_cuts_a_lone_value_far_out() -> None:
    values = np.append(np.random.default_rng(0).uniform(-1, 1, 100_000), 50.0)
    low, high = percentile(_histogram(values))
    assert high < 1.1
    assert low == pytest.approx(-1, abs=0.03)


def test_entropy_cuts_a_lone_value_far_out_and_both_ends_alike() -> None:
    values = np.append(np.random.default_rng(0).uniform(-1, 1, 100_000), [8.0, -8.0])
    low, high = entropy(_histogram(values))
    assert 0.9 < high < 2
    assert low == pytest.approx(-high)


def test_entropy_leaves_an_even_distribution_whole() -> None:
    values = np.linspace(-1, 3, 100_001)
    assert entropy(_histogram(values)) == pytest.approx((-1, 3))


def test_zeros_do_not_draw_entropy_in() -> None:
    """Behind a ReLU most values are zero; the others must be covered all the same."""
    positive = np.random.default_rng(0).uniform(0, 1, 10_000)
    alone = entropy(_histogram(np.append(positive, 0.0)))
    assert entropy(_histogram(np.append(positive, np.zeros(90_000)))) == alone
    assert alone[1] > 0.9


@pytest.mark.parametrize("choose", [percentile, entropy])
@pytest.mark.parametrize("value", [0.0, 3.0, -3.0])
def test_a_constant_tensor_has_a_range(choose: object, value: float) -> None:
    assert callable(choose)
    histogram = Histogram(counts=np.zeros(2048, np.int64), low=value, high=value, zeros=int(value == 0))
    assert choose(histogram) == minmax(value, value)
