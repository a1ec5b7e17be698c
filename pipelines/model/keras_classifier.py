"""A trained network as the stages handle it: backbone, pooling, the shared head.

Every architecture ends in features → pooling → Dense, ReLU, Dropout … → logits. `train` fits it,
`export` and `explain` take it apart again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.architectures import Architecture, Pooling, Tokens, load_architecture
from pipelines.core.errors import ParamsError
from pipelines.core.params import HeadParams, ModelParams


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """One network, its parts still reachable."""

    architecture: Architecture
    model: Any
    """keras.Model: image float32 [batch, H, W, 3] in 0–255 → logits float32 [batch, classes]."""
    backbone: Any
    """keras.Model: the same image → feature map [batch, h, w, C]; for `token` pooling
    [tokens, attention of block 1, attention of block 2, …]."""
    head: tuple[Any, ...]
    """The head's Dense layers, input side first; the last one gives the logits."""
    pooling: Pooling
    grid: tuple[int, int]
    """Rows and columns of the heatmap."""


def build_classifier(
    name: str,
    params: ModelParams,
    *,
    head: HeadParams,
    height: int,
    width: int,
    classes: int,
) -> Classifier:
    """Build one architecture with fresh weights.

    Args:
        name: of the architecture.
        params: its block of `params.yaml`.
        head: hidden layers of the shared head.
        height: rows of the input, px.
        width: columns of the input, px.
        classes: number of logits.

    Raises:
        UnknownArchitecture: no such file.
        ParamsError: an option is unknown or out of range, or the picture is too small.
    """
    import keras

    architecture = load_architecture(name)
    if min(height, width) < architecture.min_px:
        expected = f"at least {architecture.min_px} for {name}"
        raise ParamsError(key="prepare.image_size_px", got=min(height, width), expected=expected)
    image = keras.Input((height, width, 3), dtype="float32", name="image")
    features = architecture.build(image, architecture.parse_options(params.options))
    if isinstance(features, Tokens):
        grid = features.grid
        outputs: Any = [features.tokens, *features.attentions]
        last = features.tokens
    else:
        grid = (int(features.shape[1]), int(features.shape[2]))
        outputs = last = features
    # The backbone shares every layer with the model: nothing is nested, so that `unfreeze`
    # counts real layers.
    backbone = keras.Model(image, outputs, name=f"{name}_backbone")
    _set_momentum(backbone, architecture.batch_norm_momentum)
    logits, dense = _head(_pooled(last, architecture.pooling), head, classes)
    return Classifier(
        architecture=architecture,
        model=keras.Model(image, logits, name=name),
        backbone=backbone,
        head=dense,
        pooling=architecture.pooling,
        grid=grid,
    )


def _set_momentum(backbone: Any, momentum: float | None) -> None:
    import keras

    for layer in backbone.layers:
        if momentum is not None and isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum


def _pooled(features: Any, pooling: Pooling) -> Any:
    import keras

    if pooling == "average":
        return keras.layers.GlobalAveragePooling2D(name="pool")(features)
    if pooling == "flatten":
        return keras.layers.Flatten(name="pool")(features)
    return features[:, 0]


def _head(vector: Any, params: HeadParams, classes: int) -> tuple[Any, tuple[Any, ...]]:
    import keras

    layers = []
    for index, units in enumerate(params.hidden):
        dense = keras.layers.Dense(units, name=f"head_dense_{index}")
        layers.append(dense)
        vector = keras.layers.ReLU(name=f"head_relu_{index}")(dense(vector))
        vector = keras.layers.Dropout(params.dropout, name=f"head_dropout_{index}")(vector)
    # float32 even under mixed precision: softmax and cross-entropy need the range.
    dense = keras.layers.Dense(classes, dtype="float32", name="logits")
    return dense(vector), (*layers, dense)
