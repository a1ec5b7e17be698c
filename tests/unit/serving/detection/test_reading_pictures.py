"""Bytes to the network's inputs, with and without faces."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serving.contract import (
    Face,
    FaceDetector,
    FaceSearch,
    Image,
    InputSpec,
    decode,
    image_statistics,
    preprocess,
)
from serving.contract.faces import YUNET_FILE
from serving.detection import detectors
from serving.detection.detectors import DetectorChoice, Detectors
from serving.detection.image_reader import FacesMode, Picture, PictureReader
from serving.errors import FaceDetectorError, ImageTooLarge
from serving.errors.requests import BadRequest
from tests.support.pictures import drawn_face, encoded, textured
from tests.support.yunet import write_blind_yunet

SPEC = InputSpec(height=16, width=16)
CROPPED = InputSpec(height=16, width=16, crop="face", detector="haar", margin=0.1)
BOXES = [(20, 4, 20, 20), (2, 2, 10, 10), (30, 30, 5, 5)]
POSSIBLE = [(40, 30, 12, 12), (1, 30, 6, 6)]


class FixedDetector(FaceDetector):
    """Finds the given faces."""

    def search(self, image: Image) -> FaceSearch:
        return FaceSearch([Face(box, 0.9) for box in BOXES], [Face(box, 0.5) for box in POSSIBLE])


class FixedDetectors(Detectors):
    """Gives the one detector, or none."""

    def __init__(self, detector: FaceDetector | None) -> None:
        super().__init__("auto", face_model=None)
        self._detector = detector

    def of(self, spec: InputSpec) -> FaceDetector | None:
        return self._detector


class Blind(FaceDetector):
    """Finds nothing."""

    def search(self, image: Image) -> FaceSearch:
        return FaceSearch([], [])


DATA = encoded(textured(1, width=64, height=48))
PIXELS = decode(DATA, max_pixels=10_000)


def read(
    detector: FaceDetector | None,
    faces: FacesMode = "auto",
    spec: InputSpec = SPEC,
    *,
    max_pixels: int = 10_000,
    max_faces: int = 8,
) -> Picture:
    reader = PictureReader(FixedDetectors(detector), max_pixels=max_pixels, max_faces=max_faces, margin=0.25)
    return reader.read(DATA, spec, faces)


def test_every_face_becomes_an_input_with_the_configured_margin() -> None:
    picture = read(FixedDetector())
    margin = InputSpec(height=16, width=16, margin=0.25)
    expected = [preprocess(PIXELS, margin, face=box) for box in BOXES]
    np.testing.assert_array_equal(picture.inputs, expected)
    assert [face.box for face in picture.faces] == BOXES
    assert not picture.whole


def test_a_model_trained_on_crops_brings_its_own_margin() -> None:
    picture = read(FixedDetector(), spec=CROPPED)
    np.testing.assert_array_equal(picture.inputs[0], preprocess(PIXELS, CROPPED, face=BOXES[0]))


@pytest.mark.parametrize(
    ("detector", "faces"), [(Blind(), "auto"), (None, "auto"), (FixedDetector(), "none")]
)
def test_without_a_face_the_whole_picture_is_the_input(
    detector: FaceDetector | None, faces: FacesMode
) -> None:
    picture = read(detector, faces)
    np.testing.assert_array_equal(picture.inputs, [preprocess(PIXELS, SPEC)])
    assert picture.whole
    assert picture.faces == ()


def test_all_without_a_face_has_no_input() -> None:
    picture = read(Blind(), "all")
    assert picture.inputs.shape == (0, 16, 16, 3)
    assert not picture.whole
    assert picture.statistics is None


def test_all_is_refused_where_faces_are_not_looked_for() -> None:
    with pytest.raises(BadRequest, match="switched off"):
        read(None, "all")


def test_only_the_largest_faces_are_kept() -> None:
    picture = read(FixedDetector(), max_faces=1)
    assert [face.box for face in picture.faces] == BOXES[:1]
    assert [face.box for face in picture.possible_faces] == POSSIBLE[:1]
    assert len(picture.inputs) == 1


class Portrait(FaceDetector):
    """Finds one face that has this part of the picture's longer side."""

    def __init__(self, part: float) -> None:
        self._part = part

    def search(self, image: Image) -> FaceSearch:
        return FaceSearch([Face((4, 4, round(self._part * 64), 20), 0.9)], [])


