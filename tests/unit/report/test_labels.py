from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.report.charts import Box, place_labels

BOUNDS = Box(0, 0, 600, 400)


def around(x: float, y: float) -> Box:
    return Box(x - 5, y - 5, x + 5, y + 5)


def test_a_lone_name_stands_to_the_right_of_its_point() -> None:
    (box,) = place_labels([(100, 100)], [(40, 10)], bounds=BOUNDS, blocked=[], gap=6)

    assert box == Box(106, 95, 146, 105)


def test_a_name_at_the_right_edge_goes_to_the_left() -> None:
    (box,) = place_labels([(590, 100)], [(40, 10)], bounds=BOUNDS, blocked=[], gap=6)

    assert box == Box(544, 95, 584, 105)


def test_boxes_that_only_touch_do_not_overlap() -> None:
    assert not Box(0, 0, 10, 10).overlaps(Box(10, 0, 20, 10))
    assert Box(0, 0, 10, 10).overlaps(Box(9, 9, 20, 20))


@given(st.lists(st.tuples(st.integers(40, 560), st.integers(30, 370)), min_size=1, max_size=12, unique=True))
def test_no_name_lies_on_another_on_a_point_or_beyond_the_edge(points: list[tuple[int, int]]) -> None:
    blocked = [around(*point) for point in points]

    boxes = place_labels(points, [(60, 12)] * len(points), bounds=BOUNDS, blocked=blocked, gap=7)

    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert not any(box.overlaps(point) for box in boxes for point in blocked)
    assert all(box.within(BOUNDS) for box in boxes)


def test_the_same_points_give_the_same_places() -> None:
    points, sizes = [(100.0, 100.0), (104.0, 101.0), (98.0, 97.0)], [(50.0, 12.0)] * 3

    places = [place_labels(points, sizes, bounds=BOUNDS, blocked=[], gap=7) for _ in range(2)]

    assert places[0] == places[1]
