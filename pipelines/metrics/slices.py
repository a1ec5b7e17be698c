"""Parts of a set of pictures, to see where a model is weak."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
"""bool [n], True for the pictures of the slice."""

BY_TERCILE = ("brightness", "contrast", "sharpness")
"""Columns of the manifest that are cut into terciles."""
GRAY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
"""Pillow's modes with one channel of light (and perhaps one of transparency); all others are colour."""


def tercile_slices(values: NDArray[np.float64]) -> dict[str, Mask]:
    """Thirds `low`, `middle`, `high`, with the edges at the 1/3 and 2/3 quantiles of `values`.

    Values on an edge belong to the lower slice, so that equal values never part; many equal values
    make slices unequal, or empty.
    """
    if not len(values):
        empty = np.zeros(0, dtype=np.bool_)
        return {"low": empty, "middle": empty, "high": empty}
    first, second = np.quantile(values, (1 / 3, 2 / 3))
    return {
        "low": values <= first,
        "middle": (values > first) & (values <= second),
        "high": values > second,
    }


def color_slices(modes: Sequence[str]) -> dict[str, Mask]:
    """`color` and `gray` by the original file's Pillow mode."""
    gray = np.array([mode in GRAY_MODES for mode in modes], dtype=np.bool_)
    return {"color": ~gray, "gray": gray}
