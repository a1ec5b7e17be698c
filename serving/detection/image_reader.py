"""Bytes to the network's inputs: decode, find faces, preprocess. Runs in a worker thread, holds no state.

`faces`   found            none found
auto      every face       the whole picture
all       every face       nothing
none      the whole picture, without looking for faces

For a model trained on whole pictures, a picture that is filled by its only face is not cropped: on the
sample's test pictures the accuracy of a LeNet is 76 % on whole pictures and 70 % on their crops.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from serving.contract import (
    Box,
    Face,
    FaceDetector,
    Image,
    ImageStatistics,
    InputSpec,
    ModelContract,
    decode,
    detector_file,
    find_detector,
    image_statistics,
    preprocess,
)
from serving.contract.faces import YUNET_SHA256
from serving.errors import FaceDetectorError, ImageFormatUnknown, PictureAsText
from serving.errors.requests import BadRequest

# As a fraction of the picture's longer side. In the sample's pictures Haar's boxes have 0.58 to 0.89 of it.
_PORTRAIT = 0.5

# What clients send in place of a file's bytes, by how it begins.
_TEXTS = MappingProxyType(
    {
        b"data:": "a data URI",
        b"http://": "an address (addresses are not fetched)",
        b"https://": "an address (addresses are not fetched)",
        b"<!doctype": "an HTML page",
        b"<html": "an HTML page",
        b"<svg": "an SVG drawing",
        b"<?xml": "an XML document",
    }
)
_BEGIN_BYTES = 4096
# RFC 4648, 4 and 5; shorter runs are words.
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
_BASE64_RUN = re.compile(rb"[A-Za-z0-9+/_-]{64,}|data:")

FacesMode = Literal["auto", "all", "none"]
DetectorChoice = Literal["auto", "haar", "yunet", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One picture, ready for the network."""

    image: Image
    """Decoded and upright, uint8 [height, width, 3], RGB."""
    faces: tuple[Face, ...]
    """Those that were found, the largest first."""
    whole: bool
    """Whether the network sees the whole picture and no crops."""
    inputs: Image
    """uint8 [n, H, W, 3]: one for each face, or the whole picture; n is 0 with `all` and no face."""
    spec: InputSpec
    """With the margin that the crops have."""
    statistics: ImageStatistics | None
    """Of the first input; None without one."""
    decode_ms: float
    faces_ms: float
    """Milliseconds that finding faces took; 0 when none were looked for."""
    preprocess_ms: float

    @property
    def box(self) -> Box | None:
        """Of the face whose crop is the first input; None when that is the whole picture."""
        return self.faces[0].box if self.faces and not self.whole else None


class Detectors:
    """The face detector that fits a model: its own when it was trained on crops, else the configured one."""

    def __init__(self, choice: DetectorChoice, *, face_model: Path | None) -> None:
        """Create the detectors; files are read on first use.

        Args:
            choice: for models trained on whole pictures.
            face_model: YuNet's file. Models that were trained with it need the official file; for others
                another file works, with a warning by `check`.
        """
        self._choice = choice
        self._face_model = face_model
        # Each detector's file is read once.
        self._named: Callable[[str, str | None], FaceDetector] = cache(
            lambda name, sha256: find_detector(name, face_model, sha256=sha256)
        )
        self._automatic = "yunet" if face_model else "haar"

    def of(self, spec: InputSpec) -> FaceDetector | None:
        """Detector for a model's pictures; None when looking for faces is switched off.

        Raises:
            FaceDetectorError: the detector's file is not configured, or cannot be used.
        """
        if self._choice == "none":
            return None
        if spec.detector is not None:
            return self._named(spec.detector, YUNET_SHA256)
        return self._named(self._automatic if self._choice == "auto" else self._choice, None)

    def check(self, contract: ModelContract) -> tuple[str, ...]:
        """Check whether faces can be found for a model; return warnings.

        Raises:
            FaceDetectorError: the detector that the model was trained with cannot be used.
        """
        spec = contract.input
        if self._choice == "none" and spec.detector is not None:
            return (
                f"the model was trained on faces that {spec.detector} found, and looking for faces is "
                "switched off: it gets whole pictures; unset MIEN_FACE_DETECTOR",
            )
        try:
            self.of(spec)
        except FaceDetectorError as error:
            if spec.detector is not None:
                raise
            return (f"{error}; until then only requests with faces=none are answered",)
        return (*self._foreign_file(), *self._other_boxes(contract))

    def _other_boxes(self, contract: ModelContract) -> tuple[str, ...]:
        """A warning if the model's crops were calibrated with another file of its detector."""
        wanted, name = contract.face_detector, contract.input.detector
        if wanted is None or name is None:
            return ()
        file = detector_file(name, self._face_model)
        got = hashlib.sha256(file.read_bytes()).hexdigest()
        if got == wanted.sha256:
            return ()
        return (
            f"the model's crops were calibrated with {wanted.name} (sha256 {wanted.sha256[:12]}…), this "
            f"service finds faces with {file.name} (sha256 {got[:12]}…): crops may differ; install that file",
        )

    def _foreign_file(self) -> tuple[str, ...]:
        try:
            data = self._face_model.read_bytes() if self._face_model else b""
        except OSError:
            return ()
        got = hashlib.sha256(data).hexdigest()
        if not data or got == YUNET_SHA256:
            return ()
        return (
            f"MIEN_FACE_MODEL={self._face_model} has sha256 {got}, which is not that of the OpenCV Zoo's "
            f"face_detection_yunet_2023mar.onnx ({YUNET_SHA256}); check where it comes from",
        )


