"""Original pictures through an exported model, exactly as the service will: ONNX Runtime, no TensorFlow.

    classifier = open_model(Path("onnx/lenet/model.onnx"), threads=2)
    prediction = predict_sources(classifier, ["data/happy/id001_0.jpg"], Path())

Preprocessing follows the contract inside the model file, so two models may want different sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from pipelines.core.errors import DataError, ModelFileError
from pipelines.core.source_images import face_model_file, read_image
from serving import errors
from serving.contract import (
    FaceDetector,
    FaceDetectorError,
    Image,
    ImageError,
    InputSpec,
    ModelContract,
    find_detector,
    largest_face,
    preprocess,
)
from serving.cores import usable_cores
from serving.inference.onnx_classifier import BATCH_SIZES, OnnxClassifier, Prediction, join_predictions


def open_model(path: Path, *, threads: int = 1) -> OnnxClassifier:
    """Load a model file; see `OnnxClassifier.open`.

    Raises:
        ModelFileError: absent, truncated, not ONNX, or contract and tensors do not fit.
    """
    try:
        return OnnxClassifier.open(path, threads=threads)
    except errors.ModelFileError as error:
        raise ModelFileError(path=path, reason=error.reason) from error


def predict_sources(
    classifier: OnnxClassifier, locators: Sequence[str], root: Path, *, workers: int | None = None
) -> Prediction:
    """Read original pictures, preprocess them with the model's own contract and predict.

    Args:
        classifier: the model.
        locators: the manifest's `source` column.
        root: folder that the locators are relative to.
        workers: reading threads; without it one per usable core.

    Returns:
        Answers in the order of `locators`.

    Raises:
        DataError: an original is gone, or has changed so that it cannot be read.
    """
    return join_predictions(list(predict_batches(classifier, locators, root, workers=workers)))


def predict_batches(
    classifier: OnnxClassifier, locators: Sequence[str], root: Path, *, workers: int | None = None
) -> Iterator[Prediction]:
    """Predict as `predict_sources`, but yield at least one batch at a time, to avoid storing all embeddings.

    Pictures are read in threads, one batch ahead of the model, so memory does not grow with their number.
    """
    spec = classifier.contract.input
    if not locators:
        yield classifier.predict(np.empty((0, spec.height, spec.width, 3), np.uint8))
    else:
        batches = read_batches(locators, root, classifier.contract, workers=workers or usable_cores())
        yield from map(classifier.predict, batches)


def read_batches(
    locators: Sequence[str],
    root: Path,
    contract: ModelContract,
    *,
    workers: int,
    size: int = BATCH_SIZES[-1],
) -> Iterator[Image]:
    """Preprocessed pictures in order, uint8 [≤ size, H, W, 3] each; the next batch is read meanwhile."""
    read = InputReader(root, contract.input)
    with ThreadPoolExecutor(workers) as pool:

        def submit(start: int) -> list[Future[Image]]:
            return [pool.submit(read, locator) for locator in locators[start : start + size]]

        waiting = submit(0)
        for start in range(size, len(locators) + size, size):
            batch, waiting = waiting, submit(start)
            yield np.stack([future.result() for future in batch])


class InputReader:
    """Reads originals as one model wants them; may be called from several threads."""

    def __init__(self, root: Path, spec: InputSpec) -> None:
        """Locators are relative to `root`; `spec` is the model's.

        Raises:
            DataError: `spec` requires a face detector that is not available.
        """
        self._root = root
        self._spec = spec
        self._detector: FaceDetector | None = None
        if spec.crop == "face":
            self._detector = find_face_detector(spec.detector or "")

    def __call__(self, locator: str) -> Image:
        """One network input, uint8 [H, W, 3].

        Where the contract crops to the face and there is none, the whole picture is taken: `prepare` set such
        pictures aside, so this concerns only a model with another crop rule than the data's.

        Raises:
            DataError: the original is gone, or has changed so that it cannot be read.
        """
        image = read_original(locator, self._root)
        face = largest_face(self._detector, image) if self._detector else None
        return preprocess(image, self._spec, face=face)


def read_original(locator: str, root: Path) -> Image:
    """The original picture, upright, uint8 [h, w, 3].

    Raises:
        DataError: it is gone, or has changed so that it cannot be read.
    """
    try:
        return read_image(locator, root)
    except (OSError, ImageError, IndexError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise DataError(
            f"{locator}: {reason}, expected the picture that `prepare` read; "
            "restore it with `dvc checkout data.dvc`, or run `dvc repro`"
        ) from error


def find_face_detector(name: str) -> FaceDetector:
    """The detector called `name`; YuNet reads the file that `MIEN_FACE_MODEL` names, else that of `weights`.

    Raises:
        DataError: the detector is not available.
    """
    try:
        return find_detector(name, face_model_file())
    except FaceDetectorError as error:
        raise DataError(str(error)) from error
