"""Curves, pose and relief: the arithmetic that turns landmarks into form."""

from __future__ import annotations

import numpy as np
import pytest

from sample_faces.action_units import Expression, express
from sample_faces.geometry import part, shape_face
from sample_faces.landmarks import Points, half_to_whole, right_share, spline
from sample_faces.light import Light
from sample_faces.pose import UNIT_SHARE, Pose
from sample_faces.relief import Form, raise_form
from sample_faces.shapes import SHAPES

SIZE = 192
AVERAGE = np.zeros(len(SHAPES), np.float32)


def formed(expression: Expression, *, age: float = 0.0, size_px: int = SIZE) -> tuple[Form, Points]:
    """Relief of the average face seen from the front, and its landmarks in px."""
    placed = Pose().project(shape_face(AVERAGE, expression), size_px)
    form = raise_form(placed, expression, age=age, unit_px=UNIT_SHARE * size_px, size_px=size_px)
    return form, placed


@pytest.mark.parametrize("closed", [False, True])
def test_a_spline_passes_through_its_points(closed: bool) -> None:
    points = np.array([(0, 0), (1, 2), (3, 1), (4, 4)], np.float32)
    matrix = spline(4, samples=3, closed=closed)
    np.testing.assert_allclose((matrix @ points)[::3][:4], points, atol=1e-6)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)


def test_a_spline_keeps_straight_lines_straight() -> None:
    points = np.array([(0, 0), (1, 2), (2, 4), (3, 6)], np.float32)
    line = spline(4, samples=5) @ points
    np.testing.assert_allclose(line[:, 1], 2 * line[:, 0], atol=1e-5)


def test_a_half_is_mirrored_to_the_whole_curve() -> None:
    np.testing.assert_array_equal(half_to_whole((1, 2, 3), 5), (3, 2, 1, 2, 3))
    np.testing.assert_array_equal(half_to_whole(0.5, 2), (0.5, 0.5))


def test_the_midline_belongs_to_both_halves() -> None:
    assert (right_share(0), right_share(0.5), right_share(-0.5)) == (0.5, 1.0, 0.0)


@pytest.mark.parametrize(
    ("pose", "axis", "sign"),
    [(Pose(yaw_deg=20), 0, 1), (Pose(yaw_deg=-20), 0, -1), (Pose(pitch_deg=10), 1, 1)],
    ids=["right", "left", "down"],
)
def test_turning_the_head_moves_the_nose_there(pose: Pose, axis: int, sign: int) -> None:
    nose = part(shape_face(AVERAGE, express({})), "nose_tip")
    moved = (pose.project(nose, SIZE) - Pose().project(nose, SIZE))[0]
    assert sign * moved[axis] > 5
    assert abs(moved[1 - axis]) < 2


def test_rotation_agrees_with_trigonometry() -> None:
    # A point one unit in front turns to (sin, ., cos); the camera's growth with nearness is divided out.
    in_front = np.array([(0, 0, 1)], np.float32)
    angle = np.deg2rad(25)
    x = Pose(yaw_deg=25).project(in_front, 1000)[0, 0] - 500
    assert x / (1000 * UNIT_SHARE * (1 + 0.1 * (np.cos(angle) - 0.4))) == pytest.approx(
        np.sin(angle), abs=1e-4
    )


def test_slopes_belong_to_one_surface() -> None:
    # The slopes of a surface have no curl: ∂x of slope_y equals ∂y of slope_x.
    # On a large canvas, so that central differences are fair to lines of a few pixels.
    form, _ = formed(express({1: 1, 4: 1, 12: 1}), age=0.7, size_px=768)
    across = np.gradient(form.slope_y.astype(float), axis=1)
    down = np.gradient(form.slope_x.astype(float), axis=0)
    assert np.abs(across - down).mean() < 0.02 * np.abs(across).mean()


@pytest.mark.parametrize(
    ("unit", "line"),
    [(12, "fold.left"), (9, "nose_wrinkle_1.right"), (4, "glabella.left"), (6, "crow_middle.right")],
    ids=["AU12 nasolabial fold", "AU9 nose", "AU4 glabella", "AU6 crow's feet"],
)
def test_action_units_deepen_their_lines(unit: int, line: str) -> None:
    rest, _ = formed(express({}))
    deep, placed = formed(express({unit: 1}))
    column, row = np.rint(part(placed, line)[1]).astype(int)
    assert deep.dark[row, column] > rest.dark[row, column] + 0.03


def test_furrows_follow_the_half_that_is_pulled() -> None:
    left_only = express({2: 1})
    left_only.activation[:, 1] = 0
    form, placed = formed(left_only)
    furrow = np.rint(part(placed, "furrow_2")).astype(int)
    left, right = furrow[3], furrow[-4]
    assert form.dark[left[1], left[0]] > form.dark[right[1], right[0]] + 0.03


def test_age_draws_lines() -> None:
    young, _ = formed(express({}))
    old, _ = formed(express({}), age=1.0)
    assert old.dark.mean() > 1.2 * young.dark.mean()


def test_light_comes_from_where_it_is_put() -> None:
    x, y, z = Light(azimuth_deg=90, elevation_deg=0).direction()
    assert (x, y, z) == pytest.approx((1, 0, 0), abs=1e-9)
    assert Light(azimuth_deg=0, elevation_deg=90).direction() == pytest.approx((0, -1, 0), abs=1e-9)
