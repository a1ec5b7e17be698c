"""A morphable face: who it is and what it feels both move landmarks, linearly (after Blanz & Vetter, 1999).

landmarks = mean + identity coefficients · shape directions + activation of action units · their displacements
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sample_faces.action_units import ACTION_UNITS, Expression
from sample_faces.displacements import MOVES, Move
from sample_faces.landmarks import Points, ends_of, half_to_whole, mean_face, right_share
from sample_faces.shapes import SHAPES, Scale


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
    return _without_crossings(mean + moved.reshape(mean.shape))


def part(face: Points, name: str) -> Points:
    """Points of one part (`jaw`, `brow.left`, …), in the order of `landmarks`; a view."""
    return face[mean_face()[1][name]]


@lru_cache(maxsize=1)
def displacements() -> Points:
    """Where each action unit moves each landmark when fully pulled on one side.

    Returns:
        float32 [action units × 2 sides, landmarks × 3].
    """
    mean, _ = mean_face()
    right = np.array([[right_share(float(x))] for x in mean[:, 0]])
    rows = []
    for unit in ACTION_UNITS:
        both = _apply(MOVES[unit])
        rows += [both * (1 - right), both * right]
    return np.stack(rows).reshape(len(rows), -1).astype(np.float32)


@lru_cache(maxsize=1)
def shape_directions() -> Points:
    """Where each shape coefficient moves each landmark: float32 [len(SHAPES), landmarks × 3]."""
    return np.stack([_apply(entries).reshape(-1) for entries in SHAPES.values()]).astype(np.float32)


def _apply(entries: Sequence[Move | Scale]) -> NDArray[np.float64]:
    """What some moves and scalings add to the mean face, [landmarks, 3]."""
    mean, slices = mean_face()
    added = np.zeros(mean.shape)
    side = np.sign(np.round(mean[:, 0], 4))
    for entry in entries:
        for name in entry.parts if isinstance(entry, Scale) else entry[:1]:
            for end in ends_of(name):
                where = slices[end]
                if isinstance(entry, Scale):
                    added[where] += _scaled(entry, mean[where], side[where])
                else:
                    added[where] += _moved(entry, side[where])
    return added


def _moved(move: Move, side: NDArray[np.float32]) -> NDArray[np.float64]:
    _, weights, (outwards, down, forwards) = move
    weight = half_to_whole(weights, len(side))
    return np.stack([weight * outwards * side, weight * down, weight * forwards], axis=1)


def _scaled(scale: Scale, points: Points, side: NDArray[np.float32]) -> NDArray[np.float64]:
    outwards = np.abs(points[:, 0]) - scale.centre[0]
    down = points[:, 1] - scale.centre[1]
    return np.stack([scale.x * outwards * side, scale.y * down - scale.tilt * outwards, 0 * down], axis=1)


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
