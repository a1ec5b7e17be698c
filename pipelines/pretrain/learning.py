"""Trains a backbone to read action units, landmarks and pose from drawn faces, resumable after each epoch.

The targets are standardised, and each kind has a weight of its own in the mean squared error. Pictures grow
from phase to phase ("progressive resizing": Howard, 2018, fast.ai's entry to DAWNBench): a convolutional
network learns most of it at a quarter of the cost. The backbone's weights do not depend on the side.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import TrainingFailed
from pipelines.core.params import Params
from pipelines.model.keras_classifier import Classifier, build_classifier
from pipelines.pretrain.pictures import Pictures
from pipelines.train.checkpoint import (
    Arrays,
    CheckpointCorrupt,
    Groups,
    assign,
    read_state,
    values_of,
    write_state,
)
from pipelines.train.progress import Progress
from pipelines.train.schedule import adamw, learning_rates
from pipelines.weights.drawn import load_drawn

HELD_OUT = 1000
"""Pictures, the last ones, that show what was learned."""
_WEIGHTS = {"action_units": 1.0, "landmarks": 1.0, "pose_deg": 0.25}
"""Of each kind of label in the loss; its targets share it equally."""
_SMALLEST_DEVIATION = 1e-3
"""Of a target; some hardly vary (a landmark in the middle of the face)."""


@dataclass(frozen=True, kw_only=True)
class PretrainPhase:
    """Epochs with pictures of one size."""

    size_px: int
    epochs: int


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of a pretraining."""

    architecture: str
    phases: tuple[PretrainPhase, ...]
    batch_size: int
    learning_rate: float
    weight_decay: float
    seed: int
    zero_residuals: bool = True
    """Whether residual blocks of random weights begin as the identity (`start_residuals_at_zero`)."""
    start: str | None = None
    """SHA-256 of the backbone's file that the training starts from; None: random weights."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PretrainedBackbone:
    """The outcome."""

    classifier: Classifier
    """Its backbone has the weights."""
    steps: int
    processor_s: float
    figures: Mapping[str, float]
    """`action_unit_r`: mean correlation of the action units; `landmark_error`: mean distance, share of the
    side; `pose_error_deg`: mean absolute error."""


def pretrain(
    pictures: Pictures, recipe: Recipe, params: Params, *, checkpoint: Path, start: Path | None = None
) -> PretrainedBackbone:
    """Train, from the beginning or from a checkpoint of the same recipe.

    Args:
        pictures: at the largest side of the recipe.
        recipe: settings.
        params: of the project; `models.ARCHITECTURE.options` build the network.
        checkpoint: file that is replaced after every epoch.
        start: file of a backbone to start from, the one that `recipe.start` identifies; None: random weights.

    Raises:
        ValueError: `start` is damaged, or of a network with other shapes.
        TrainingFailed: the loss became NaN or infinite, or the checkpoint is of another network.
    """
    learned = pictures.part(slice(0, len(pictures) - HELD_OUT))
    shown = pictures.part(slice(len(pictures) - HELD_OUT, None))
    targets = _Targets(learned)
    steps = len(learned) // recipe.batch_size
    rates = learning_rates(
        "cosine",
        recipe.learning_rate,
        steps=steps * sum(phase.epochs for phase in recipe.phases),
        warmup_steps=steps // 2,
    )
    state = _read_state(checkpoint, recipe, len(learned))
    before, figures = time.process_time(), None
    for index, phase in enumerate(recipe.phases):
        done = sum(earlier.epochs for earlier in recipe.phases[:index])
        classifier, model = _build(recipe, params, phase.size_px, targets=targets.count)
        _compile(model, recipe, rates)
        if state is not None:
            _restore(model, state, recipe, checkpoint=checkpoint)
        else:
            _initialise(classifier.backbone, recipe, start)
        progress = Progress(title=recipe.architecture, images_per_step=recipe.batch_size)
        for epoch in range(max(0, _epochs(state) - done), phase.epochs):
            loss = _epoch(
                model, learned, targets, recipe=recipe, phase=phase, number=done + epoch, progress=progress
            )
            state = _State(
                key=_key(recipe, len(learned)),
                epochs=done + epoch + 1,
                processor_s=time.process_time() - before + (state.processor_s if state else 0.0),
                model=values_of(model.variables),
                optimizer=values_of(model.optimizer.variables),
            )
            before = time.process_time()
            _write_state(checkpoint, state)
            figures = _measure(model, shown, targets, size_px=phase.size_px)
            text = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
            progress.finish(f"loss {loss:.4f}  {text}")
    return PretrainedBackbone(
        classifier=classifier,
        steps=len(rates),
        processor_s=state.processor_s if state else 0.0,
        # A run whose last epoch was done before measures once.
        figures=figures or _measure(model, shown, targets, size_px=recipe.phases[-1].size_px),
    )


class _Targets:
    """Labels as one standardised vector per picture."""

    def __init__(self, pictures: Pictures) -> None:
        self._kinds = {name: getattr(pictures, name) for name in _WEIGHTS}
        self._scales = {
            name: (values.mean(0), np.maximum(values.std(0), _SMALLEST_DEVIATION))
            for name, values in self._kinds.items()
        }
        self.values = self.standardised(pictures)
        """float32 [n, targets]"""
        self.count = self.values.shape[1]
        self.weights = np.concatenate(
            [
                np.full(values.shape[1], _WEIGHTS[name] / values.shape[1])
                for name, values in self._kinds.items()
            ]
        ).astype(np.float32)
        """float32 [targets]"""

    def standardised(self, pictures: Pictures) -> NDArray[np.float32]:
        """The labels of some pictures, float32 [n, targets]."""
        parts = [
            (getattr(pictures, name) - mean) / deviation for name, (mean, deviation) in self._scales.items()
        ]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def read(self, values: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """A network's answers as labels, by kind."""
        labels, start = {}, 0
        for name, (mean, deviation) in self._scales.items():
            labels[name] = values[:, start : start + len(mean)] * deviation + mean
            start += len(mean)
        return labels


