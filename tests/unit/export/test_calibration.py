"""The fitted temperature is the one with the least negative log likelihood."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipelines.export.inference import LEAST, MOST, fit_temperature, negative_log_likelihood


def answers(*, sharpened: float, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is exactly the chance of each label, then multiplied by `sharpened`."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (count, 4))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    return (logits * sharpened).astype(np.float32), labels


@pytest.mark.parametrize("sharpened", [0.5, 1.0, 3.0])
def test_overconfident_logits_get_back_the_factor_they_were_sharpened_by(sharpened: float) -> None:
    found = fit_temperature(*answers(sharpened=sharpened))
    assert found.temperature == pytest.approx(sharpened, rel=0.05)
    assert found.nll_after <= found.nll_before


def test_no_temperature_nearby_is_better() -> None:
    logits, labels = answers(sharpened=2.0)
    found = fit_temperature(logits, labels)
    grid = np.arange(found.temperature - 0.2, found.temperature + 0.2, 0.001)
    losses = [negative_log_likelihood(logits, labels, temperature=value) for value in grid]
    assert found.nll_after <= min(losses) + 1e-9


def test_likelihood_by_hand() -> None:
    # softmax([2, 0] / 2) = [e, 1] / (e + 1)
    loss = negative_log_likelihood(np.array([[2.0, 0.0]]), np.array([1]), temperature=2.0)
    assert loss == pytest.approx(np.log(math.e + 1))


def test_a_network_that_is_always_right_or_always_wrong_stays_within_bounds() -> None:
    logits = np.array([[3.0, 0.0], [0.0, 3.0]], np.float32)
    assert LEAST <= fit_temperature(logits, np.array([0, 1])).temperature < 1
    assert fit_temperature(logits, np.array([1, 0])).temperature == pytest.approx(MOST, rel=0.01)
