"""Heatmaps by automatic differentiation, by hand and from the exported file; and the stage as a whole."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from pipelines.core import paths
from pipelines.core.dataset import write_dataset
from pipelines.core.errors import ExplanationFailed
from pipelines.core.params import ExportParams, load_params
from pipelines.core.records import write_record
from pipelines.explain import stage
from pipelines.explain.heatmaps import keras_heatmaps, method
from pipelines.export.flip_average import both
from pipelines.export.inference import inference_function
from pipelines.export.stage import export_model
from pipelines.model.predict import open_model
from pipelines.quantize.stage import quantize_model
from tests.support.files import read_json
from tests.support.networks import CLASSES, lively, pictures, small_classifier, write_trained
from tests.support.results import comparison

# One for each kind of pooling: flattened, averaged, class token.
KINDS = ("lenet", "vgg", "vit")


@pytest.fixture(scope="module")
def networks() -> dict[str, Any]:
    return {name: lively(small_classifier(name, side=32)) for name in KINDS}


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, networks: dict[str, Any], request: pytest.FixtureRequest
) -> Path:
    """Two trained and exported networks and what `evaluate` and `compare` would have left of them."""
    root = tmp_path_factory.mktemp("world")
    for name in ("lenet", "vit"):
        shutil.rmtree(root / "prepared", ignore_errors=True)
        write_dataset(root / paths.DATASET, write_trained(root, networks[name]))
        export_model(
            record=root / paths.training_record(name),
            weights=root / paths.trained_weights(name),
            manifest=root / paths.MANIFEST,
            folder=root / paths.onnx_model(name).parent,
            params=ExportParams(opset=18, tolerance=1e-4),
        )
        _write_predictions(root, name)
    params = yaml.safe_load((request.config.rootpath / "params.yaml").read_text())
    params |= {"architectures": ["lenet", "vit"], "explain": {"per_panel": 3}}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    write_record(root / paths.COMPARISON, comparison("lenet"))
    return root


def _write_predictions(root: Path, name: str) -> None:
    manifest = pd.read_parquet(root / paths.MANIFEST)
    classifier = open_model(root / paths.onnx_model(name))
    images = np.stack([np.asarray(Image.open(root / "prepared" / path)) for path in manifest["path"]])
    probabilities = classifier.predict(images).probabilities
    table = manifest[["path", "split", "label"]].assign(
        predicted=np.array(CLASSES)[probabilities.argmax(1)],
        confidence=probabilities.max(1),
        **{f"p_{label}": probabilities[:, index] for index, label in enumerate(CLASSES)},
    )
    (root / paths.evaluation_predictions(name)).parent.mkdir(parents=True)
    table.to_parquet(root / paths.evaluation_predictions(name))


@pytest.fixture
def inside(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that world as the current folder."""
    root = Path(shutil.copytree(world, tmp_path / "world"))
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize("flip_average", [False, True], ids=["plain", "averaged"])
@pytest.mark.parametrize("name", KINDS)
def test_differentiation_agrees_with_the_closed_form_that_is_exported(
    name: str, flip_average: bool, networks: dict[str, Any]
) -> None:
    classifier, images = networks[name], pictures(9, side=32)
    function = inference_function(classifier, temperature=1.3, height=32, width=32, flip_average=flip_average)
    batch = both(images) if flip_average else images
    answers = {key: value.numpy() for key, value in function(image=batch).items()}

    top = answers["probabilities"].argmax(1)
    heatmaps = keras_heatmaps(classifier, images, top=top, flip_average=flip_average)

    assert heatmaps.shape == (9, *classifier.grid)
    np.testing.assert_allclose(heatmaps, answers["heatmap"], atol=1e-4)
    # Maps that were all alike would agree as well.
    assert np.ptp(heatmaps, axis=0).max() > 0.1


def test_grad_cam_is_what_the_paper_says(networks: dict[str, Any]) -> None:
    """By finite differences: no gradient of TensorFlow's, no closed form."""
    classifier, image = networks["vgg"], pictures(1, side=32)
    features = np.asarray(classifier.backbone(image.astype(np.float32), training=False))[0].astype(np.float64)
    kernels = [np.asarray(layer.kernel, np.float64) for layer in classifier.head]
    biases = [np.asarray(layer.bias, np.float64) for layer in classifier.head]

    def logits(channels: np.ndarray) -> np.ndarray:
        for kernel, bias in zip(kernels[:-1], biases[:-1], strict=True):
            channels = np.maximum(channels @ kernel + bias, 0)
        return np.asarray(channels @ kernels[-1] + biases[-1])

    pooled = features.mean((0, 1))
    top = int(logits(pooled).argmax())
    step = 1e-6
    slopes = [
        (logits(pooled + step * unit)[top] - logits(pooled - step * unit)[top]) / (2 * step)
        for unit in np.eye(len(pooled))
    ]
    expected = np.maximum((features * slopes).sum(-1), 0)

    heatmap = keras_heatmaps(classifier, image, top=np.array([top]))[0]

    np.testing.assert_allclose(heatmap, expected / expected.max(), atol=1e-4)


