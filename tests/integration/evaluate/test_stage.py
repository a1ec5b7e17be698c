"""Evaluation end to end, files to files, against scikit-learn and answers known beforehand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn

from pipelines.core.errors import ModelFileError, ResultCorrupt
from pipelines.core.io import read_predictions, sha256_of
from pipelines.core.records import read_record, write_record
from pipelines.core.results import VariantTimes
from pipelines.evaluate import stage
from pipelines.evaluate.non_faces import non_faces
from pipelines.model.predict import open_model, predict_sources
from serving.contract import ConformalThreshold, NoveltyOutput, preprocess
from tests.support.files import read_json
from tests.support.onnx_models import CLASSES, brightness_levels, make_contract, write_model
from tests.support.originals import write_originals, write_prepared
from tests.support.results import training

PER_CLASS, MISLEADING = 10, 2
MODEL = Path("onnx/lenet/model.onnx")
INT8 = Path("onnx/lenet-int8/model.onnx")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `export` leaves it, with a model that only the misleading pictures deceive."""
    root = tmp_path_factory.mktemp("project")
    manifest = write_originals(root, per_class=PER_CLASS, misleading=MISLEADING)
    dataset = write_prepared(root, manifest)
    contract = replace(
        make_contract(dataset=dataset.dataset, weights="imagenet"),
        novelty=NoveltyOutput(threshold=0.6),
        conformal=ConformalThreshold(threshold=0.05, coverage=0.9, measured_coverage=0.9),
    )
    levels = brightness_levels(len(CLASSES))
    write_model(root / MODEL, contract=contract, levels=levels)
    # The variant has lost the difference between two classes: what it answers is known too.
    quantized = make_contract(dataset=dataset.dataset, weights="imagenet", architecture="lenet-int8")
    write_model(root / INT8, contract=quantized, levels=(levels[1], levels[0], *levels[2:]), seed=1)
    write_record(root / "models/lenet/training.json", training(dataset, parameters=4242))
    shutil.copy(Path(__file__).parents[3] / "params.yaml", root / "params.yaml")
    _evaluate(root)
    return root


@pytest.fixture(scope="module")
def written(project: Path) -> dict[str, Any]:
    read: dict[str, Any] = read_json(project / "evaluations/lenet/metrics.json")
    return read


@pytest.fixture(scope="module")
def predictions(project: Path) -> pd.DataFrame:
    return read_predictions(project / "evaluations/lenet/predictions.parquet", stage="evaluate@lenet")


def _evaluate(root: Path, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    checkout = str(Path(__file__).parents[3])
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pipelines.evaluate", "lenet"],
        cwd=root,
        env={"PYTHONPATH": checkout, "PATH": "/usr/bin:/bin"},
        check=check,
        capture_output=True,
        text=True,
    )


def _copy(project: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(project, tmp_path / "copy"))


def test_accuracy_is_the_share_of_pictures_that_do_not_mislead(written: dict[str, Any]) -> None:
    assert written["test"]["images"] == PER_CLASS * len(CLASSES)
    assert written["test"]["groups"] == PER_CLASS
    assert written["test"]["accuracy"] == 0.8
    assert written["val"] == {"images": 70, "accuracy": 0.8, "macro_f1": 0.8}
    assert written["test"]["accuracy_low"] <= 0.8 <= written["test"]["accuracy_high"]


def test_the_int8_variant_is_scored_for_itself(project: Path, written: dict[str, Any]) -> None:
    found = read_json(project / "evaluations/lenet-int8/metrics.json")
    assert found["architecture"] == "lenet-int8"
    assert found["title"] == f"{written['title']}, int8"
    assert (found["parameters"], found["weights"]) == (4242, "imagenet")
    assert found["size_mb"] == pytest.approx((project / INT8).stat().st_size / 1e6)
    # A misleading picture shows the next class's brightness. Two classes are exchanged: of the first one only
    # the misleading pictures are right now, of the second one none.
    recalls = {name: found["classes"][name]["recall"] for name in CLASSES[:3]}
    assert recalls == {CLASSES[0]: 0.2, CLASSES[1]: 0.0, CLASSES[2]: 0.8}
    assert found["test"]["accuracy"] < written["test"]["accuracy"]
    written_for = [
        sorted(path.name for path in (project / "evaluations" / name).iterdir())
        for name in ("lenet", "lenet-int8")
    ]
    assert written_for[0] == written_for[1]


