"""The heatmap on the picture."""

from __future__ import annotations

import numpy as np
import pytest

from serving.detection.overlay import MAX_SIDE_PX, overlay_png
from tests.support.pictures import Pixels, pillow_rgb

GRAY = np.full((60, 80, 3), 128, np.uint8)


def drawn(image: Pixels, heatmap: list[list[float]], **where: object) -> Pixels:
    options = {"box": None, "margin": 0.0} | where
    return pillow_rgb(overlay_png(image, np.array(heatmap, np.float32), **options))  # type: ignore[arg-type]


def test_a_cold_map_leaves_the_picture_as_it_is() -> None:
    np.testing.assert_array_equal(drawn(GRAY, [[0.0]]), GRAY)


def test_heat_is_drawn_where_it_is() -> None:
    left = drawn(GRAY, [[1.0, 0.0]]).astype(int)
    changed = np.abs(left - 128).max(axis=2)
    assert changed[:, :10].min() > 30
    assert changed[:, -10:].max() == 0


def test_heat_lies_in_the_square_that_the_network_saw() -> None:
    # Box 20×10 at (30, 20): its square has side 20·1.5 = 30 around (40, 25): x 25–55, y 10–40.
    changed = (
        np.abs(drawn(GRAY, [[1.0]], box=(30, 20, 20, 10), margin=0.25).astype(int) - 128).max(axis=2) > 0
    )
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 39, 25, 54)


@pytest.mark.parametrize("box", [(-40, -40, 50, 50), (70, 50, 50, 50), (-100, -100, 20, 20), (200, 0, 9, 9)])
def test_a_square_beyond_the_border_is_cut_off(box: tuple[int, int, int, int]) -> None:
    assert drawn(GRAY, [[1.0, 0.5]], box=box, margin=0.2).shape == GRAY.shape


def test_a_large_picture_is_drawn_smaller() -> None:
    large = np.full((1000, 2048, 3), 128, np.uint8)
    assert drawn(large, [[0.0]]).shape == (500, MAX_SIDE_PX, 3)
