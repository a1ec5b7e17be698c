"""What cropping to the face changes: the same pictures through one model, whole and cropped.

    compare_crops([classifier], test_rows, Path(), detector="haar", margin=0.15)

A model is trained on whole pictures or on crops, and the service may hand it either; the difference is
measured where a face is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.core.results import Crops
from pipelines.metrics import BasicScores, brief, confusion_matrix
from pipelines.model.predict import find_face_detector, read_original
from serving.contract import FaceDetector, Image, InputSpec, largest_face, preprocess
from serving.cores import usable_cores
from serving.inference.onnx_classifier import BATCH_SIZES, OnnxClassifier

if TYPE_CHECKING:
    import pandas

Pair = tuple[Image, Image]


def compare_crops(
    classifiers: Sequence[OnnxClassifier],
    rows: pandas.DataFrame,
    root: Path,
    *,
    detector: str,
    margin: float,
    workers: int | None = None,
) -> list[Crops]:
    """Accuracy on whole pictures and on crops of the same pictures.

    Args:
        classifiers: variants of one model, which take the same inputs and know the same classes: faces are
            looked for once. One trained on crops brings its own detector and margin.
        rows: of the manifest.
        root: folder that the rows' `source` is relative to.
        detector: who finds faces for a model trained on whole pictures.
        margin: around those faces, as a fraction of the box.
        workers: reading threads; without it one per usable core.

    Returns:
        One for each of them.

    Raises:
        DataError: the detector is not available, or an original has changed.
    """
    contract = classifiers[0].contract
    spec = contract.input
    if spec.crop == "none":
        spec = replace(spec, margin=margin)
    else:
        detector, margin = spec.detector or detector, spec.margin
    reader = _PairReader(root, spec, find_face_detector(detector))
    classes = {name: index for index, name in enumerate(contract.classes)}
    actual: list[int] = []
    predicted: list[tuple[list[int], list[int]]] = [([], []) for _ in classifiers]
    for labels, pairs in _batches(reader, rows, workers=workers or usable_cores()):
        actual += [classes[label] for label in labels]
        for path, inputs in enumerate(zip(*pairs, strict=True)):
            batch = np.stack(inputs)
            for classifier, answers in zip(classifiers, predicted, strict=True):
                answers[path].extend(classifier.predict(batch).probabilities.argmax(1).tolist())
    return [
        Crops(
            detector=detector,
            margin=margin,
            images=len(rows),
            found=len(actual),
            whole=_scored(actual, whole, classes),
            face=_scored(actual, face, classes),
        )
        for whole, face in predicted
    ]


def _scored(actual: Sequence[int], predicted: Sequence[int], classes: Sized) -> BasicScores:
    matrix = confusion_matrix(np.array(actual, np.int64), np.array(predicted, np.int64), classes=len(classes))
    return brief(matrix)


class _PairReader:
    """Reads originals both ways; may be called from several threads."""

    def __init__(self, root: Path, spec: InputSpec, detector: FaceDetector) -> None:
        self._root = root
        self._spec = spec
        self._detector = detector

    def __call__(self, locator: str) -> Pair | None:
        """The whole picture and its largest face, uint8 [H, W, 3] each; None without a face."""
        image = read_original(locator, self._root)
        face = largest_face(self._detector, image)
        if face is None:
            return None
        return preprocess(image, self._spec), preprocess(image, self._spec, face=face)


def _batches(
    reader: _PairReader, rows: pandas.DataFrame, *, workers: int
) -> Iterator[tuple[Sequence[str], Sequence[Pair]]]:
    """Labels and pairs of the pictures that have a face, as many at a time as the model takes at once."""
    size = BATCH_SIZES[-1]
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(rows), size):
            part = rows.iloc[start : start + size]
            pairs = list(pool.map(reader, part["source"]))
            found = [(label, pair) for label, pair in zip(part["label"], pairs, strict=True) if pair]
            if found:
                labels, kept = zip(*found, strict=True)
                yield labels, kept
