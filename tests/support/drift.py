"""References and pictures for tests of drift: people who differ, pictures that a test model tells apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from serving.contract import image_statistics, preprocess
from serving.detection.responses import entropy
from serving.drift.data import REFERENCE
from serving.inference.onnx_classifier import OnnxClassifier
from tests.support.serving_models import LEVELS

CLASSES = ("angry", "happy", "sad")


def reference_columns(*, people: int = 30, features: int = 8, seed: int = 0) -> dict[str, Any]:
    """One row for each person and class of `CLASSES`; numbers at random, each person around their own."""
    rng = np.random.default_rng(seed)
    rows = people * len(CLASSES)
    own = np.repeat(rng.normal(size=people), len(CLASSES))
    labels = np.tile(CLASSES, people)
    columns: dict[str, Any] = {
        "group": np.repeat([f"id{number:03d}" for number in range(people)], len(CLASSES)),
        "label": labels,
        "predicted": np.where(rng.random(rows) < 0.8, labels, np.roll(labels, 1)),
    }
    for name in ("brightness", "contrast", "sharpness", "confidence", "entropy"):
        columns[name] = 0.5 + 0.05 * own + 0.05 * rng.normal(size=rows)
    columns["embedding"] = rng.normal(size=(rows, features)).astype(np.float16)
    return columns


def write_reference(folder: Path, columns: dict[str, Any]) -> Path:
    """Lay `reference.parquet` beside a model; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        name: pa.array(list(column)) if getattr(column, "ndim", 1) == 2 else pa.array(column)
        for name, column in columns.items()
    }
    pq.write_table(pa.table(values), folder / REFERENCE)
    return folder


def picture(person: int, index: int, *, side: int = 32, share: float = 1.0) -> NDArray[np.uint8]:
    """A picture that the model of `serving_models` takes for class `index`, uint8 [side, side, 3].

    Args:
        person: whose it is: a little brighter or darker than others', and rougher.
        index: of the class.
        side: px.
        share: of its brightness.
    """
    own = np.random.default_rng((1, person))
    offset, rough = own.normal(scale=2), own.uniform(2, 8)
    noise = np.random.default_rng((2, person, index)).normal(scale=rough, size=(side, side, 1))
    values = share * (LEVELS[index] * 255 + offset + noise)
    return np.repeat(np.clip(np.rint(values), 0, 255).astype(np.uint8), 3, axis=2)


def add_reference(folder: Path, *, people: Sequence[int]) -> Path:
    """What the model in `folder` says of pictures of these people, as the pipeline leaves it; the folder."""
    classifier = OnnxClassifier.open(folder / "model.onnx")
    classes = classifier.contract.classes
    shots = [(person, index) for person in people for index in range(len(classes))]
    inputs = np.stack([preprocess(picture(*shot), classifier.contract.input) for shot in shots])
    answers = classifier.predict(inputs)
    statistics = [image_statistics(image) for image in inputs]
    columns: dict[str, Any] = {
        "group": [f"id{person:04d}" for person, _ in shots],
        "label": [classes[index] for _, index in shots],
        "predicted": [classes[index] for index in answers.probabilities.argmax(axis=1)],
        "confidence": answers.probabilities.max(axis=1).astype(np.float64),
        "entropy": [entropy(row) for row in answers.probabilities.tolist()],
        "embedding": answers.embedding.astype(np.float16),
    }
    for name in ("brightness", "contrast", "sharpness"):
        columns[name] = [getattr(one, name) for one in statistics]
    return write_reference(folder, columns)