def test_a_transformer_is_explained_by_its_attention(networks: dict[str, Any]) -> None:
    assert [method(networks[name]) for name in KINDS] == ["Grad-CAM", "Grad-CAM", "attention rollout"]


def test_the_stage_draws_its_panels_and_says_how_far_keras_and_onnx_are_apart(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.main()

    record = read_json(inside / paths.EXPLANATIONS / "explain.json")
    assert record["architecture"] == "lenet"
    assert record["method"] == "Grad-CAM"
    assert 0 < record["agreement"]["max_difference"] <= 1e-4
    assert record["quantized"] is None
    assert record["agreement"]["pictures"] == sum(len(panel) for panel in record["panels"].values())
    for name, panel in record["panels"].items():
        assert (inside / paths.EXPLANATIONS / f"{name}.png").exists() == bool(panel)
    assert [set(face["answers"]) for face in record["faces"]] == [{"lenet", "vit"}] * 3
    with Image.open(inside / paths.EXPLANATIONS / "architectures.png") as panel:
        assert panel.width > 600
    found = record["faithfulness"]
    test = pd.read_parquet(inside / paths.MANIFEST).query("split == 'test'")
    assert found["pictures"] == min(len(test), 40)
    for name in ("insertion", "deletion", "shuffled_insertion", "shuffled_deletion"):
        assert 0 <= found[name]["low"] <= found[name]["value"] <= found[name]["high"] <= 1
    assert "lenet: Grad-CAM on" in capsys.readouterr().out


def test_every_tile_the_record_names_is_there_and_no_other(inside: Path) -> None:
    stage.main()

    folder = inside / paths.EXPLANATIONS
    record = read_json(folder / "explain.json")
    entries = [*record["faces"], *(entry for panel in record["panels"].values() for entry in panel)]
    named = {place for entry in entries for place in entry["tiles"].values()}
    assert named == {path.relative_to(folder).as_posix() for path in folder.rglob("*.webp")}


def test_a_second_run_writes_the_same_bytes(inside: Path) -> None:
    written = []
    for _ in range(2):
        stage.main()
        files = sorted(path for path in (inside / paths.EXPLANATIONS).rglob("*") if path.is_file())
        written.append({path.name: path.read_bytes() for path in files})

    assert written[0] == written[1]


def test_a_vision_transformer_can_be_the_selected_one(inside: Path) -> None:
    write_record(inside / paths.COMPARISON, comparison("vit"))

    stage.main()

    assert read_json(inside / paths.EXPLANATIONS / "explain.json")["method"] == "attention rollout"


@pytest.mark.parametrize("name", ["lenet", "vit"])
def test_a_file_that_averages_mirror_images_is_explained_by_averages(inside: Path, name: str) -> None:
    export_model(
        record=inside / paths.training_record(name),
        weights=inside / paths.trained_weights(name),
        manifest=inside / paths.MANIFEST,
        folder=(inside / paths.onnx_model(name)).parent,
        params=ExportParams(opset=18, tolerance=1e-4, flip_average=True),
    )
    write_record(inside / paths.COMPARISON, comparison(name))

    stage.main()

    agreement = read_json(inside / paths.EXPLANATIONS / "explain.json")["agreement"]
    assert 0 < agreement["max_difference"] <= 1e-4


def test_an_int8_variant_is_explained_beside_its_twin(inside: Path) -> None:
    """Keras is compared with the float file; the int8 file's distance is reported and not judged."""
    quantize_model(
        source=inside / paths.onnx_model("lenet"),
        manifest=inside / paths.MANIFEST,
        dataset=inside / paths.DATASET,
        folder=inside / paths.onnx_model("lenet-int8").parent,
        settings=load_params(inside / "params.yaml").quantization_of("lenet"),
    )
    _write_predictions(inside, "lenet-int8")
    write_record(inside / paths.COMPARISON, comparison("lenet-int8"))

    stage.main()

    record = read_json(inside / paths.EXPLANATIONS / "explain.json")
    assert record["architecture"] == "lenet-int8"
    assert record["architectures"] == ["lenet", "vit"]
    assert 0 < record["agreement"]["max_difference"] <= 1e-4
    quantized = record["quantized"]
    assert 0 < quantized["same_answer"] <= quantized["pictures"] == record["agreement"]["pictures"]
    # A hardly trained network: 0.09 to 0.10, by the processor's int8 kernels; unrelated maps differ by 1/3.
    assert 0 < quantized["mean_difference"] < 0.2
    assert quantized["mean_difference"] < quantized["max_difference"] <= 1


def test_a_file_that_explains_differently_is_refused_and_nothing_is_written(
    inside: Path, networks: dict[str, Any]
) -> None:
    # Other weights than those the ONNX file was made from.
    other = small_classifier("lenet", side=32)
    other.model.save_weights(inside / paths.trained_weights("lenet"))

    with pytest.raises(ExplanationFailed, match=r"expected agreement within 0\.001"):
        stage.main()

    assert not (inside / paths.EXPLANATIONS).exists()
