"""Picture to face boxes: YuNet or a Haar cascade, both through OpenCV.

Both give squares of the same size and place, so that a model sees the same crop of a face from either.

Haar   Viola & Jones, 2001, "Rapid object detection using a boosted cascade of simple features";
       its file comes with OpenCV, so it works everywhere. Frontal faces only.
YuNet  Wu, Peng & Yu, 2023, "YuNet: A Tiny Millisecond-level Face Detector"; finds more, and turned
       ones, but its model file (OpenCV Zoo, `face_detection_yunet_2023mar.onnx`) must be brought.
"""

from __future__ import annotations

import hashlib
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import cv2.data
import numpy as np

from serving.contract.arrays import Box, Image
from serving.errors import FaceDetectorError

FACE_MODEL_VARIABLE = "MIEN_FACE_MODEL"
"""Environment variable that names the model file of the `yunet` detector."""
DETECTORS = ("haar", "yunet")
YUNET_FILE = "face_detection_yunet_2023mar.onnx"
"""Name of YuNet's file in the OpenCV Zoo."""
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
"""Of the OpenCV Zoo's file."""

# Larger pictures are shrunk to this before detection; YuNet was trained at 320–640 px, and a face
# too small to be found here is too small to have an expression.
_YUNET_MAX_SIDE_PX = 640
HAAR_MAX_SIDE_PX = 320
"""Larger pictures are shrunk to this side before Haar's cascade searches them."""
_HAAR_FILE = "haarcascade_frontalface_default.xml"
# With half as many sizes (Lienhart & Maydt, 2002, have 1.1) fewer neighbours find a face: 2 instead of 5.
# Together with the side a fifth of the time, and no more false faces (python -m benchmarks.faces).
_HAAR_SCALE, _HAAR_NEIGHBORS, _HAAR_MIN_SIDE_PX = 1.2, 2, 24
# OpenCV Zoo's demo uses 0.9 and 0.3; 0.7 also keeps turned and covered faces.
_YUNET_SCORE, _YUNET_NMS, _YUNET_TOP = 0.7, 0.3, 500
# Four in five possible faces are faces then, and two in five missed faces are among them, in drawn scenes
# (python -m benchmarks.faces).
_YUNET_POSSIBLE = 0.4
# YuNet's boxes end at the outline of the face, Haar's are squares: this square, from YuNet's height, has the
# size and the middle that Haar's has in the median of 152 drawn and 438 real faces (FER2013) that both find.
_SQUARE_SIDE, _SQUARE_DOWN = 0.86, 0.02
# Its coarsest cells are 32 px wide, and it needs two of them in a row and in a column.
_YUNET_MIN_PX = 64


@dataclass(frozen=True, slots=True)
class Face:
    """One face in a picture."""

    box: Box
    """left, top, width, height in px of the picture; may reach beyond it."""
    score: float
    """How sure the detector is; comparable within one detector only."""


@dataclass(frozen=True, slots=True)
class FaceSearch:
    """What a detector found in a picture."""

    faces: list[Face]
    """The largest first."""
    possible: list[Face]
    """Places that look somewhat like a face, with lower scores; the largest first. Empty for a detector whose
    scores are no measure of it."""


class FaceDetector(ABC):
    """Finds faces; one object may be used by several threads."""

    @abstractmethod
    def search(self, image: Image) -> FaceSearch:
        """Faces and possible faces in an upright uint8 [h, w, 3] RGB picture."""

    def detect(self, image: Image) -> list[Face]:
        """All faces in an upright uint8 [h, w, 3] RGB picture, the largest first."""
        return self.search(image).faces


