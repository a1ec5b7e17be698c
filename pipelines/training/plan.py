"""Which layers learn, for how long and how fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pipelines.core.params import ModelParams
from pipelines.model.keras_classifier import Classifier

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
