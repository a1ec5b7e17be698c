"""What a model says of held-out pictures: the reference that drift is measured against, and a self-test.

The test split was used for neither stopping nor calibration, so a model is as sure on it as on new
pictures of the same kind.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.core.errors import DataError
from serving.contract.arrays import Image
from serving.contract.decoding import decode
from serving.inference.onnx_classifier import OnnxClassifier, Prediction

SELF_TEST_IMAGES = 8
# As `evaluate` keeps them, so that both agree on the most probable class where two are close.
PROBABILITY_DIGITS = 6
# Prepared pictures are written by `prepare`, never larger than the contract's largest side.
_MAX_PIXELS = 1024 * 1024


def predicted_classes(prediction: Prediction, classes: tuple[str, ...]) -> list[str]:
    """Name of the most probable class of each picture."""
    rounded = np.round(prediction.probabilities.astype(np.float64), PROBABILITY_DIGITS)
    return [classes[index] for index in rounded.argmax(axis=1)]


def reference_table(
    rows: pd.DataFrame, prediction: Prediction, classes: tuple[str, ...], *, whole: bool
) -> pa.Table:
    """One row per held-out picture.

    Args:
        rows: of the manifest, in the order of `prediction`.
        prediction: what the model answered.
        classes: in the order of the probability columns.
        whole: whether the network sees whole pictures: how large a face is cut out of one is not recorded.

    Returns:
        path, group, label, predicted, confidence, entropy (nats), p_<class>…, brightness, contrast, sharpness
        (of the network's input), face_size where `whole` (shorter side of the original, px), novelty where
        the model has that output, embedding (float16 list).
    """
    probabilities = prediction.probabilities.astype(np.float64)
    columns = {name: pa.array(rows[name]) for name in ("path", "group", "label")}
    columns["predicted"] = pa.array(predicted_classes(prediction, classes))
    columns["confidence"] = pa.array(probabilities.max(axis=1))
    columns["entropy"] = pa.array(entropy(probabilities))
    columns |= {f"p_{name}": pa.array(probabilities[:, index]) for index, name in enumerate(classes)}
    columns |= {name: pa.array(rows[name]) for name in ("brightness", "contrast", "sharpness")}
    if whole:
        columns["face_size"] = pa.array(np.minimum(rows["width"], rows["height"]))
    if prediction.novelty is not None:
        columns["novelty"] = pa.array(prediction.novelty.astype(np.float64))
    columns["embedding"] = _lists(prediction.embedding.astype(np.float16))
    return pa.table(columns)


def write_reference(path: Path, table: pa.Table) -> None:
    """Write the table as Parquet."""
    pq.write_table(table, path, compression="zstd")


def entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shannon entropy of each row, nats: 0 when certain, log(classes) when undecided."""
    # The least positive double stands in for 0, whose term is 0 either way.
    terms = probabilities * np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    return np.abs(np.asarray(terms.sum(axis=1), dtype=np.float64))


def self_test_images(rows: pd.DataFrame, prepared: Path) -> Image:
    """A few inputs of the network, taken evenly from `rows`, so that several classes are among them.

    Args:
        rows: of the manifest.
        prepared: folder that their `path` is relative to; these pictures are the network's input, lossless.

    Returns:
        uint8 [n, H, W, 3], n ≤ 8.

    Raises:
        DataError: a prepared picture cannot be read.
    """
    ordered = rows.sort_values(["label", "path"])
    chosen = np.unique(np.linspace(0, len(ordered) - 1, SELF_TEST_IMAGES).astype(int))
    return np.stack([_read(prepared / ordered["path"].iloc[index]) for index in chosen])


def write_self_test(path: Path, classifier: OnnxClassifier, images: Image) -> None:
    """Write sample inputs and this machine's outputs, so that a downloaded copy can be verified.

    Holds `image` uint8 [n, H, W, 3], and the model's outputs as the ONNX file names them.
    """
    answers: dict[str, Any] = dict(classifier.predict(images).arrays())
    np.savez_compressed(path, image=images, **answers)


def _lists(values: NDArray[np.float16]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _read(path: Path) -> Image:
    try:
        return decode(path.read_bytes(), max_pixels=_MAX_PIXELS)
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror}, expected a prepared picture; run `dvc repro prepare`"
        ) from error
