"""The second run, and every other way in which `register` finds the registry."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.core import paths
from pipelines.core.errors import GateError, GateRejected, RegistryError
from pipelines.core.io import sha256_of
from pipelines.core.records import write_record
from pipelines.core.results import read_comparison, read_latencies
from pipelines.gate.record import GateVerdict
from pipelines.gate.stage import judge_selected
from pipelines.register.promote import promote
from pipelines.register.stage import register
from pipelines.register.status import SETTLED_CACHE
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import Registry, Version
from pipelines.train.runlog import WEIGHTS_TAG
from pipelines.verdict import verdict
from tests.support.mlflow_store import new_store
from tests.support.onnx_models import brightness_levels, make_contract, write_model
from tests.support.registry_world import CLASSES, RIGHT, World, judge_and_register, make_world
from tests.support.timings import times

LENIENT = {"min_accuracy": 0.1}
# Two of three classes exchanged: the pictures of both are always wrong.
CONFUSED = (RIGHT[0], RIGHT[2], RIGHT[1])


def run(world: World, *, experiment: str | None = None, **gate: float | str | None) -> GateVerdict:
    """Register, and read the verdict."""
    return judge_and_register(world, world.params(**(gate or LENIENT)), experiment=experiment)


def production_version(said: GateVerdict) -> int | None:
    return said.production.version if said.production else None


def registry() -> Registry:
    return Registry("emotion", uri=tracking.connect())


def versions() -> list[Version]:
    return registry().versions()


def forget(world: World) -> None:
    (world.root / SETTLED_CACHE).unlink(missing_ok=True)


def remeasure(world: World, *, p50_ms: float) -> None:
    """Measure again, a day later."""
    latencies = read_latencies(world.root)
    timing = replace(latencies.timing, measured_at="2026-11-29T10:00:00Z")
    models = {name: times(p50_ms) for name in latencies.models}
    write_record(world.root / paths.LATENCY, replace(latencies, timing=timing, models=models))
    write_record(world.root / paths.COMPARISON, replace(read_comparison(world.root), timing=timing))


def failures(said: GateVerdict) -> list[str]:
    return [check.name for check in said.checks if not check.passed]


def test_second_run_changes_nothing(world: World) -> None:
    run(world)
    before, store = (world.root / paths.GATE).read_bytes(), sha256_of(world.root / paths.MLFLOW_DATABASE)
    for ask in (False, True):
        if ask:
            forget(world)
        assert "already registered as version 1" in register(Path(), world.params(**LENIENT))
        assert (world.root / paths.GATE).read_bytes() == before
        assert sha256_of(world.root / paths.MLFLOW_DATABASE) == store


def test_lost_gate_file_comes_back_with_the_same_bytes(world: World) -> None:
    run(world)
    before = (world.root / paths.GATE).read_bytes()
    for damage in (None, b"{", b'{"sha256": 1}'):
        if damage is None:
            (world.root / paths.GATE).unlink()
        else:
            (world.root / paths.GATE).write_bytes(damage)
        run(world)
        assert (world.root / paths.GATE).read_bytes() == before
    assert len(versions()) == 1


def test_failed_model_is_logged_and_not_registered(world: World) -> None:
    said = run(world, min_accuracy=0.9, max_size_mb=1e-6)
    assert failures(said) == ["max_size_mb"]
    assert versions() == []
    [found] = _runs()
    assert found.data.tags["gate"] == "failed"
    assert found.data.tags["gate.max_size_mb"] == "0.001794"
    with pytest.raises(GateRejected, match=r"file size is .* MB, but at most 1e-06 MB is allowed"):
        verdict(world.root / paths.GATE)


def test_failed_model_is_not_judged_twice(world: World) -> None:
    said = run(world, min_accuracy=0.9, max_size_mb=1e-6)
    forget(world)
    (world.root / paths.GATE).unlink()
    assert run(world, min_accuracy=0.9, max_size_mb=1e-6) == said


def test_model_that_loses_one_class_to_production_fails(world: World) -> None:
    run(world)
    world.add_model("vgg", levels=CONFUSED)
    said = run(world, min_accuracy=0.1, max_class_recall_drop=0.1, max_accuracy_drop=0.9)
    assert failures(said) == ["max_class_recall_drop.happy", "max_class_recall_drop.sad"]
    assert production_version(said) == 1
    assert len(versions()) == 1


def test_better_model_is_candidate_but_production_is_a_person_s_to_set(world: World) -> None:
    world.add_model("lenet", levels=CONFUSED)
    run(world)
    world.add_model("vgg")
    said = run(world, min_accuracy=0.1, max_accuracy_drop=0.0)
    assert said.passed is True
    newest, oldest = versions()
    assert (newest.aliases, oldest.aliases) == (("candidate",), ("production",))
    assert newest.tags["production_sha256"] == oldest.sha256


def test_promotion_does_not_judge_the_promoted_again(world: World) -> None:
    run(world)
    world.add_model("vgg", seed=1)
    run(world)
    before = (world.root / paths.GATE).read_bytes()
    assert promote(registry(), 2, by="anna") == "emotion version 2 is now in production, replacing version 1"
    run(world)
    assert (world.root / paths.GATE).read_bytes() == before
    assert promote(registry(), 2, by="anna") == "emotion version 2 is already in production"


def test_another_production_model_asks_for_another_verdict(world: World) -> None:
    for seed in (0, 1, 2):
        world.add_model("lenet", seed=seed)
        said = run(world)
    assert production_version(said) == 1
    promote(registry(), 2, by="anna")
    said = run(world)
    assert production_version(said) == 2
    assert said.passed is True
    assert [version.number for version in versions()] == [3, 2, 1]
    assert versions()[0].tags["production_sha256"] == versions()[1].sha256


def test_stricter_thresholds_withdraw_the_candidate(world: World) -> None:
    run(world)
    said = run(world, max_latency_ms=1.0)
    assert failures(said) == ["max_latency_ms"]
    [version] = versions()
    assert version.aliases == ("production",)
    assert version.tags["gate"] == "failed"
    assert "gate.min_accuracy" not in version.tags
    assert version.description.startswith(
        "## Quality gate: FAILED, compared with no other model in production"
    )
    assert "Art. 5(1)(f)" in version.description
    assert run(world).passed is True
    assert versions()[0].aliases == ("candidate", "production")


def test_empty_registry_is_filled_from_the_results(
    world: World, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone with restored outputs: everything is there but MLflow's runs."""
    run(world)
    clone = tmp_path_factory.mktemp("clone") / "checkout"
    shutil.copytree(world.root, clone, ignore=shutil.ignore_patterns("mlruns"))
    monkeypatch.chdir(clone)
    new_store(clone)
    run(replace(world, root=clone))
    [version] = versions()
    assert version.tags["restored"] == "true"
    assert len(_runs()) == 1


