"""Load a model file as the service does and ask it something."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipelines.core.errors import ModelFileError
from pipelines.model.predict import open_model
from serving.contract.arrays import Image
from serving.contract.model import OUTPUTS
from serving.inference import Prediction

# The same as between Keras and ONNX Runtime at export (`export.tolerance`): float32 sums in another order.
_TOLERANCE = 1e-4


def smoke(path: Path, images: Image) -> str | None:
    """Load with one thread, predict one picture and all of them at once.

    Args:
        path: of the ONNX file.
        images: uint8 [n, H, W, 3], n ≥ 1, of the contract's size.

    Returns:
        What went wrong, in one sentence; None if nothing did.
    """
    try:
        classifier = open_model(path, threads=1)
    except ModelFileError as error:
        return f"the file does not load: {error}"
    try:
        one, many = classifier.predict(images[:1]), classifier.predict(images)
    except Exception as error:  # ONNX Runtime's exceptions share no other base
        return f"the file loads but does not answer: {str(error).splitlines()[0]}"
    return _invalid(many) or _different(one, many)


def _invalid(prediction: Prediction) -> str | None:
    for name in OUTPUTS:
        if not np.isfinite(getattr(prediction, name)).all():
            return f"{name} holds values that are not finite"
    sums = prediction.probabilities.sum(axis=1)
    if np.abs(sums - 1).max() > _TOLERANCE:
        return f"probabilities sum to {sums.min():.4f}–{sums.max():.4f}, expected 1"
    low, high = prediction.heatmap.min(), prediction.heatmap.max()
    if low < 0 or high > 1:
        return f"heatmap lies in [{low:.3f}, {high:.3f}], expected [0, 1]"
    return None


def _different(one: Prediction, many: Prediction) -> str | None:
    gap = float(np.abs(one.probabilities[0] - many.probabilities[0]).max())
    if gap > _TOLERANCE:
        return f"one picture alone and in a batch differ by {gap:.2g}, at most {_TOLERANCE:g} is allowed"
    return None
