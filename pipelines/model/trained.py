"""A trained network again, from what `train` left: `training.json` and `model.weights.h5`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.core.errors import ResultCorrupt
from pipelines.core.io import read_record
from pipelines.core.params import HeadParams, ModelParams
from pipelines.model.keras_classifier import Classifier, build_classifier
from serving.contract.model import InputSpec
from serving.errors import ContractError

_KEYS = ("architecture", "classes", "input", "dataset", "head", "options", "weights")


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """What of `training.json` is needed to build the network again and to describe it."""

    architecture: str
    classes: tuple[str, ...]
    """Names in the order of the logits."""
    input: InputSpec
    dataset: str
    """SHA-256 of the manifest's content."""
    head: HeadParams
    options: dict[str, Any]
    """The architecture's own, a checkpoint's numbers included."""
    weights: str
    """Origin: `scratch`, `imagenet`, `hf:…`."""


def read_training_record(path: Path) -> TrainingRecord:
    """Read `training.json`.

    Raises:
        ResultCorrupt: it is absent, truncated or of another shape.
    """
    stage = f"train@{path.parent.name}"
    facts = read_record(path, keys=_KEYS, stage=stage)
    try:
        return TrainingRecord(
            architecture=facts["architecture"],
            classes=tuple(facts["classes"]),
            input=InputSpec(**facts["input"]),
            dataset=facts["dataset"],
            head=HeadParams(**facts["head"]),
            options=facts["options"],
            weights=facts["weights"],
        )
    except (TypeError, ValueError, ContractError) as error:
        raise ResultCorrupt(path=path, reason=_one_line(error), stage=stage) from error


def trained_classifier(record: TrainingRecord, weights: Path) -> Classifier:
    """Build the network that `record` describes and load its trained weights.

    Raises:
        ResultCorrupt: the weights are absent, truncated or those of another network.
        ParamsError: the record's options are no longer known to the architecture.
    """
    classifier = build_classifier(
        record.architecture,
        # Only `options` shape the network; the rest of the block is about training.
        ModelParams(epochs=1, learning_rate=1.0, options=record.options),
        head=record.head,
        height=record.input.height,
        width=record.input.width,
        classes=len(record.classes),
    )
    try:
        # Keras only warns when it skips a part of the file and leaves those weights at random values.
        with warnings.catch_warnings(action="error", category=UserWarning):
            classifier.model.load_weights(weights)
    except (OSError, ValueError, KeyError, UserWarning) as error:
        stage = f"train@{record.architecture}"
        raise ResultCorrupt(path=weights, reason=_one_line(error), stage=stage) from error
    return classifier


def _one_line(error: Exception) -> str:
    # Keras and HDF5 break their messages into lines; a stage's error is one.
    return " ".join(str(error).split())[:300] or type(error).__name__