def test_training_run_that_is_there_is_used(world: World) -> None:
    import mlflow

    experiment_id = tracking.configure("emotion")
    client = mlflow.MlflowClient()
    trained = client.create_run(experiment_id).info.run_id
    client.set_tag(trained, WEIGHTS_TAG, sha256_of(world.root / paths.trained_weights("lenet")))
    run(world)
    assert "restored" not in versions()[0].tags
    [found] = _runs()
    assert found.info.run_id == trained == versions()[0].run_id
    assert found.data.metrics["test/accuracy"] == 0.9


def test_deleted_files_of_a_version_are_stored_again(world: World) -> None:
    run(world)
    shutil.rmtree(world.root / paths.MLFLOW_ARTIFACTS)
    run(world)
    assert (world.root / SETTLED_CACHE).exists()
    [version] = versions()
    with registry().downloaded(version) as folder:
        assert sha256_of(folder / "model.onnx") == version.sha256


def test_experiment_registers_nothing_and_its_verdict_passes(world: World) -> None:
    said = run(world, experiment="lost-yeti", min_accuracy=1.0, max_size_mb=1e-6)
    assert said.passed is False
    assert said.reasons[-1] == "experiment lost-yeti: nothing is registered"
    assert versions() == []
    assert "would not pass" in verdict(world.root / paths.GATE)


def test_after_an_experiment_the_workspace_registers(world: World) -> None:
    run(world, experiment="lost-yeti")
    assert run(world).experiment is None
    assert [version.number for version in versions()] == [1]


