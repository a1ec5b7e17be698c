"""Heat, boxes and labels on a picture."""

from __future__ import annotations

import numpy as np
import pytest

from serving.contract import Box
from serving.detection.overlay import MAX_SIDE_PX, Mark, overlay_png
from tests.support.onnx_models import CLASSES
from tests.support.pictures import Pixels, pillow_rgb

GRAY = np.full((480, 640, 3), 128, np.uint8)
WHOLE = (0, 0, 640, 480)
FAR = (300, 440, 200, 38)
"""A box at the bottom, so that neither it nor its label lies where the heat is looked for."""


def drawn(image: Pixels, heatmap: list[list[float]], *, area: Box, box: Box = FAR) -> Pixels:
    heat = np.array(heatmap, np.float32)
    mark = Mark(box=box, area=area, heatmap=heat, emotion="happy", probability=0.9)
    return pillow_rgb(overlay_png(image, [mark], CLASSES))


def test_without_a_face_the_picture_is_as_it_was() -> None:
    np.testing.assert_array_equal(pillow_rgb(overlay_png(GRAY, [], CLASSES)), GRAY)


def test_heat_is_drawn_where_it_is() -> None:
    left = drawn(GRAY, [[1.0, 0.0]], area=WHOLE).astype(int)
    changed = np.abs(left - 128).max(axis=2)[:400]
    assert changed[100:300, 80:200].min() > 30
    assert changed[:, -80:].max() == 0


def test_heat_lies_in_the_square_that_the_network_saw_and_fades_towards_its_edge() -> None:
    changed = np.abs(drawn(GRAY, [[1.0]], area=(200, 80, 240, 240)).astype(int) - 128).max(axis=2)[:400]
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (80, 319, 200, 439)
    assert changed[200, 200] < changed[200, 210] < changed[200, 320]


@pytest.mark.parametrize(
    "area", [(-40, -40, 50, 50), (600, 450, 90, 90), (-100, -100, 20, 20), (700, 0, 9, 9)]
)
def test_a_square_beyond_the_border_is_cut_off(area: Box) -> None:
    assert drawn(GRAY, [[1.0, 0.5]], area=area).shape == GRAY.shape


def test_a_large_picture_is_drawn_smaller() -> None:
    large = np.full((1000, 2048, 3), 128, np.uint8)
    assert drawn(large, [[0.0]], area=WHOLE).shape == (500, MAX_SIDE_PX, 3)
