"""Training in this process: what it writes, what it repeats, what it logs, what it refuses."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.core.errors import OutputError, ParamsError, PipelineError, TrainingFailed
from pipelines.core.io import sha256_of
from pipelines.core.params import AugmentationParams, load_params
from pipelines.model.keras_classifier import Classifier, build_classifier
from pipelines.train import loop
from pipelines.train import stage as stage
from pipelines.train.checkpoint import Checkpoint, CheckpointFile
from pipelines.train.input import in_order
from pipelines.train.outputs import write_weights
from tests.support.files import files_of_at_most
from tests.support.prepared import CLASSES, write_prepared
from tests.support.training_project import (
    from_scratch,
    make_project,
    read_pictures,
    set_params,
    small_network,
)

OUTPUTS = ("model.weights.h5", "training.json", "history.csv")
OFF = AugmentationParams(flip=False, rotation=0, zoom=0, shift=0)
ON = AugmentationParams(flip=True, rotation=0.1, zoom=0.1, shift=0.1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One MLflow database for the whole file: making its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def trained(store: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], dict[str, Any]]:
    """Train in a project folder; returns the record."""

    def run(root: Path, name: str = "lenet") -> dict[str, Any]:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
        monkeypatch.chdir(root)
        stage.train_architecture(name, load_params())
        record: dict[str, Any] = json.loads((root / "models" / name / "training.json").read_text())
        return record

    return run


def read_history(root: Path, name: str = "lenet") -> list[dict[str, str]]:
    with (root / "models" / name / "history.csv").open() as file:
        return list(csv.DictReader(file))


def runs(store: str) -> list[Any]:
    import mlflow

    client = mlflow.MlflowClient(store)
    experiment = client.get_experiment_by_name("emotion")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"]))


def test_outputs_record_and_log_of_a_run(
    tmp_path: Path, trained: Callable[[Path], dict[str, Any]], store: str
) -> None:
    import mlflow

    root = make_project(tmp_path / "a")
    record = trained(root)

    rows = read_history(root)
    best = max(rows, key=lambda row: (float(row["val_macro_f1"]), -float(row["val_loss"])))
    assert record["best_epoch"] == int(best["epoch"])
    assert record["best"]["val_macro_f1"] == pytest.approx(float(best["val_macro_f1"]), abs=1e-5)
    assert record["best"]["val_accuracy"] > 0.6
    assert (record["weights"], record["weights_reason"]) == ("scratch", "not pretrained")
    assert record["phases"] == [{"name": "scratch", "epochs": 4}]
    assert record["classes"] == list(CLASSES)
    assert not (root / ".checkpoints" / "lenet").exists()

    run = runs(store)[0]
    assert run.info.status == "FINISHED"
    assert run.data.params["training.batch_size"] == "16"
    assert run.data.params["model.epochs"] == "4"
    tags = run.data.tags
    assert tags["mien.weights_sha256"] == sha256_of(root / "models" / "lenet" / "model.weights.h5")
    assert (tags["architecture"], tags["weights"], tags["manifest"]) == ("lenet", "scratch", "0" * 64)
    assert {"git_commit", "dirty", "data_dvc"} <= set(tags)
    client = mlflow.MlflowClient(store)
    for key in ("val_macro_f1", "images_per_second", "system/cpu_utilization_percentage"):
        assert [metric.step for metric in client.get_metric_history(run.info.run_id, key)] == [1, 2, 3, 4]
    files = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert files == {"curves.png", "history.csv", "training.json"}


def test_the_weights_written_are_those_of_the_best_epoch(
    tmp_path: Path, trained: Callable[[Path], dict[str, Any]]
) -> None:
    # At this rate the last epochs are worse than some before.
    root = make_project(tmp_path / "a", models__lenet__learning_rate=0.02, training__schedule="constant")
    record = trained(root)
    classifier = small_network(load_params(root / "params.yaml").head)
    classifier.model.load_weights(root / "models" / "lenet" / "model.weights.h5")
    val = read_pictures(root, "val")
    logits = classifier.model.predict(in_order(val.images, batch_size=7), verbose=0)
    assert (logits.argmax(axis=1) == val.labels).mean() == pytest.approx(record["best"]["val_accuracy"])


def test_the_same_inputs_give_the_same_bytes(
    tmp_path: Path, trained: Callable[[Path], dict[str, Any]]
) -> None:
    first, second = make_project(tmp_path / "a"), make_project(tmp_path / "b")
    trained(first)
    trained(second)
    for name in OUTPUTS:
        path = Path("models") / "lenet" / name
        assert (first / path).read_bytes() == (second / path).read_bytes(), name


def test_another_seed_gives_other_weights(tmp_path: Path, trained: Callable[[Path], dict[str, Any]]) -> None:
    root = make_project(tmp_path / "a", models__lenet__epochs=1)
    trained(root)
    before = sha256_of(root / "models" / "lenet" / "model.weights.h5")
    set_params(root, models__lenet__epochs=1, seed=4)
    trained(root)
    assert sha256_of(root / "models" / "lenet" / "model.weights.h5") != before


def test_early_stopping_ends_a_run(tmp_path: Path, trained: Callable[[Path], dict[str, Any]]) -> None:
    root = make_project(
        tmp_path / "a",
        models__lenet__epochs=30,
        models__lenet__learning_rate=1e-9,
        training__early_stopping={"monitor": "val_macro_f1", "patience": 2},
        training__schedule="constant",
    )
    record = trained(root)
    # Nothing is learnt at this rate, so the first epoch's macro-F1 is never exceeded.
    assert record["epochs_run"] == 3


class Interrupted(Exception):
    """Stands for a kill between two epochs."""


RECIPE: dict[str, Any] = {
    "training__optimizer": "sgd",
    "training__ema_decay": 0.8,
    "training__class_weights": False,
    "training__sampling": "balanced",
    "augmentation__erasing": 0.25,
    "augmentation__mixup": 0.2,
    "augmentation__cutmix": 1.0,
    "models__lenet__learning_rate": 0.02,
}
"""All that a run may draw at random and keep from step to step."""
SMALL_VGG: dict[str, Any] = {
    "architectures": ["vgg"],
    "models__vgg__epochs": 4,
    "models__vgg__options": {"filters": [8, 12], "convolutions": [1, 1]},
}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("lenet", {"training__precision": "float32"}),
        ("lenet", {"training__precision": "mixed_float16"}),
        ("lenet", RECIPE),
        ("vgg", RECIPE | SMALL_VGG),
    ],
    ids=["float32", "mixed", "recipe", "recipe with batch norm"],
)
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(
    tmp_path: Path,
    trained: Callable[..., dict[str, Any]],
    store: str,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    settings: dict[str, Any],
) -> None:
    whole = make_project(tmp_path / "whole", **settings)
    broken = make_project(tmp_path / "broken", **settings)
    for root in (whole, broken):
        from_scratch(root, name)
    trained(whole, name)
    save = stage._Listener.after_epoch

    def save_then_die(self: Any, state: Checkpoint, *, images_per_second: float) -> None:
        save(self, state, images_per_second=images_per_second)
        if len(state.history) == 2:
            raise Interrupted

    monkeypatch.setattr(stage._Listener, "after_epoch", save_then_die)
    with pytest.raises(Interrupted):
        trained(broken, name)
    monkeypatch.setattr(stage._Listener, "after_epoch", save)
    assert runs(store)[0].info.status == "FAILED"
    count = len(runs(store))
    trained(broken, name)

    for output in OUTPUTS:
        path = Path("models") / name / output
        assert (whole / path).read_bytes() == (broken / path).read_bytes(), output
    assert len(runs(store)) == count
    assert runs(store)[0].info.status == "FINISHED"


def test_a_run_killed_in_its_first_epoch_goes_on_as_the_same_run(
    tmp_path: Path, trained: Callable[[Path], dict[str, Any]], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_project(tmp_path / "a", models__lenet__epochs=1)

    def die(*args: object, **kwargs: object) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "_fit", die)
        with pytest.raises(Interrupted):
            trained(root)
    count = len(runs(store))
    assert trained(root)["epochs_run"] == 1
    assert len(runs(store)) == count
    assert runs(store)[0].info.status == "FINISHED"


def die_before_writing(
    root: Path, trained: Callable[[Path], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train to the last epoch, whose checkpoint is then left behind."""

    def die(*args: object, **kwargs: object) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(stage, "write_weights", die)
        with pytest.raises(Interrupted):
            trained(root)


