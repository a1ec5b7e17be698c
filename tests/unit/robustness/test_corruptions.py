"""Every corruption keeps size and type, is the same each time, damages more at each severity, at any size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.robustness.corruptions import CORRUPTIONS, SEVERITIES, Corruption
from tests.support.report_data import draw_face

FACE = draw_face("happy", np.random.default_rng(3))
EACH = pytest.mark.parametrize("corrupt", CORRUPTIONS.values(), ids=CORRUPTIONS.keys())
SIZES = [(1, 1), (1, 9), (9, 1), (2, 3), (48, 48), (31, 97), (3, 700), (1000, 800)]


def damage(image: NDArray[np.uint8], corrupted: NDArray[np.uint8]) -> float:
    """Mean absolute difference, in 0–255."""
    return float(np.abs(corrupted.astype(np.float64) - image).mean())


def resized(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    smaller = height < image.shape[0]
    return np.asarray(
        cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC),
        np.uint8,
    )


def test_there_are_eight() -> None:
    assert len(CORRUPTIONS) == 8
    assert SEVERITIES == (1, 2, 3)


@EACH
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_size_and_type_stay(corrupt: Corruption, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    before = image.copy()
    for severity in SEVERITIES:
        corrupted = corrupt(image, severity)
        assert corrupted.shape == image.shape
        assert corrupted.dtype == np.uint8
        assert corrupted is not image
    assert (image == before).all()


@EACH
def test_the_same_picture_is_damaged_alike(corrupt: Corruption) -> None:
    for severity in SEVERITIES:
        assert (corrupt(FACE, severity) == corrupt(FACE.copy(), severity)).all()


@EACH
@pytest.mark.parametrize("side", [48, 224, 1000])
def test_every_severity_damages_more(corrupt: Corruption, side: int) -> None:
    image = resized(FACE, side, side)
    found = [damage(image, corrupt(image, severity)) for severity in SEVERITIES]
    # At 48 px the weakest blur has a σ of 0.2 px, which moves no value by half a step.
    assert 0 <= found[0] < found[1] < found[2]
    assert found[1] > 1


@EACH
def test_small_and_large_pictures_are_damaged_alike(corrupt: Corruption) -> None:
    """Compared as a network sees them: at 48 px, where what is random differs, but not how much."""
    small, large = resized(FACE, 96, 96), resized(FACE, 1000, 1000)
    seen = [damage(resized(image, 48, 48), resized(corrupt(image, 3), 48, 48)) for image in (small, large)]
    assert seen[0] == pytest.approx(seen[1], rel=0.35)


@EACH
def test_a_gray_picture_stays_gray(corrupt: Corruption) -> None:
    gray = np.repeat(FACE.mean(-1, keepdims=True).astype(np.uint8), 3, axis=2)
    corrupted = corrupt(gray, 3).astype(int)
    assert np.abs(corrupted - corrupted[..., :1]).max() <= 1


@pytest.mark.parametrize("name", ["blur", "motion blur", "rotation and shift"])
def test_nothing_can_be_taken_from_a_flat_picture(name: str) -> None:
    flat = np.full((40, 40, 3), 90, np.uint8)
    assert np.abs(CORRUPTIONS[name](flat, 3).astype(int) - 90).max() <= 1


@pytest.mark.parametrize(("severity", "expected"), [(1, 92), (2, 66), (3, 46)])
def test_dark_halves_the_light(severity: int, expected: int) -> None:
    # sRGB 128 is 0.2159 of white's light; a half, a quarter, an eighth of it have the values 92, 66, 46.
    flat = np.full((4, 4, 3), 128, np.uint8)
    assert (CORRUPTIONS["dark"](flat, severity) == expected).all()


@pytest.mark.parametrize(("severity", "raised"), [(1, 0.1), (2, 0.3), (3, 0.5)])
def test_bright_raises_a_middle_gray_as_imagenet_c_does(severity: int, raised: float) -> None:
    flat = np.full((4, 4, 3), 128, np.uint8)
    found = CORRUPTIONS["bright"](flat, severity)[0, 0, 0] / 255
    assert found == pytest.approx(min(1.0, 0.5 + raised), abs=0.005)


@pytest.mark.parametrize(("severity", "share"), [(1, 0.05), (2, 0.15), (3, 0.3)])
def test_occlusion_covers_its_share_and_the_larger_holds_the_smaller(severity: int, share: float) -> None:
    white = np.full((200, 100, 3), 255, np.uint8)
    covered = (CORRUPTIONS["occlusion"](white, severity) != white).all(-1)
    assert covered.mean() == pytest.approx(share, rel=0.05)
    if severity < 3:
        assert (covered <= (CORRUPTIONS["occlusion"](white, severity + 1) != white).all(-1)).all()


@pytest.mark.parametrize(("severity", "deviation"), [(1, 0.08), (2, 0.18), (3, 0.38)])
def test_noise_has_its_deviation_at_224_px(severity: int, deviation: float) -> None:
    flat = np.full((224, 224, 3), 128, np.uint8)
    noise = (CORRUPTIONS["noise"](flat, severity)[..., 0] / 255 - 0.5).std()
    # Values beyond black and white are cut off: at 0.38 a fifth of them.
    assert noise < 1.01 * deviation
    if severity < 3:
        assert noise == pytest.approx(deviation, rel=0.03)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_blur_widens_a_line_by_its_sigma(severity: int) -> None:
    line = np.zeros((224, 224, 3), np.uint8)
    line[:, 112] = 255
    profile = CORRUPTIONS["blur"](line, severity)[112, :, 0].astype(float)
    place = np.arange(224)
    centre = (profile * place).sum() / profile.sum()
    spread = np.sqrt((profile * (place - centre) ** 2).sum() / profile.sum())
    assert spread == pytest.approx((1.0, 3.0, 6.0)[severity - 1], rel=0.06)
    assert centre == pytest.approx(112, abs=0.1)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_motion_blur_does_not_move_the_picture(severity: int) -> None:
    square = np.zeros((224, 224, 3), np.uint8)
    square[90:130, 100:140] = 200
    blurred = CORRUPTIONS["motion blur"](square, severity)[..., 0].astype(float)
    rows, columns = np.indices(blurred.shape)
    assert (blurred * rows).sum() / blurred.sum() == pytest.approx(109.5, abs=0.3)
    assert (blurred * columns).sum() / blurred.sum() == pytest.approx(119.5, abs=0.3)
