"""The second run, and every other way in which `register` finds the registry."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines import layout, tracking
from pipelines.errors import GateError, GateRejected
from pipelines.files import read_json, sha256_of
from pipelines.promote import promote
from pipelines.register import register
from pipelines.registration.memo import MEMO
from pipelines.registry import Registry, Version
from pipelines.training.runlog import WEIGHTS_TAG
from pipelines.verdict import verdict
from tests.support.mlflow_store import new_store
from tests.support.onnx_models import brightness_levels, make_contract, write_model
from tests.support.registry_world import CLASSES, RIGHT, World, make_world

LENIENT = {"min_accuracy": 0.1}
# Two of three classes exchanged: the pictures of both are always wrong.
CONFUSED = (RIGHT[0], RIGHT[2], RIGHT[1])


def run(world: World, *, experiment: str | None = None, **gate: float | None) -> dict[str, Any]:
    """Register, and read the verdict."""
    register(Path(), world.params(**(gate or LENIENT)), experiment=experiment)
    return read_json(world.root / layout.GATE)


def registry() -> Registry:
    return Registry("emotion", uri=tracking.connect())


def versions() -> list[Version]:
    return registry().versions()


def forget(world: World) -> None:
    (world.root / MEMO).unlink(missing_ok=True)


def failures(said: dict[str, Any]) -> list[str]:
    return [check["name"] for check in said["checks"] if not check["passed"]]


def test_second_run_changes_nothing(world: World) -> None:
    run(world)
    before, store = (world.root / layout.GATE).read_bytes(), sha256_of(world.root / layout.MLFLOW_DATABASE)
    for ask in (False, True):
        if ask:
            forget(world)
        assert "already registered as version 1" in register(Path(), world.params(**LENIENT))
        assert (world.root / layout.GATE).read_bytes() == before
        assert sha256_of(world.root / layout.MLFLOW_DATABASE) == store


def test_lost_gate_file_comes_back_with_the_same_bytes(world: World) -> None:
    run(world)
    before = (world.root / layout.GATE).read_bytes()
    for damage in (None, b"{", b'{"sha256": 1}'):
        if damage is None:
            (world.root / layout.GATE).unlink()
        else:
            (world.root / layout.GATE).write_bytes(damage)
        run(world)
        assert (world.root / layout.GATE).read_bytes() == before
    assert len(versions()) == 1


def test_failed_model_is_logged_and_not_registered(world: World) -> None:
    said = run(world, min_accuracy=0.9, max_size_mb=1e-6)
    assert failures(said) == ["max_size_mb"]
    assert said["registered"] is None
    assert versions() == []
    [found] = _runs()
    assert found.data.tags["gate"] == "failed"
    assert found.data.tags["gate.max_size_mb"] == "0.001794"
    with pytest.raises(GateRejected, match=r"file size is .* MB, but at most 1e-06 MB is allowed"):
        verdict(world.root / layout.GATE)


def test_failed_model_is_not_judged_twice(world: World) -> None:
    said = run(world, min_accuracy=0.9, max_size_mb=1e-6)
    forget(world)
    (world.root / layout.GATE).unlink()
    assert run(world, min_accuracy=0.9, max_size_mb=1e-6) == said


def test_model_that_loses_one_class_to_production_fails(world: World) -> None:
    run(world)
    world.add_model("vgg", levels=CONFUSED)
    said = run(world, min_accuracy=0.1, max_class_recall_drop=0.1, max_accuracy_drop=0.9)
    assert failures(said) == ["max_class_recall_drop.happy", "max_class_recall_drop.sad"]
    assert said["production"]["version"] == 1
    assert len(versions()) == 1


def test_better_model_is_candidate_but_production_is_a_person_s_to_set(world: World) -> None:
    world.add_model("lenet", levels=CONFUSED)
    run(world)
    world.add_model("vgg")
    said = run(world, min_accuracy=0.1, max_accuracy_drop=0.0)
    assert said["registered"] == {
        "model": "emotion",
        "version": 2,
        "aliases": ["candidate"],
        "restored": True,
    }
    newest, oldest = versions()
    assert (newest.aliases, oldest.aliases) == (("candidate",), ("production",))
    assert newest.tags["production_sha256"] == oldest.sha256


def test_promotion_does_not_judge_the_promoted_again(world: World) -> None:
    run(world)
    world.add_model("vgg", seed=1)
    run(world)
    before = (world.root / layout.GATE).read_bytes()
    assert promote(registry(), 2) == "emotion version 2 is production now, in place of version 1"
    run(world)
    assert (world.root / layout.GATE).read_bytes() == before
    assert promote(registry(), 2) == "emotion version 2 is production already"


def test_another_production_model_asks_for_another_verdict(world: World) -> None:
    for seed in (0, 1, 2):
        world.add_model("lenet", seed=seed)
        said = run(world)
    assert said["production"]["version"] == 1
    promote(registry(), 2)
    said = run(world)
    assert said["production"]["version"] == 2
    assert said["registered"]["version"] == 3
    assert len(versions()) == 3


def test_stricter_thresholds_withdraw_the_candidate(world: World) -> None:
    run(world)
    said = run(world, max_latency_ms=1.0)
    assert failures(said) == ["max_latency_ms"]
    [version] = versions()
    assert version.aliases == ("production",)
    assert version.tags["gate"] == "failed"
    assert "gate.min_accuracy" not in version.tags
    assert version.description.startswith("## Gate: FAILED, against production version 1")
    assert "Art. 5(1)(f)" in version.description
    assert run(world)["registered"]["aliases"] == ["candidate", "production"]


def test_empty_registry_is_filled_from_the_results(
    world: World, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone with restored outputs: everything is there but MLflow's runs."""
    run(world)
    clone = tmp_path_factory.mktemp("clone") / "checkout"
    shutil.copytree(world.root, clone, ignore=shutil.ignore_patterns("mlruns"))
    monkeypatch.chdir(clone)
    new_store(clone)
    said = run(replace(world, root=clone))
    assert said["registered"]["restored"] is True
    [version] = versions()
    assert version.tags["restored"] == "true"
    assert len(_runs()) == 1


