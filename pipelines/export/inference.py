"""The exported function (pictures in; probabilities, heatmap, embedding out) and its calibrated temperature.

Temperature scaling: Guo et al., 2017, "On calibration of modern neural networks".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.export.flip_average import mean_heatmap, mean_rows
from pipelines.export.heatmaps import RawHeatmap, grad_cam, rollout, scaled, score_gradient
from pipelines.model.keras_classifier import Classifier
from serving.contract.arrays import Image
from serving.contract.model import EMBEDDING, HEATMAP, IMAGE, PROBABILITIES

Logits = Callable[[Image], NDArray[np.float32]]
"""uint8 [n, H, W, 3] → float32 [n, classes], before the temperature."""


@dataclass(frozen=True, kw_only=True)
class HeadOutputs:
    """Intermediate values of the shared head."""

    logits: Any
    """float32 [batch, classes]."""
    embedding: Any
    """float32 [batch, D]: what the last Dense layer reads."""
    preactivations: list[Any]
    """Before each ReLU, input side first, float32 [batch, units]."""


def inference_function(
    classifier: Classifier, *, temperature: float, height: int, width: int, flip_average: bool = False
) -> Any:
    """Trace the exported function.

    Args:
        classifier: with trained weights, built under the float32 policy.
        temperature: logits are divided by it before the softmax; > 0.
        height: rows of the picture, px.
        width: columns of the picture, px.
        flip_average: whether `image` is 2 · batch pictures, see `flip_average.both`, which are averaged.

    Returns:
        A TensorFlow concrete function: `image` uint8 [batch, height, width, 3] →
        {`probabilities`: float32 [batch, classes], `heatmap`: float32 [batch, h, w] in [0, 1],
        `embedding`: float32 [batch, D]}.
    """
    import tensorflow as tf

    signature = [tf.TensorSpec((None, height, width, 3), tf.uint8, name=IMAGE)]

    @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]  # no types
    def infer(image: Any) -> dict[str, Any]:
        pictures = tf.cast(image, tf.float32)
        return _answer(classifier, pictures, temperature=temperature, flip_average=flip_average)

    return infer.get_concrete_function()


def keras_logits(classifier: Classifier, *, height: int, width: int, flip_average: bool = False) -> Logits:
    """The Keras model as it was trained; with `flip_average` the mean over a picture and its mirror image.

    The last layer is linear, so the mean of two logits is the logit of the mean of two embeddings.

    Traced once for batches of any size; for a deep network, tracing takes longer than all predictions.
    """
    import tensorflow as tf

    signature = [tf.TensorSpec((None, height, width, 3), tf.uint8)]

    @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]  # no types
    def infer(image: Any) -> Any:
        # A plain graph: Keras' own `predict` would first compile one with XLA, for longer than it then runs.
        return classifier.model(tf.cast(image, tf.float32), training=False)

    def logits(images: Image) -> NDArray[np.float32]:
        return np.asarray(infer(tf.constant(images)))

    def averaged(images: Image) -> NDArray[np.float32]:
        return np.asarray((logits(images) + logits(images[:, :, ::-1])) / 2, np.float32)

    return averaged if flip_average else logits


def head_outputs(classifier: Classifier, features: Any) -> HeadOutputs:
    """The shared head without dropout, layer by layer.

    Args:
        classifier: whose pooling and head are used.
        features: the backbone's feature map [batch, h, w, C], or tokens [batch, n, D].
    """
    import tensorflow as tf

    vector = _pooled(features, classifier)
    preactivations = []
    for layer in classifier.head[:-1]:
        preactivations.append(_dense(vector, layer))
        vector = tf.nn.relu(preactivations[-1])
    return HeadOutputs(
        logits=_dense(vector, classifier.head[-1]), embedding=vector, preactivations=preactivations
    )


def class_heatmap(classifier: Classifier, features: Any, head: HeadOutputs, *, top: Any) -> RawHeatmap:
    """Grad-CAM [batch, h, w] of one class per picture, `top`: int64 [batch]."""
    gradient = score_gradient(
        top,
        [layer.kernel for layer in classifier.head],
        preactivations=head.preactivations,
    )
    return grad_cam(features, gradient, pooling=classifier.pooling)


def _answer(classifier: Classifier, image: Any, *, temperature: float, flip_average: bool) -> dict[str, Any]:
    import tensorflow as tf

    outputs = classifier.backbone(image, training=False)
    features = outputs[0] if classifier.pooling == "token" else outputs
    head = head_outputs(classifier, features)
    logits, embedding = head.logits, head.embedding
    if flip_average:
        embedding = mean_rows(embedding)
        logits = _dense(embedding, classifier.head[-1])
    if classifier.pooling == "token":
        heatmap = rollout(outputs[1:], classifier.grid)
    else:
        top = tf.argmax(logits, axis=-1)
        # A picture and its mirror image explain the same class, that of their mean.
        top = tf.concat([top, top], axis=0) if flip_average else top
        heatmap = class_heatmap(classifier, features, head, top=top)
    return {
        PROBABILITIES: tf.nn.softmax(logits / temperature),
        HEATMAP: scaled(mean_heatmap(heatmap) if flip_average else heatmap),
        EMBEDDING: embedding,
    }


def _pooled(features: Any, classifier: Classifier) -> Any:
    import tensorflow as tf

    if classifier.pooling == "average":
        return tf.reduce_mean(features, axis=(1, 2))
    if classifier.pooling == "flatten":
        height, width, channels = features.shape[1:]
        return tf.reshape(features, (-1, height * width * channels))
    return features[:, 0]


def _dense(vector: Any, layer: Any) -> Any:
    import tensorflow as tf

    return tf.matmul(vector, layer.kernel) + layer.bias


# Networks of the paper come out between 1 and 3; beyond these bounds one is not miscalibrated but broken.
LEAST, MOST = 0.05, 20.0
# Three decimals change no probability visibly, and hide the last bits in which two processors differ.
_DECIMALS = 3


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The temperature and the likelihoods on the data it was fitted to."""

    temperature: float
    """In [LEAST, MOST], three decimals."""
    nll_before: float
    """Mean negative log likelihood at temperature 1, nats."""
    nll_after: float
    """The same at `temperature`."""


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Calibration:
    """Find the temperature with the least negative log likelihood.

    Args:
        logits: [n, classes].
        labels: class indices, [n].
    """
    from scipy.optimize import minimize_scalar

    values = logits.astype(np.float64)
    # Over log T the likelihood has one minimum and both directions the same scale.
    found = minimize_scalar(
        lambda exponent: negative_log_likelihood(values, labels, temperature=math.exp(exponent)),
        bounds=(math.log(LEAST), math.log(MOST)),
        method="bounded",
        options={"xatol": 1e-7},
    )
    temperature = round(math.exp(found.x), _DECIMALS)
    return Calibration(
        temperature=temperature,
        nll_before=negative_log_likelihood(values, labels, temperature=1.0),
        nll_after=negative_log_likelihood(values, labels, temperature=temperature),
    )


def probabilities_of(logits: NDArray[Any], *, temperature: float) -> NDArray[np.float64]:
    """Calibrated probabilities [n, classes] of logits."""
    from scipy.special import softmax

    return np.asarray(softmax(np.asarray(logits, np.float64) / temperature, axis=1))


def negative_log_likelihood(logits: NDArray[Any], labels: NDArray[np.int64], *, temperature: float) -> float:
    """Mean −log p(label), nats; `logits` [n, classes] are divided by `temperature`."""
    from scipy.special import log_softmax

    scores = log_softmax(logits / temperature, axis=1)
    return float(-scores[np.arange(len(labels)), labels].mean())
