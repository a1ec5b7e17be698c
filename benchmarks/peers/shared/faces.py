"""YuNet and the network on each face: what this service does by default, without anything around it.

Like `classifier.py` it needs NumPy, OpenCV and ONNX Runtime only.
"""

from __future__ import annotations

import os
from typing import Any

import cv2
import numpy as np
from classifier import Classifier

FACE_MODEL_VARIABLE = "MIEN_PEER_FACE_MODEL"
"""Environment variable with the path of YuNet's file."""
# As this service does: larger pictures are shrunk to this side, squares have this margin.
_MAX_SIDE_PX, _MARGIN = 640, 0.25


class FaceClassifier:
    """Finds the faces of a picture and classifies them in one run."""

    def __init__(self) -> None:
        self._classifier = Classifier()
        self._detector = cv2.FaceDetectorYN.create(
            os.environ[FACE_MODEL_VARIABLE], "", (0, 0), score_threshold=0.7
        )

    def classify(self, content: bytes) -> list[dict[str, Any]]:
        """Box, emotion and probabilities of each face."""
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        boxes = [_with_margin(box) for box in self._boxes(image)]
        crops = [self._classifier.resized(_crop(image, box)) for box in boxes]
        answers = self._classifier.answers(crops) if crops else []
        return [{"box": box, **answer} for box, answer in zip(boxes, answers, strict=True)]

    def _boxes(self, image: Any) -> list[tuple[float, float, float, float]]:
        scale = min(1.0, _MAX_SIDE_PX / max(image.shape[:2]))
        small = (
            image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        )
        self._detector.setInputSize((small.shape[1], small.shape[0]))
        _, found = self._detector.detect(small)
        return [] if found is None else [tuple((row[:4] / scale).tolist()) for row in found]


def _with_margin(box: tuple[float, float, float, float]) -> tuple[int, int, int]:
    """Left, top and side of the square, px."""
    left, top, width, height = box
    side = max(width, height) * (1 + 2 * _MARGIN)
    return round(left + (width - side) / 2), round(top + (height - side) / 2), round(side)


def _crop(image: Any, box: tuple[int, int, int]) -> Any:
    left, top, side = box
    return image[max(0, top) : top + side, max(0, left) : left + side]
