"""`export.flip_average`: one file that averages a picture with its mirror image, against the plain file."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import scipy.special
from numpy.typing import NDArray

from pipelines.core import paths
from pipelines.core.model_results import Export
from pipelines.core.params import ExportParams, load_params
from pipelines.core.variants import int8_of
from pipelines.evaluate.latency import measure
from pipelines.export.heatmaps import LEAST_EVIDENCE
from pipelines.export.inference import fit_temperature
from pipelines.export.pictures import read_pictures, read_split
from pipelines.export.stage import export_model
from pipelines.model.keras_classifier import Classifier
from pipelines.model.predict import open_model
from pipelines.quantize.stage import quantize_model
from serving.contract import Image
from serving.inference.onnx_classifier import OnnxClassifier
from tests.support.files import read_json
from tests.support.networks import CLASSES, lively, pictures, small_classifier

# Flattened and averaged feature maps, squeeze and excite, a class token.
NAMES = ("lenet", "vgg", "efficientnet_b4", "vit")
PARAMS = ExportParams(opset=18, tolerance=1e-4, flip_average=True)
CHECKOUT = Path(__file__).parents[3]


def export(root: Path, name: str, out: Path) -> Export:
    """Export a trained network of the fixture `exported` into another folder, averaged."""
    return export_model(
        record=root / paths.training_record(name),
        weights=root / paths.trained_weights(name),
        manifest=root / paths.MANIFEST,
        folder=(out / paths.onnx_model(name)).parent,
        params=PARAMS,
    )


@pytest.fixture(scope="module")
def averaged(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the averaged files of `NAMES` and their int8 variants."""
    root = tmp_path_factory.mktemp("averaged")
    params = load_params(CHECKOUT / "params.yaml")
    for name in NAMES:
        export(exported, name, root)
        quantize_model(
            source=root / paths.onnx_model(name),
            manifest=exported / paths.MANIFEST,
            dataset=exported / paths.DATASET,
            folder=(root / paths.onnx_model(int8_of(name))).parent,
            settings=params.quantization_of(name),
        )
    return root


@cache
def network(name: str) -> Classifier:
    """The network that `exported` was made from."""
    return lively(small_classifier(name))


def mirrored(images: NDArray[Any]) -> NDArray[Any]:
    """Rows in reverse order of columns, of pictures and heatmaps."""
    return images[:, :, ::-1]


def averaged_logits(plain: OnnxClassifier, name: str, images: Image) -> NDArray[np.float64]:
    """The last layer on the mean of two embeddings that the plain file gives."""
    embedding = (plain.predict(images).embedding + plain.predict(mirrored(images)).embedding) / 2
    last = network(name).head[-1]
    return np.asarray(embedding.astype(np.float64) @ np.asarray(last.kernel) + np.asarray(last.bias))


