"""A contact sheet: one row per person, one column per class, strong expressions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import SampleError
from pipelines.core.io import replacing
from sample_faces.action_units import CLASSES
from sample_faces.dataset import SampleSpec, Shot, draw_image, encode

_CAPTION_PX = 22
_GAP_PX = 4


def draw_sheet(spec: SampleSpec, people: list[int], *, intensity: float | None) -> NDArray[np.uint8]:
    """Draw some people with every class.

    Args:
        spec: its `size_px` is the size of one picture.
        people: identities, one row each.
        intensity: of every expression, 0–1; as in the sample when None.

    Returns:
        uint8 [rows, columns, 3], RGB.
    """
    rows = [_captions(spec.size_px)]
    for identity in people:
        tiles = [
            draw_image(spec, Shot(label=label, identity=identity, number=0), intensity=intensity)
            for label in CLASSES
        ]
        rows.append(np.hstack([_framed(tile) for tile in tiles]))
    return np.vstack(rows)


def write_sheet(path: Path, sheet: NDArray[np.uint8]) -> None:
    """Write a sheet as JPEG.

    Raises:
        SampleError: the file's name promises another format.
        OutputError: the file cannot be written.
    """
    if path.suffix not in (".jpg", ".jpeg"):
        raise SampleError(option="--sheet", got=path.name, expected="a name that ends in .jpg")
    data = encode(sheet)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def _framed(tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
    half = _GAP_PX // 2
    return np.pad(tile, ((half, half), (half, half), (0, 0)), constant_values=255)


def _captions(size_px: int) -> NDArray[np.uint8]:
    width = size_px + _GAP_PX
    strip = np.full((_CAPTION_PX, width * len(CLASSES), 3), 255, np.uint8)
    for column, label in enumerate(CLASSES):
        (text_px, _), _ = cv2.getTextSize(label, cv2.FONT_HERSHEY_DUPLEX, 0.45, 1)
        at = (column * width + (width - text_px) // 2, 15)
        cv2.putText(strip, label, at, cv2.FONT_HERSHEY_DUPLEX, 0.45, (60, 60, 60), 1, cv2.LINE_AA)
    return strip
