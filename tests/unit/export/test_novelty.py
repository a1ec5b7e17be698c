"""Novelty against SciPy's Mahalanobis distance, ranks counted by hand, and its nodes in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper
from scipy.spatial.distance import cdist

from pipelines.export.novelty import CALIBRATED, NoveltyReference, fit_reference, with_novelty
from serving.contract.model import METADATA_KEY, ModelContract
from tests.support.onnx_models import make_contract

SHRINKAGE = 0.01
FLOAT = onnx.TensorProto.FLOAT


def embeddings(count: int, width: int, *, seed: int, offset: float = 0.0) -> NDArray[np.float32]:
    """Like a ReLU's output: not negative, of different scales, correlated, some features always 0."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(0, 1, (width, width)) * np.linspace(0.1, 2, width)
    values = np.maximum(rng.normal(0.5, 1, (count, width)) @ mixing + offset, 0)
    values[:, ::7] = 0
    return np.asarray(values, np.float32)


def expected_distance(training: NDArray[np.float32], asked: NDArray[np.float32]) -> NDArray[np.float64]:
    """By the textbook: the inverse of the shrunken covariance of vectors of length 1, by SciPy."""
    train, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in map(np.float64, (training, asked)))
    covariance = np.cov(train.T, bias=True)
    width = len(covariance)
    shrunken = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.trace(covariance) / width * np.eye(width)
    mean = train.mean(axis=0, keepdims=True)
    return np.asarray(cdist(other, mean, "mahalanobis", VI=np.linalg.inv(shrunken))[:, 0] ** 2)


@pytest.mark.parametrize(("count", "width"), [(200, 24), (10, 24), (60, 130)], ids=["many", "few", "wide"])
def test_distance_is_that_of_the_inverse_covariance(count: int, width: int) -> None:
    training, asked = embeddings(count, width, seed=0), embeddings(40, width, seed=1)
    reference = fit_reference(training, embeddings(30, width, seed=2))
    np.testing.assert_allclose(reference.distance(asked), expected_distance(training, asked), rtol=2e-4)


def test_long_embeddings_keep_the_axes_of_most_variance() -> None:
    """900 features: 222 axes fit. Beside them the distance has one variance, the mean of the others'."""
    width, count = 900, 222
    training, asked = embeddings(600, width, seed=0), embeddings(20, width, seed=1)
    reference = fit_reference(training, asked)
    assert reference.axes.shape == (width, count)
    unit, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in map(np.float64, (training, asked)))
    values, vectors = np.linalg.eigh(np.cov(unit.T, bias=True))
    shrunken = ((1 - SHRINKAGE) * values + SHRINKAGE * values.mean())[::-1]
    shrunken[count:] = shrunken[count:].mean()
    along = (other - unit.mean(axis=0)) @ vectors[:, ::-1]
    np.testing.assert_allclose(reference.distance(asked), (along**2 / shrunken).sum(axis=1), rtol=1e-3)
    assert sum(value.nbytes for value in vars(reference).values() if isinstance(value, np.ndarray)) < 1e6


def test_the_length_of_an_embedding_does_not_count() -> None:
    reference = fit_reference(embeddings(100, 12, seed=0), embeddings(50, 12, seed=1))
    asked = embeddings(9, 12, seed=2)
    np.testing.assert_allclose(reference.novelty(asked), reference.novelty(asked * 1000), rtol=1e-6)


def test_value_is_the_share_of_validation_pictures_that_are_less_novel() -> None:
    validation = embeddings(999, 12, seed=1)
    reference = fit_reference(embeddings(400, 12, seed=0), validation)
    asked = embeddings(200, 12, seed=2)
    known, distance = np.sort(reference.distance(validation)), reference.distance(asked)
    share = np.array([(known < one).sum() for one in distance]) / 1000
    # The table has a step of 2 %, within which it is linear.
    assert np.abs(reference.novelty(asked) - share).max() < 0.012
    above = reference.novelty(validation) >= 0.99
    assert 8 <= above.sum() <= 12


