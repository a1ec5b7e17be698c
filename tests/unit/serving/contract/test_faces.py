from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from serving.contract import Box, FaceDetectorError, find_detector, largest_face
from serving.contract.faces import FaceDetector, HaarDetector, YuNetDetector, pad_for_yunet
from tests.support.pictures import Pixels, drawn_face, textured
from tests.support.yunet import LIGHT_PX, write_yunet_of_bright_cells


@pytest.fixture(scope="module")
def haar() -> FaceDetector:
    return find_detector("haar")


def scene(*faces: tuple[int, int, int], width: int, height: int) -> Pixels:
    """Drawn faces as (left, top, side) on a plain wall."""
    canvas = np.full((height, width, 3), (150, 170, 190), np.uint8)
    for left, top, side in faces:
        canvas[top : top + side, left : left + side] = drawn_face(side)
    return canvas


def overlap(box: Box, left: int, top: int, side: int) -> float:
    """Intersection over union of a box with a square."""
    x = max(0, min(box[0] + box[2], left + side) - max(box[0], left))
    y = max(0, min(box[1] + box[3], top + side) - max(box[1], top))
    return x * y / (box[2] * box[3] + side * side - x * y)


def test_haar_finds_a_face_where_it_is(haar: FaceDetector) -> None:
    box = largest_face(haar, scene((60, 30, 120), width=300, height=200))
    assert box is not None
    assert overlap(box, 60, 30, 120) > 0.5


def test_faces_come_largest_first(haar: FaceDetector) -> None:
    faces = haar.detect(scene((20, 40, 80), (150, 20, 200), width=400, height=260))
    assert len(faces) == 2
    areas = [face.box[2] * face.box[3] for face in faces]
    assert areas == sorted(areas, reverse=True)
    assert overlap(faces[0].box, 150, 20, 200) > 0.5
    assert overlap(faces[1].box, 20, 40, 80) > 0.5


def test_boxes_of_a_large_picture_are_in_its_own_pixels(haar: FaceDetector) -> None:
    box = largest_face(haar, scene((900, 400, 600), width=2400, height=1600))
    assert box is not None
    assert overlap(box, 900, 400, 600) > 0.5


def test_no_face_is_none(haar: FaceDetector) -> None:
    assert largest_face(haar, np.full((100, 100, 3), 128, np.uint8)) is None


def test_pictures_smaller_than_any_face_have_none(haar: FaceDetector) -> None:
    assert haar.detect(textured(1, width=5, height=3)) == []


def test_one_detector_serves_many_threads(haar: FaceDetector) -> None:
    pictures = [scene((10 * i, 20, 60 + 4 * i), width=320, height=160) for i in range(8)]
    alone = [haar.detect(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(haar.detect, pictures * 3))
    assert together == alone * 3
    assert all(alone)


def test_a_face_of_a_lower_score_is_a_possible_one(tmp_path: Path) -> None:
    picture = np.zeros((4 * LIGHT_PX, 5 * LIGHT_PX, 3), np.uint8)
    for row, column, score in ((0, 0, 1.0), (2, 3, 0.6), (3, 0, 0.2)):
        cell = picture[row * LIGHT_PX : (row + 1) * LIGHT_PX, column * LIGHT_PX : (column + 1) * LIGHT_PX]
        cell[:] = round(255 * score)
    detector = YuNetDetector(write_yunet_of_bright_cells(tmp_path / "light.onnx"))
    search = detector.search(picture)
    assert [round(face.score, 2) for face in search.faces] == [1.0]
    assert [round(face.score, 2) for face in search.possible] == [0.6]
    assert detector.detect(picture) == search.faces
    # YuNet's box of offset 0 has its middle in the cell's corner, 96 and 64; the square has 0.86 of its side,
    # 27.5, and is 0.02 of it, 0.6, lower.
    assert search.possible[0].box == (82, 51, 28, 28)


def test_haars_cascade_has_no_possible_faces(haar: FaceDetector) -> None:
    picture = scene((60, 30, 120), width=300, height=200)
    search = haar.search(picture)
    assert (search.faces, search.possible) == (haar.detect(picture), [])


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(FaceDetectorError, match="use one of haar, yunet"):
        find_detector("dlib")


def test_yunet_without_a_file_says_which_to_bring() -> None:
    with pytest.raises(FaceDetectorError, match=r"face_detection_yunet_2023mar\.onnx"):
        find_detector("yunet")


def test_yunet_with_a_missing_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(FaceDetectorError, match="No such file") as caught:
        YuNetDetector(tmp_path / "absent.onnx")
    assert str(tmp_path / "absent.onnx") in str(caught.value)


def test_yunet_refuses_a_file_of_another_hash(tmp_path: Path) -> None:
    model = tmp_path / "other.onnx"
    model.write_bytes(b"not the model")
    with pytest.raises(FaceDetectorError, match="its sha256 is"):
        find_detector("yunet", model)


def test_yunet_refuses_a_file_that_is_not_a_model(tmp_path: Path) -> None:
    model = tmp_path / "other.onnx"
    model.write_bytes(b"not the model")
    with pytest.raises(FaceDetectorError, match="cannot read it as a YuNet model"):
        find_detector("yunet", model, sha256=None)


def test_haar_says_when_opencv_brings_no_cascade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2.data, "haarcascades", str(tmp_path))
    with pytest.raises(FaceDetectorError, match="install opencv-python-headless 4"):
        HaarDetector()


@pytest.mark.parametrize(
    ("size", "seen"),
    [((32, 100), (64, 100)), ((100, 20), (100, 64)), ((64, 64), (64, 64)), ((1, 640), (64, 640))],
)
def test_yunet_sees_no_picture_that_is_too_thin_for_it(size: tuple[int, int], seen: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 7, np.uint8)
    shown = pad_for_yunet(picture)
    assert shown.shape[:2] == seen
    assert (shown[: size[0], : size[1]] == 7).all()
    assert shown.sum() == picture.sum()
