"""What is exported: pictures in, probabilities, heatmap and embedding out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.classifier import Classifier
from pipelines.exporting.heatmaps import grad_cam, rollout, score_gradient
from serving.contract.arrays import Image
from serving.contract.model import EMBEDDING, HEATMAP, IMAGE, PROBABILITIES


def inference_function(classifier: Classifier, *, temperature: float, height: int, width: int) -> Any:
    """Trace the exported function.

    Args:
        classifier: with trained weights, built under the float32 policy.
        temperature: logits are divided by it before the softmax; > 0.
        height: rows of the picture, px.
        width: columns of the picture, px.

    Returns:
        A TensorFlow concrete function: `image` uint8 [batch, height, width, 3] →
        {`probabilities`: float32 [batch, classes], `heatmap`: float32 [batch, h, w] in [0, 1],
        `embedding`: float32 [batch, D]}.
    """
    import tensorflow as tf

    signature = [tf.TensorSpec((None, height, width, 3), tf.uint8, name=IMAGE)]

    @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
    def infer(image: Any) -> dict[str, Any]:
        return _answer(classifier, tf.cast(image, tf.float32), temperature=temperature)

    return infer.get_concrete_function()


def keras_logits(classifier: Classifier, batches: Iterable[Image]) -> NDArray[np.float32]:
    """Logits of uint8 [n, H, W, 3] batches by the Keras model as it was trained, [sum of n, classes]."""
    import tensorflow as tf

    @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]
    def infer(image: Any) -> Any:
        # A plain graph: Keras' own `predict` would first compile one with XLA, for longer than it then runs.
        return classifier.model(tf.cast(image, tf.float32), training=False)

    return np.concatenate([infer(tf.constant(batch)).numpy() for batch in batches])


def _answer(classifier: Classifier, image: Any, *, temperature: float) -> dict[str, Any]:
    import tensorflow as tf

    outputs = classifier.backbone(image, training=False)
    features = outputs[0] if classifier.pooling == "token" else outputs
    embedding, preactivations = _hidden_layers(classifier, _pooled(features, classifier))
    logits = _dense(embedding, classifier.head[-1])
    if classifier.pooling == "token":
        heatmap = rollout(outputs[1:], classifier.grid)
    else:
        kernels = [layer.kernel for layer in classifier.head]
        top = tf.argmax(logits, axis=-1)
        gradient = score_gradient(top, kernels, preactivations=preactivations)
        heatmap = grad_cam(features, gradient, pooling=classifier.pooling)
    # The embedding goes through an identity: without hidden layers it would be the pooling's own output.
    return {
        PROBABILITIES: tf.nn.softmax(logits / temperature),
        HEATMAP: heatmap,
        EMBEDDING: tf.identity(embedding),
    }


def _pooled(features: Any, classifier: Classifier) -> Any:
    import tensorflow as tf

    if classifier.pooling == "average":
        return tf.reduce_mean(features, axis=(1, 2))
    if classifier.pooling == "flatten":
        height, width, channels = features.shape[1:]
        return tf.reshape(features, (-1, height * width * channels))
    return features[:, 0]


def _hidden_layers(classifier: Classifier, vector: Any) -> tuple[Any, list[Any]]:
    """The head without dropout and logits → (embedding, what stood before each ReLU)."""
    import tensorflow as tf

    preactivations = []
    for layer in classifier.head[:-1]:
        before = _dense(vector, layer)
        preactivations.append(before)
        vector = tf.nn.relu(before)
    return vector, preactivations


def _dense(vector: Any, layer: Any) -> Any:
    import tensorflow as tf

    return tf.matmul(vector, layer.kernel) + layer.bias
