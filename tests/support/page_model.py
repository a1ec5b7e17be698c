"""What the page shows, made for tests: a model with card and metrics, pictures with faces that it knows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.support.onnx_models import CLASSES
from tests.support.pictures import Pixels, drawn_face, encoded
from tests.support.serving_models import model_folder

_CARD = """# Test model: 7 expressions

> **{mark}.** Made for tests.

Answers *one* face with `probabilities`.

## Measured

| metric | value |
| --- | --- |
| accuracy | 0.813 |

* An expression is not a feeling.
* <img src=x onerror=alert(1)> is only text.
"""
SAMPLE_MARK = "Trained on drawings, not for real faces"


def page_model(folder: Path, *, sample: bool = True) -> Path:
    """A registered folder: the model by brightness, with card and metrics; returns the folder."""
    model_folder(folder)
    (folder / "card.md").write_text(_CARD.format(mark=SAMPLE_MARK if sample else "Trained on photographs"))
    scores = {"precision": 0.8, "recall": 0.75, "f1": 0.774, "roc_auc": 0.9, "support": 40}
    test = {
        "accuracy": 0.813, "accuracy_low": 0.77, "accuracy_high": 0.85, "macro_f1": 0.801, "ece": 0.031,
        "top2_accuracy": 0.95, "images": 280,
    }  # fmt: skip
    metrics = {"title": "Test model", "test": test, "classes": dict.fromkeys(CLASSES, scores)}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def rows_of_faces(count: int, *, columns: int, side: int = 120, gap: int = 12) -> bytes:
    """A PNG file with equal drawn faces, row by row, `gap` px apart."""
    rows, step = -(-count // columns), side + gap
    wall: Pixels = np.full((rows * step + gap, columns * step + gap, 3), (150, 170, 190), np.uint8)
    for number in range(count):
        row, column = divmod(number, columns)
        top, left = gap + row * step, gap + column * step
        wall[top : top + side, left : left + side] = drawn_face(side)
    return encoded(wall)


def group(sides: Sequence[int] = (220, 170, 140)) -> bytes:
    """A PNG file with one drawn face for each side, px, on a plain wall, from left to right."""
    height = max(sides) + 80
    wall: Pixels = np.full((height, sum(sides) + 60 * (len(sides) + 1), 3), (150, 170, 190), np.uint8)
    left = 60
    for side in sides:
        wall[40 : 40 + side, left : left + side] = drawn_face(side)
        left += side + 60
    return encoded(wall)
