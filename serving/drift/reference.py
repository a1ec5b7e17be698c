"""The reference of a served model: what it says of held-out pictures, read from beside its file.

`reference.parquet` comes with every registered version, so it is replaced whenever the model is. Its columns:
group (the person), label, predicted, confidence, entropy, brightness, contrast, sharpness, embedding, and
face_size where the pictures had one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serving.drift.table import FACE_SIZE, NUMBERS, Table
from serving.errors import ReferenceUnusable

if TYPE_CHECKING:
    import pyarrow as pa

REFERENCE = "reference.parquet"
"""Name of the file, beside the model's."""
_TEXTS = ("group", "label", "predicted")
_EMBEDDING = "embedding"
_SEED = 20


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Held-out pictures as the model sees them."""

    table: Table
    labels: NDArray[np.str_]
    """The true emotion of each row."""
    people: NDArray[np.intp]
    """Who is on each row, numbered from 0 without gaps."""

    @property
    def number_of_people(self) -> int:
        """How many people there are."""
        return int(self.people.max()) + 1

    def thinned(self, max_rows: int) -> Reference:
        """At most about so many rows, of people drawn at random: all rows of each, as in the whole."""
        if len(self.people) <= max_rows:
            return self
        order = np.random.default_rng(_SEED).permutation(self.number_of_people)
        sizes = np.bincount(self.people)[order]
        # At least one, however many pictures there are of them.
        kept = order[: max(1, int(np.searchsorted(np.cumsum(sizes), max_rows, side="right")))]
        rows = np.flatnonzero(np.isin(self.people, kept))
        return Reference(
            table=self.table.taken(rows), labels=self.labels[rows], people=_numbered(self.people[rows])
        )


def read_reference(folder: Path) -> Reference:
    """Read the reference beside a model's file.

    Raises:
        ReferenceUnusable: it is missing, damaged, empty, or lacks columns.
    """
    path = folder / REFERENCE
    table = _read(path)
    wanted = (*_TEXTS, *NUMBERS, _EMBEDDING)
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise ReferenceUnusable(path=str(path), reason=f"the column {', '.join(missing)} is missing")
    if table.num_rows == 0:
        raise ReferenceUnusable(path=str(path), reason="it has no rows")
    return _built(path, table)


def _read(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except FileNotFoundError as error:
        raise ReferenceUnusable(path=str(path), reason="there is no such file") from error
    except (OSError, pa.ArrowException) as error:
        raise ReferenceUnusable(path=str(path), reason=str(error).splitlines()[0]) from error


def _built(path: Path, table: pa.Table) -> Reference:
    import pyarrow as pa

    names = [*NUMBERS, *([FACE_SIZE] if FACE_SIZE in table.column_names else [])]
    try:
        numbers = {name: _numbers(table[name]) for name in names}
        embedding = np.stack(table[_EMBEDDING].to_numpy(zero_copy_only=False)).astype(np.float64)
        texts = {name: np.asarray(table[name].to_pylist(), dtype=np.str_) for name in _TEXTS}
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise ReferenceUnusable(path=str(path), reason=f"a column has wrong values: {error}") from error
    broken = [name for name, values in numbers.items() if not np.isfinite(values).all()]
    if broken or embedding.ndim != 2 or not np.isfinite(embedding).all():
        raise ReferenceUnusable(
            path=str(path), reason=f"the column {(broken or [_EMBEDDING])[0]} has values that are no numbers"
        )
    return Reference(
        table=Table(numbers=numbers, predicted=texts["predicted"], embedding=embedding),
        labels=texts["label"],
        people=_numbered(texts["group"]),
    )


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(column.to_numpy(), np.float64)


def _numbered(names: NDArray[np.str_] | NDArray[np.intp]) -> NDArray[np.intp]:
    return np.unique(names, return_inverse=True)[1].astype(np.intp)