@pytest.mark.parametrize("faces", ["auto", "all"])
def test_a_picture_filled_by_its_only_face_stays_whole_for_a_model_of_whole_pictures(
    faces: FacesMode,
) -> None:
    picture = read(Portrait(0.5), faces)
    np.testing.assert_array_equal(picture.inputs, [preprocess(PIXELS, SPEC)])
    assert (picture.whole, len(picture.faces), picture.box) == (True, 1, None)


def test_a_smaller_face_is_cropped_and_so_is_any_for_a_model_of_crops() -> None:
    assert read(Portrait(0.45)).box == (4, 4, 29, 20)
    assert not read(Portrait(0.9), spec=CROPPED).whole


def test_statistics_are_those_of_the_first_input() -> None:
    picture = read(FixedDetector())
    assert picture.statistics == image_statistics(picture.inputs[0])


def test_too_many_pixels_are_refused() -> None:
    with pytest.raises(ImageTooLarge):
        read(Blind(), max_pixels=64 * 48 - 1)


def test_a_real_detector_finds_a_drawn_face() -> None:
    reader = PictureReader(Detectors("auto", face_model=None), max_pixels=10**6, max_faces=8, margin=0.25)
    picture = reader.read(encoded(drawn_face(200)), SPEC, "auto")
    assert len(picture.faces) == 1


def test_a_file_that_comes_later_changes_the_detector_of_the_next_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "version").mkdir()
    file = write_blind_yunet(tmp_path / "version" / YUNET_FILE)
    monkeypatch.setattr(detectors, "YUNET_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    monkeypatch.setattr(detectors, "SHARED", tmp_path / "share" / YUNET_FILE)
    found = Detectors("auto", face_model=None, cache_dir=tmp_path)
    reader = PictureReader(found, max_pixels=10**6, max_faces=8, margin=0.25)
    data = encoded(drawn_face(200))
    assert len(reader.read(data, SPEC, "auto").faces) == 1
    found.adopt(file.parent)
    assert reader.read(data, SPEC, "auto").faces == ()


def test_a_model_gets_its_own_detector_beside_another_one() -> None:
    class TwoDetectors(Detectors):
        def of(self, spec: InputSpec) -> FaceDetector | None:
            return Blind() if spec.height == 32 else FixedDetector()

    reader = PictureReader(TwoDetectors("auto", face_model=None), max_pixels=10**6, max_faces=8, margin=0.25)
    large = replace(SPEC, height=32)
    for spec, count in ((SPEC, len(BOXES)), (large, 0), (SPEC, len(BOXES))):
        assert len(reader.read(DATA, spec, "auto").faces) == count


@pytest.mark.parametrize(("choice", "kind"), [("auto", "HaarDetector"), ("haar", "HaarDetector")])
def test_without_a_model_file_the_detector_is_haar(choice: DetectorChoice, kind: str) -> None:
    found = Detectors(choice, face_model=None)
    assert type(found.of(SPEC)).__name__ == kind


def test_detection_that_is_off_stays_off_for_every_model() -> None:
    assert Detectors("none", face_model=None).of(CROPPED) is None


def test_a_model_that_needs_yunet_gets_nothing_else() -> None:
    spec = InputSpec(height=16, width=16, crop="face", detector="yunet")
    with pytest.raises(FaceDetectorError, match="MIEN_FACE_MODEL"):
        Detectors("auto", face_model=None).of(spec)
