"""Learning rates, step by step."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from pipelines.train.schedule import learning_rates


def test_cosine_rises_to_its_peak_then_falls_to_almost_nothing() -> None:
    rates = learning_rates("cosine", 0.1, steps=100, warmup_steps=9)
    np.testing.assert_allclose(rates[:9], [0.01 * step for step in range(1, 10)], rtol=1e-6)
    assert rates[9] == rates.max() == pytest.approx(0.1)
    # 91 steps of half a cosine: the middle one has half the peak.
    assert rates[9 + 45] == pytest.approx(0.05 * (1 + np.cos(np.pi * 45 / 91)), rel=1e-6)
    assert 0 < rates[-1] < 1e-4
    assert (np.diff(rates[9:]) < 0).all()


def test_constant_stays_at_its_peak() -> None:
    np.testing.assert_allclose(learning_rates("constant", 0.5, steps=4, warmup_steps=0), 0.5)


def test_warm_up_takes_at_most_half_of_a_short_phase() -> None:
    rates = learning_rates("constant", 1.0, steps=10, warmup_steps=50)
    assert (rates[:5] < 1).all()
    assert (rates[5:] == 1).all()


@pytest.mark.parametrize("kind", ["constant", "cosine"])
def test_one_step_is_enough(kind: Literal["constant", "cosine"]) -> None:
    assert learning_rates(kind, 0.2, steps=1, warmup_steps=3) == pytest.approx([0.2])
