from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from serving.contract import image_statistics
from tests.support.pictures import textured


def luminance(picture: np.ndarray) -> np.ndarray:
    weighted: np.ndarray = picture @ np.array([0.299, 0.587, 0.114])
    return weighted.round()


def test_brightness_and_contrast_are_mean_and_deviation_of_luminance() -> None:
    picture = textured(1)
    gray = luminance(picture) / 255
    statistics = image_statistics(picture)
    assert statistics.brightness == pytest.approx(gray.mean(), abs=2e-3)
    assert statistics.contrast == pytest.approx(gray.std(), abs=2e-3)


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    picture = np.repeat(np.random.default_rng(0).integers(0, 256, (20, 20, 1), dtype=np.uint8), 3, axis=2)
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    edges = ndimage.convolve(picture[..., 0].astype(float) / 255, kernel, mode="mirror")
    assert image_statistics(picture).sharpness == pytest.approx(edges.var(), rel=1e-6)


def test_blur_lowers_sharpness_and_darkening_brightness() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    blurred = ndimage.uniform_filter(picture, (3, 3, 1))
    assert image_statistics(blurred).sharpness < image_statistics(picture).sharpness / 5
    assert image_statistics(picture // 2).brightness < image_statistics(picture).brightness


def test_a_flat_picture_has_neither_contrast_nor_sharpness() -> None:
    statistics = image_statistics(np.full((8, 8, 3), 255, np.uint8))
    assert (statistics.brightness, statistics.contrast, statistics.sharpness) == (1.0, 0.0, 0.0)