def test_all_figures_follow_from_the_table_of_predictions(
    written: dict[str, Any], predictions: pd.DataFrame
) -> None:
    test = predictions[predictions["split"] == "test"]
    actual, predicted = test["label"], test["predicted"]
    probabilities = test[[f"p_{name}" for name in CLASSES]].to_numpy()
    probabilities = probabilities / probabilities.sum(1, keepdims=True)
    expected = {
        "accuracy": sklearn.accuracy_score(actual, predicted),
        "balanced_accuracy": sklearn.balanced_accuracy_score(actual, predicted),
        "macro_f1": sklearn.f1_score(actual, predicted, average="macro"),
        "top2_accuracy": sklearn.top_k_accuracy_score(actual, probabilities, k=2),
        "roc_auc": sklearn.roc_auc_score(actual, probabilities, multi_class="ovr"),
        "kappa": sklearn.cohen_kappa_score(actual, predicted),
        "log_loss": np.mean([-np.log(max(row[f"p_{row.label}"], 5e-7)) for _, row in test.iterrows()]),
    }
    for name, value in expected.items():
        assert written["test"][name] == pytest.approx(value, abs=2e-6), name
    report = sklearn.classification_report(actual, predicted, output_dict=True)
    for name in CLASSES:
        found = written["classes"][name]
        assert found["precision"] == pytest.approx(report[name]["precision"], abs=1e-6)
        assert found["recall"] == pytest.approx(report[name]["recall"], abs=1e-6)
        assert found["f1"] == pytest.approx(report[name]["f1-score"], abs=1e-6)
        assert found["support"] == report[name]["support"]


def test_novelty_is_that_of_the_test_pictures_against_pictures_without_a_face(
    project: Path, written: dict[str, Any], predictions: pd.DataFrame
) -> None:
    classifier = open_model(project / MODEL)
    test = predictions[predictions["split"] == "test"]
    sources = pd.read_parquet(project / "prepared/manifest.parquet").set_index("path")["source"]
    novelty = predict_sources(classifier, list(sources[test["path"]]), project).novelty
    assert novelty is not None
    np.testing.assert_allclose(test["novelty"], novelty, atol=1e-6)
    spec = classifier.contract.input
    inputs = [preprocess(one, spec, face=None) for part in non_faces().values() for one in part]
    others = classifier.predict(np.stack(inputs)).novelty
    assert others is not None
    truth = np.repeat([0, 1], [len(novelty), len(others)])
    found = written["novelty"]
    expected = sklearn.roc_auc_score(truth, np.concatenate([test["novelty"], others]))
    assert found["auroc"] == pytest.approx(expected, abs=1e-5)
    assert (found["faces"], found["others"], found["threshold"]) == (len(test), len(others), 0.6)
    assert "novelty" not in read_json(project / "evaluations/lenet-int8/metrics.json")


def test_coverage_is_the_share_of_test_pictures_whose_class_is_in_the_set(
    written: dict[str, Any], predictions: pd.DataFrame
) -> None:
    test = predictions[predictions["split"] == "test"]
    probabilities = test[[f"p_{name}" for name in CLASSES]].to_numpy()
    hits = [
        row[f"p_{row['label']}"] >= 0.05 or row["label"] == row["predicted"] for _, row in test.iterrows()
    ]
    found = written["sets"]
    assert found["measured"]["share"] == pytest.approx(np.mean(hits), abs=1e-6)
    sizes = np.maximum((probabilities >= 0.05).sum(axis=1), 1)
    assert found["mean_size"] == pytest.approx(sizes.mean(), abs=1e-6)
    assert list(found["classes"]) == list(CLASSES)
    assert sum(one["images"] for one in found["classes"].values()) == len(test)


