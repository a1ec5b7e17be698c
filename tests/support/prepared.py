"""Small prepared datasets: coloured stripes and blobs that a network learns in seconds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.core.io import write_json
from serving.contract import InputSpec

CLASSES = ("angry", "happy", "sad")


def picture(label: int, rng: np.random.Generator, *, side: int) -> NDArray[np.uint8]:
    """uint8 [side, side, 3]: stripes across, stripes down, or a blob, in noise."""
    rows, columns = np.mgrid[0:side, 0:side] + rng.uniform(-2, 2)
    patterns = (np.sin(rows * 1.5), np.sin(columns * 1.5), np.exp(-((rows - side / 2) ** 2) / side))
    noise = rng.normal(0, 0.5, (side, side, 3))
    values: NDArray[np.float64] = 128 + 60 * (patterns[label][:, :, None] + noise)
    return values.clip(0, 255).astype(np.uint8)


def write_prepared(
    root: Path, *, per_class: int = 40, val_per_class: int = 10, side: int = 16, seed: int = 0
) -> InputSpec:
    """Write `images/{train,val,test}/<class>/*.png` and `dataset.json` into `root`."""
    rng = np.random.default_rng(seed)
    spec = InputSpec(height=side, width=side)
    for split, count in (("train", per_class), ("val", val_per_class), ("test", val_per_class)):
        for label, name in enumerate(CLASSES):
            folder = root / "images" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                Image.fromarray(picture(label, rng, side=side)).save(folder / f"{index:04d}.png")
    write_json(root / "dataset.json", {"classes": list(CLASSES), "input": asdict(spec), "dataset": "0" * 64})
    return spec
