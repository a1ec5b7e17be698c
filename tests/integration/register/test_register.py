"""What one passing model leaves in MLflow, read back as its users do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.core import paths
from pipelines.core.io import sha256_of
from pipelines.gate.record import Latency, read_verdict
from pipelines.model.predict import open_model
from pipelines.register import package
from pipelines.register.runs import RESULTS_TAG
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import MODEL_FILE, Registry, Version, describe
from tests.support.mlflow_store import new_store
from tests.support.registry_world import CLASSES, PER_CLASS, SIDE, World, judge_and_register, make_world
from tests.support.timings import TIMING


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two models were compared, the second was selected and registered."""
    root = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        # MLflow itself sets it for child processes; it may be left from another test.
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        new_store(root)
        made = make_world(root)
        made.add_model("lenet", seed=1)
        made.add_model("vgg", seed=2)
        judge_and_register(made, made.params(min_accuracy=0.4, min_class_recall=0.1, max_size_mb=1.0))
        yield made


@pytest.fixture
def registry(world: World) -> Registry:
    return Registry("emotion", uri=tracking.connect())


@pytest.fixture
def version(registry: Registry) -> Version:
    [only] = registry.versions()
    return only


@pytest.fixture(scope="module")
def folder(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one download of the version brings."""
    import mlflow.artifacts

    tracking.connect()
    target = str(tmp_path_factory.mktemp("download"))
    return Path(mlflow.artifacts.download_artifacts("models:/emotion@production", dst_path=target))


def test_first_version_is_candidate_and_production(version: Version) -> None:
    assert version.number == 1
    assert version.aliases == ("candidate", "production")


def test_gate_file_names_the_file_and_nothing_of_the_registry_s(world: World, version: Version) -> None:
    said = read_verdict(world.root / paths.GATE)
    assert said.passed
    assert said.sha256 == version.sha256 == sha256_of(world.root / paths.onnx_model("vgg"))
    assert said.production is None
    assert said.latency == Latency(p50_ms=2.5, timing=TIMING)
    assert version.tags["restored"] == "true"


def test_registered_file_is_the_exported_one_byte_for_byte(world: World, folder: Path) -> None:
    exported = world.root / paths.onnx_model("vgg")
    assert (folder / MODEL_FILE).read_bytes() == exported.read_bytes()
    # The point of the test: written by MLflow alone, the file would not be the same in general.
    assert not list(folder.glob("*.data"))


def test_tags_tell_what_it_is_and_what_the_gate_said(world: World, version: Version) -> None:
    tags = version.tags
    assert tags["architecture"] == "vgg"
    assert tags["weights"] == "scratch"
    assert tags["dataset"] == world.dataset
    assert tags["git_commit"] == "unknown"  # this folder is not a git checkout
    assert tags["dirty"] == "true"
    assert tags["gate"] == "passed"
    assert tags["gate.min_accuracy"] == "1"
    assert tags["gate.min_class_recall"] == "1 (angry)"
    assert tags["gate.smoke"] == "passed"


def test_page_shows_verdict_and_card(version: Version) -> None:
    assert version.description.startswith(
        "## Quality gate: passed, compared with no other model in production"
    )
    assert (
        "* ✓ `min_accuracy`: accuracy is 1.000 (95 % interval 0.631–1.000), at least 0.4"
        in version.description
    )
    assert "* ✓ `min_class_recall.angry`: recall of angry is 1.000" in version.description
    assert version.description.count("min_class_recall") == 1  # of three equal ones, the first
    assert "Art. 5(1)(f)" in version.description
    assert len(version.description) <= 5000


def test_folder_holds_everything_beside_the_model(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    extras = {package.CARD, package.REFERENCE, package.SELF_TEST, package.METRICS, package.COMPARISON}
    assert {"MLmodel", MODEL_FILE, "requirements.txt", *extras} <= names
    assert (folder / "requirements.txt").read_text().count("==") == 4


def test_self_test_can_be_repeated(folder: Path) -> None:
    stored = np.load(folder / package.SELF_TEST)
    answers = open_model(folder / MODEL_FILE).predict(stored["image"])
    assert len(stored["image"]) == 8
    np.testing.assert_allclose(answers.probabilities, stored["probabilities"], atol=1e-6)
    np.testing.assert_allclose(answers.heatmap, stored["heatmap"], atol=1e-6)
    np.testing.assert_allclose(answers.embedding, stored["embedding"], atol=1e-6)


def test_reference_is_the_test_split_and_nothing_else(folder: Path) -> None:
    table = pq.read_table(folder / package.REFERENCE).to_pandas()
    assert len(table) == len(CLASSES) * PER_CLASS
    assert all("/test/" in path for path in table["path"])
    assert (table["predicted"] == table["label"]).all()
    probabilities = table[[f"p_{name}" for name in CLASSES]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(table["confidence"], probabilities.max(1))
    expected = [-sum(p * np.log(p) for p in row if p > 0) for row in probabilities]
    np.testing.assert_allclose(table["entropy"], expected, atol=1e-9)
    assert (table["face_size"] == 2 * SIDE).all()  # whole pictures, as large as the originals
    assert table["embedding"].iloc[0].dtype == np.float16
    assert len(table["embedding"].iloc[0]) == 6


def test_mlflow_itself_can_load_and_ask_it(world: World) -> None:
    import mlflow

    loaded = mlflow.pyfunc.load_model("models:/emotion/1")
    answers = loaded.predict(np.full((2, SIDE, SIDE, 3), 128, np.uint8))
    assert answers["probabilities"].shape == (2, len(CLASSES))
    example = loaded.input_example
    assert example["image"].shape == (1, SIDE, SIDE, 3)
    assert loaded.predict(example)["probabilities"].shape == (1, len(CLASSES))


def test_signature_is_the_contract_s(world: World) -> None:
    import mlflow

    signature = mlflow.models.get_model_info("models:/emotion/1").signature
    [image] = signature.inputs.inputs
    assert (image.name, image.type, image.shape) == ("image", np.dtype("uint8"), (-1, SIDE, SIDE, 3))
    outputs = {tensor.name: tensor.shape for tensor in signature.outputs.inputs}
    assert outputs == {"probabilities": (-1, 3), "heatmap": (-1, -1, -1), "embedding": (-1, 6)}


def test_every_architecture_has_a_run_with_its_test_metrics(world: World, version: Version) -> None:
    import mlflow

    runs = mlflow.MlflowClient().search_runs([tracking.configure("emotion")])
    assert {run.data.tags["architecture"] for run in runs} == {"lenet", "vgg"}
    for run in runs:
        assert run.data.metrics["test/accuracy"] == 0.9
        assert run.data.metrics["class/happy/recall"] == 0.9
        assert run.data.metrics["latency/batch_1/p50_ms"] == 2.5
        assert run.data.metrics["val_accuracy"] == 0.65
        assert run.data.tags[RESULTS_TAG]
    [selected] = [run for run in runs if run.info.run_id == version.run_id]
    assert selected.data.tags["architecture"] == "vgg"
    assert selected.data.tags["gate"] == "passed"


def test_table_of_versions_fits_a_terminal(registry: Registry, version: Version) -> None:
    _, line = describe(registry.versions(), name="emotion").splitlines()
    assert line.split()[:5] == ["1", "vgg", "passed", "candidate,", "production"]
    assert len(line) < 100
