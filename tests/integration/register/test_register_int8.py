"""An int8 variant before the gate and in the registry."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.core import paths
from pipelines.core.errors import GateError
from pipelines.core.io import sha256_of
from pipelines.gate.record import GateVerdict, ProductionModel
from pipelines.register.status import SETTLED_CACHE
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import Registry, Version
from pipelines.train.runlog import WEIGHTS_TAG
from tests.support.registry_world import World, judge_and_register


def run(world: World) -> GateVerdict:
    """Register, and read the verdict."""
    return judge_and_register(world, world.params(min_accuracy=0.1))


def versions() -> list[Version]:
    return Registry("emotion", uri=tracking.connect()).versions()


def the_run() -> Any:
    """The only run there is: twins come from one training."""
    from mlflow import MlflowClient

    tracking.connect()
    client = MlflowClient()
    [found] = client.search_runs([one.experiment_id for one in client.search_experiments()])
    return found


def test_it_is_registered_under_its_own_name_and_tells_its_twin(world: World) -> None:
    world.select("lenet-int8")
    said = run(world)
    assert said.passed is True
    assert said.architecture == "lenet-int8"
    [version] = versions()
    assert version.tags["architecture"] == "lenet-int8"
    assert version.sha256 == sha256_of(world.root / paths.onnx_model("lenet-int8"))
    assert version.tags["twin_sha256"] == sha256_of(world.root / paths.onnx_model("lenet"))


def test_both_variants_stand_in_the_run_that_trained_them(world: World) -> None:
    run(world)
    metrics, tags = the_run().data.metrics, the_run().data.tags
    assert metrics["test/accuracy"] == metrics["int8/test/accuracy"] == 0.9
    assert tags["architecture"] == "lenet"
    assert tags[WEIGHTS_TAG] == sha256_of(world.root / paths.trained_weights("lenet"))
    assert len({tags["mien.results_sha256"], tags["mien.results_sha256.int8"]}) == 2


def test_a_second_run_changes_nothing(world: World) -> None:
    world.select("lenet-int8")
    run(world)
    before, store = (world.root / paths.GATE).read_bytes(), sha256_of(world.root / paths.MLFLOW_DATABASE)
    (world.root / SETTLED_CACHE).unlink()
    run(world)
    assert (world.root / paths.GATE).read_bytes() == before
    assert sha256_of(world.root / paths.MLFLOW_DATABASE) == store


def test_selected_after_its_twin_it_is_judged_against_it(world: World) -> None:
    run(world)
    world.select("lenet-int8")
    said = run(world)
    float_model = sha256_of(world.root / paths.onnx_model("lenet"))
    assert said.production == ProductionModel(version=1, sha256=float_model)
    assert sorted(version.tags["architecture"] for version in versions()) == ["lenet", "lenet-int8"]


def test_a_variant_of_an_architecture_that_is_not_listed_is_refused(world: World) -> None:
    world.select("vgg-int8")
    with pytest.raises(GateError, match=r"vgg-int8 .*, but `architectures` does not list its architecture"):
        run(world)
