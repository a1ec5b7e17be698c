"""A morphable face: who it is and what it feels both move landmarks, linearly (after Blanz & Vetter, 1999).

landmarks = mean + identity coefficients · shape directions + activation of action units · their displacements
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipelines.sample.action_units import ACTION_UNITS, Expression
from pipelines.sample.displacements import MOVES
from pipelines.sample.identity import SHAPES
from pipelines.sample.landmarks import Points, mean_face

_EYE = ("upper_lid", "lower_lid", "crease", "iris", "bag", "crow_upper", "crow_middle", "crow_lower")
_NOSE = ("wing", "nostril", "nose_tip", "columella", "nose_side")
_MOUTH = ("upper_outer", "upper_inner", "lower_inner", "lower_outer", "marionette", "dimple")
_EYE_CENTRE = (0.325, -0.085)
_MOUTH_Y = 0.58
_JAW_LEVELS = np.array((0.0, 0.25, 0.55, 0.9, 1.0, 1.0, 0.7, 0.3, 0.0, 0.0))
_CHIN_LEVELS = np.array((1.0, 1.0, 0.9, 0.6, 0.3, 0.1, 0.0, 0.0, 0.0, 0.0))
_CHEEK_LEVELS = np.array((0.0, 0.0, 0.0, 0.0, 0.2, 0.5, 1.0, 1.0, 0.7, 0.2))
_SIDE_BLEND = 0.08
"""Half-width of the band around the midline where both halves' muscles pull, face units."""


def shape_face(coefficients: NDArray[np.float32], expression: Expression) -> Points:
    """Landmarks of one person with one expression, seen from the front.

    Args:
        coefficients: float32 [len(SHAPES)].
        expression: activation of the action units.

    Returns:
        float32 [landmarks, 3], face units.
    """
    mean, _ = mean_face()
    moved = coefficients @ shape_directions() + expression.activation.reshape(-1) @ displacements()
    face = mean + moved.reshape(mean.shape)
    return _without_crossings(face)


