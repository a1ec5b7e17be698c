"""What the stage leaves: weights, record and history, each whole or not at all, none with a time in it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from pipelines.errors import OutputError
from pipelines.files import replacing, write_text

HISTORY_COLUMNS = (
    "epoch",
    "phase",
    "learning_rate",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "val_macro_f1",
)


def write_weights(model: Any, path: Path) -> None:
    """Write a Keras model's weights (`.weights.h5`).

    Raises:
        OutputError: the file cannot be written; nothing was replaced.
    """
    with replacing(path) as temporary:
        # Keras insists on this ending.
        named = temporary.with_name(f"{temporary.name}.weights.h5")
        try:
            model.save_weights(named)
            named.replace(temporary)
        except RuntimeError as error:
            # HDF5 answers a full disk with this when it closes the file.
            raise OutputError(path=path, reason=str(error).splitlines()[0]) from error
        finally:
            named.unlink(missing_ok=True)


def write_history(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write one row per epoch as CSV, floats with six significant digits."""
    text = StringIO()
    writer = csv.DictWriter(text, HISTORY_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _rounded(row[key]) for key in HISTORY_COLUMNS})
    write_text(path, text.getvalue())


def _rounded(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
