"""What drift compares, in one shape for both sides: the reference's rows and a window's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FACE_SIZE = "face_size"
"""Shorter side, px, of what was cut out of the picture for the network."""
NUMBERS = ("brightness", "contrast", "sharpness", "confidence", "entropy")
"""Columns of numbers that both sides always have; see `serving.observing.observation`."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of one model's answers."""

    numbers: Mapping[str, NDArray[np.float64]]
    """Name → [rows]."""
    predicted: NDArray[np.str_]
    """The most probable class, [rows]."""
    embedding: NDArray[np.float64]
    """The head's penultimate features, [rows, D]."""

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.predicted)

    def taken(self, rows: NDArray[np.intp]) -> Table:
        """These rows only."""
        return Table(
            numbers={name: values[rows] for name, values in self.numbers.items()},
            predicted=self.predicted[rows],
            embedding=self.embedding[rows],
        )
