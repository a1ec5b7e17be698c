"""Original pictures with a manifest, made without `prepare`: their brightness says their class.

Together with `tests.support.onnx_models.write_model(levels=…)` a test knows every answer beforehand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.core.dataset import Dataset, write_dataset
from pipelines.core.manifest import COLUMNS, SCHEMA, digest, write_manifest
from serving.contract import InputSpec, image_statistics, preprocess
from tests.support.onnx_models import CLASSES, brightness_levels

SIDE = 24


def write_originals(
    root: Path,
    *,
    classes: Sequence[str] = CLASSES,
    per_class: int = 10,
    misleading: int = 2,
    spec: InputSpec | None = None,
) -> pd.DataFrame:
    """Write PNG files below `root / "data"` and return their manifest, test and val split alike.

    Args:
        root: stands for the repository.
        classes: of the pictures.
        per_class: pictures of each class in each split; picture i shows person i, so that a
            person has one picture of every class. Odd ones are gray files.
        misleading: how many of them (the first persons) are as bright as the next class.
        spec: of the network, for the statistics.
    """
    spec = spec or InputSpec(height=16, width=16)
    levels = brightness_levels(len(classes))
    rows: list[dict[str, object]] = []
    for split in ("test", "val"):
        for index, label in enumerate(classes):
            for person in range(per_class):
                shown = (index + (person < misleading)) % len(classes)
                image = flat_picture(levels[shown], seed=len(rows))
                source = f"data/{label}/{split}{person:03}.png"
                _write_png(root / source, image, gray=person % 2 == 1)
                rows.append(_row(source, split, label, person, image, spec))
    return pd.DataFrame(rows, columns=list(COLUMNS)).sort_values("path", ignore_index=True)


def write_prepared(root: Path, manifest: pd.DataFrame, *, spec: InputSpec | None = None) -> Dataset:
    """Write `prepared/manifest.parquet` and `prepared/dataset.json` below `root`."""
    spec = spec or InputSpec(height=16, width=16)
    dataset = Dataset(
        classes=tuple(sorted(set(manifest["label"]))), input=spec, dataset=digest(manifest, spec)
    )
    table = pa.Table.from_pandas(manifest, schema=SCHEMA, preserve_index=False)
    write_manifest(root / "prepared" / "manifest.parquet", table)
    write_dataset(root / "prepared" / "dataset.json", dataset)
    return dataset


def flat_picture(level: float, *, seed: int) -> np.ndarray:
    """uint8 [SIDE, SIDE, 3] around one brightness, with a little noise so that no two are equal."""
    noise = np.random.default_rng(seed).integers(-3, 4, (SIDE, SIDE, 1))
    return np.repeat(np.clip(round(255 * level) + noise, 0, 255), 3, axis=2).astype(np.uint8)


def _write_png(path: Path, image: np.ndarray, *, gray: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[:, :, 0] if gray else image)


def _row(
    source: str, split: str, label: str, person: int, image: np.ndarray, spec: InputSpec
) -> dict[str, object]:
    numbers = image_statistics(preprocess(image, spec))
    return {
        "path": f"images/{split}/{label}/{Path(source).name}",
        "split": split,
        "label": label,
        "group": f"{split}{person:03}",
        "width": SIDE,
        "height": SIDE,
        "mode": "L" if person % 2 == 1 else "RGB",
        "bytes": 100,
        "pixel_sha256": hashlib.sha256(image.tobytes()).hexdigest(),
        "perceptual_hash": "0" * 16,
        "brightness": numbers.brightness,
        "contrast": numbers.contrast,
        "sharpness": numbers.sharpness,
        "exif_orientation": 1,
        "source": source,
    }
