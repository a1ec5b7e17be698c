"""Insertion and deletion, on models and heatmaps whose areas can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.explain.faithfulness import STEPS, blurred, measure, ranks
from serving.contract.arrays import Image

SIDE = 20


def faces(count: int) -> Image:
    """Grey pictures whose left half is white on odd rows: all that the models below look at."""
    picture = np.full((SIDE, SIDE, 3), 128, np.uint8)
    picture[::2, : SIDE // 2] = 255
    picture[1::2, : SIDE // 2] = 0
    return np.stack([picture] * count)


def left_half(images: Image) -> NDArray[np.float32]:
    """Probability of class 0: how much of the left half's stripes is there; 1 for the picture itself."""
    stripes = np.abs(images[:, :, : SIDE // 2, 0].astype(np.float64) - faces(1)[0, :, : SIDE // 2, 0]) < 1
    share = stripes.mean(axis=(1, 2))
    return np.stack([share, 1 - share], axis=1).astype(np.float32)


def halves(left: float, right: float, count: int) -> NDArray[np.float32]:
    """Heatmaps of two columns."""
    heatmap = np.full((SIDE, SIDE), right, np.float32)
    heatmap[:, : SIDE // 2] = left
    return np.stack([heatmap] * count)


def test_ranks_follow_the_heat_and_then_the_place() -> None:
    np.testing.assert_array_equal(
        ranks(np.array([[0.2, 0.9], [0.9, 0.1]], np.float32), 2, 2), [[2, 0], [1, 3]]
    )


def test_a_blurred_picture_keeps_its_colours_and_loses_its_stripes() -> None:
    picture = faces(1)[0]
    without = blurred(picture)
    assert without.shape == picture.shape
    assert abs(without.mean() - picture.mean()) < 2
    assert np.abs(np.diff(without[:, 2, 0].astype(int))).max() < 10


def test_the_half_that_the_model_looks_at_has_the_areas_of_a_ramp() -> None:
    # Half of the pixels decide: the probability rises from 0 to 1 over the first half and then stays.
    found = measure(left_half, faces(3), halves(1, 0, 3), np.arange(3), samples=100)
    assert found.pictures == 3
    assert found.insertion.value == pytest.approx(0.75, abs=1e-3)
    assert found.deletion.value == pytest.approx(0.25, abs=1e-3)
    # Shuffled, every step restores as much of the left half as of the right one.
    assert found.shuffled_insertion.value == pytest.approx(0.5, abs=0.05)
    assert found.shuffled_deletion.value == pytest.approx(0.5, abs=0.05)
    assert found.gain.value == pytest.approx(0.5, abs=0.1)
    assert found.gain.low is not None
    assert found.gain.low > 0.3


def test_the_other_half_is_worse_than_chance() -> None:
    found = measure(left_half, faces(3), halves(0, 1, 3), np.arange(3), samples=100)
    assert found.insertion.value == pytest.approx(0.25, abs=1e-3)
    assert found.deletion.value == pytest.approx(0.75, abs=1e-3)
    assert found.gain.high is not None
    assert found.gain.high < -0.3


def test_intervals_resample_people_and_not_pictures() -> None:
    def by_picture(images: Image) -> NDArray[np.float32]:
        # Two versions of people: one whose probability does not depend on the picture.
        share = left_half(images)[:, 0]
        constant = images[:, 0, -1, 0] == 200
        share = np.where(constant, 0.8, share)
        return np.stack([share, 1 - share], axis=1).astype(np.float32)

    pictures = faces(8)
    pictures[4:, :, SIDE // 2 :] = 200
    heatmaps = halves(1, 0, 8)
    alone = measure(by_picture, pictures, heatmaps, np.arange(8), samples=2000)
    together = measure(by_picture, pictures, heatmaps, np.repeat([0, 1], 4), samples=2000)
    assert alone.insertion.value == together.insertion.value
    # Of two people a resample often has one alone, whose four pictures all have 0.75, or 0.8.
    assert (together.insertion.low, together.insertion.high) == pytest.approx((0.75, 0.8), abs=1e-3)
    assert alone.insertion.low is not None
    assert alone.insertion.low > 0.752


def test_each_picture_is_answered_once_in_each_version() -> None:
    asked: list[int] = []

    def predict(images: Image) -> NDArray[np.float32]:
        asked.append(len(images))
        return left_half(images)

    measure(predict, faces(2), halves(1, 0, 2), np.arange(2), samples=10)
    assert sum(asked) == 2 * 4 * (STEPS + 1)


def test_pictures_of_one_person_give_no_interval() -> None:
    found = measure(left_half, faces(3), halves(1, 0, 3), np.zeros(3), samples=100)
    assert found.insertion.value == pytest.approx(0.75, abs=1e-3)
    assert found.insertion.low is None
    assert found.insertion.high is None