def test_slices_are_scored_on_their_own(
    written: dict[str, Any], project: Path, predictions: pd.DataFrame
) -> None:
    manifest = pd.read_parquet(project / "prepared/manifest.parquet")
    test = predictions.merge(manifest[["path", "brightness", "mode"]], on="path").query("split == 'test'")
    first = test["brightness"].quantile(1 / 3)
    dark = test[test["brightness"] <= first]
    found = written["slices"]["brightness"]["low"]
    assert found["images"] == len(dark)
    assert found["accuracy"] == pytest.approx((dark["label"] == dark["predicted"]).mean(), abs=1e-6)
    gray = test[test["mode"] == "L"]
    assert written["slices"]["mode"]["gray"]["images"] == len(gray) == 35
    assert written["slices"]["mode"]["gray"]["macro_f1"] == pytest.approx(
        sklearn.f1_score(gray["label"], gray["predicted"], average="macro"), abs=1e-6
    )
    assert set(written["slices"]) == {"brightness", "contrast", "sharpness", "mode"}


def test_the_model_is_described(written: dict[str, Any], project: Path) -> None:
    assert written["architecture"] == "lenet"
    assert written["title"].startswith("LeNet")
    assert written["weights"] == "imagenet"
    assert written["parameters"] == 4242
    assert written["size_mb"] == pytest.approx((project / MODEL).stat().st_size / 1e6)


def test_the_table_has_a_row_for_every_val_and_test_picture(project: Path, predictions: pd.DataFrame) -> None:
    manifest = pd.read_parquet(project / "prepared/manifest.parquet")
    columns = [f"p_{name}" for name in CLASSES]
    assert list(predictions.columns) == [
        *("path", "split", "label", "predicted", "confidence"),
        *columns,
        "novelty",
    ]
    assert list(predictions["path"]) == list(manifest["path"])
    assert predictions[columns].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    assert (predictions["confidence"] == predictions[columns].max(axis=1)).all()


def test_the_summary_repeats_the_figures_of_the_whole(project: Path, written: dict[str, Any]) -> None:
    summary = read_json(project / "evaluations/lenet/summary.json")
    assert summary.pop("val_accuracy") == written["val"]["accuracy"]
    names = {
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "top2_accuracy",
        "roc_auc",
        "kappa",
        "ece",
        "log_loss",
    }
    assert summary == {name: written["test"][name] for name in names}


def test_the_plots_agree_with_the_metrics(project: Path, written: dict[str, Any]) -> None:
    folder = project / "evaluations/lenet"
    confusion, roc, calibration = (
        pd.read_csv(folder / f"{name}.csv") for name in ("confusion", "roc", "calibration")
    )
    assert (confusion["actual"] == confusion["predicted"]).mean() == pytest.approx(0.8)
    for name, curve in roc.groupby("class"):
        area = np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"])
        assert area == pytest.approx(written["classes"][name]["roc_auc"], abs=1e-5)
    gaps = (calibration["confidence"] - calibration["accuracy"]).abs() * calibration["images"]
    assert gaps.sum() / 70 == pytest.approx(written["test"]["ece"], abs=1e-5)


def test_a_second_run_writes_the_same_bytes(project: Path, tmp_path: Path) -> None:
    copy = _copy(project, tmp_path)
    shutil.rmtree(copy / "evaluations")
    _evaluate(copy)
    for path in sorted((project / "evaluations/lenet").iterdir()):
        assert sha256_of(path) == sha256_of(copy / "evaluations/lenet" / path.name), path.name


def test_it_says_what_it_found_and_never_loads_tensorflow(project: Path, tmp_path: Path) -> None:
    done = _evaluate(_copy(project, tmp_path))
    assert done.stdout.startswith("lenet: accuracy 0.800 (")
    assert done.stdout.endswith("on 70 test images of 10 groups\n")
    loaded = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "onnxruntime" in loaded
    assert not loaded & {"tensorflow", "keras", "mlflow", "sklearn", "matplotlib"}


