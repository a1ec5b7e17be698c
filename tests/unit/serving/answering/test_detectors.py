"""Which face detector a model gets, and what is said before it is put in."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from serving.answering.pictures import Detectors
from serving.answering.yunet import RoomyYuNet
from serving.contract import Face, Image, InputSpec
from serving.contract.faces import YUNET_SHA256, HaarDetector
from serving.errors import FaceDetectorError
from tests.support.yunet import write_blind_yunet

WHOLE = InputSpec(height=16, width=16)
YUNET = InputSpec(height=16, width=16, crop="face", detector="yunet", margin=0.1)
HAAR = InputSpec(height=16, width=16, crop="face", detector="haar", margin=0.1)


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Readable, and not the official file."""
    return write_blind_yunet(tmp_path / "other.onnx")


def test_without_a_file_haar_is_enough_for_all_but_yunets_models() -> None:
    detectors = Detectors("auto", face_model=None)
    assert detectors.check(WHOLE) == detectors.check(HAAR) == ()
    with pytest.raises(FaceDetectorError, match="no model file is named"):
        detectors.check(YUNET)


@pytest.mark.parametrize("content", [None, b"", b"no network"], ids=["absent", "empty", "nonsense"])
def test_a_file_that_cannot_be_used_stops_yunets_models_and_is_told_for_the_others(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "face.onnx"
    if content is not None:
        path.write_bytes(content)
    detectors = Detectors("auto", face_model=path)
    with pytest.raises(FaceDetectorError, match=r"face\.onnx"):
        detectors.check(YUNET)
    (told,) = detectors.check(WHOLE)
    assert "face.onnx" in told
    assert told.endswith("only requests with faces=none are answered")


def test_a_file_that_comes_later_is_used(tmp_path: Path) -> None:
    path = tmp_path / "face.onnx"
    detectors = Detectors("auto", face_model=path)
    assert detectors.check(WHOLE) != ()
    write_blind_yunet(path)
    assert isinstance(detectors.of(WHOLE), RoomyYuNet)


def test_a_foreign_file_is_told_about_and_never_given_to_a_model_trained_with_the_official_one(
    foreign: Path,
) -> None:
    detectors = Detectors("auto", face_model=foreign)
    assert isinstance(detectors.of(WHOLE), RoomyYuNet)
    assert isinstance(detectors.of(HAAR), HaarDetector)
    for spec in (WHOLE, HAAR):
        (told,) = detectors.check(spec)
        assert hashlib.sha256(foreign.read_bytes()).hexdigest() in told
        assert YUNET_SHA256 in told
    with pytest.raises(FaceDetectorError, match=f"expected {YUNET_SHA256}"):
        detectors.check(YUNET)


def test_switched_off_it_is_said_what_a_model_of_crops_will_get() -> None:
    detectors = Detectors("none", face_model=None)
    assert detectors.check(WHOLE) == ()
    (told,) = detectors.check(YUNET)
    assert "it gets whole pictures" in told


@pytest.mark.parametrize(
    ("size", "seen"),
    [((32, 100), (64, 100)), ((100, 20), (100, 64)), ((64, 64), (64, 64)), ((100, 1280), (128, 1280))],
)
def test_yunet_sees_no_picture_that_is_too_thin_for_it(size: tuple[int, int], seen: tuple[int, int]) -> None:
    shown: list[Image] = []

    class Eye:
        def detect(self, image: Image) -> list[Face]:
            shown.append(image)
            return []

    picture = np.full((*size, 3), 7, np.uint8)
    RoomyYuNet(Eye()).detect(picture)
    assert shown[0].shape[:2] == seen
    assert (shown[0][: size[0], : size[1]] == 7).all()
    assert shown[0].sum() == picture.sum()
