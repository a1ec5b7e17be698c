"""Predictions of an ONNX file for prepared pictures, and whether its heatmaps agree with Keras'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import ExplanationFailed
from pipelines.explain.heatmaps import Heatmaps
from serving.contract.arrays import Image

TOLERANCE = 1e-3
"""Largest accepted difference of two heatmaps, both in [0, 1]: a quarter of one step in 255."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """One model's answers to n pictures."""

    classes: tuple[str, ...]
    top: NDArray[np.intp]
    """[n], index of the most probable class."""
    confidence: NDArray[np.float32]
    """[n], its probability, in [0, 1]."""
    heatmaps: Heatmaps
    """float32 [n, rows, columns] in [0, 1]."""
    flip_average: bool
    """Whether the model averages each picture with its mirror image."""

    def predicted(self, index: int) -> str:
        """Name of the predicted class of picture `index`."""
        return self.classes[int(self.top[index])]


def answer(path: Path, pictures: Image) -> Answers:
    """Classify pictures with one ONNX file.

    Args:
        path: of the file.
        pictures: uint8 [n, H, W, 3], RGB, as `prepare` left them.

    Raises:
        ModelFileError: the file is not a valid model.
    """
    from pipelines.model.predict import open_model

    classifier = open_model(path)
    prediction = classifier.predict(pictures)
    top = prediction.probabilities.argmax(axis=1)
    return Answers(
        classes=classifier.contract.classes,
        top=top,
        confidence=prediction.probabilities[np.arange(len(top)), top],
        heatmaps=prediction.heatmap,
        flip_average=classifier.contract.flip_average,
    )


def check_agreement(
    onnx: NDArray[np.float32], keras: NDArray[np.float32], *, architecture: str, paths: Sequence[str]
) -> NDArray[np.float32]:
    """Compare two sets of heatmaps, float32 [n, rows, columns].

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