def test_a_model_made_from_other_data_is_refused(project: Path, tmp_path: Path) -> None:
    copy = _copy(project, tmp_path)
    write_model(copy / MODEL, contract=make_contract(dataset="7" * 64))
    before = sha256_of(copy / "evaluations/lenet/metrics.json")
    done = _evaluate(copy, check=False)
    assert done.returncode == 1
    error = _error(done)
    assert "onnx/lenet/model.onnx: trained on dataset 777777777777" in error
    assert sha256_of(copy / "evaluations/lenet/metrics.json") == before


def test_a_model_with_other_classes_is_refused(tmp_path: Path) -> None:
    manifest = write_originals(tmp_path, per_class=1)
    dataset = write_prepared(tmp_path, manifest)
    contract = make_contract(classes=["a", "b"], dataset=dataset.dataset)
    path = write_model(tmp_path / MODEL, contract=contract)
    with pytest.raises(ModelFileError, match="its classes are"):
        stage.check_model(path, open_model(path), dataset)


def test_a_truncated_model_is_one_line(project: Path, tmp_path: Path) -> None:
    copy = _copy(project, tmp_path)
    (copy / MODEL).write_bytes((copy / MODEL).read_bytes()[:500])
    done = _evaluate(copy, check=False)
    assert done.returncode == 1
    assert "onnx/lenet/model.onnx: not a readable ONNX file" in _error(done)


TIMES = '{"p50_ms": 1.5, "p95_ms": 2}'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param("{", "not JSON", id="truncated"),
        pytest.param("", "not JSON", id="empty"),
        pytest.param("[]", r"it holds \[\], not an object", id="other-shape"),
        pytest.param(f'{{"batch_1": {TIMES}}}', "no key 'batch_16'", id="incomplete"),
        pytest.param(f'{{"batch_1": {TIMES}, "batch_16": {{}}}}', r"no key 'batch_16\.p50_ms'", id="nested"),
        pytest.param(
            f'{{"batch_1": {TIMES}, "batch_16": 3}}', r"'batch_16' is 3, not an object", id="number"
        ),
        pytest.param(
            f'{{"batch_1": {TIMES}, "batch_16": {{"p50_ms": "1", "p95_ms": 2}}}}',
            r"'batch_16\.p50_ms' is '1', not a valid number",
            id="text",
        ),
        pytest.param(
            f'{{"batch_1": {TIMES}, "batch_16": {{"p50_ms": NaN, "p95_ms": 2}}}}',
            r"'batch_16\.p50_ms' is nan, not a finite number",
            id="NaN",
        ),
        pytest.param(
            f'{{"batch_1": {TIMES}, "batch_16": {TIMES}, "batch_4": {TIMES}}}',
            "unknown key 'batch_4'",
            id="unknown-key",
        ),
        pytest.param(None, "No such file", id="absent"),
    ],
)
def test_a_damaged_record_is_one_line(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "times.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ResultCorrupt, match=reason) as caught:
        read_record(path, VariantTimes, stage="latency")
    assert str(caught.value).startswith(str(path))
    assert "dvc repro --force --single-item latency" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_table_of_predictions_is_one_line(tmp_path: Path, project: Path) -> None:
    path = tmp_path / "predictions.parquet"
    data = (project / "evaluations/lenet/predictions.parquet").read_bytes()
    for content in (b"", data[: len(data) // 2], b"no table"):
        path.write_bytes(content)
        with pytest.raises(ResultCorrupt, match="evaluate@vgg") as caught:
            read_predictions(path, stage="evaluate@vgg")
        assert "\n" not in str(caught.value)
    pd.DataFrame({"path": ["a"]}).to_parquet(path)
    with pytest.raises(ResultCorrupt, match="no column 'split'"):
        read_predictions(path, stage="evaluate@vgg")


def _error(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert len(lines) == 1, lines
    return lines[0]
