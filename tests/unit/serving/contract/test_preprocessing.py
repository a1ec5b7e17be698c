from __future__ import annotations

import cv2
import numpy as np
import pytest

from serving.contract import InputSpec, crop_square, preprocess
from serving.contract.model import Resize
from tests.support.pictures import drawn_face, textured

SPEC = InputSpec(height=16, width=24)


@pytest.mark.parametrize(
    ("width", "height"), [(48, 32), (24, 16), (10, 8), (100, 8), (7, 90)], ids=lambda v: str(v)
)
def test_every_size_becomes_the_network_s(width: int, height: int) -> None:
    image = preprocess(textured(1, width=width, height=height), SPEC)
    assert image.shape == (16, 24, 3)
    assert image.dtype == np.uint8


def test_the_picture_handed_in_is_left_alone() -> None:
    picture = textured(2, width=24, height=16)
    before = picture.copy()
    result = preprocess(picture, SPEC)
    result[:] = 0
    assert (picture == before).all()


def test_shrinking_by_area_is_the_mean_of_what_falls_together() -> None:
    picture = textured(3, width=48, height=32)
    means = picture.reshape(16, 2, 24, 2, 3).mean(axis=(1, 3))
    assert np.abs(preprocess(picture, SPEC) - means).max() <= 0.5


def test_gray_is_luminance_three_times() -> None:
    picture = textured(4, width=24, height=16)
    image = preprocess(picture, InputSpec(height=16, width=24, color="gray"))
    luminance = picture @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    assert (image == image[..., :1]).all()
    assert np.abs(image[..., 0] - luminance).max() <= 1


def test_gray_pictures_stay_what_they_are_in_gray() -> None:
    gray = cv2.cvtColor(textured(5, width=24, height=16), cv2.COLOR_RGB2GRAY)
    picture = np.repeat(gray[:, :, np.newaxis], 3, axis=2).astype(np.uint8)
    assert (preprocess(picture, InputSpec(height=16, width=24, color="gray")) == picture).all()


@pytest.mark.parametrize("resize", ["area", "linear", "cubic"])
def test_a_flat_picture_stays_flat_under_every_filter(resize: Resize) -> None:
    flat = np.full((50, 70, 3), 90, np.uint8)
    assert (preprocess(flat, InputSpec(height=16, width=24, resize=resize)) == 90).all()


def test_a_face_is_cut_out_with_its_margin() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[30:60, 40:70] = 200
    tight = preprocess(picture, InputSpec(height=30, width=30), face=(40, 30, 30, 30))
    assert (tight == 200).all()
    spec = InputSpec(height=60, width=60, crop="face", detector="haar", margin=0.5)
    wide = preprocess(picture, spec, face=(40, 30, 30, 30))
    assert (wide[15:45, 15:45] == 200).all()
    assert wide[:15].max() == 0


def test_crops_are_square_around_the_middle_of_the_box() -> None:
    picture = textured(6, width=100, height=80)
    assert (crop_square(picture, (20, 10, 10, 30), margin=0.0) == picture[10:40, 10:40]).all()


@pytest.mark.parametrize("box", [(-10, -10, 40, 40), (80, 60, 40, 40), (-50, -50, 300, 300)], ids=str)
def test_crops_beyond_the_picture_repeat_its_border(box: tuple[int, int, int, int]) -> None:
    picture = textured(7, width=100, height=80)
    padded = np.pad(picture, ((200, 200), (200, 200), (0, 0)), mode="edge")
    left, top, side, _ = box
    expected = padded[top + 200 : top + 200 + side, left + 200 : left + 200 + side]
    assert (crop_square(picture, box, margin=0.0) == expected).all()


def test_a_face_cut_out_fills_the_network_s_input() -> None:
    scene = np.full((300, 400, 3), (150, 170, 190), np.uint8)
    scene[50:250, 100:300] = drawn_face(200)
    spec = InputSpec(height=64, width=64, crop="face", detector="haar", margin=0.0)
    image = preprocess(scene, spec, face=(100, 50, 200, 200))
    alone = preprocess(drawn_face(200), InputSpec(height=64, width=64))
    assert (image == alone).all()
