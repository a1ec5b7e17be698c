"""A batch of scores as a window: the Parquet table of `serving.scoring`, with its embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serving.drift.request import WindowRule
from serving.drift.table import FACE_SIZE, Table
from serving.drift.window import Current
from serving.errors import BatchTooSmall

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = (
    "emotion", "probability", "entropy", "brightness", "contrast", "sharpness", "box", "embedding",
)  # fmt: skip
"""Of the scores, what is compared."""
# As the columns are called in a window.
_NUMBERS = {
    "brightness": "brightness",
    "contrast": "contrast",
    "sharpness": "sharpness",
    "confidence": "probability",
    "entropy": "entropy",
}
_SEED = 20


def read_scores(path: Path, rule: WindowRule, *, version: str) -> Current:
    """Read the rows that have an answer, or an even sample of them.

    A batch has no times of its own; the file's stands for them.

    Raises:
        BatchTooSmall: there are fewer answers than the rule wants, or none.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=list(COLUMNS))
    table = table.filter(table["emotion"].is_valid())
    total = len(table)
    if total < max(rule.min_rows, 1):
        raise BatchTooSmall(got=total, expected=rule.min_rows, version=version)
    if total > rule.max_rows:
        drawn = np.random.default_rng(_SEED).choice(total, rule.max_rows, replace=False)
        table = table.take(np.sort(drawn))
    written = path.stat().st_mtime
    return Current(
        table=_table(table),
        feedback=(None,) * len(table),
        total=total,
        sampled=total > len(table),
        since=written,
        until=written,
    )


def _table(rows: pa.Table) -> Table:
    numbers = {name: rows[column].to_numpy().astype(np.float64) for name, column in _NUMBERS.items()}
    numbers[FACE_SIZE] = _face_sizes(rows)
    # Through half precision, as the reference and the observations keep them.
    half = np.finfo(np.float16)
    features = np.stack(rows["embedding"].to_numpy(zero_copy_only=False))
    embedding = np.clip(features, half.min, half.max).astype(np.float16)
    return Table(
        numbers=numbers,
        predicted=np.asarray(rows["emotion"].to_pylist(), dtype=np.str_),
        embedding=embedding.astype(np.float64),
    )


def _face_sizes(rows: pa.Table) -> NDArray[np.float64]:
    """Shorter side of the face, px; no number for whole pictures, whose size is not kept."""
    boxes = rows["box"].to_pylist()
    return np.array([np.nan if box is None else min(box["width"], box["height"]) for box in boxes])
