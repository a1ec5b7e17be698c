"""Anatomy: each action unit moves the landmarks the way the FACS manual says."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from sample_faces.action_units import ACTION_UNITS, Expression, express, unit_index
from sample_faces.geometry import part, shape_face
from sample_faces.landmarks import Points, mean_face
from sample_faces.shapes import SHAPES

AVERAGE = np.zeros(len(SHAPES), np.float32)
REST = shape_face(AVERAGE, express({}))
SIDES = ("left", "right")
OUTER, MIDDLE, INNER = 4, 2, 0


def pulled(*units: int) -> Points:
    """The average face with some units pulled fully."""
    return shape_face(AVERAGE, express(dict.fromkeys(units, 1.0)))


def risen(face: Points, name: str, index: int) -> float:
    """How far a landmark went up, face units."""
    return float(part(REST, name)[index, 1] - part(face, name)[index, 1])


def gone_out(face: Points, name: str, index: int) -> float:
    """How far a landmark went away from the midline, face units."""
    return float(abs(part(face, name)[index, 0]) - abs(part(REST, name)[index, 0]))


def lid_gap(face: Points, side: str) -> float:
    """Opening of an eye, face units."""
    upper, lower = part(face, f"upper_lid.{side}"), part(face, f"lower_lid.{side}")
    return float(lower[MIDDLE, 1] - upper[MIDDLE, 1])


def lip_gap(face: Points) -> float:
    """Opening of the mouth, face units."""
    return float(part(face, "lower_inner")[3, 1] - part(face, "upper_inner")[3, 1])


@pytest.mark.parametrize("side", SIDES)
def test_au1_raises_the_inner_brow_only(side: str) -> None:
    face = pulled(1)
    assert risen(face, f"brow.{side}", INNER) > 0.1
    assert risen(face, f"brow.{side}", OUTER) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("side", SIDES)
def test_au2_raises_the_outer_brow_only(side: str) -> None:
    face = pulled(2)
    assert risen(face, f"brow.{side}", OUTER) > 0.1
    assert risen(face, f"brow.{side}", INNER) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("side", SIDES)
def test_au4_lowers_the_inner_brow_and_draws_it_in(side: str) -> None:
    face = pulled(4)
    assert risen(face, f"brow.{side}", INNER) < -0.06
    assert gone_out(face, f"brow.{side}", INNER) < -0.03


@pytest.mark.parametrize("side", SIDES)
def test_au1_with_au4_makes_oblique_brows(side: str) -> None:
    face = pulled(1, 4)
    assert risen(face, f"brow.{side}", INNER) > 0.03 > risen(face, f"brow.{side}", OUTER)


@pytest.mark.parametrize(
    ("unit", "wider"), [(5, True), (6, False), (7, False), (9, False), (43, False)], ids=str
)
@pytest.mark.parametrize("side", SIDES)
def test_units_of_the_lids_open_or_narrow_the_eye(unit: int, wider: bool, side: str) -> None:
    change = lid_gap(pulled(unit), side) - lid_gap(REST, side)
    assert (change > 0.05) if wider else (change < -0.05)


@pytest.mark.parametrize("side", SIDES)
def test_au43_shuts_the_eye(side: str) -> None:
    assert lid_gap(pulled(43), side) < 0.02


@pytest.mark.parametrize("side", SIDES)
def test_au6_raises_the_cheek(side: str) -> None:
    assert risen(pulled(6), f"cheek.{side}", 0) > 0.05


@pytest.mark.parametrize("side", SIDES)
def test_au9_pulls_nose_wings_up(side: str) -> None:
    assert risen(pulled(9), f"wing.{side}", 1) > 0.04


def test_au9_and_au10_raise_the_upper_lip() -> None:
    for unit in (9, 10):
        assert risen(pulled(unit), "upper_outer", 3) > 0.04


@pytest.mark.parametrize(
    ("unit", "up", "out"),
    [(12, 1, 1), (15, -1, 1), (20, -1, 1), (23, -1, -1)],
    ids=["AU12 up and out", "AU15 down", "AU20 out", "AU23 in"],
)
@pytest.mark.parametrize("corner", [0, -1], ids=["left", "right"])
def test_units_of_the_lips_move_the_corners(unit: int, up: int, out: int, corner: int) -> None:
    face = pulled(unit)
    assert np.sign(risen(face, "upper_outer", corner)) == up
    assert np.sign(gone_out(face, "upper_outer", corner)) == out


def test_au12_raises_corners_more_than_au15_leaves_them() -> None:
    assert risen(pulled(12), "lower_inner", 0) > 0.1
    assert risen(pulled(15), "lower_inner", 0) < -0.1


def test_au16_lowers_the_lower_lip_and_not_the_chin() -> None:
    face = pulled(16)
    assert risen(face, "lower_outer", 3) < -0.05
    assert risen(face, "chin", 0) == 0


def test_au17_pushes_chin_and_lower_lip_up() -> None:
    face = pulled(17)
    assert risen(face, "chin", 0) > 0.03
    assert risen(face, "lower_outer", 3) > 0.03


def test_au23_thins_the_lips() -> None:
    face = pulled(23)
    assert risen(face, "upper_outer", 3) < -0.02
    assert risen(face, "lower_outer", 3) > 0.02


def test_au25_parts_the_lips_with_the_jaw_at_rest() -> None:
    face = pulled(25)
    assert lip_gap(face) > 0.05
    assert risen(face, "jaw", 9) == 0


def test_au26_drops_the_jaw_and_opens_the_mouth() -> None:
    face = pulled(26)
    assert risen(face, "jaw", 9) < -0.15
    assert lip_gap(face) > 0.2
    assert risen(face, "jaw", 0) == 0


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_both_halves_move_alike(unit: int) -> None:
    face = pulled(unit)
    _, slices = mean_face()
    mirror = np.array((-1, 1, 1))
    for name in slices:
        points = part(face, name)
        if name.endswith(".left"):
            np.testing.assert_allclose(points * mirror, part(face, name[:-5] + ".right"), atol=1e-6)


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_one_half_alone_leaves_the_other_at_rest(unit: int) -> None:
    activation = np.zeros((len(ACTION_UNITS), 2), np.float32)
    activation[unit_index(unit), 1] = 1
    moved = shape_face(AVERAGE, Expression(activation=activation)) - REST
    mean, _ = mean_face()
    assert np.abs(moved[mean[:, 0] < -0.1]).max() < 1e-6
    assert np.abs(moved[mean[:, 0] > 0]).max() > 0.02


@pytest.mark.parametrize("units", list(product((5, 43), (16, 17, 23))), ids=str)
def test_lids_and_lips_never_pass_through_each_other(units: tuple[int, int]) -> None:
    for sign in (-1.8, 1.8):
        face = shape_face(np.full(len(SHAPES), sign, np.float32), express(dict.fromkeys((*units, 7, 9), 1.0)))
        for side in SIDES:
            assert (part(face, f"upper_lid.{side}")[:, 1] <= part(face, f"lower_lid.{side}")[:, 1]).all()
        assert (part(face, "upper_inner")[:, 1] <= part(face, "lower_inner")[:, 1] + 1e-6).all()


@pytest.mark.parametrize(
    ("shape", "name", "index", "axis", "sign"),
    [
        ("face_width", "jaw", -1, 0, 1),
        ("chin_length", "jaw", 9, 1, 1),
        ("eye_spacing", "iris.right", 0, 0, 1),
        ("brow_height", "brow.left", 2, 1, -1),
        ("nose_length", "nose_tip", 0, 1, 1),
        ("mouth_width", "upper_outer", -1, 0, 1),
        ("mouth_width", "upper_outer", 0, 0, -1),
        ("lip_lower", "lower_outer", 3, 1, 1),
    ],
)
def test_shape_coefficients_do_what_their_names_say(
    shape: str, name: str, index: int, axis: int, sign: int
) -> None:
    coefficients = AVERAGE.copy()
    coefficients[list(SHAPES).index(shape)] = 1
    change = part(shape_face(coefficients, express({})), name)[index] - part(REST, name)[index]
    assert sign * change[axis] > 0.01
