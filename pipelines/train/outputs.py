"""Outputs of the stage: weights, record and history, each written whole or not at all, without timestamps."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from io import StringIO
from pathlib import Path
from typing import Any

from pipelines.core.dataset import Dataset
from pipelines.core.errors import OutputError
from pipelines.core.io import replacing, write_text
from pipelines.core.model_results import BestEpoch, Origin, PhaseEpochs, TrainingRecord
from pipelines.core.params import ModelParams, Params
from pipelines.model.keras_classifier import Classifier
from pipelines.train.checkpoint import Epoch
from pipelines.train.loop import Trained

# HDF5's own bookkeeping for one array and the groups around it, generously.
_ENTRY_BYTES = 8192


def write_weights(model: Any, path: Path) -> None:
    """Write a Keras model's weights (`.weights.h5`), without the optimizer's state of twice their size.

    Raises:
        OutputError: the file cannot be written; nothing was replaced.
    """
    import keras

    # The same layers in a model that was never compiled, so that Keras finds no optimizer to save.
    bare = keras.Model(model.inputs, model.outputs, name=model.name)
    with replacing(path) as temporary:
        _make_room(temporary, bare)
        # Keras insists on this ending.
        named = temporary.with_name(f"{temporary.name}.weights.h5")
        try:
            bare.save_weights(named)
            named.replace(temporary)
        except RuntimeError as error:
            raise OutputError(path=path, reason=" ".join(str(error).split())) from error
        finally:
            named.unlink(missing_ok=True)


def _make_room(path: Path, model: Any) -> None:
    """Fail now if the disk is too full: HDF5 fails in many places and lines, some beyond any `except`."""
    needed = sum(_ENTRY_BYTES + 4 * math.prod(variable.shape) for variable in model.variables)
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, needed)
        file.truncate(0)


def write_history(history: Sequence[Epoch], path: Path) -> None:
    """Write one row per epoch as CSV, floats with six significant digits."""
    text = StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    for epoch in history:
        writer.writerow({key: _rounded(value) for key, value in asdict(epoch).items()})
    write_text(path, text.getvalue())


def record(
    classifier: Classifier,
    trained: Trained,
    *,
    params: Params,
    model: ModelParams,
    dataset: Dataset,
    origin: Origin,
) -> TrainingRecord:
    """Record of the network and its training: everything needed to build it again.

    Args:
        classifier: the trained network.
        trained: its history.
        params: all parameters.
        model: its own, with what a checkpoint prescribed.
        dataset: what it was trained on.
        origin: of its initial weights.
    """
    phases = [epoch.phase for epoch in trained.history]
    return TrainingRecord(
        **vars(dataset),
        architecture=classifier.architecture.name,
        head=params.head,
        options=model.options,
        weights=origin.origin,
        weights_reason=origin.reason,
        parameters=int(classifier.model.count_params()),
        epochs_run=len(phases),
        best_epoch=trained.best_epoch,
        best=BestEpoch(**{f"val_{key}": round(value, 6) for key, value in asdict(trained.best).items()}),
        phases=tuple(PhaseEpochs(name=name, epochs=phases.count(name)) for name in dict.fromkeys(phases)),
        precision=params.training.precision,
    )


def _rounded(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
