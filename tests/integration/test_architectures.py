"""Every architecture of the registry, built small: shapes, heatmaps, precision, saved weights."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines.core.errors import ParamsError
from pipelines.core.params import HeadParams, ModelParams, known_architectures
from pipelines.export.heatmaps import LEAST_EVIDENCE, scaled
from pipelines.export.inference import class_heatmap, head_outputs, inference_function
from pipelines.model.keras_classifier import Classifier, build_classifier
from tests.support.networks import CLASSES, HEAD, SIDE, lively, pictures, small_classifier

NAMES = known_architectures()
CONVOLUTIONAL = [name for name in NAMES if name != "vit"]


@cache
def network(name: str) -> Classifier:
    return lively(small_classifier(name))


@cache
def answers(name: str) -> dict[str, np.ndarray[Any, Any]]:
    infer = inference_function(network(name), temperature=1.0, height=SIDE, width=SIDE)
    return {key: value.numpy() for key, value in infer(tf.constant(pictures(4))).items()}


@pytest.mark.parametrize("name", NAMES)
def test_answers_have_the_shapes_of_the_contract(name: str) -> None:
    classifier, got = network(name), answers(name)
    assert got["probabilities"].shape == (4, len(CLASSES))
    assert got["embedding"].shape == (4, HEAD.hidden[-1])
    assert got["heatmap"].shape == (4, *classifier.grid)
    np.testing.assert_allclose(got["probabilities"].sum(axis=1), 1, atol=1e-6)
    assert got["heatmap"].min() >= 0
    assert got["heatmap"].max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_different_pictures_get_different_answers(name: str) -> None:
    rows = answers(name)["probabilities"]
    apart = np.abs(rows[:, None] - rows).max(axis=2) + np.eye(len(rows))
    assert apart.min() > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_exported_function_is_the_model_under_softmax(name: str) -> None:
    logits = network(name).model(pictures(4).astype(np.float32), training=False)
    np.testing.assert_allclose(answers(name)["probabilities"], tf.nn.softmax(logits), atol=1e-4)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_closed_form_heatmap_is_grad_cam_by_gradient_tape(name: str) -> None:
    classifier = network(name)
    features = classifier.backbone(pictures(4).astype(np.float32), training=False)
    head = keras.Model(classifier.backbone.output, classifier.model.output)
    with tf.GradientTape() as tape:
        tape.watch(features)
        score = tf.reduce_max(head(features, training=False), axis=1)
    weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2)).numpy()
    evidence = features.numpy() * weights[:, None, None, :]
    expected = np.maximum(evidence.sum(axis=-1), 0)
    floor = LEAST_EVIDENCE * np.abs(evidence).sum(axis=-1).max(axis=(1, 2))
    expected /= np.maximum(expected.max(axis=(1, 2)), floor)[:, None, None]
    assert np.ptp(expected) > 0.1
    outputs = head_outputs(classifier, features)
    got = scaled(class_heatmap(classifier, features, outputs, top=tf.argmax(outputs.logits, axis=-1)))
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_vit_heatmap_is_attention_rollout() -> None:
    classifier = network("vit")
    _, *attentions = classifier.backbone(pictures(4).astype(np.float32), training=False)
    tokens = attentions[0].shape[-1]
    reach = np.tile(np.eye(tokens), (4, 1, 1))
    for attention in attentions:
        mixed = 0.5 * attention.numpy().astype(np.float64).mean(axis=1) + 0.5 * np.eye(tokens)
        reach = (mixed / mixed.sum(axis=-1, keepdims=True)) @ reach
    expected = reach[:, 0, 1:].reshape(4, *classifier.grid)
    expected /= expected.max(axis=(1, 2), keepdims=True)
    assert np.ptp(expected) > 0.05
    np.testing.assert_allclose(answers("vit")["heatmap"], expected, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_nested_so_that_unfreezing_counts_layers(name: str) -> None:
    assert not [layer.name for layer in network(name).model.layers if isinstance(layer, keras.Model)]


@pytest.mark.parametrize("name", NAMES)
def test_mixed_precision_keeps_float32_weights_and_logits(name: str) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        classifier = small_classifier(name)
    finally:
        keras.config.set_dtype_policy("float32")
    logits = classifier.model(pictures(2).astype(np.float32), training=False)
    assert logits.dtype == tf.float32
    assert {weight.dtype for weight in classifier.model.trainable_weights} == {"float32"}
    features = classifier.backbone.output
    assert (features[0] if isinstance(features, list) else features).dtype == "bfloat16"


@pytest.mark.parametrize("name", NAMES)
def test_saved_weights_fit_a_network_built_again(name: str, tmp_path: Path) -> None:
    classifier, again = network(name), small_classifier(name)
    classifier.model.save_weights(tmp_path / "model.weights.h5")
    again.model.load_weights(tmp_path / "model.weights.h5")
    image = pictures(2).astype(np.float32)
    np.testing.assert_array_equal(classifier.model(image, training=False), again.model(image, training=False))


@pytest.mark.parametrize("name", NAMES)
def test_too_small_a_picture_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ParamsError) as caught:
        small_classifier(name, side=4)
    assert "params.yaml: " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["lenet", "vit"])
def test_head_without_hidden_layers_embeds_the_pooled_features(name: str) -> None:
    classifier = lively(small_classifier(name, head=HeadParams(hidden=[], dropout=0.0)))
    infer = inference_function(classifier, temperature=2.0, height=SIDE, width=SIDE)
    got = infer(tf.constant(pictures(2)))
    logits = classifier.model(pictures(2).astype(np.float32), training=False)
    dense = classifier.head[-1]
    np.testing.assert_allclose(got["embedding"] @ dense.kernel + dense.bias, logits, atol=1e-4)
    np.testing.assert_allclose(got["probabilities"], tf.nn.softmax(logits / 2), atol=1e-5)


def test_pictures_need_not_be_square() -> None:
    classifier = build_classifier(
        "vit",
        ModelParams(
            epochs=1, learning_rate=1e-3, options={"patch_px": 8, "width": 8, "depth": 1, "heads": 2}
        ),
        head=HEAD,
        height=24,
        width=40,
        classes=2,
    )
    assert classifier.grid == (3, 5)
