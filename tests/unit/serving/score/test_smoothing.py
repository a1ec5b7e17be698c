"""The exponential mean over time, against its closed form and SciPy's recursive filter."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from serving.score.video.timeline import Smoother

TAU_S = 0.7
UNEVEN_S = np.cumsum([0.0, 0.04, 0.5, 0.001, 0.2, 0.9, 0.03, 0.33])


def smoothed(
    times: NDArray[np.float64], values: NDArray[np.float64], *, tau_s: float = TAU_S
) -> NDArray[np.float64]:
    smoother = Smoother(tau_s, forget_s=10.0)
    return np.array(
        [smoother.take(time, [1], value[None])[0] for time, value in zip(times, values, strict=True)]
    )


def test_a_step_is_followed_as_one_minus_an_exponential_at_any_distance_of_frames() -> None:
    """At time 0 the first class is certain, from then on the second: s(t) = 1 − exp(−t / τ)."""
    values = np.array([[1.0, 0.0]] + [[0.0, 1.0]] * (len(UNEVEN_S) - 1))
    expected = 1 - np.exp(-UNEVEN_S / TAU_S)
    assert smoothed(UNEVEN_S, values)[:, 1] == pytest.approx(expected, abs=1e-12)


def test_even_frames_are_scipys_first_order_filter() -> None:
    rng = np.random.default_rng(3)
    values, step_s = rng.dirichlet(np.ones(7), 200), 0.2
    keep = np.exp(-step_s / TAU_S)
    # y[n] = (1 − k) x[n] + k y[n − 1], begun at y[0] = x[0].
    expected, _ = lfilter([1 - keep], [1, -keep], values[1:], axis=0, zi=keep * values[:1])
    got = smoothed(np.arange(200, dtype=np.float64) * step_s, values)
    assert got[0] == pytest.approx(values[0])
    assert got[1:] == pytest.approx(expected, abs=1e-12)
    assert got.sum(axis=1) == pytest.approx(np.ones(200))


def test_frames_in_between_do_not_change_a_constant() -> None:
    values = np.tile([0.2, 0.5, 0.3], (len(UNEVEN_S), 1))
    assert smoothed(UNEVEN_S, values) == pytest.approx(values)


def test_without_a_time_constant_nothing_is_smoothed() -> None:
    values = np.random.default_rng(1).dirichlet(np.ones(3), len(UNEVEN_S))
    assert np.array_equal(smoothed(UNEVEN_S, values, tau_s=0.0), values)


def test_each_track_has_its_own_mean_and_what_is_forgotten_begins_again() -> None:
    smoother = Smoother(TAU_S, forget_s=1.0)
    happy, sad = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    smoother.take(0.0, [1, 2], np.stack([happy, sad]))
    got = smoother.take(0.7, [2, 1], np.stack([sad, sad]))
    assert got[0] == pytest.approx(sad)
    assert got[1] == pytest.approx([np.exp(-1), 1 - np.exp(-1)])
    assert smoother.take(1.8, [1], happy[None])[0] == pytest.approx(happy)
