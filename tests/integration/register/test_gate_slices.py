"""The gate's limits for slices and calibration, on a finished pipeline; brightness is the class."""

from __future__ import annotations

from pathlib import Path

from pipelines.gate.record import GateVerdict
from pipelines.gate.stage import judge_selected
from tests.support.registry_world import PER_CLASS, RIGHT, World, judge_and_register

CONFUSED = (RIGHT[0], RIGHT[2], RIGHT[1])
"""Two of three classes exchanged: their pictures, the brighter two thirds, are always wrong."""


def judge(world: World, **gate: float) -> GateVerdict:
    return judge_selected(Path(), world.params(slice_images=PER_CLASS, **gate))


def failures(said: GateVerdict) -> list[str]:
    return [check.name for check in said.checks if not check.passed]


def test_every_slice_needs_its_accuracy(world: World) -> None:
    assert judge(world, min_slice_accuracy=1.0).passed
    world.add_model("vgg", levels=CONFUSED)
    said = judge(world, min_slice_accuracy=0.3)
    dark = next(check for check in said.checks if check.name == "min_slice_accuracy.brightness: low")
    assert (dark.value, dark.passed) == (1.0, True)
    assert failures(said) == ["min_slice_accuracy.brightness: middle", "min_slice_accuracy.brightness: high"]


def test_slices_of_too_few_images_are_not_judged(world: World) -> None:
    said = judge_selected(Path(), world.params(slice_images=PER_CLASS + 1, min_slice_accuracy=0.5))
    names = [check.name for check in said.checks]
    # All pictures are in colour, of one size, contrast and sharpness; thirds by brightness have eight.
    assert sorted(names) == [
        "min_slice_accuracy.contrast: low",
        "min_slice_accuracy.face_size: low",
        "min_slice_accuracy.mode: color",
        "min_slice_accuracy.sharpness: low",
        "smoke",
    ]


def test_a_slice_that_production_is_better_in_is_worse(world: World) -> None:
    judge_and_register(world, world.params(min_accuracy=0.1))
    world.add_model("vgg", levels=CONFUSED)
    said = judge(world, max_slice_accuracy_drop=0.4)
    assert {
        "max_slice_accuracy_drop.brightness: middle",
        "max_slice_accuracy_drop.brightness: high",
    } <= set(failures(said))
    assert "max_slice_accuracy_drop.brightness: low" not in failures(said)


def test_calibration_is_limited(world: World) -> None:
    assert failures(judge(world, min_accuracy=0.1, max_ece=1.0, max_brier=2.0)) == []
    world.add_model("vgg", levels=CONFUSED)
    said = judge(world, min_accuracy=0.1, max_ece=0.01, max_brier=0.01)
    assert failures(said) == ["max_ece", "max_brier"]
    [brier] = [check for check in said.checks if check.name == "max_brier"]
    assert brier.low is not None
    assert brier.high is not None
    assert 0 <= brier.low <= float(brier.value or 0) <= brier.high <= 2