def test_training_run_that_is_there_is_used(world: World) -> None:
    import mlflow

    experiment_id = tracking.configure("emotion")
    client = mlflow.MlflowClient()
    trained = client.create_run(experiment_id).info.run_id
    client.set_tag(trained, WEIGHTS_TAG, sha256_of(world.root / layout.trained_weights("lenet")))
    said = run(world)
    assert said["registered"]["restored"] is False
    [found] = _runs()
    assert found.info.run_id == trained == versions()[0].run_id
    assert found.data.metrics["test/accuracy"] == 0.9


def test_deleted_files_of_a_version_are_stored_again(world: World) -> None:
    run(world)
    shutil.rmtree(world.root / layout.MLFLOW_ARTIFACTS)
    run(world)
    assert (world.root / MEMO).exists()
    [version] = versions()
    with registry().downloaded(version) as folder:
        assert sha256_of(folder / "model.onnx") == version.sha256


def test_experiment_registers_nothing_and_its_verdict_passes(world: World) -> None:
    said = run(world, experiment="lost-yeti", min_accuracy=1.0, max_size_mb=1e-6)
    assert said["passed"] is False
    assert said["registered"] is None
    assert said["reasons"][-1] == "this is the experiment lost-yeti: nothing is registered"
    assert versions() == []
    assert "would not pass" in verdict(world.root / layout.GATE)


def test_after_an_experiment_the_workspace_registers(world: World) -> None:
    run(world, experiment="lost-yeti")
    assert run(world)["registered"]["version"] == 1


def test_production_of_another_image_size_is_compared_through_its_own_contract(
    tmp_path: Path, world: World
) -> None:
    run(world)
    shutil.rmtree(tmp_path / layout.PREPARED)
    larger = make_world(tmp_path, side=24)
    larger.add_model("lenet", levels=CONFUSED)
    said = run(larger, min_accuracy=0.1, max_accuracy_drop=0.1)
    [drop] = [check for check in said["checks"] if check["name"] == "max_accuracy_drop"]
    assert drop["production"] == 1.0
    assert drop["value"] == pytest.approx(1 / 3, abs=1e-6)


def test_production_with_classes_in_another_order_is_compared_by_name(world: World) -> None:
    _register_by_hand(world, classes=CLASSES[::-1], levels=RIGHT[::-1])
    said = run(world, max_accuracy_drop=0.0, max_class_recall_drop=0.0)
    assert said["passed"] is True
    assert {check["production"] for check in said["checks"][1:]} == {None, 1.0}
    assert said["registered"] == {
        "model": "emotion",
        "version": 2,
        "aliases": ["candidate"],
        "restored": True,
    }


def test_production_with_other_classes_is_a_failed_check(world: World) -> None:
    _register_by_hand(world, classes=("bored", "happy"), levels=brightness_levels(2))
    said = run(world, max_accuracy_drop=0.5)
    assert failures(said) == ["production"]
    assert said["reasons"][0].startswith("production (version 1) knows other classes (bored, happy)")


def test_missing_thresholds_stop_before_anything_is_asked(world: World) -> None:
    with pytest.raises(GateError, match="no thresholds are configured"):
        register(Path(), world.params())
    assert not (world.root / layout.GATE).exists()


def test_two_processes_register_one_version(world: World) -> None:
    """The slower one finds the other's version and takes its own back."""
    run(world)
    [version] = versions()
    assert version.model_id
    assert version.run_id
    standing, new = registry().add(
        model_id=version.model_id, run_id=version.run_id, tags=version.tags, description="late"
    )
    assert (standing.number, new) == (1, False)
    assert len(versions()) == 1


def _runs() -> Any:
    import mlflow

    return mlflow.MlflowClient().search_runs([tracking.configure("emotion")])


def _register_by_hand(world: World, *, classes: tuple[str, ...], levels: tuple[float, ...]) -> None:
    """As somebody would without this pipeline: no tag says which file it is."""
    import mlflow
    import onnx

    contract = make_contract(classes=classes, dataset="7" * 64)
    path = write_model(world.root / "other.onnx", contract=contract, levels=levels)
    tracking.configure("emotion")
    with mlflow.start_run():
        mlflow.onnx.log_model(
            onnx.load(path), name="other", registered_model_name="emotion",
            pip_requirements=["onnxruntime"], save_as_external_data=False,
        )  # fmt: skip
    mlflow.MlflowClient().set_registered_model_alias("emotion", "production", "1")
