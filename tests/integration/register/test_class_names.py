"""Classes of any name go through the registry: MLflow refuses many characters in the names of metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.core.paths import GATE
from pipelines.core.records import read_record
from pipelines.core.results import Evaluation
from pipelines.gate.record import read_verdict
from pipelines.model.predict import open_model
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import MODEL_FILE
from tests.support.mlflow_store import new_store
from tests.support.registry_world import World, judge_and_register, make_world

# Sorted, as `prepare` sorts them. The second and third would be one if signs were only replaced.
NAMES = ("angry & sad, 100% #1 'so'=[a@b]{c}?*|<>", "happy (smile)", "happy -smile-")
LONG = ("x" * 200, "x" * 199 + "(", "\U0001f600" * 50)


def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: tuple[str, ...]) -> World:
    monkeypatch.chdir(tmp_path)
    new_store(tmp_path)
    world = make_world(tmp_path, classes=classes)
    world.add_model("lenet")
    judge_and_register(world, world.params(min_accuracy=0.4, min_class_recall=0.1))
    return world


@pytest.mark.parametrize("classes", [NAMES, (".", ":28:", "("), ("a:28:", "a(", "a:")], ids=ascii)
def test_metrics_of_different_classes_stay_different(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: tuple[str, ...]
) -> None:
    registered(tmp_path, monkeypatch, tuple(sorted(classes)))
    import mlflow

    [run] = mlflow.MlflowClient().search_runs([tracking.configure("emotion")])
    recalls = [name for name in run.data.metrics if name.startswith("class/") and name.endswith("/recall")]
    assert len(recalls) == len(classes)


def test_everything_but_the_name_of_the_metric_has_the_class_s_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(tmp_path, monkeypatch, NAMES)
    import mlflow

    folder = Path(mlflow.artifacts.download_artifacts("models:/emotion@production", dst_path=str(tmp_path)))
    assert open_model(folder / MODEL_FILE).contract.classes == NAMES
    assert set(read_record(folder / "metrics.json", Evaluation, stage="register").classes) == set(NAMES)
    asked = {check.name for check in read_verdict(GATE).checks}
    assert {f"min_class_recall.{name}" for name in NAMES} <= asked
    client = mlflow.MlflowClient()
    version = client.get_model_version_by_alias("emotion", "production")
    assert any(f"({name})" in version.tags["gate.min_class_recall"] for name in NAMES)
    assert version.run_id is not None
    metrics = client.get_run(version.run_id).data.metrics
    assert metrics["class/happy :28:smile:29:/recall"] == 0.9
    assert metrics["class/happy -smile-/recall"] == 0.9


def test_names_as_long_as_a_folder_s_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registered(tmp_path, monkeypatch, tuple(sorted(LONG)))
    import mlflow

    [run] = mlflow.MlflowClient().search_runs([tracking.configure("emotion")])
    recalls = [
        name for name in run.data.metrics if name.startswith("int8/class/") and name.endswith("/recall")
    ]
    assert len(recalls) == len(LONG)
