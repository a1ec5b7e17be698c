"""Heatmaps from the Keras model itself: Grad-CAM by automatic differentiation, attention rollout for a ViT.

The ONNX file computes the same in closed form; `explain` compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.export.heatmaps import LEAST_EVIDENCE
from pipelines.model.keras_classifier import Classifier
from serving.contract.arrays import Image

Heatmaps = NDArray[np.float32]
"""float32 [batch, rows, columns] in [0, 1]."""

_TINY = 1e-12
"""Keeps 0 / 0 out of a map without any evidence."""


@dataclass(frozen=True, kw_only=True)
class _Raw:
    maps: Heatmaps
    """≥ 0, before they are scaled to [0, 1]."""
    floor: NDArray[np.float32]
    """[n, 1, 1]: a smaller maximum is replaced by it."""


def keras_heatmaps(
    classifier: Classifier, images: Image, *, top: NDArray[np.intp], flip_average: bool = False
) -> Heatmaps:
    """Compute heatmaps, for one class per picture.

    Args:
        classifier: with trained weights.
        images: uint8 [n, H, W, 3], RGB.
        top: class index per picture, int [n]; a ViT's rollout does not depend on it.
        flip_average: whether to average each map with that of the mirror image, flipped back.

    Returns:
        float32 [n, rows, columns] in [0, 1].
    """
    raw = _raw(classifier, images, top=top)
    if flip_average:
        mirrored = _raw(classifier, images[:, :, ::-1], top=top)
        raw = _Raw(
            maps=np.mean([raw.maps, mirrored.maps[:, :, ::-1]], axis=0),
            floor=np.mean([raw.floor, mirrored.floor], axis=0),
        )
    highest = np.maximum(raw.maps.max(axis=(1, 2), keepdims=True), raw.floor)
    return np.asarray(raw.maps / np.maximum(highest, _TINY), dtype=np.float32)


def _raw(classifier: Classifier, images: Image, *, top: NDArray[np.intp]) -> _Raw:
    batch = images.astype(np.float32)
    if classifier.pooling == "token":
        return _attention_rollout(classifier, batch)
    return _grad_cam(classifier, batch, top=top)


def method(classifier: Classifier) -> str:
    """Name of the method of `keras_heatmaps` for this network: `Grad-CAM` or `attention rollout`."""
    return "attention rollout" if classifier.pooling == "token" else "Grad-CAM"


def _grad_cam(classifier: Classifier, batch: NDArray[np.float32], *, top: NDArray[np.intp]) -> _Raw:
    """Grad-CAM (Selvaraju et al., 2017) with `tf.GradientTape`.

    Returns:
        ReLU of the feature map's channels, weighted by the mean gradient of the class's logit with respect
        to them. The floor keeps a map with little more than rounding errors faint, exactly as in the
        exported graph (`LEAST_EVIDENCE`).
    """
    import keras
    import tensorflow as tf

    network = keras.Model(classifier.model.inputs, [classifier.backbone.output, classifier.model.output])
    with tf.GradientTape() as tape:
        image = tf.constant(batch)
        # Watched from the picture on, so that the feature map lies on the tape.
        tape.watch(image)
        features, logits = network(image, training=False)
        score = tf.gather(logits, tf.constant(top), axis=1, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
    evidence = np.asarray(weights * features, dtype=np.float32)
    magnitude = np.abs(evidence).sum(axis=-1).max(axis=(1, 2), keepdims=True)
    return _Raw(maps=np.maximum(evidence.sum(axis=-1), 0), floor=LEAST_EVIDENCE * magnitude)


def _attention_rollout(classifier: Classifier, batch: NDArray[np.float32]) -> _Raw:
    """Attention rollout (Abnar & Zuidema, 2020) from the class token to the patches.

    Heads are averaged, the residual connection counts half (section 3 of the paper), and the blocks'
    matrices are multiplied, first block rightmost. The floor is 0: weak maps are not faint.
    """
    from keras import ops

    _, *attentions = classifier.backbone(batch, training=False)
    tokens = attentions[0].shape[-1]
    identity = ops.eye(tokens, dtype="float32")
    rollout = identity
    for attention in attentions:
        mean = ops.mean(ops.cast(attention, "float32"), axis=1)
        rollout = ops.matmul(0.5 * mean + 0.5 * identity, rollout)
    rows, columns = classifier.grid
    # The class token is the first; its attention to itself does not belong to a region of the picture.
    patches = np.asarray(ops.reshape(rollout[:, 0, 1:], (-1, rows, columns)), dtype=np.float32)
    return _Raw(maps=patches, floor=np.zeros((len(patches), 1, 1), np.float32))