class HaarDetector(FaceDetector):
    """The frontal face cascade that comes with OpenCV 4."""

    def __init__(
        self,
        *,
        max_side_px: int = HAAR_MAX_SIDE_PX,
        scale_step: float = _HAAR_SCALE,
        neighbors: int = _HAAR_NEIGHBORS,
    ) -> None:
        """Read the cascade.

        Args:
            max_side_px: larger pictures are shrunk to this before the search.
            scale_step: ratio of two neighbouring sizes that are searched.
            neighbors: how many overlapping hits make a face.

        Raises:
            FaceDetectorError: this OpenCV does not have the cascade.
        """
        self._max_side_px = max_side_px
        self._scale_step = scale_step
        self._neighbors = neighbors
        self._path = detector_file("haar")
        if not self._path.is_file():
            raise FaceDetectorError(
                detector="haar",
                reason=f"OpenCV {cv2.__version__} brings no {_HAAR_FILE}",
                remedy="install opencv-python-headless 4.x",
            )
        self._local = threading.local()

    def search(self, image: Image) -> FaceSearch:
        """See `FaceDetector`; the score is the cascade's last stage weight. No face is only possible."""
        small, scale = _shrunk(image, self._max_side_px)
        gray = cv2.equalizeHist(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
        boxes, _, weights = self._cascade().detectMultiScale3(
            gray,
            scaleFactor=self._scale_step,
            minNeighbors=self._neighbors,
            minSize=(_HAAR_MIN_SIDE_PX, _HAAR_MIN_SIDE_PX),
            outputRejectLevels=True,
        )
        found = [
            Face(_scaled(box, scale), float(weight))
            for box, weight in zip(boxes, np.ravel(weights), strict=True)
        ]
        return FaceSearch(_largest_first(found), [])

    def _cascade(self) -> cv2.CascadeClassifier:
        # A cascade keeps state while it runs: one for each thread.
        if not hasattr(self._local, "cascade"):
            self._local.cascade = cv2.CascadeClassifier(str(self._path))
        cascade: cv2.CascadeClassifier = self._local.cascade
        return cascade


class YuNetDetector(FaceDetector):
    """YuNet, from the model file the operator brings."""

    def __init__(
        self, model: Path, *, sha256: str | None = None, possible_score: float = _YUNET_POSSIBLE
    ) -> None:
        """Read the model file.

        Args:
            model: YuNet's file.
            sha256: any other file is refused; None takes any.
            possible_score: lowest score of a possible face, in [0, 1].

        Raises:
            FaceDetectorError: the file cannot be read, is another one, or is not a YuNet.
        """
        try:
            self._data = model.read_bytes()
        except OSError as error:
            raise _unusable(model, error.strerror or str(error)) from error
        got = hashlib.sha256(self._data).hexdigest()
        if sha256 is not None and got != sha256:
            raise _unusable(model, f"its sha256 is {got}, expected {sha256}")
        self._possible_score = possible_score
        self._local = threading.local()
        try:
            self.detect(np.zeros((32, 32, 3), np.uint8))
        except cv2.error as error:
            raise _unusable(model, "OpenCV cannot read it as a YuNet model") from error

    def search(self, image: Image) -> FaceSearch:
        """See `FaceDetector`; the score is YuNet's confidence in [0, 1]."""
        small, scale = _shrunk(image, _YUNET_MAX_SIDE_PX)
        small = pad_for_yunet(small)
        network = self._network()
        network.setInputSize((small.shape[1], small.shape[0]))
        _, rows = network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        if rows is None:
            return FaceSearch([], [])
        found = _largest_first([Face(_scaled(_square(row[:4]), scale), float(row[-1])) for row in rows])
        # Boxes of lower scores never suppress those of higher ones, so that the faces stay the same.
        return FaceSearch(
            [face for face in found if face.score >= _YUNET_SCORE],
            [face for face in found if face.score < _YUNET_SCORE],
        )

    def _network(self) -> cv2.FaceDetectorYN:
        # Its buffers belong to one call at a time: one for each thread.
        if not hasattr(self._local, "network"):
            self._local.network = cv2.FaceDetectorYN.create(
                "onnx",
                np.frombuffer(self._data, np.uint8),
                np.empty(0, np.uint8),
                (_YUNET_MAX_SIDE_PX, _YUNET_MAX_SIDE_PX),
                self._possible_score,
                _YUNET_NMS,
                _YUNET_TOP,
            )
        network: cv2.FaceDetectorYN = self._local.network
        return network


def find_detector(
    name: str, model_path: Path | None = None, *, sha256: str | None = YUNET_SHA256
) -> FaceDetector:
    """The detector called `name`.

    Args:
        name: `haar` or `yunet`.
        model_path: YuNet's model file.
        sha256: what that file must hash to, so that a contract that says `yunet` means one network
            in training and in the service; None takes any file.

    Raises:
        FaceDetectorError: the name is unknown, or `yunet` has no usable model file.
    """
    file = detector_file(name, model_path)
    return HaarDetector() if name == "haar" else YuNetDetector(file, sha256=sha256)


def detector_file(name: str, model_path: Path | None = None) -> Path:
    """Path of the file that a detector reads: OpenCV's cascade, or YuNet's model file.

    Raises:
        FaceDetectorError: the name is unknown, or `yunet` has no model file.
    """
    if name == "haar":
        return Path(cv2.data.haarcascades) / _HAAR_FILE
    if name != "yunet":
        raise FaceDetectorError(detector=name, reason="unknown", remedy=f"use one of {', '.join(DETECTORS)}")
    if model_path is None:
        raise FaceDetectorError(
            detector=name,
            reason="no model file is named",
            remedy=f"set {FACE_MODEL_VARIABLE} to {YUNET_FILE}, or use haar",
        )
    return model_path


def largest_face(detector: FaceDetector, image: Image) -> Box | None:
    """The box that `crop: face` crops to; None where there is no face."""
    faces = detector.detect(image)
    return faces[0].box if faces else None


def pad_for_yunet(image: Image) -> Image:
    """The picture, laid on a black canvas where it is too thin for YuNet.

    With one column or row of its coarsest cells OpenCV 4.14 reads unwritten memory: of 60 black pictures of
    100×32 px 29 had "faces", some without end; on two rows none has. OpenCV itself fills pictures with black
    up to whole cells.
    """
    rows, columns = image.shape[:2]
    if rows >= _YUNET_MIN_PX and columns >= _YUNET_MIN_PX:
        return image
    canvas = np.zeros((max(rows, _YUNET_MIN_PX), max(columns, _YUNET_MIN_PX), 3), np.uint8)
    canvas[:rows, :columns] = image
    return canvas


def _shrunk(image: Image, max_side_px: int) -> tuple[Image, float]:
    """The picture with its longer side at most `max_side_px`, and what to multiply its boxes by."""
    rows, columns = image.shape[:2]
    scale = max(rows, columns) / max_side_px
    if scale <= 1:
        return image, 1.0
    size = (max(1, round(columns / scale)), max(1, round(rows / scale)))
    # Means of 2 × 2 pixels first: OpenCV has fast code for them only (of 16 megapixels: 9 instead of 30 ms).
    while max(image.shape[:2]) >= 2 * max_side_px and min(image.shape[:2]) > 1:
        halves = image.shape[0] // 2, image.shape[1] // 2
        even = image[: 2 * halves[0], : 2 * halves[1]]
        image = np.asarray(cv2.resize(even, halves[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), scale


def _square(box: Any) -> tuple[float, float, float, float]:
    """The square that Haar's cascade would put around a face, from YuNet's box."""
    left, top, width, height = (float(value) for value in box)
    side = _SQUARE_SIDE * height
    return left + (width - side) / 2, top + (height - side) / 2 + _SQUARE_DOWN * height, side, side


def _scaled(box: Any, scale: float) -> Box:
    left, top, width, height = (round(float(value) * scale) for value in box)
    return left, top, width, height


def _largest_first(faces: list[Face]) -> list[Face]:
    # Ties are broken by place, so that the order never depends on the detector's own.
    return sorted(faces, key=lambda face: (-face.box[2] * face.box[3], face.box))


def _unusable(model: Path, reason: str) -> FaceDetectorError:
    return FaceDetectorError(
        detector="yunet",
        reason=f"{model}: {reason}",
        remedy=f"fetch {YUNET_FILE} from the OpenCV Zoo, or use haar",
    )