def test_production_of_another_image_size_is_compared_through_its_own_contract(
    tmp_path: Path, world: World
) -> None:
    run(world)
    shutil.rmtree(tmp_path / paths.PREPARED)
    larger = make_world(tmp_path, side=24)
    larger.add_model("lenet", levels=CONFUSED)
    said = run(larger, min_accuracy=0.1, max_accuracy_drop=0.1)
    [drop] = [check for check in said.checks if check.name == "max_accuracy_drop"]
    assert drop.production == 1.0
    assert drop.value == pytest.approx(1 / 3, abs=1e-6)


def test_production_with_classes_in_another_order_is_compared_by_name(world: World) -> None:
    _register_by_hand(world, classes=CLASSES[::-1], levels=RIGHT[::-1])
    said = run(world, max_accuracy_drop=0.5, max_class_recall_drop=0.5)
    assert said.outcome == "passed"
    assert {check.production for check in said.checks[1:]} == {None, 1.0}
    assert versions()[0].aliases == ("candidate",)


def test_production_with_other_classes_is_a_failed_check(world: World) -> None:
    _register_by_hand(world, classes=("bored", "happy"), levels=brightness_levels(2))
    said = run(world, max_accuracy_drop=0.5)
    assert failures(said) == ["production"]
    assert said.reasons[0].startswith("production (version 1) has different classes (bored, happy)")


def test_missing_thresholds_stop_before_anything_is_asked(world: World) -> None:
    with pytest.raises(GateError, match="no thresholds are configured"):
        judge_selected(Path(), world.params())
    assert not (world.root / paths.GATE).exists()


def test_times_measured_again_are_judged_again(world: World) -> None:
    """Also where file, thresholds and production are as they were: one time, the same in every file."""
    run(world, max_latency_ms=5.0)
    before = sha256_of(world.root / paths.GATE)
    remeasure(world, p50_ms=9.0)
    said = run(world, max_latency_ms=5.0)
    assert sha256_of(world.root / paths.GATE) != before
    assert failures(said) == ["max_latency_ms"]
    assert said.latency.p50_ms == 9.0
    assert "2026-11-29" in said.reasons[0]
    [version], [found] = versions(), _runs()
    assert version.tags["gate.max_latency_ms"] == "9"
    assert version.aliases == ("production",)
    assert found.data.metrics["latency/batch_1/p50_ms"] == 9.0


def test_comparison_with_other_times_is_not_judged(world: World) -> None:
    path = world.root / paths.COMPARISON
    old = path.read_text()
    remeasure(world, p50_ms=9.0)
    path.write_text(old)
    with pytest.raises(GateError, match="have different latencies"):
        judge_selected(Path(), world.params(**LENIENT))


def test_gate_publishes_nothing_and_makes_no_store(world: World) -> None:
    shutil.rmtree(world.root / paths.MLRUNS)
    assert judge_selected(Path(), world.params(**LENIENT)).passed
    assert not (world.root / paths.MLRUNS).exists()
    run(world)
    world.add_model("vgg", levels=CONFUSED)
    store = sha256_of(world.root / paths.MLFLOW_DATABASE)
    said = judge_selected(Path(), world.params(min_accuracy=0.1, max_accuracy_drop=0.1))
    assert not said.passed
    assert sha256_of(world.root / paths.MLFLOW_DATABASE) == store


@pytest.mark.parametrize("drop", [None, 0.1])
def test_registry_that_cannot_be_asked_leaves_a_verdict_but_no_comparison(
    world: World, monkeypatch: pytest.MonkeyPatch, drop: float | None
) -> None:
    params = world.params(min_accuracy=0.1, max_accuracy_drop=drop)
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        verdict = judge_selected(Path(), params)
        assert [check.name for check in verdict.checks if not check.passed] == (
            ["production"] if drop else []
        )
        with pytest.raises(RegistryError):
            register(Path(), params)
    assert not (world.root / paths.REGISTERED).exists()
    # Asked again as soon as somebody answers.
    said = judge_and_register(world, params)
    assert said.passed is said.production_known is True


def test_verdict_on_another_file_is_not_registered(world: World) -> None:
    run(world)
    world.add_model("vgg")
    with pytest.raises(GateError, match="does not belong to the results that are selected now"):
        register(Path(), world.params(**LENIENT))
    assert len(versions()) == 1


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
