"""Phases of a training (layers, epochs, optimizer), the learning rate of every step, and early stopping.

The state of early stopping is explicit, so that a resumed run stops where an uninterrupted one does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.core.params import EarlyStopping, ModelParams, TrainingParams
from pipelines.model.keras_classifier import Classifier
from pipelines.train.metrics import Validation


def learning_rates(
    kind: Literal["constant", "cosine"], peak: float, *, steps: int, warmup_steps: int
) -> NDArray[np.float32]:
    """Rates of a whole phase: a linear rise to `peak`, then constant or half a cosine down to 0.

    The cosine is that of Loshchilov & Hutter, 2017, "SGDR", without restarts. The rise takes at most
    half of the phase, so that a short one still reaches its peak.

    Args:
        kind: the shape after the rise.
        peak: highest rate.
        steps: of the whole phase, at least 1.
        warmup_steps: length of the rise.

    Returns:
        float32 [steps], each in (0, peak].
    """
    warmup = min(warmup_steps, steps // 2)
    rise = peak * (np.arange(warmup) + 1) / (warmup + 1)
    rest = np.arange(steps - warmup)
    if kind == "constant":
        fall = np.full(len(rest), peak)
    else:
        fall = peak * 0.5 * (1 + np.cos(np.pi * rest / len(rest)))
    return np.concatenate([rise, fall]).astype(np.float32)


def as_keras_schedule(rates: NDArray[np.float32]) -> Any:
    """A `keras.optimizers.schedules.LearningRateSchedule` that looks the step up in `rates`."""
    import keras

    class Lookup(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # keras ships no types
        def __call__(self, step: Any) -> Any:
            last = len(rates) - 1
            return keras.ops.take(rates, keras.ops.minimum(keras.ops.cast(step, "int32"), last))

        def get_config(self) -> dict[str, Any]:
            return {"rates": rates.tolist()}

    return Lookup()


def build_optimizer(training: TrainingParams, rates: NDArray[np.float32]) -> Any:
    """The Keras optimizer of some parameters, with the rate of every step."""
    import keras

    schedule, average = as_keras_schedule(rates), _average(training.ema_decay)
    if training.optimizer == "adam":
        return keras.optimizers.Adam(schedule, **average)
    if training.optimizer == "adamw":
        return adamw(rates, weight_decay=training.weight_decay, ema_decay=training.ema_decay)
    return _without_decay_of_vectors(
        keras.optimizers.SGD(
            schedule,
            momentum=training.momentum,
            nesterov=True,
            weight_decay=training.weight_decay,
            **average,
        )
    )


def adamw(rates: NDArray[np.float32], *, weight_decay: float, ema_decay: float = 0.0) -> Any:
    """Keras' AdamW with the rate of every step; see `TrainingParams` for the two decays."""
    import keras

    return _without_decay_of_vectors(
        keras.optimizers.AdamW(as_keras_schedule(rates), weight_decay=weight_decay, **_average(ema_decay))
    )


def _average(ema_decay: float) -> dict[str, Any]:
    """Arguments for a moving average of the weights; none for a decay of 0."""
    if not ema_decay:
        return {}
    # Keras' other way is to overwrite the weights that are trained at intervals.
    return {"use_ema": True, "ema_momentum": ema_decay, "ema_overwrite_frequency": None}


def _without_decay_of_vectors(optimizer: Any) -> Any:
    # Loshchilov & Hutter decay weights; biases and the two vectors of a normalisation are none.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


Learns = Literal["all", "head", "top"]
# Usual for fine-tuning: a tenth of the head's rate (Howard & Ruder, 2018, "ULMFiT", lower layers slower).
_FINE_TUNE_FACTOR = 0.1


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One stretch of epochs with its own layers, optimizer and schedule."""

    name: str
    learns: Learns
    """`all` layers with live batch norm; the `head`; or the head and the `top` of the backbone."""
    epochs: int
    learning_rate: float
    unfreeze: int = 0
    """For `top`: how many of the backbone's last layers learn."""


def plan_phases(params: ModelParams, *, origin: str) -> tuple[Phase, ...]:
    """One phase from scratch; from pretrained weights the head first, then the top of the backbone."""
    if origin == "scratch":
        rate = params.learning_rate
        return (Phase(name="scratch", learns="all", epochs=params.epochs, learning_rate=rate),)
    head = Phase(name="head", learns="head", epochs=params.head_epochs, learning_rate=params.learning_rate)
    top = Phase(
        name="fine-tune",
        learns="top",
        epochs=params.epochs,
        learning_rate=params.fine_tune_learning_rate or params.learning_rate * _FINE_TUNE_FACTOR,
        unfreeze=params.unfreeze,
    )
    return (head, top) if head.epochs else (top,)


def choose_layers(classifier: Classifier, phase: Phase) -> None:
    """Set `trainable` on every layer; takes effect with the next `compile`.

    A frozen batch norm runs in inference mode (Keras couples the two), so its statistics stay those
    of the pretrained weights.
    """
    for layer in classifier.model.layers:
        layer.trainable = True
    if phase.learns == "all":
        return
    layers = classifier.backbone.layers
    kept = len(layers) if phase.learns == "head" else len(layers) - phase.unfreeze
    for index, layer in enumerate(layers):
        layer.trainable = index >= kept and not _is_batch_norm(layer)


def _is_batch_norm(layer: Any) -> bool:
    return type(layer).__name__ == "BatchNormalization"


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """The best epoch so far, and the epochs since then in this phase."""

    best: Validation | None = None
    """Figures of the best epoch; None before the first."""
    best_epoch: int = 0
    """Counted from 1 over all phases; 0 before the first."""
    waited: int = 0
    """Epochs without improvement in this phase."""

    def after(self, epoch: int, result: Validation, rule: EarlyStopping) -> Stopping:
        """The state after one more epoch.

        Of two epochs with equal macro-F1 the one with the lower loss is the better, but only a higher
        macro-F1 renews patience: a loss can creep down for ever.
        """
        if self.best is None or _score(result, rule) > _score(self.best, rule):
            return Stopping(best=result, best_epoch=epoch, waited=0)
        if _score(result, rule) == _score(self.best, rule) and result.loss < self.best.loss:
            return Stopping(best=result, best_epoch=epoch, waited=self.waited + 1)
        return replace(self, waited=self.waited + 1)

    def next_phase(self) -> Stopping:
        """The state at the start of a phase: patience is fresh, the best is kept."""
        return replace(self, waited=0)

    def patience_is_over(self, rule: EarlyStopping) -> bool:
        """Whether the phase should end."""
        return self.waited >= rule.patience


def _score(result: Validation, rule: EarlyStopping) -> float:
    return result.macro_f1 if rule.monitor == "val_macro_f1" else -result.loss