def test_a_corrupt_checkpoint_starts_again_and_says_so(
    tmp_path: Path,
    trained: Callable[[Path], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = make_project(tmp_path / "a", models__lenet__epochs=2)

    die_before_writing(root, trained, monkeypatch)
    (file,) = (root / ".checkpoints").rglob("checkpoint.npz")
    file.write_bytes(file.read_bytes()[:1000])
    assert trained(root)["epochs_run"] == 2
    text = capsys.readouterr().out
    assert "cannot be read" in text
    assert "starting from the beginning" in text


def test_changed_parameters_do_not_meet_an_old_checkpoint(
    tmp_path: Path,
    trained: Callable[[Path], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = make_project(tmp_path / "a", models__lenet__epochs=2)

    die_before_writing(root, trained, monkeypatch)
    set_params(root, models__lenet__epochs=1)
    assert trained(root)["epochs_run"] == 1
    assert "resuming" not in capsys.readouterr().out


def test_a_loss_that_is_not_a_number_ends_training(
    tmp_path: Path, trained: Callable[[Path], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_project(tmp_path / "a")

    def poisoned(*args: Any, **kwargs: Any) -> Classifier:
        classifier = build_classifier(*args, **kwargs)
        classifier.head[-1].bias.assign(np.full(len(CLASSES), np.nan))
        return classifier

    monkeypatch.setattr(stage, "build_classifier", poisoned)
    with pytest.raises(TrainingFailed, match=r"loss became nan.*learning_rate"):
        trained(root)
    assert not (root / "models").exists()


def test_a_checkpoint_the_disk_has_no_room_for_ends_training_in_one_line(
    tmp_path: Path, trained: Callable[[Path], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_project(tmp_path / "a", models__lenet__epochs=1)
    (root / "models" / "lenet").mkdir(parents=True)
    (root / "models" / "lenet" / "model.weights.h5").write_bytes(b"of an earlier run")
    save = CheckpointFile.save

    def save_on_a_full_disk(self: Any, state: Checkpoint) -> None:
        with files_of_at_most(60_000):
            save(self, state)

    monkeypatch.setattr(CheckpointFile, "save", save_on_a_full_disk)
    with pytest.raises(OutputError, match=r"checkpoint\.npz: cannot be written \(File too large\)"):
        trained(root)
    assert (root / "models" / "lenet" / "model.weights.h5").read_bytes() == b"of an earlier run"
    assert list((root / ".checkpoints").rglob("*npz*")) == []


def test_weights_the_disk_has_no_room_for_replace_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    path.write_bytes(b"of an earlier run")
    classifier = small_network()
    with files_of_at_most(30_000), pytest.raises(OutputError, match="cannot be written") as caught:
        write_weights(classifier.model, path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"of an earlier run"
    assert [item.name for item in tmp_path.iterdir()] == ["model.weights.h5"]


def test_a_store_that_fails_in_mid_run_does_not_lose_the_training(
    tmp_path: Path,
    trained: Callable[[Path], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    root = make_project(tmp_path / "a")
    send = MlflowClient.log_batch

    def broken(self: Any, run_id: str, metrics: Any = (), **rest: Any) -> Any:
        if metrics:
            raise MlflowException("the server is gone")
        return send(self, run_id, **rest)

    monkeypatch.setattr(MlflowClient, "log_batch", broken)
    assert trained(root)["epochs_run"] == 4
    text = capsys.readouterr().err
    assert text.count("training goes on without it") == 1
    assert "is incomplete" in text


def test_a_store_that_comes_back_gets_every_epoch(
    tmp_path: Path, trained: Callable[[Path], dict[str, Any]], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    root = make_project(tmp_path / "a")
    send = MlflowClient.log_batch
    calls = []

    def flaky(self: Any, run_id: str, metrics: Any = (), **rest: Any) -> Any:
        calls.append(len(metrics))
        if metrics and len([count for count in calls if count]) == 1:
            raise MlflowException("the server is away")
        return send(self, run_id, metrics=metrics, **rest)

    monkeypatch.setattr(MlflowClient, "log_batch", flaky)
    trained(root)
    history = mlflow.MlflowClient(store).get_metric_history(runs(store)[0].info.run_id, "loss")
    assert [metric.step for metric in history] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("prepared", "prepared/images/train"),
        ("prepared/images/val", "prepared/images/val"),
        ("prepared/dataset.json", "dataset.json"),
        ("prepared/images/train/happy", "happy"),
        ("weights", "origin.json"),
    ],
)
def test_a_missing_input_is_named_before_anything_is_written(
    tmp_path: Path, trained: Callable[[Path], dict[str, Any]], damage: str, message: str
) -> None:
    root = make_project(tmp_path / "a")
    if damage == "prepared":
        (root / "prepared" / "images" / "train").rename(root / "gone")
    else:
        (root / damage).rename(root / "gone")
    with pytest.raises(PipelineError, match=message) as caught:
        trained(root)
    assert "\n" not in str(caught.value)
    assert not (root / "models").exists()
    assert not (root / ".checkpoints").exists()


def test_a_class_that_the_dataset_does_not_know_is_named(
    tmp_path: Path, trained: Callable[[Path], dict[str, Any]]
) -> None:
    root = make_project(tmp_path / "a")
    (root / "prepared" / "images" / "val" / "bored").mkdir()
    with pytest.raises(PipelineError, match=r"val.*bored.*dvc repro"):
        trained(root)


def test_a_pretrained_network_trains_from_its_file_in_two_phases(
    tmp_path: Path, trained: Callable[[Path, str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights under the name of pretrained ones: the way is the same."""
    from pipelines.weights.stage import resolve_all

    root = make_project(
        tmp_path / "a",
        architectures=["mobilenet_v2"],
        prepare__image_size_px=32,
        models__mobilenet_v2={
            "epochs": 1,
            "learning_rate": 0.001,
            "head_epochs": 1,
            "unfreeze": 4,
            "options": {"alpha": 0.35},
        },
    )
    rewrite_prepared(root, side=32)
    source = small_mobilenet()
    (tmp_path / "own").mkdir()
    source.save_weights(tmp_path / "own" / "mobilenet_v2.weights.h5")
    monkeypatch.setenv("MIEN_WEIGHTS_DIR", str(tmp_path / "own"))
    resolve_all(load_params(root / "params.yaml"), root=root / "weights")
    record = trained(root, "mobilenet_v2")
    assert record["weights"] == "imagenet"
    assert "sha256" in record["weights_reason"]
    assert record["phases"] == [{"name": "head", "epochs": 1}, {"name": "fine-tune", "epochs": 1}]
    classifier = build_classifier(
        "mobilenet_v2",
        load_params(root / "params.yaml").model("mobilenet_v2"),
        head=load_params(root / "params.yaml").head,
        height=32,
        width=32,
        classes=3,
    )
    classifier.model.load_weights(root / "models" / "mobilenet_v2" / "model.weights.h5")
    np.testing.assert_array_equal(
        classifier.backbone.get_layer("Conv1").get_weights()[0], source.get_layer("Conv1").get_weights()[0]
    )


def rewrite_prepared(root: Path, *, side: int) -> None:
    (root / "prepared").rename(root / "prepared.old")
    write_prepared(root / "prepared", side=side, per_class=12, val_per_class=6)


def small_mobilenet() -> Any:
    import keras

    return keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None)


def test_mixed_precision_trains(tmp_path: Path, trained: Callable[[Path], dict[str, Any]]) -> None:
    root = make_project(tmp_path / "a", training__precision="mixed_bfloat16")
    record = trained(root)
    assert record["precision"] == "mixed_bfloat16"
    assert record["best"]["val_accuracy"] > 0.6


def test_label_smoothing_class_weights_and_adam_train(
    tmp_path: Path, trained: Callable[[Path], dict[str, Any]]
) -> None:
    root = make_project(
        tmp_path / "a",
        training__label_smoothing=0.1,
        training__class_weights=False,
        training__optimizer="adam",
        training__cache_mib=0,
    )
    assert trained(root)["best"]["val_accuracy"] > 0.6
    assert not (root / ".checkpoints" / "lenet").exists()


@pytest.mark.parametrize(
    "settings",
    [
        RECIPE | {"augmentation__mixup": 0.0, "augmentation__cutmix": 0.0, "training__ema_decay": 0.0},
        {"training__ema_decay": 0.8},
        {"training__class_weights": False, "training__logit_adjustment": 1.0},
        {"augmentation__mixup": 0.2},
        {"augmentation__cutmix": 1.0},
    ],
    ids=["sgd", "ema", "logit adjustment", "mixup", "cutmix"],
)
def test_every_part_of_the_recipe_trains(
    tmp_path: Path, trained: Callable[..., dict[str, Any]], settings: dict[str, Any]
) -> None:
    root = make_project(tmp_path / "a", **settings, models__lenet__epochs=8)
    assert trained(root)["best"]["val_accuracy"] > 0.6


def test_the_average_of_the_weights_is_kept(tmp_path: Path, trained: Callable[..., dict[str, Any]]) -> None:
    """With a decay of almost 1 the average stays where the first step left it."""
    stays = trained(make_project(tmp_path / "stays", training__ema_decay=0.99999))
    moves = trained(make_project(tmp_path / "moves", training__ema_decay=0.0))
    first, last = (read_history(tmp_path / "stays")[index] for index in (0, -1))
    assert float(last["loss"]) < 0.9 * float(first["loss"])
    assert float(last["val_loss"]) == pytest.approx(float(first["val_loss"]), rel=0.02)
    assert moves["best"]["val_loss"] < 0.9 * stays["best"]["val_loss"]


@pytest.mark.parametrize(
    "settings",
    [
        {"training__class_weights": True, "training__sampling": "balanced"},
        {"training__class_weights": True, "training__logit_adjustment": 1.0},
    ],
    ids=["sampling", "logits"],
)
def test_class_frequencies_are_corrected_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    monkeypatch.chdir(make_project(tmp_path / "a", **settings))
    with pytest.raises(ParamsError, match="class_weights"):
        load_params()
