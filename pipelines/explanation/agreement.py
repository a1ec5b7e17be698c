"""Do the ONNX file's heatmaps show what Keras says?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import ExplanationFailed

TOLERANCE = 1e-3
"""Largest accepted difference of two heatmaps, both in [0, 1]: a quarter of one step in 255."""


def check_agreement(
    onnx: NDArray[np.float32], keras: NDArray[np.float32], *, architecture: str, paths: Sequence[str]
) -> NDArray[np.float32]:
    """Hold two sets of heatmaps, float32 [n, rows, columns], against each other.

    Returns:
        float32 [n]: each picture's largest difference.

    Raises:
        ExplanationFailed: shapes differ, or a difference is above `TOLERANCE` or not a number.
    """
    if onnx.shape != keras.shape:
        raise _differs(architecture, f"ONNX heatmaps of shape {onnx.shape}, Keras' of {keras.shape}")
    differences = np.abs(onnx - keras).reshape(len(onnx), -1).max(axis=1)
    # Written so that NaN counts as a difference.
    bad = np.flatnonzero(~(differences <= TOLERANCE))
    if bad.size:
        worst = bad[np.argmax(np.nan_to_num(differences[bad], nan=np.inf))]
        raise _differs(
            architecture,
            f"{bad.size} of {len(onnx)} heatmaps differ by up to {differences[worst]:.2g} ({paths[worst]})",
        )
    return np.asarray(differences, dtype=np.float32)


def _differs(architecture: str, got: str) -> ExplanationFailed:
    return ExplanationFailed(
        architecture=architecture,
        got=got,
        expected=f"agreement within {TOLERANCE:g}",
    )
