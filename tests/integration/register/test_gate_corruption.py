"""The gate's limits for corrupted pictures, on a finished pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.core import paths
from pipelines.core.errors import GateError, ResultCorrupt
from pipelines.core.manifest import read_manifest
from pipelines.core.records import write_record
from pipelines.gate.record import GateVerdict
from pipelines.gate.rules import Check
from pipelines.gate.stage import judge_selected
from pipelines.model.predict import open_model
from pipelines.robustness.pictures import CASES, draw, draw_digest, predict_corrupted
from tests.support.registry_world import CLASSES, PER_CLASS, World, judge_and_register
from tests.support.results import robustness

PICTURES = len(CLASSES) * PER_CLASS


def judge(world: World, **gate: float) -> GateVerdict:
    return judge_selected(Path(), world.params(**gate))


def check(said: GateVerdict, name: str) -> Check:
    [found] = [check for check in said.checks if check.name == name]
    return found


def measured(world: World, architecture: str, *, sha256: str, right: int) -> None:
    """Write the result of the stage `robustness` with this number of right versions of each picture."""
    params = world.params()
    rows = draw(read_manifest(paths.MANIFEST), most=params.robustness.pictures, seed=params.seed)
    record = robustness(architecture, sha256=sha256, draw=draw_digest(rows), right=[right] * len(rows))
    write_record(paths.ROBUSTNESS, record)


def test_the_floor_is_that_of_the_recorded_answers(world: World) -> None:
    sha256 = world.add_model("vgg")
    measured(world, "vgg", sha256=sha256, right=18)
    said = judge(world, min_corrupted_accuracy=0.75)
    assert said.passed
    assert check(said, "min_corrupted_accuracy").value == 0.75
    assert not judge(world, min_corrupted_accuracy=0.76).passed


def test_no_limit_needs_no_result(world: World) -> None:
    assert judge(world, min_accuracy=0.5).passed
    with pytest.raises(ResultCorrupt, match="dvc repro"):
        judge(world, min_corrupted_accuracy=0.5)


def test_production_answers_the_same_corrupted_pictures(world: World) -> None:
    judge_and_register(world, world.params(min_accuracy=0.1))
    production = open_model(paths.onnx_model("lenet"))
    test = read_manifest(paths.MANIFEST).query("split == 'test'")
    answers = predict_corrupted(production, list(test["source"]), Path())
    index = {name: position for position, name in enumerate(production.contract.classes)}
    actual = np.array([index[label] for label in test["label"]])[:, None, None]
    theirs = int((answers.argmax(-1) == actual).sum())
    expected = theirs / PICTURES / CASES
    assert 0.5 < expected < 1  # flat pictures: only light, noise and occlusion change their brightness

    sha256 = world.add_model("vgg", seed=1)
    measured(world, "vgg", sha256=sha256, right=CASES)
    better = judge(world, max_corrupted_accuracy_drop=0.4)
    assert better.passed
    compared = check(better, "max_corrupted_accuracy_drop")
    assert compared.value == 1.0
    assert compared.production == pytest.approx(expected, abs=1e-6)
    assert compared.drop is not None
    assert compared.drop.outcome == "not worse"

    measured(world, "vgg", sha256=sha256, right=0)
    worse = judge(world, max_corrupted_accuracy_drop=0.1)
    assert [one.name for one in worse.checks if not one.passed] == ["max_corrupted_accuracy_drop"]


def test_production_is_not_asked_for_a_floor(world: World) -> None:
    judge_and_register(world, world.params(min_accuracy=0.1))
    measured(world, "vgg", sha256=world.add_model("vgg", seed=1), right=20)
    said = judge(world, min_corrupted_accuracy=0.5, max_accuracy_drop=0.5)
    assert check(said, "min_corrupted_accuracy").production is None
    assert check(said, "max_accuracy_drop").production == 1.0


def test_a_new_result_is_judged_again(world: World) -> None:
    sha256 = world.add_model("vgg")
    measured(world, "vgg", sha256=sha256, right=18)
    assert judge(world, min_corrupted_accuracy=0.7).passed
    measured(world, "vgg", sha256=sha256, right=12)
    assert not judge(world, min_corrupted_accuracy=0.7).passed


def test_a_result_of_another_model_or_other_pictures_is_refused(world: World) -> None:
    sha256 = world.add_model("vgg")
    measured(world, "vgg", sha256="00" * 32, right=18)
    with pytest.raises(GateError, match="is of the model 000000000000"):
        judge(world, min_corrupted_accuracy=0.7)
    measured(world, "vgg", sha256=sha256, right=18)
    params = world.params(min_corrupted_accuracy=0.7)
    fewer = params.model_copy(update={"robustness": params.robustness.model_copy(update={"pictures": 5})})
    with pytest.raises(GateError, match="other pictures"):
        judge_selected(Path(), fewer)
    record = replace(robustness("vgg", sha256=sha256, right=[3]), draw="ef" * 32)
    write_record(paths.ROBUSTNESS, record)
    with pytest.raises(GateError, match="other pictures"):
        judge_selected(Path(), params)
