"""The heatmap laid on the picture it explains, as a PNG file."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from serving.contract import Box, Image

# Enough to see where the model looked; encoding a phone's whole picture would take seconds.
MAX_SIDE_PX = 1024
# The picture stays visible under the hottest spot.
_OPACITY = 0.55


def overlay_png(image: Image, heatmap: NDArray[np.float32], *, box: Box | None, margin: float) -> bytes:
    """Draw.

    Args:
        image: upright, uint8 [height, width, 3], RGB.
        heatmap: [h, w] in [0, 1], of the network's input.
        box: of the face that was looked at; None for the whole picture.
        margin: that the face's square has on each side, as `preprocess` cut it.

    Returns:
        A PNG file; the longer side at most `MAX_SIDE_PX`.
    """
    scale = min(1.0, MAX_SIDE_PX / max(image.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    picture = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    area = square_of(box, margin=margin, scale=scale) if box else (0, 0, width, height)
    heat = _placed(heatmap, area, (height, width))
    colors = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    opacity = (heat * _OPACITY)[..., np.newaxis]
    drawn = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) * (1 - opacity) + colors * opacity
    written, data = cv2.imencode(".png", drawn.astype(np.uint8))
    if not written:
        raise RuntimeError(f"OpenCV cannot write a PNG of {width}×{height} px")
    return data.tobytes()


def square_of(box: Box, *, margin: float, scale: float = 1.0) -> Box:
    """The square that the network saw of a face, px; at another scale than 1 in a picture drawn so.

    Args:
        box: of the face.
        margin: on each side, as `preprocess` cut it.
        scale: of the drawn picture to the original.
    """
    left, top, width, height = box
    side = max(1, round(max(width, height) * (1 + 2 * margin) * scale))
    center = (left + width / 2) * scale, (top + height / 2) * scale
    return round(center[0] - side / 2), round(center[1] - side / 2), side, side


def _placed(heatmap: NDArray[np.float32], box: Box, size: tuple[int, int]) -> NDArray[np.float32]:
    """The heatmap at its place in an otherwise cold picture; what lies beyond its border is cut off."""
    left, top, width, height = box
    placed = np.zeros(size, np.float32)
    spread = cv2.resize(heatmap, (width, height), interpolation=cv2.INTER_LINEAR)
    rows = slice(max(0, top), max(0, min(size[0], top + height)))
    columns = slice(max(0, left), max(0, min(size[1], left + width)))
    placed[rows, columns] = spread[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return np.clip(placed, 0, 1)