def _build(recipe: Recipe, params: Params, size_px: int, *, targets: int) -> tuple[Classifier, Any]:
    """The classifier, and a model with the same backbone that ends in the targets."""
    import keras

    classifier = build_classifier(
        recipe.architecture,
        params.model(recipe.architecture),
        head=params.head,
        height=size_px,
        width=size_px,
        classes=2,
    )
    backbone = classifier.backbone
    switch_off_dropout(backbone)
    pool = classifier.model.get_layer("pool")
    answer = keras.layers.Dense(targets, name="targets")(pool.output)
    return classifier, keras.Model(backbone.input, answer, name=f"{recipe.architecture}_pretraining")


def _initialise(backbone: Any, recipe: Recipe, start: Path | None) -> None:
    if start is not None:
        load_drawn(backbone, start)
    elif recipe.zero_residuals:
        start_residuals_at_zero(backbone)


def switch_off_dropout(network: Any) -> None:
    """Let every picture pass all layers, EfficientNet's stochastic depth (Huang et al., 2016) included.

    Each of the many pictures shows another person and is seen a few times only: nothing overfits.

    Args:
        network: a Keras model; its layers change, its weights do not.
    """
    import keras

    for layer in network.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0


def start_residuals_at_zero(network: Any) -> None:
    """Let every residual block with batch norm begin as the identity: γ of its last batch norm becomes 0.

    Goyal et al., 2017, "Accurate, large minibatch SGD", section 5.1. A deep network then learns as quickly as
    a shallow one at first (docs/benchmarks.md).

    Args:
        network: a Keras model with random weights.
    """
    import keras

    makers = {id(layer.output): layer for layer in network.layers}
    order = {layer.name: index for index, layer in enumerate(network.layers)}
    for sum_ in (layer for layer in network.layers if isinstance(layer, keras.layers.Add)):
        ends = [makers[id(tensor)] for tensor in sum_.input]
        # Stochastic depth lies between a block's batch norm and the sum.
        ends = [makers[id(end.input)] if isinstance(end, keras.layers.Dropout) else end for end in ends]
        norms = [end for end in ends if isinstance(end, keras.layers.BatchNormalization)]
        if norms:
            # What the block adds to may end in one too; that comes first.
            last = max(norms, key=lambda layer: order[layer.name])
            last.gamma.assign(keras.ops.zeros_like(last.gamma))


def _compile(model: Any, recipe: Recipe, rates: NDArray[np.float32]) -> None:
    optimizer = adamw(rates, weight_decay=recipe.weight_decay)
    # The sum over targets of weighted squares; Keras' own is their mean.
    model.compile(optimizer=optimizer, loss=_squares, jit_compile=False)
    model.optimizer.build(model.trainable_variables)


