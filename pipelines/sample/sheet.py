"""A contact sheet: one row per person, one column per class, strong expressions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.files import replacing
from pipelines.sample.action_units import CLASSES
from pipelines.sample.dataset import SampleSpec, Shot, draw_image

_CAPTION_PX = 22
_GAP_PX = 4
_COMPRESSION = 9


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
    """Write a sheet as PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    options = [cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION]
    _, data = cv2.imencode(".png", np.ascontiguousarray(sheet[..., ::-1]), options)
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())


def _framed(tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
    half = _GAP_PX // 2
    return cv2.copyMakeBorder(tile, half, half, half, half, cv2.BORDER_CONSTANT, value=(255, 255, 255))


def _captions(size_px: int) -> NDArray[np.uint8]:
    width = size_px + _GAP_PX
    strip = np.full((_CAPTION_PX, width * len(CLASSES), 3), 255, np.uint8)
    for column, label in enumerate(CLASSES):
        (text_px, _), _ = cv2.getTextSize(label, cv2.FONT_HERSHEY_DUPLEX, 0.45, 1)
        at = (column * width + (width - text_px) // 2, 15)
        cv2.putText(strip, label, at, cv2.FONT_HERSHEY_DUPLEX, 0.45, (60, 60, 60), 1, cv2.LINE_AA)
    return strip