class PictureReader:
    """Turns bytes into the network's inputs; safe to call from several threads."""

    def __init__(self, detectors: Detectors, *, max_pixels: int, max_faces: int, margin: float) -> None:
        """Set the limits.

        Args:
            detectors: find faces.
            max_pixels: width × height above which a picture is refused.
            max_faces: most faces of one picture, the largest first.
            margin: around a face, for models trained on whole pictures; others bring their own.
        """
        self._detectors = detectors
        self._max_pixels = max_pixels
        self._max_faces = max_faces
        self._margin = margin
        self._margined: tuple[InputSpec, InputSpec] | None = None

    def read(self, data: bytes, spec: InputSpec, faces: FacesMode) -> Picture:
        """Decode a file and cut out what the network is to see.

        Raises:
            ImageError: the bytes are not an accepted picture.
            BadRequest: `all` while looking for faces is switched off.
            FaceDetectorError: the model's detector cannot be used here.
        """
        begun = time.perf_counter()
        image = _decoded(data, max_pixels=self._max_pixels)
        decoded = time.perf_counter()
        found = self._faces(image, spec, faces)
        looked = time.perf_counter()
        if spec.crop == "none":
            spec = self._with_margin(spec)
        whole = _is_portrait(image, spec, found) or (not found and faces != "all")
        inputs = _inputs(image, spec, found, whole=whole)
        return Picture(
            image=image,
            faces=found,
            whole=whole,
            inputs=inputs,
            spec=spec,
            statistics=image_statistics(inputs[0]) if len(inputs) else None,
            decode_ms=(decoded - begun) * 1e3,
            faces_ms=(looked - decoded) * 1e3 if faces != "none" else 0.0,
            preprocess_ms=(time.perf_counter() - looked) * 1e3,
        )

    def _with_margin(self, spec: InputSpec) -> InputSpec:
        """A model's crops with the configured margin; made once for each model, not for each picture."""
        known = self._margined
        if known is None or known[0] is not spec:
            known = self._margined = (spec, replace(spec, margin=self._margin))
        return known[1]

    def check(self, spec: InputSpec, faces: FacesMode) -> None:
        """Check before the first picture that this search for faces is possible.

        Raises:
            BadRequest: `all` while looking for faces is switched off.
            FaceDetectorError: the model's detector cannot be used here.
        """
        self._detector(spec, faces)

    def _faces(self, image: Image, spec: InputSpec, faces: FacesMode) -> tuple[Face, ...]:
        detector = self._detector(spec, faces)
        return () if detector is None else tuple(detector.detect(image)[: self._max_faces])

    def _detector(self, spec: InputSpec, faces: FacesMode) -> FaceDetector | None:
        if faces == "none":
            return None
        detector = self._detectors.of(spec)
        if detector is None and faces == "all":
            raise BadRequest(
                "faces=all was asked for, but looking for faces is switched off here; use faces=none"
            )
        return detector


def _decoded(data: bytes, *, max_pixels: int) -> Image:
    try:
        return decode(data, max_pixels=max_pixels)
    except ImageFormatUnknown as error:
        recognised = recognised_text(data)
        if recognised is None:
            raise
        raise PictureAsText(head=data[:8], recognised=recognised) from error


def recognised_text(data: bytes) -> str | None:
    """Kind of a body that holds a picture as text, or its address; None for other bodies."""
    begin = data[:_BEGIN_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()
    lower = begin[:16].lower()
    for prefix, name in _TEXTS.items():
        if lower.startswith(prefix):
            return name
    if begin[:1] in (b"{", b"[", b'"'):
        return "JSON with base64 in it" if _BASE64_RUN.search(begin) else "JSON"
    text = b"".join(begin.split(b"\n")).replace(b"\r", b"")
    return "base64 text" if _BASE64.fullmatch(text) else None


def _is_portrait(image: Image, spec: InputSpec, faces: tuple[Face, ...]) -> bool:
    """Whether the picture is one face already, as those a whole-picture model was trained on."""
    if spec.crop != "none" or len(faces) != 1:
        return False
    _, _, width, height = faces[0].box
    return max(width, height) >= _PORTRAIT * float(max(image.shape[:2]))


def _inputs(image: Image, spec: InputSpec, faces: tuple[Face, ...], *, whole: bool) -> Image:
    if whole:
        return preprocess(image, spec)[np.newaxis]
    if faces:
        return np.stack([preprocess(image, spec, face=face.box) for face in faces])
    return np.empty((0, spec.height, spec.width, 3), np.uint8)
