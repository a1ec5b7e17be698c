from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import fft

from pipelines.prepare.hashing import perceptual_hash, pixel_sha256
from serving.contract import decode
from tests.support.pictures import Pixels, encoded, textured


def distance(first: Pixels, second: Pixels) -> int:
    return (int(perceptual_hash(first), 16) ^ int(perceptual_hash(second), 16)).bit_count()


def test_equal_pixels_have_one_hash_in_every_file_format() -> None:
    picture = textured(1)
    files = [encoded(picture, "PNG"), encoded(picture, "BMP"), encoded(picture, "WEBP", lossless=True)]
    hashes = {pixel_sha256(decode(data, max_pixels=10_000)) for data in files}
    assert len(hashes) == 1


def test_gray_and_its_colour_copy_are_one_picture() -> None:
    gray = np.repeat(textured(2)[..., :1], 3, axis=2)
    files = [encoded(gray, "PNG"), encoded(gray, "PNG", mode="L")]
    assert len({pixel_sha256(decode(data, max_pixels=10_000)) for data in files}) == 1


def test_one_changed_pixel_or_another_shape_is_another_picture() -> None:
    picture = textured(3, width=40, height=30)
    changed = picture.copy()
    changed[5, 5, 1] ^= 1
    hashes = {pixel_sha256(p) for p in (picture, changed, picture.reshape(40, 30, 3))}
    assert len(hashes) == 3


def test_a_view_hashes_like_its_copy() -> None:
    picture = textured(4)
    assert pixel_sha256(picture[:, ::-1]) == pixel_sha256(picture[:, ::-1].copy())


def test_the_perceptual_hash_is_the_sign_of_low_frequencies_against_their_median() -> None:
    gray = np.random.default_rng(0).integers(0, 256, (32, 32, 1), dtype=np.uint8)
    low = fft.dctn(gray[..., 0].astype(float), norm="ortho")[1:9, 1:9].ravel()
    bits = "".join("1" if value > np.median(low) else "0" for value in low)
    assert perceptual_hash(np.repeat(gray, 3, axis=2)) == f"{int(bits, 2):016x}"


@pytest.mark.parametrize("seed", range(5))
def test_small_changes_stay_near_and_other_pictures_are_far(seed: int) -> None:
    picture = textured(seed, width=96, height=96) // 2 + 40
    brighter = picture + 12
    recompressed = decode(encoded(picture, "JPEG", quality=70), max_pixels=10_000)
    smaller = np.asarray(cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA), np.uint8)
    assert max(distance(picture, other) for other in (brighter, recompressed, smaller)) <= 6
    assert distance(picture, textured(seed + 100, width=96, height=96)) >= 16


def test_a_flat_picture_has_a_hash() -> None:
    assert len(perceptual_hash(np.full((48, 48, 3), 77, np.uint8))) == 16