def _squares(expected: Any, got: Any) -> Any:
    import keras

    count = expected.shape[1] // 2
    weights, values = expected[:, count:], expected[:, :count]
    return keras.ops.sum(weights * keras.ops.square(values - got), axis=1)


def _epoch(
    model: Any,
    pictures: Pictures,
    targets: _Targets,
    *,
    recipe: Recipe,
    phase: PretrainPhase,
    number: int,
    progress: Progress,
) -> float:
    size = recipe.batch_size
    steps = len(pictures) // size
    later = sum(other.epochs for other in recipe.phases) - number - 1
    progress.start(f"epoch {number + 1} ({phase.size_px} px)", steps=steps, to_come=later * steps)
    order = np.random.default_rng((recipe.seed, number)).permutation(len(pictures))
    total = 0.0
    for step in range(steps):
        chosen = np.sort(order[step * size : (step + 1) * size])
        weighted = np.broadcast_to(targets.weights, (size, targets.count))
        loss = model.train_on_batch(
            _resized(pictures.images[chosen], phase.size_px),
            np.concatenate([targets.values[chosen], weighted], axis=1),
        )
        total += float(loss)
        if not np.isfinite(total):
            raise TrainingFailed(
                architecture=recipe.architecture,
                reason=f"the loss became {loss}, expected a finite number",
                remedy="lower --learning-rate",
            )
        progress.step(total / (step + 1))
    progress.trained()
    return total / steps


def _resized(images: NDArray[np.uint8], size_px: int) -> NDArray[np.float32]:
    """float32 [n, size, size, 3]: the mean of each block of pixels."""
    count, side = images.shape[:2]
    if side == size_px:
        return images.astype(np.float32)
    factor = side // size_px
    blocks = images.reshape(count, size_px, factor, size_px, factor, 3)
    return np.asarray(blocks.mean(axis=(2, 4), dtype=np.float32), np.float32)


def _measure(model: Any, pictures: Pictures, targets: _Targets, *, size_px: int) -> dict[str, float]:
    answers = [
        np.asarray(model.predict_on_batch(_resized(pictures.images[start : start + 100], size_px)))
        for start in range(0, len(pictures), 100)
    ]
    got = targets.read(np.concatenate(answers))
    units = [
        float(np.corrcoef(a, b)[0, 1])
        for a, b in zip(got["action_units"].T, pictures.action_units.T, strict=True)
        if a.std() > 0 and b.std() > 0
    ]
    away = (got["landmarks"] - pictures.landmarks).reshape(len(pictures), -1, 2)
    return {
        "action_unit_r": float(np.mean(units)) if units else 0.0,
        "landmark_error": float(np.linalg.norm(away, axis=2).mean()),
        "pose_error_deg": float(np.abs(got["pose_deg"] - pictures.pose_deg).mean()),
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class _State:
    """What a checkpoint holds."""

    key: str
    """Recipe and number of pictures, as JSON."""
    epochs: int
    processor_s: float
    model: Arrays
    optimizer: Arrays


def _epochs(state: _State | None) -> int:
    return state.epochs if state else 0


def _key(recipe: Recipe, pictures: int) -> str:
    return json.dumps({**asdict(recipe), "pictures": pictures}, sort_keys=True)


def _write_state(path: Path, state: _State) -> None:
    facts = {"key": state.key, "epochs": state.epochs, "processor_s": state.processor_s}
    write_state(path, facts, {"model": state.model, "optimizer": state.optimizer})


def _read_state(path: Path, recipe: Recipe, pictures: int) -> _State | None:
    try:
        found = read_state(path, _restored)
    except CheckpointCorrupt as error:
        print(f"{path} cannot be read ({error.reason}) and is replaced", flush=True)
        return None
    if found is not None and found.key != _key(recipe, pictures):
        print(f"{path} is of another recipe and is replaced", flush=True)
        return None
    return found


def _restored(facts: Any, groups: Groups) -> _State:
    return _State(
        key=facts["key"],
        epochs=facts["epochs"],
        processor_s=facts["processor_s"],
        model=groups["model"],
        optimizer=groups["optimizer"],
    )


def _restore(model: Any, state: _State, recipe: Recipe, *, checkpoint: Path) -> None:
    for variables, values in ((model.variables, state.model), (model.optimizer.variables, state.optimizer)):
        assign(variables, values, architecture=recipe.architecture, checkpoint=str(checkpoint))
