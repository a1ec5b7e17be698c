"""The test pictures that are corrupted, and a model's answers to them.

The draw is the same for every model, so that two models are compared on the same corrupted pictures. The
original is corrupted, as if the service had been sent it like that, and then preprocessed by the model's
contract; where that crops to the face, the face is looked for in the corrupted picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.core.reference import PROBABILITY_DIGITS
from pipelines.metrics.classification import Floats
from pipelines.model.predict import find_face_detector, read_original
from pipelines.robustness.corruptions import CORRUPTIONS, SEVERITIES
from serving.contract import FaceDetector, Image, InputSpec, largest_face, preprocess
from serving.cores import usable_cores
from serving.inference.onnx_classifier import OnnxClassifier

if TYPE_CHECKING:
    import pandas

CASES = len(CORRUPTIONS) * len(SEVERITIES)
"""Corrupted versions of each picture."""
_AT_ONCE = 8
"""Pictures in memory at a time, each in all its versions."""


def draw(manifest: pandas.DataFrame, *, most: int, seed: int) -> pandas.DataFrame:
    """Draw test pictures, of each class in proportion to its share of the test split.

    Args:
        manifest: of `prepare`.
        most: number of pictures to draw; all are taken if there are fewer.
        seed: the same seed draws the same pictures, independent of the order of the rows.

    Returns:
        Rows of the manifest by path.
    """
    test = manifest[manifest["split"] == "test"].sort_values("path")
    random = np.random.default_rng(seed)
    order = random.permutation(len(test))
    # The n-th picture of a class of m is at (n + 0.5) / m: the first ones of this order are a fair share.
    ranked = test.iloc[order].groupby("label").cumcount() + 0.5
    place = ranked / test.iloc[order].groupby("label")["label"].transform("size")
    chosen = place.sort_values(kind="stable").index[:most]
    return test.loc[chosen].sort_values("path")


def draw_digest(rows: pandas.DataFrame) -> str:
    """SHA-256 of the drawn pictures' locators; two results with the same digest are of the same pictures."""
    return hashlib.sha256("\n".join(rows["source"]).encode()).hexdigest()


def predict_corrupted(
    classifier: OnnxClassifier, locators: Sequence[str], root: Path, *, workers: int | None = None
) -> Floats:
    """Let a model answer every corrupted version of some originals.

    Args:
        classifier: the model.
        locators: n originals, the manifest's `source` column.
        root: folder that the locators are relative to.
        workers: threads that read and corrupt; without it one per usable core.

    Returns:
        Probabilities, float64 [n, corruptions, severities, classes], rounded as `evaluate` rounds them.

    Raises:
        DataError: an original is gone or has changed, or the contract's face detector is not available.
    """
    read = _CorruptingReader(root, classifier.contract.input)
    answers = []
    with ThreadPoolExecutor(workers or usable_cores()) as pool:
        for start in range(0, len(locators), _AT_ONCE):
            inputs = list(pool.map(read, locators[start : start + _AT_ONCE]))
            answers.append(classifier.predict(np.concatenate(inputs)).probabilities)
    classes = len(classifier.contract.classes)
    exact = np.concatenate(answers).astype(np.float64) if answers else np.empty((0, classes))
    return np.round(exact, PROBABILITY_DIGITS).reshape(-1, len(CORRUPTIONS), len(SEVERITIES), classes)


def right_share(answers: Floats, labels: Sequence[str], classes: Sequence[str]) -> Floats:
    """Share of each picture's corrupted versions that are answered right, float64 [n].

    Args:
        answers: from `predict_corrupted`.
        labels: class of each of the n pictures.
        classes: in the order of the model's outputs.
    """
    index = {name: position for position, name in enumerate(classes)}
    actual = np.array([index[label] for label in labels], dtype=np.int64)
    right = answers.argmax(-1) == actual[:, None, None]
    return np.asarray(right.mean(axis=(1, 2)), dtype=np.float64)


class _CorruptingReader:
    """Reads originals, corrupts and preprocesses them; may be called from several threads."""

    def __init__(self, root: Path, spec: InputSpec) -> None:
        self._root = root
        self._spec = spec
        self._detector: FaceDetector | None = None
        if spec.crop == "face":
            self._detector = find_face_detector(spec.detector or "")

    def __call__(self, locator: str) -> Image:
        """All versions of one picture, uint8 [CASES, H, W, 3]."""
        image = read_original(locator, self._root)
        versions = (corrupt(image, severity) for corrupt in CORRUPTIONS.values() for severity in SEVERITIES)
        return np.stack([self._preprocessed(version) for version in versions])

    def _preprocessed(self, image: Image) -> Image:
        face = largest_face(self._detector, image) if self._detector else None
        return preprocess(image, self._spec, face=face)