def test_values_beyond_every_validation_picture_stay_apart_and_below_one() -> None:
    validation = embeddings(100, 12, seed=1)
    reference = fit_reference(embeddings(400, 12, seed=0), validation)
    least = validation[reference.distance(validation).argmax()]
    # A feature that is always 0, and others with the other sign: nothing of the kind was seen.
    far = np.concatenate([np.eye(12)[[0]], -np.eye(12)[[1, 2, 3]]]).astype(np.float32)
    asked = np.stack([least, *far])
    distance, found = reference.distance(asked), reference.novelty(asked)
    assert (distance[1:] > distance[0]).all()
    assert found[0] == pytest.approx(100 / 101, abs=1e-4)
    assert (np.diff(found[np.argsort(distance)]) > 0).all()
    np.testing.assert_allclose(found, (100 + 1 - distance[0] / distance) / 101, atol=1e-6)
    assert found.max() < 1


def test_equal_distances_and_empty_embeddings_give_numbers() -> None:
    flat = np.zeros((5, 6), np.float32)
    reference = fit_reference(flat, flat)
    for asked in (flat, embeddings(4, 6, seed=0)):
        found = reference.novelty(asked)
        assert ((found >= 0) & (found <= 1)).all()


def plain_model(width: int) -> bytes:
    """A graph whose embedding is its picture of one row; the other outputs copy it."""
    image = helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, ["batch", 1, width, 3])
    nodes = [
        helper.make_node("Cast", ["image"], ["number"], to=FLOAT),
        helper.make_node("ReduceMean", ["number"], ["rows"], axes=[1, 3], keepdims=0),
        helper.make_node("Mul", ["rows", "scale"], ["embedding"]),
        helper.make_node("Softmax", ["embedding"], ["probabilities"], axis=1),
        helper.make_node("Unsqueeze", ["embedding", "axis"], ["heatmap"]),
    ]
    outputs = [
        helper.make_tensor_value_info(name, FLOAT, sizes)
        for name, sizes in {
            "probabilities": ["batch", width],
            "heatmap": ["batch", 1, width],
            "embedding": ["batch", width],
        }.items()
    ]
    constants = [
        onnx.numpy_helper.from_array(np.float32(0.01), "scale"),
        onnx.numpy_helper.from_array(np.array([1]), "axis"),
    ]
    graph = helper.make_graph(nodes, "plain", [image], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def images(count: int, width: int, *, seed: int) -> NDArray[np.uint8]:
    values = np.clip(embeddings(count, width, seed=seed) * 20, 0, 255).astype(np.uint8)
    return np.repeat(values[:, np.newaxis, :, np.newaxis], 3, axis=3)


def built(width: int) -> tuple[onnxruntime.InferenceSession, NoveltyReference, bytes]:
    """The graph with novelty, fitted to its own embeddings."""

    def seen(count: int, seed: int) -> NDArray[np.float32]:
        return np.asarray(images(count, width, seed=seed)[:, 0, :, 0] * np.float32(0.01), np.float32)

    reference = fit_reference(seen(150, 0), seen(80, 1))
    contract = ModelContract(**{**vars(make_contract()), "novelty": CALIBRATED})
    proto = with_novelty(plain_model(width), reference, contract)
    onnx.checker.check_model(proto, full_check=True)
    content = proto.SerializeToString(deterministic=True)
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]), reference, content


@pytest.mark.parametrize("width", [12, 200, 900], ids=["all-axes", "few-pictures", "long"])
def test_nodes_compute_what_numpy_does_in_batches_of_any_size(width: int) -> None:
    session, reference, _ = built(width)
    asked = np.concatenate([images(30, width, seed=2), np.zeros((3, 1, width, 3), np.uint8)])
    embedding, together = session.run(["embedding", "novelty"], {"image": asked})
    assert (together.dtype, together.shape) == (np.float32, (33,))
    np.testing.assert_allclose(together, reference.novelty(embedding), atol=2e-5)
    assert np.ptp(together) > 0.5
    for index in range(33):
        (alone,) = session.run(["novelty"], {"image": asked[index : index + 1]})
        np.testing.assert_allclose(alone[0], together[index], atol=1e-5)


def test_file_is_the_same_again_and_carries_its_contract() -> None:
    first, second = (built(12)[2] for _ in range(2))
    assert first == second
    (entry,) = onnx.load_from_string(first).metadata_props
    assert entry.key == METADATA_KEY
    assert ModelContract.from_json(entry.value).novelty == CALIBRATED
