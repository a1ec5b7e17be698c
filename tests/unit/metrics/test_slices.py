"""Slices of a test set, and the rounding of what is written about them."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.metrics import color_slices, rounded, tercile_slices


def test_thirds_are_equal_and_ordered() -> None:
    values = np.random.default_rng(0).permutation(30).astype(float)
    slices = tercile_slices(values)
    assert {name: sorted(values[mask]) for name, mask in slices.items()} == {
        "low": list(range(10)),
        "middle": list(range(10, 20)),
        "high": list(range(20, 30)),
    }


def test_equal_values_stay_together() -> None:
    slices = tercile_slices(np.full(9, 0.5))
    assert [int(mask.sum()) for mask in slices.values()] == [9, 0, 0]


def test_every_picture_is_in_exactly_one_slice() -> None:
    values = np.random.default_rng(1).integers(0, 5, 50) / 5
    assert (np.sum(list(tercile_slices(values).values()), axis=0) == 1).all()


def test_no_pictures_make_empty_slices() -> None:
    assert [len(mask) for mask in tercile_slices(np.empty(0)).values()] == [0, 0, 0]


def test_modes_with_one_channel_of_light_are_gray() -> None:
    slices = color_slices(["RGB", "L", "P", "LA", "I;16", "1", "CMYK", "RGBA"])
    assert slices["gray"].tolist() == [False, True, False, True, True, True, False, False]
    assert (slices["color"] == ~slices["gray"]).all()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.12345678, 0.123457), (np.float32(0.5), 0.5), (float("nan"), None), (None, None)],
)
def test_undefined_numbers_become_null(value: float | None, expected: float | None) -> None:
    assert rounded(value) == expected
