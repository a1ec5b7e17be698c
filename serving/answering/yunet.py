"""YuNet as OpenCV 4.14 runs it, kept away from a fault of its: for thin pictures it reads unwritten memory.

A picture that is at most 32 px wide or high has one column or row of YuNet's coarsest cells, and for these
OpenCV gives whatever lies in the memory: of 60 black pictures of 100×32 px 29 had "faces", some without end.
Laid on a larger black canvas, which is how OpenCV itself fills pictures up to whole cells, none has.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serving.contract import Face, FaceDetector, Image, find_detector

# The coarsest cells are 32 px wide; two of them are enough.
_LEAST_PX = 64
# As the detector does: larger pictures are shrunk before they are looked at.
_MOST_PX = 640
# Each fails with the fault's probability, which is below a half.
_ATTEMPTS = 20


class RoomyYuNet:
    """Gives YuNet no picture that is too thin for it."""

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector

    def detect(self, image: Image) -> list[Face]:
        """See `FaceDetector`."""
        return self._detector.detect(_roomy(image))


def open_yunet(model: Path | None, *, sha256: str | None) -> FaceDetector:
    """Read YuNet's model file; with `sha256` refuse any other file.

    Raises:
        FaceDetectorError: the file cannot be used.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return RoomyYuNet(find_detector("yunet", model, sha256=sha256))
        except (OverflowError, ValueError):
            # It tries itself on a small picture, and of a face without end makes no whole numbers.
            continue
    return RoomyYuNet(find_detector("yunet", model, sha256=sha256))


def _roomy(image: Image) -> Image:
    rows, columns = image.shape[:2]
    least = round(_LEAST_PX * max(1.0, max(rows, columns) / _MOST_PX))
    if rows >= least and columns >= least:
        return image
    canvas = np.zeros((max(rows, least), max(columns, least), 3), np.uint8)
    canvas[:rows, :columns] = image
    return canvas
