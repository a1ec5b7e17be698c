"""Every architecture's own graph, small and with random weights, by the settings that params.yaml records."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from pipelines.core import paths
from pipelines.core.params import known_architectures, load_params
from pipelines.core.variants import int8_of
from pipelines.export.pictures import read_pictures, read_split
from pipelines.model.predict import open_model
from pipelines.quantize import qdq
from pipelines.quantize.graph import Graph
from pipelines.quantize.rewriting import rewritten
from pipelines.quantize.stage import quantize_model
from serving.inference.onnx_classifier import OnnxClassifier
from tests.support.files import read_json
from tests.support.graphs import live_operators, run
from tests.support.networks import CLASSES, SIDE, pictures

NAMES = known_architectures()
# Deep random networks are chaotic: a rounding early on grows into another answer, also without any fault.
SHALLOW = ("lenet", "vgg", "vit", "vit_pretrained")
# Fixed costs of a file (names, scales) weigh more than weights in networks this small.
LARGE = ("lenet", "mobilenet_v2", "resnet50", "efficientnet_b4")


@pytest.fixture(scope="module")
def quantized(exported: Path, repository_params: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every architecture's int8 variant."""
    root = tmp_path_factory.mktemp("quantized")
    for name in NAMES:
        quantize_model(
            source=exported / paths.onnx_model(name),
            manifest=exported / paths.MANIFEST,
            dataset=exported / paths.DATASET,
            folder=root / paths.onnx_model(int8_of(name)).parent,
            settings=load_params(repository_params).quantization_of(name),
        )
        shutil.copytree(exported / "onnx" / name, root / "onnx" / name)
    return root


@pytest.fixture(scope="module")
def repository_params() -> Path:
    return Path(__file__).parents[3] / "params.yaml"


def probabilities_of_true_classes(exported: Path, model: OnnxClassifier) -> np.ndarray:
    """Of the 18 validation pictures; the threshold of sets is the smallest, the ⌈19 · 0.9⌉-th largest."""
    split = read_split(exported / paths.MANIFEST, "val", classes=CLASSES)
    found = model.predict(read_pictures(split.paths)).probabilities
    return np.asarray(found[np.arange(len(found)), split.labels])


@pytest.mark.parametrize("name", NAMES)
def test_signature_and_contract_are_the_twins(exported: Path, quantized: Path, name: str) -> None:
    """`open_model` holds tensors against the contract; sizes of heatmap and embedding are compared here."""
    twin = open_model(quantized / paths.onnx_model(name))
    found = open_model(quantized / paths.onnx_model(int8_of(name)))
    assert replace(found.contract, conformal=twin.contract.conformal, architecture=name) == twin.contract
    assert found.contract.architecture == f"{name}-int8"
    own = probabilities_of_true_classes(exported, found)
    assert found.contract.conformal is not None
    assert found.contract.conformal.threshold == pytest.approx(own.min(), abs=2e-6)
    images = pictures(5)
    for output in ("probabilities", "heatmap", "embedding", "novelty"):
        ours, theirs = (getattr(one.predict(images), output) for one in (found, twin))
        assert (ours.shape, ours.dtype) == (theirs.shape, np.dtype(np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_one_picture_is_answered_alone_as_among_others(quantized: Path, name: str) -> None:
    found = open_model(quantized / paths.onnx_model(int8_of(name)))
    images = pictures(5)
    together = found.predict(images)
    for index in range(5):
        alone = found.predict(images[index : index + 1])
        for output in ("probabilities", "heatmap", "embedding", "novelty"):
            np.testing.assert_allclose(getattr(alone, output)[0], getattr(together, output)[index], atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_novelty_is_computed_in_float32_from_the_embedding(quantized: Path, name: str) -> None:
    graph = Graph(onnx.load(quantized / paths.onnx_model(int8_of(name))))
    tail = graph.before(["novelty"]) & graph.after("embedding")
    operators = [node.op_type for node in graph.nodes() if node.name in tail]
    assert {"Sqrt", "Clip", "Squeeze"} <= set(operators)
    assert not {"QuantizeLinear", "DequantizeLinear"} & set(operators)


@pytest.mark.parametrize("name", NAMES)
def test_rewriting_changes_no_answer(exported: Path, name: str) -> None:
    content = (exported / paths.onnx_model(name)).read_bytes()
    model = rewritten(qdq.prepared(content))
    onnx.checker.check_model(model, full_check=True)
    images = pictures(5)
    for old, new in zip(
        run(onnx.load_from_string(content), image=images), run(model, image=images), strict=True
    ):
        np.testing.assert_allclose(new, old, atol=2e-4)


@pytest.mark.parametrize(
    ("name", "gone", "there"),
    [
        ("vit", ("Shape", "Tile", "Reciprocal"), "LayerNormalization"),
        ("vit_pretrained", ("Einsum", "Tile", "Reciprocal"), "LayerNormalization"),
        ("efficientnet_b4", (), "GlobalAveragePool"),
    ],
)
def test_what_holds_int8_back_is_rewritten(
    exported: Path, name: str, gone: tuple[str, ...], there: str
) -> None:
    operators = live_operators(rewritten(qdq.prepared((exported / paths.onnx_model(name)).read_bytes())))
    assert not [operator for operator in gone if operators[operator] > (1 if operator == "Shape" else 0)]
    assert operators[there] > 0
    # One for each squeeze, and none around its convolutions: the head's heatmap keeps its own.
    assert name != "efficientnet_b4" or operators["Reshape"] <= 1


@pytest.mark.parametrize("name", SHALLOW)
def test_the_answers_are_the_twins(quantized: Path, name: str) -> None:
    found = read_json(quantized / paths.export_record(int8_of(name)))
    assert found["twin"]["same_answer"] >= 0.85
    assert found["parity"]["probabilities"] < 0.2


@pytest.mark.parametrize("name", LARGE)
def test_the_file_is_a_third_of_its_twin_or_less(quantized: Path, name: str) -> None:
    sizes = [(quantized / paths.onnx_model(one)).stat().st_size for one in (int8_of(name), name)]
    assert sizes[0] < 0.36 * sizes[1]


def test_pictures_have_the_size_the_fixtures_promise() -> None:
    assert pictures(1).shape == (1, SIDE, SIDE, 3)
