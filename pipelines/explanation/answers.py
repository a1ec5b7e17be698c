"""What an ONNX file says about prepared pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.explanation.heatmaps import Heatmaps
from serving.contract.arrays import Image


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

    def predicted(self, index: int) -> str:
        """Name of the class that picture `index` was taken for."""
        return self.classes[int(self.top[index])]


def answer(path: Path, pictures: Image) -> Answers:
    """Ask one ONNX file.

    Args:
        path: of the file.
        pictures: uint8 [n, H, W, 3], RGB, as `prepare` left them.

    Raises:
        ModelFileError: no valid model.
    """
    from pipelines.inference import open_model

    classifier = open_model(path)
    prediction = classifier.predict(pictures)
    top = prediction.probabilities.argmax(axis=1)
    return Answers(
        classes=classifier.contract.classes,
        top=top,
        confidence=prediction.probabilities[np.arange(len(top)), top],
        heatmaps=prediction.heatmap,
    )
