"""Phases."""

from __future__ import annotations

import pytest

from pipelines.core.params import ModelParams
from pipelines.train.schedule import plan_phases

PARAMS = ModelParams(epochs=7, learning_rate=1e-3, head_epochs=2, unfreeze=5)


def test_from_scratch_everything_learns_in_one_phase() -> None:
    (phase,) = plan_phases(PARAMS, origin="scratch")
    assert (phase.learns, phase.epochs, phase.learning_rate) == ("all", 7, 1e-3)


@pytest.mark.parametrize("origin", ["imagenet", "hf:google/vit-base-patch16-224-in21k"])
def test_pretrained_trains_the_head_then_the_top_at_a_tenth_of_the_rate(origin: str) -> None:
    head, top = plan_phases(PARAMS, origin=origin)
    assert (head.learns, head.epochs, head.learning_rate) == ("head", 2, 1e-3)
    assert (top.learns, top.epochs, top.unfreeze) == ("top", 7, 5)
    assert top.learning_rate == pytest.approx(1e-4)


def test_a_rate_for_fine_tuning_replaces_the_tenth() -> None:
    params = PARAMS.model_copy(update={"fine_tune_learning_rate": 3e-5})
    assert plan_phases(params, origin="imagenet")[1].learning_rate == 3e-5


def test_without_head_epochs_there_is_no_head_phase() -> None:
    params = PARAMS.model_copy(update={"head_epochs": 0})
    assert [phase.name for phase in plan_phases(params, origin="imagenet")] == ["fine-tune"]