@pytest.mark.parametrize("name", NAMES)
def test_embedding_is_the_mean_and_probabilities_follow_from_it(
    exported: Path, averaged: Path, name: str
) -> None:
    plain, found = (open_model(root / paths.onnx_model(name)) for root in (exported, averaged))
    images = pictures(7)
    got = found.predict(images)
    one, other = plain.predict(images), plain.predict(mirrored(images))
    assert np.abs(one.embedding - other.embedding).max() > 1e-2
    np.testing.assert_allclose(got.embedding, (one.embedding + other.embedding) / 2, atol=2e-5)
    logits = averaged_logits(plain, name, images)
    expected = scipy.special.softmax(logits / found.contract.temperature, axis=1)
    np.testing.assert_allclose(got.probabilities, expected, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_temperature_is_fitted_to_averaged_logits(exported: Path, averaged: Path, name: str) -> None:
    split = read_split(exported / paths.MANIFEST, "val", classes=CLASSES)
    plain = open_model(exported / paths.onnx_model(name))
    logits = averaged_logits(plain, name, read_pictures(split.paths))
    temperature = open_model(averaged / paths.onnx_model(name)).contract.temperature
    assert temperature == pytest.approx(
        fit_temperature(logits.astype(np.float32), split.labels).temperature, 2e-3
    )
    record = read_json(averaged / paths.export_record(name))
    nll = -scipy.special.log_softmax(logits / temperature, axis=1)[np.arange(len(logits)), split.labels]
    assert record["val_nll_after"] == pytest.approx(nll.mean(), abs=1e-4)


def raw_grad_cam(
    classifier: Classifier, images: Image, top: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Grad-CAM before it is scaled, and the largest evidence of any position, by the chain rule in NumPy."""
    features = np.asarray(classifier.backbone(images.astype(np.float32), training=False), np.float64)
    count, rows, columns, channels = features.shape
    averages = classifier.pooling == "average"
    vector = features.mean((1, 2)) if averages else features.reshape(count, -1)
    kernels = [np.asarray(layer.kernel, np.float64) for layer in classifier.head]
    opened = []
    for layer, kernel in zip(classifier.head[:-1], kernels, strict=False):
        before = vector @ kernel + np.asarray(layer.bias)
        opened.append(before > 0)
        vector = np.maximum(before, 0)
    slope = kernels[-1].T[top]
    for kernel, is_open in zip(kernels[-2::-1], opened[::-1], strict=True):
        slope = (slope * is_open) @ kernel.T
    weights = (
        slope / (rows * columns) if averages else slope.reshape(count, rows * columns, channels).mean(axis=1)
    )
    evidence = features * weights[:, None, None, :]
    return np.maximum(evidence.sum(-1), 0), np.abs(evidence).sum(-1).max((1, 2))


def raw_rollout(classifier: Classifier, images: Image) -> NDArray[np.float64]:
    """Attention rollout before it is scaled: the product of all blocks' matrices."""
    _, *attentions = classifier.backbone(images.astype(np.float32), training=False)
    tokens = attentions[0].shape[-1]
    reach = np.tile(np.eye(tokens), (len(images), 1, 1))
    for attention in attentions:
        reach = (0.5 * np.asarray(attention, np.float64).mean(axis=1) + 0.5 * np.eye(tokens)) @ reach
    return reach[:, 0, 1:].reshape(len(images), *classifier.grid)


@pytest.mark.parametrize("name", NAMES)
def test_heatmap_averages_two_maps_of_one_class_before_scaling(
    exported: Path, averaged: Path, name: str
) -> None:
    images, classifier = pictures(7), network(name)
    top = averaged_logits(open_model(exported / paths.onnx_model(name)), name, images).argmax(axis=1)
    if classifier.pooling == "token":
        one, other = raw_rollout(classifier, images), raw_rollout(classifier, mirrored(images))
        floor = np.zeros(len(images))
    else:
        one, floor_one = raw_grad_cam(classifier, images, top)
        other, floor_other = raw_grad_cam(classifier, mirrored(images), top)
        floor = LEAST_EVIDENCE * (floor_one + floor_other) / 2
    mean = (one + mirrored(other)) / 2
    expected = mean / np.maximum(mean.max((1, 2)), floor)[:, None, None]
    assert np.ptp(expected) > 0.05
    got = open_model(averaged / paths.onnx_model(name)).predict(images).heatmap
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("name", [*NAMES, *map(int8_of, NAMES)])
def test_mirror_image_gets_the_same_answer_and_the_mirrored_heatmap(averaged: Path, name: str) -> None:
    """Of the int8 file too: its ranges are those of both halves."""
    found, images = open_model(averaged / paths.onnx_model(name)), pictures(4)
    got, other = found.predict(images), found.predict(mirrored(images))
    np.testing.assert_allclose(other.probabilities, got.probabilities, atol=1e-6)
    np.testing.assert_allclose(other.embedding, got.embedding, atol=1e-5)
    np.testing.assert_allclose(other.heatmap, mirrored(got.heatmap), atol=1e-5)
    assert np.abs(got.heatmap - mirrored(got.heatmap)).max() > 1e-2


@pytest.mark.parametrize("name", [*NAMES, *map(int8_of, NAMES)])
def test_rows_do_not_depend_on_what_fills_the_batch(averaged: Path, name: str) -> None:
    """Five pictures run as eight: with zeros, or with three others."""
    found, images = open_model(averaged / paths.onnx_model(name)), pictures(8)
    full, padded = found.predict(images).arrays(), found.predict(images[:5]).arrays()
    for output, rows in padded.items():
        np.testing.assert_array_equal(rows, full[output][:5], err_msg=output)
        for index in range(5):
            alone = found.predict(images[index : index + 1]).arrays()[output][0]
            np.testing.assert_allclose(alone, rows[index], atol=1e-4, err_msg=output)


@pytest.mark.parametrize("name", NAMES)
def test_contract_record_and_int8_variant_say_so(exported: Path, averaged: Path, name: str) -> None:
    assert not open_model(exported / paths.onnx_model(name)).contract.flip_average
    assert "flip_average" not in read_json(exported / paths.export_record(name))
    for variant in (name, int8_of(name)):
        contract = open_model(averaged / paths.onnx_model(variant)).contract
        assert (contract.flip_average, contract.version) == (True, 2)
        assert read_json(averaged / paths.export_record(variant))["flip_average"] is True
    twin = read_json(averaged / paths.export_record(int8_of(name)))["twin"]
    assert twin["same_answer"] >= 0.85


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_in_the_file_once(exported: Path, averaged: Path, name: str) -> None:
    plain, found = (onnx.load(root / paths.onnx_model(name)).graph for root in (exported, averaged))
    (value,) = found.input
    assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    convolutions = [sum(node.op_type == "Conv" for node in graph.node) for graph in (plain, found)]
    assert convolutions[0] == convolutions[1] > 0
    sizes = [(root / paths.onnx_model(name)).stat().st_size for root in (exported, averaged)]
    assert abs(sizes[1] - sizes[0]) < 5_000


def test_another_process_in_another_order_writes_the_same_bytes(
    exported: Path, averaged: Path, tmp_path: Path
) -> None:
    names = ("vit", "lenet")
    code = (
        "from pathlib import Path\n"
        "from tests.integration.export.test_flip_average import export\n"
        f"for name in {names!r}: export(Path({str(exported)!r}), name, Path({str(tmp_path)!r}))\n"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": "."},
    )
    for name in names:
        for file in (paths.onnx_model(name), paths.export_record(name)):
            assert (averaged / file).read_bytes() == (tmp_path / file).read_bytes(), file


def test_latency_shows_twice_the_cost(exported: Path, averaged: Path) -> None:
    """As variants of one architecture, whose ratio is a median over rounds, so that no busy moment counts."""
    models = {
        "vgg": open_model(averaged / paths.onnx_model("vgg")),
        int8_of("vgg"): open_model(exported / paths.onnx_model("vgg")),
    }
    found, _ = measure(models, dict.fromkeys(models, pictures(16)), rounds=25, seed=0)
    assert found[int8_of("vgg")].batch_16.speed_up == pytest.approx(2, abs=0.7)
