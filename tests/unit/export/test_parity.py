"""Which pictures are compared, and how far apart two sets of answers lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipelines.export.parity import differences, least_difference, varied

PROBABILITIES = np.array(
    [
        [0.80, 0.10, 0.10],
        [0.79, 0.11, 0.10],
        [0.10, 0.80, 0.10],
        [0.10, 0.12, 0.78],
        [0.45, 0.45, 0.10],
    ],
    np.float32,
)


def test_pictures_are_chosen_far_apart_from_the_surest_on() -> None:
    everyone = np.ones(5, bool)
    assert list(varied(PROBABILITIES, 3, first=everyone)) == [0, 2, 3]


def test_pictures_that_tell_little_come_last() -> None:
    first = np.array([True, True, True, False, False])
    assert set(varied(PROBABILITIES, 3, first=first)) == {0, 1, 2}
    assert len(set(varied(PROBABILITIES, 5, first=first))) == 5


def test_least_difference_is_that_of_the_closest_pair() -> None:
    assert least_difference(PROBABILITIES) == pytest.approx(0.01, abs=1e-6)
    assert least_difference(np.ones((3, 2, 2), np.float32)) == 0


class Answering:
    """A session that answers from a table, with an error added when a batch has the given size."""

    def __init__(self, table: dict[str, np.ndarray], *, wrong_at: int = 0, error: float = 0.0) -> None:
        self._table = table
        self._wrong_at = wrong_at
        self._error = error

    def run(self, names: list[str], feeds: dict[str, np.ndarray]) -> list[Any]:
        rows = feeds["image"][:, 0, 0, 0]
        error = self._error if len(rows) == self._wrong_at else 0.0
        return [self._table[name][rows] + error for name in names]


IMAGES = np.arange(5, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
TABLE = {
    "probabilities": PROBABILITIES,
    "heatmap": np.linspace(0, 1, 20, dtype=np.float32).reshape(5, 2, 2),
    "embedding": np.linspace(0, 50, 15, dtype=np.float32).reshape(5, 3),
}


def test_equal_answers_do_not_differ() -> None:
    assert differences(Answering(TABLE), IMAGES, TABLE) == dict.fromkeys(TABLE, 0.0)


@pytest.mark.parametrize("size", [1, 5])
def test_an_error_at_either_batch_size_is_found(size: int) -> None:
    found = differences(Answering(TABLE, wrong_at=size, error=0.25), IMAGES, TABLE)
    assert found["probabilities"] == pytest.approx(0.25, abs=1e-6)
    # Embeddings reach 50: what counts is the share of that.
    assert found["embedding"] == pytest.approx(0.25 / 50, abs=1e-6)


def test_not_a_number_is_farther_than_any_tolerance() -> None:
    assert differences(Answering(TABLE, wrong_at=5, error=np.nan), IMAGES, TABLE)["heatmap"] > 1e9