def part(face: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """Points of one part (`jaw`, `brow.left`, …), in the order of `landmarks`."""
    return face[mean_face()[1][name]]


@lru_cache(maxsize=1)
def displacements() -> NDArray[np.float32]:
    """Where each action unit moves each landmark when fully pulled on one side.

    Returns:
        float32 [action units × 2 sides, landmarks × 3].
    """
    mean, _ = mean_face()
    share = np.clip(0.5 + mean[:, 0] / (2 * _SIDE_BLEND), 0, 1)[:, None]
    rows = []
    for unit in ACTION_UNITS:
        both = _displacement(unit)
        rows += [both * (1 - share), both * share]
    return np.stack(rows).reshape(len(rows), -1).astype(np.float32)


@lru_cache(maxsize=1)
def shape_directions() -> NDArray[np.float32]:
    """Where each shape coefficient moves each landmark: float32 [len(SHAPES), landmarks × 3]."""
    mean, _ = mean_face()
    table = _shape_table()
    rows = np.zeros((len(SHAPES), *mean.shape))
    for row, name in zip(rows, SHAPES, strict=True):
        table[name](row)
    return rows.reshape(len(SHAPES), -1).astype(np.float32)


def _displacement(unit: int) -> NDArray[np.float64]:
    mean, slices = mean_face()
    moved = np.zeros(mean.shape)
    for name, weights, move in MOVES[unit]:
        outwards = np.asarray(move)
        if name in slices:
            points = mean[slices[name]]
            weight = _spread(weights, len(points))
            side = np.sign(np.round(points[:, :1], 4))
            moved[slices[name]] += weight[:, None] * outwards * np.where([[True, False, False]], side, 1)
        else:
            for end, sign in (("left", -1), ("right", 1)):
                where = slices[f"{name}.{end}"]
                weight = _spread(weights, where.stop - where.start)
                moved[where] += weight[:, None] * outwards * (sign, 1, 1)
    return moved


def _spread(weights: object, points: int) -> NDArray[np.float64]:
    """One weight per point: a single number for all, or a half mirrored to the whole curve."""
    half = np.asarray(weights, float)
    if half.ndim == 0:
        return np.full(points, float(half))
    return half if len(half) == points else np.concatenate([half[:0:-1], half])


def _shape_table() -> Mapping[str, Callable[[NDArray[np.float64]], None]]:
    """What one standard deviation of each coefficient adds to landmarks [landmarks, 3], in place."""
    mean, slices = mean_face()
    paired = {name.split(".")[0] for name in slices if "." in name}
    sign = np.sign(np.round(mean[:, 0], 4))

    def move(parts: tuple[str, ...], dx: float = 0.0, dy: float = 0.0, dz: float = 0.0, levels: object = 1.0) -> Direction:
        def add(row: NDArray[np.float64]) -> None:
            for name in parts:
                ends = (f"{name}.left", f"{name}.right") if name in paired else (name,)
                for end in ends:
                    where = slices[end]
                    weight = _spread(levels, where.stop - where.start)
                    row[where] += weight[:, None] * np.stack(
                        [dx * sign[where], np.full_like(weight, dy), np.full_like(weight, dz)], axis=1
                    )

        return add

    def scale(parts: tuple[str, ...], centre: tuple[float, float], x: float = 0.0, y: float = 0.0, tilt: float = 0.0) -> Direction:
        def add(row: NDArray[np.float64]) -> None:
            for name in parts:
                ends = (f"{name}.left", f"{name}.right") if name in paired else (name,)
                for end in ends:
                    where = slices[end]
                    outwards = np.abs(mean[where, 0]) - centre[0]
                    row[where, 0] += x * outwards * sign[where]
                    row[where, 1] += y * (mean[where, 1] - centre[1]) - tilt * outwards

        return add

    everything = tuple({name.split(".")[0] for name in slices})
    outline = ("jaw", "crown", "ear", "temple", "hollow")
    return {
        "face_width": _both(scale(outline, (0, 0), x=0.05), scale(("cheek", *_EYE, "brow", *_MOUTH), (0, 0), x=0.02)),
        "jaw_width": move(("jaw",), dx=0.045, levels=_JAW_LEVELS),
        "chin_length": _both(move(("jaw",), dy=0.045, levels=_CHIN_LEVELS), move(("chin", "mentolabial"), dy=0.02)),
        "cheekbones": _both(move(("jaw",), dx=0.025, levels=_CHEEK_LEVELS), move(("cheek",), dz=0.02)),
        "forehead": move(("crown",), dy=-0.05, levels=(1.0, 1.0, 0.9, 0.6, 0.2, 0.0)),
        "eye_spacing": move((*_EYE, "brow"), dx=0.02),
        "eye_size": scale(_EYE, _EYE_CENTRE, x=0.07, y=0.08),
        "eye_opening": scale(("upper_lid", "lower_lid"), _EYE_CENTRE, y=0.13),
        "eye_tilt": scale(_EYE, _EYE_CENTRE, tilt=0.07),
        "eye_height": move((*_EYE, "brow"), dy=0.018),
        "brow_height": move(("brow",), dy=-0.02),
        "brow_arch": move(("brow",), dy=-0.016, levels=(-0.3, 0.3, 1.0, 0.6, -0.8)),
        "brow_tilt": scale(("brow",), (0.33, 0.0), tilt=0.05),
        "nose_length": _both(move(_NOSE, dy=0.028), move(("philtrum",), dy=0.012)),
        "nose_width": scale(("wing", "nostril", "nose_side"), (0.0, 0.3), x=0.13),
        "nose_depth": move(("nose_tip", "columella", "bridge"), dz=0.035),
        "mouth_width": scale((*_MOUTH, "fold"), (0.0, _MOUTH_Y), x=0.07),
        "mouth_height": move((*_MOUTH, "philtrum"), dy=0.016),
        "lip_upper": move(("upper_outer",), dy=-0.012, levels=(1.0, 1.0, 0.6, 0.0)),
        "lip_lower": move(("lower_outer",), dy=0.014, levels=(1.0, 1.0, 0.6, 0.0)),
        "mouth_curve": move(("upper_outer", "upper_inner", "lower_inner", "lower_outer"), dy=-0.01, levels=(0.0, 0.0, 0.3, 1.0)),
    }


Direction = Callable[[NDArray[np.float64]], None]


def _both(first: Direction, second: Direction) -> Direction:
    def add(row: NDArray[np.float64]) -> None:
        first(row)
        second(row)

    return add


def _without_crossings(face: Points) -> Points:
    """Lids and lips meet but never pass through each other."""
    for side in ("left", "right"):
        upper, lower = part(face, f"upper_lid.{side}"), part(face, f"lower_lid.{side}")
        upper[:, 1] = np.minimum(upper[:, 1], lower[:, 1])
    upper, lower = part(face, "upper_inner"), part(face, "lower_inner")
    middle = (upper[:, 1] + lower[:, 1]) / 2
    upper[:, 1] = np.minimum(upper[:, 1], middle)
    lower[:, 1] = np.maximum(lower[:, 1], middle)
    return face
