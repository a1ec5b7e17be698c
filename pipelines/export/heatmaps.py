"""Heatmaps as TensorFlow operations that convert to ONNX, without a gradient tape.

Between the feature map and a class score lie only a pooling and Dense layers with ReLU, so the gradient that
Grad-CAM needs is a product of their kernels, with a row of zeros for every unit that ReLU shut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.architectures import Pooling

# A map whose largest value is below this share of the evidence that went into it consists of what a
# cancellation left over: scaled up to 1 it would show rounding, and differ between two runtimes. A deep
# network's features agree to some 1e-6 of their magnitude, 1e-5 at worst; a tenth keeps the map within the
# parity tolerance of 1e-4. Trained networks lie above (on the sample 95 % of LeNet's maps at 0.2–1, VGG's at
# 0.4–0.8), one that has learned nothing below (ResNet-50 after three epochs, 0.02–0.1): its maps stay faint.
LEAST_EVIDENCE = 0.1
# Keeps 0 / 0 out of a map without any evidence.
_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class RawHeatmap:
    """Maps before they are scaled to [0, 1]."""

    values: Any
    """float32 [batch, h, w], ≥ 0."""
    floor: Any | None
    """float32 [batch, 1, 1], what a smaller maximum is replaced by, see `LEAST_EVIDENCE`; None: none."""


def score_gradient(top: Any, kernels: Sequence[Any], *, preactivations: Sequence[Any]) -> Any:
    """Gradient of the top class's logit with respect to the pooled features.

    Args:
        top: index of the class, int64 [batch].
        kernels: of the head's Dense layers, input side first, [inputs, units]; the last one gives the logits.
        preactivations: of the hidden layers, float32 [batch, units], input side first.

    Returns:
        float32 [batch, inputs of the first layer].
    """
    import tensorflow as tf

    gradient = tf.gather(tf.transpose(kernels[-1]), top)
    for kernel, before in zip(reversed(kernels[:-1]), reversed(preactivations), strict=True):
        gradient = tf.matmul(gradient * tf.cast(before > 0, tf.float32), kernel, transpose_b=True)
    return gradient


def grad_cam(features: Any, gradient: Any, *, pooling: Pooling) -> RawHeatmap:
    """Grad-CAM (Selvaraju et al., 2017): the feature map weighted by each channel's mean gradient, ReLU.

    Args:
        features: float32 [batch, h, w, C].
        gradient: of the score with respect to the pooled features: [batch, C] for `average`,
            [batch, h·w·C] for `flatten`.
        pooling: between the two.

    Returns:
        Maps [batch, h, w] with the floor below which there is hardly any evidence for the class.
    """
    import tensorflow as tf

    height, width, channels = features.shape[1:]
    # An average passes the same gradient to each position, a flattening passes each its own.
    per_position = 1 if pooling == "average" else height * width
    weights = tf.reduce_mean(tf.reshape(gradient, (-1, per_position, channels)), axis=1)
    weights /= height * width if pooling == "average" else 1
    evidence = features * weights[:, tf.newaxis, tf.newaxis, :]
    magnitude = tf.reduce_max(tf.reduce_sum(tf.abs(evidence), axis=-1), axis=(1, 2), keepdims=True)
    return RawHeatmap(values=tf.nn.relu(tf.reduce_sum(evidence, axis=-1)), floor=LEAST_EVIDENCE * magnitude)


def rollout(attentions: Sequence[Any], grid: tuple[int, int]) -> RawHeatmap:
    """Attention rollout (Abnar & Zuidema, 2020): how much of each patch reaches the class token.

    Args:
        attentions: one float32 [batch, heads, tokens, tokens] per block, first block first.
        grid: rows and columns of patches; tokens = 1 + rows · columns.

    Returns:
        Maps [batch, rows, columns] without a floor: attention is a share of 1 and never vanishes.
    """
    import tensorflow as tf

    tokens = 1 + grid[0] * grid[1]
    reach = tf.one_hot([0], tokens)[tf.newaxis]
    # From the last block down only the class token's row is needed: a vector, not a matrix.
    for attention in reversed(attentions):
        mixed = tf.reduce_mean(attention, axis=1)
        # Half for the residual connection, as the paper has it; rows then still sum to 1.
        reach = 0.5 * tf.matmul(reach, mixed) + 0.5 * reach
    return RawHeatmap(values=tf.reshape(reach[:, 0, 1:], (-1, *grid)), floor=None)


def scaled(heatmap: RawHeatmap) -> Any:
    """Divide each map by its maximum, or by its floor where that is larger.

    Returns:
        float32 [batch, h, w] in [0, 1].
    """
    import tensorflow as tf

    highest = tf.reduce_max(heatmap.values, axis=(1, 2), keepdims=True)
    floor = _TINY if heatmap.floor is None else heatmap.floor
    return heatmap.values / tf.maximum(tf.maximum(highest, floor), _TINY)
