"""A trained network again, from what `train` left: `training.json` and `model.weights.h5`."""

from __future__ import annotations

import warnings
from pathlib import Path

from pipelines.core.errors import ResultCorrupt
from pipelines.core.model_results import TrainingRecord
from pipelines.core.params import ModelParams
from pipelines.model.keras_classifier import Classifier, build_classifier


def trained_classifier(record: TrainingRecord, weights: Path) -> Classifier:
    """Build the network that `record` describes and load its trained weights.

    Raises:
        ResultCorrupt: the weights are absent, truncated or those of another network.
        ParamsError: the record's options are no longer known to the architecture.
    """
    classifier = build_classifier(
        record.architecture,
        # Only `options` shape the network; the rest of the block is about training.
        ModelParams(epochs=1, learning_rate=1.0, options=dict(record.options)),
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
