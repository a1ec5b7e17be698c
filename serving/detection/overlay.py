"""Draws heatmaps, boxes and labels on a picture as the page does, as a PNG file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from serving.contract import Box, Image
from serving.detection.labels import draw_labels, texts_of

# Enough to see where the model looked; encoding a phone's whole picture would take seconds.
MAX_SIDE_PX = 1024
# A label is about 150 px wide, so a small picture and small faces are enlarged until there is room for one;
# a few times at most, since beyond that there is nothing more to see.
LEAST_SIDE_PX, _LEAST_FACE_PX, _ENLARGED = 480, 150, 8
# The picture stays visible under the hottest spot.
_OPACITY = 0.55
# As in the page's heat.js: below the first a place is left as it is, above the second it has all of its
# colour; the heat fades out over a share of the square's side.
_COLD, _HOT, _EDGE = 0.22, 0.72, 0.12
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One input of the network and its answer."""

    box: Box
    """Of the face, or of the whole picture, px."""
    area: Box
    """What the network saw, px; may reach beyond the picture."""
    heatmap: NDArray[np.float32]
    """[h, w] in [0, 1]."""
    emotion: str | None
    probability: float


def overlay_png(image: Image, marks: Sequence[Mark], classes: Sequence[str]) -> bytes:
    """Draw.

    Args:
        image: upright, uint8 [height, width, 3], RGB.
        marks: what was found, the largest face first; they are numbered when there are several.
        classes: of the model, in its order, for the colours and for names that cannot be drawn.

    Returns:
        A PNG file; its longer side is between `LEAST_SIDE_PX`, unless the picture is tiny, and `MAX_SIDE_PX`.
    """
    scale = _scale(max(image.shape[:2]), [mark.box for mark in marks])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(image, (width, height), interpolation=method)
    drawn = np.asarray(cv2.cvtColor(resized, cv2.COLOR_RGB2BGR), np.uint8)
    for mark in marks:
        _draw_heat(drawn, mark.heatmap, _scaled(mark.area, scale))
    boxes = [_scaled(mark.box, scale) for mark in marks]
    for box in boxes:
        draw_corners(drawn, box)
    answers = [(mark.emotion, mark.probability) for mark in marks]
    draw_labels(drawn, boxes, texts_of(answers, classes), longer_px=max(width, height))
    written, data = cv2.imencode(".png", drawn)
    if not written:
        raise RuntimeError(f"OpenCV cannot write a PNG of {width}×{height} px")
    return data.tobytes()


def square_of(box: Box, *, margin: float) -> Box:
    """The square that the network saw of a face, px.

    Args:
        box: of the face.
        margin: on each side, as `preprocess` cut it.
    """
    left, top, width, height = box
    side = max(1, round(max(width, height) * (1 + 2 * margin)))
    center = left + width / 2, top + height / 2
    return round(center[0] - side / 2), round(center[1] - side / 2), side, side


def _scale(longer: int, boxes: Sequence[Box]) -> float:
    """Of the drawn picture to the original, whose longer side is given in px."""
    room = max([LEAST_SIDE_PX / longer, *(_LEAST_FACE_PX / max(1, box[2]) for box in boxes)])
    return min(MAX_SIDE_PX / longer, max(1.0, min(room, _ENLARGED)))


def _scaled(box: Box, scale: float) -> Box:
    left, top, width, height = box
    return (
        round(left * scale),
        round(top * scale),
        max(1, round(width * scale)),
        max(1, round(height * scale)),
    )


def _draw_heat(drawn: Image, heatmap: NDArray[np.float32], area: Box) -> None:
    """Lay a heatmap on its place; the picture loses its own colours where there is heat, and only there."""
    left, top, width, height = area
    spread = np.clip(cv2.resize(heatmap, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)
    shown = np.clip((spread - _COLD) / (_HOT - _COLD), 0, 1) * _faded(height)[:, None] * _faded(width)
    rows, columns = _within(top, height, drawn.shape[0]), _within(left, width, drawn.shape[1])
    here = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    if not shown[here].size:
        return
    picture, share = drawn[rows, columns], shown[here][..., None]
    gray = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_BGR2GRAY)[..., None]
    colors = cv2.applyColorMap((spread[here] * 255).astype(np.uint8), cv2.COLORMAP_PLASMA)
    below = picture * (1 - share) + gray * share
    drawn[rows, columns] = np.rint(below * (1 - _OPACITY * share) + colors * (_OPACITY * share))


def _faded(side: int) -> NDArray[np.float64]:
    """From 0 at both ends to 1: the heatmap fades out at the edges of its square."""
    places = np.arange(side)
    return np.minimum(1.0, (np.minimum(places, side - 1 - places) + 1) / (side * _EDGE))


def _within(start: int, length: int, whole: int) -> slice:
    return slice(min(max(0, start), whole), max(0, min(whole, start + length)))


def draw_corners(drawn: Image, box: Box) -> None:
    """Draw the corners of a box, px, light on dark, so that they are seen on any picture."""
    left, top, width, height = box
    right, bottom = left + width - 1, top + height - 1
    length = int(min(26, max(4, 0.22 * min(width, height))))
    for color, thickness in ((_BLACK, 4), (_WHITE, 2)):
        for x, towards_x in ((left, 1), (right, -1)):
            for y, towards_y in ((top, 1), (bottom, -1)):
                for end in ((x + towards_x * length, y), (x, y + towards_y * length)):
                    cv2.line(drawn, (x, y), end, color, thickness)
