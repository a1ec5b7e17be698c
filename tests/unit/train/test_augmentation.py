"""Augmentation against SciPy's interpolation and plain array operations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import affine_transform

from pipelines.core.params import AugmentationParams
from pipelines.train.augmentation import augment, changes_geometry, erase, random_boxes, random_transforms

OFF = {"flip": False, "rotation": 0.0, "zoom": 0.0, "shift": 0.0}


def params(**changes: float | bool) -> AugmentationParams:
    return AugmentationParams.model_validate(OFF | changes)


def pictures(count: int = 4, height: int = 24, width: int = 32) -> np.ndarray:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (count, height // 4, width // 4, 3), np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


def drawn(settings: AugmentationParams, *, count: int = 4, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return random_transforms(settings, rng, count=count, height=24, width=32)


def test_nothing_switched_on_changes_nothing() -> None:
    images = pictures()
    assert not changes_geometry(params())
    np.testing.assert_array_equal(augment(images, drawn(params())), images)


def test_flip_mirrors_about_half_of_the_pictures_exactly() -> None:
    images = pictures(count=400)
    result = augment(images, drawn(params(flip=True), count=400))
    mirrored = np.array([np.array_equal(a, b[:, ::-1]) for a, b in zip(result, images, strict=True)])
    same = np.array([np.array_equal(a, b) for a, b in zip(result, images, strict=True)])
    assert (mirrored | same).all()
    assert 150 < mirrored.sum() < 250


def test_result_is_what_scipy_interpolates_with_mirrored_borders() -> None:
    settings = params(flip=True, rotation=0.1, zoom=0.2, shift=0.1)
    images, transforms = pictures(), drawn(settings)
    result = augment(images, transforms).astype(float)
    for image, transform, got in zip(images, transforms, result, strict=True):
        # SciPy counts (row, column) where OpenCV counts (x, y).
        matrix, offset = transform[::-1, 1::-1], transform[::-1, 2]
        for channel in range(3):
            plane = image[:, :, channel].astype(float)
            expected = affine_transform(plane, matrix, offset, order=1, mode="mirror")
            # OpenCV rounds positions to 1/32 px; a step of 255 then moves by at most 2 · 255/32.
            assert np.abs(got[:, :, channel] - expected).max() <= 16
            assert np.abs(got[:, :, channel] - expected).mean() < 1.5


def test_a_turn_keeps_the_centre_where_it_is() -> None:
    transforms = drawn(params(rotation=0.5), count=50).astype(float)
    centre = np.array([(32 - 1) / 2, (24 - 1) / 2, 1])
    np.testing.assert_allclose(transforms @ centre, np.tile(centre[:2], (50, 1)), atol=1e-4)
    np.testing.assert_allclose(np.linalg.det(transforms[:, :, :2]), 1, atol=1e-5)


def test_zoom_and_shift_stay_in_their_ranges() -> None:
    scale = np.linalg.det(drawn(params(zoom=0.2), count=500)[:, :, :2].astype(float)) ** 0.5
    assert 1 / 1.2 - 1e-6 <= scale.min() < 1 / 1.18
    assert 1 / 0.82 < scale.max() <= 1 / 0.8 + 1e-6
    moved = np.abs(drawn(params(shift=0.25), count=500)[:, :, 2])
    assert 7.5 < moved[:, 0].max() <= 8
    assert 5.5 < moved[:, 1].max() <= 6


def test_the_same_seed_gives_the_same_transforms_and_another_others() -> None:
    settings = params(flip=True, rotation=0.1, zoom=0.1, shift=0.1)
    np.testing.assert_array_equal(drawn(settings, seed=5), drawn(settings, seed=5))
    assert not np.allclose(drawn(settings, seed=5), drawn(settings, seed=6))


def test_the_originals_are_not_touched() -> None:
    images = pictures()
    before = images.copy()
    augment(images, drawn(params(rotation=0.2)))
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("name", ["flip", "rotation", "zoom", "shift"])
def test_any_single_setting_is_not_idle(name: str) -> None:
    assert changes_geometry(params(**{name: 0.1 if name != "flip" else True}))


def test_erased_boxes_have_the_papers_areas_and_aspects() -> None:
    boxes = random_boxes(1.0, np.random.default_rng(1), count=4000, height=64, width=48)
    rows, columns = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]
    assert boxes.min() >= 0
    assert boxes[:, 1].max() <= 64
    assert boxes[:, 3].max() <= 48
    # Boxes that reach both borders are cut and rounded; the others follow the distribution.
    whole = (rows < 64) & (columns < 48) & (rows > 5) & (columns > 5)
    area, aspect = (rows * columns / (64 * 48))[whole], (rows / columns)[whole]
    assert 0.015 < area.min() < area.max() < 0.36
    assert 0.25 < aspect.min() < aspect.max() < 4
    assert abs(np.median(np.log(aspect))) < 0.1


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_a_share_of_the_pictures_is_erased_in_its_box_only(probability: float) -> None:
    images = np.zeros((1000, 24, 32, 3), np.uint8)
    boxes = random_boxes(probability, np.random.default_rng(2), count=1000, height=24, width=32)
    noise = np.full((24, 32, 3), 7, np.uint8)
    erased = erase(images, boxes, noise)
    assert images.max() == 0
    expected = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
    np.testing.assert_array_equal((erased[..., 0] == 7).sum(axis=(1, 2)), expected)
    assert (expected > 0).mean() == pytest.approx(probability, abs=0.05)
