"""Every architecture in a small size, with weights that make it answer different pictures differently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.core.dataset import Dataset
from pipelines.core.manifest import COLUMNS, SCHEMA, write_manifest
from pipelines.core.params import HeadParams, ModelParams
from pipelines.core.records import write_record
from pipelines.model.keras_classifier import Classifier, build_classifier
from serving.contract import InputSpec
from tests.support.results import training

SIDE = 64
CLASSES = ("happy", "neutral", "sad")
HEAD = HeadParams(hidden=[24, 16], dropout=0.2)
# Smaller than the defaults where an architecture can be; others are tested as they are.
OPTIONS: dict[str, dict[str, Any]] = {
    "vgg": {"filters": [8, 12, 16], "convolutions": [1, 2, 1]},
    "mobilenet_v2": {"alpha": 0.35},
    "vit": {"patch_px": 16, "width": 24, "depth": 3, "heads": 3},
    # Another size than the picture's, so that the resizing inside the graph is tested too.
    "vit_pretrained": {"image_size_px": 48, "patch_px": 12, "width": 24, "depth": 2, "heads": 3},
}


def small_classifier(
    name: str, *, head: HeadParams = HEAD, side: int = SIDE, options: dict[str, Any] | None = None
) -> Classifier:
    """Build one architecture with fresh weights."""
    import keras

    keras.utils.set_random_seed(7)
    return build_classifier(
        name,
        ModelParams(
            epochs=1, learning_rate=1e-3, options=OPTIONS.get(name, {}) if options is None else options
        ),
        head=head,
        height=side,
        width=side,
        classes=len(CLASSES),
    )


def lively(classifier: Classifier) -> Classifier:
    """Give every weight a value that shows: no zero bias, no batch norm that has seen nothing.

    An untrained deep network answers every picture alike, and two wrong conversions of it look equal.
    """
    rng = np.random.default_rng(0)
    for weight in classifier.model.trainable_weights:
        # Kernels are random from the start; biases, scales and class tokens begin as constants.
        if len(weight.shape) == 1 or 1 in weight.shape[:2]:
            weight.assign_add(rng.normal(0, 0.1, weight.shape).astype(np.float32))
    # A deep random network is chaotic: rounding in one picture grows into another answer. What tames it:
    # batch norms that have seen every picture of the tests, and blow up no channel which hardly varies.
    _settle(classifier.model, pictures(36, side=classifier.model.input_shape[1]))
    return classifier


def _settle(model: Any, images: NDArray[np.uint8]) -> None:
    """Batch norms take the statistics of these pictures whole, nothing dropped meanwhile."""
    before = [
        (layer, name, getattr(layer, name))
        for layer in model.layers
        for name in ("momentum", "rate")
        if hasattr(layer, name)
    ]
    for layer, name, _ in before:
        setattr(layer, name, 0.0)
    model(images.astype(np.float32), training=True)
    for layer, name, value in before:
        setattr(layer, name, value)
    for layer in model.layers:
        if hasattr(layer, "moving_variance"):
            variance = layer.moving_variance.numpy()
            layer.moving_variance.assign(np.maximum(variance, 0.6 * variance.mean()))


def pictures(count: int, *, side: int = SIDE) -> NDArray[np.uint8]:
    """uint8 [count, side, side, 3]: variations of one pattern of soft patches.

    Always the same ones: a smaller `count` gives the first of them.
    """
    rng = np.random.default_rng(0)
    common = rng.normal(128, 40, (5, 5, 3))
    made = []
    for _ in range(count):
        coarse = (common + rng.normal(0, 30, common.shape)).astype(np.float32)
        patches = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        made.append(patches + rng.normal(0, 6, patches.shape))
    return np.clip(np.stack(made), 0, 255).astype(np.uint8)


def write_trained(root: Path, classifier: Classifier, *, per_class: int = 6) -> Dataset:
    """Write `prepared/` and `models/NAME/` below `root`, as `prepare` and `train` would leave them."""
    side = classifier.model.input_shape[1]
    dataset = Dataset(classes=CLASSES, input=InputSpec(height=side, width=side), dataset="ab" * 32)
    write_prepared(root / "prepared", per_class=per_class, side=side)
    name = classifier.architecture.name
    folder = root / "models" / name
    folder.mkdir(parents=True)
    classifier.model.save_weights(folder / "model.weights.h5")
    write_record(
        folder / "training.json",
        training(dataset, architecture=name, head=HEAD, options=OPTIONS.get(name, {})),
    )
    return dataset


def write_prepared(prepared: Path, *, per_class: int, side: int) -> None:
    """Write pictures of the splits `test`, `val` and `train` and their manifest into folder `prepared`."""
    rows = []
    images = pictures(3 * per_class * len(CLASSES), side=side)
    for split, part in zip(("test", "val", "train"), np.split(images, 3), strict=True):
        for index, image in enumerate(part):
            label = CLASSES[index % len(CLASSES)]
            path = f"images/{split}/{label}/{index:03}.png"
            (prepared / path).parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(prepared / path), image[:, :, ::-1])
            rows.append(_row(path, split, label, group=f"{split}{index:03}", side=side))
    table = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values("path", ignore_index=True)
    write_manifest(
        prepared / "manifest.parquet", pa.Table.from_pandas(table, schema=SCHEMA, preserve_index=False)
    )


def _row(path: str, split: str, label: str, *, group: str, side: int) -> dict[str, object]:
    empty = dict.fromkeys(("pixel_sha256", "perceptual_hash", "source"), "0" * 16)
    numbers = dict.fromkeys(("brightness", "contrast", "sharpness"), 0.5)
    return {
        **empty,
        **numbers,
        "path": path,
        "split": split,
        "label": label,
        "group": group,
        "width": side,
        "height": side,
        "mode": "RGB",
        "bytes": 100,
        "exif_orientation": 1,
    }
