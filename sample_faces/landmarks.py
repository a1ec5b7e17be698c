"""The mean face: named 3-D landmarks, and the curves through them.

Face units: 1 is half a face's height. x grows to the right of the image, y downwards, z towards the viewer;
the origin lies between the ears, below the eyes' line. Paired parts are given for the image's right half and
mirrored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]
_Line = tuple[tuple[float, float, float], ...]

_SIDE_BLEND = 0.08
"""Half-width of the band around the midline where both halves' muscles pull, face units."""

# Right half, inner to outer; z is the height over the head's ellipsoid.
_PAIRED: Mapping[str, _Line] = {
    "brow": (
        (0.125, -0.325, 0.04), (0.225, -0.365, 0.05), (0.335, -0.39, 0.05), (0.44, -0.37, 0.04),
        (0.535, -0.305, 0.0),
    ),
    "upper_lid": (
        (0.172, -0.055, -0.05), (0.225, -0.118, -0.01), (0.31, -0.153, 0.02), (0.40, -0.137, 0.0),
        (0.475, -0.085, -0.05),
    ),
    "lower_lid": (
        (0.172, -0.055, -0.05), (0.235, -0.018, -0.01), (0.32, -0.002, 0.01), (0.405, -0.024, 0.0),
        (0.475, -0.085, -0.05),
    ),
    "crease": (
        (0.178, -0.105, -0.03), (0.23, -0.185, 0.0), (0.315, -0.222, 0.03), (0.41, -0.2, 0.0),
        (0.492, -0.115, -0.04),
    ),
    "iris": ((0.325, -0.085, 0.02),),
    "bag": ((0.20, 0.035, -0.02), (0.27, 0.075, 0.0), (0.35, 0.085, 0.01), (0.43, 0.055, 0.0)),
    "crow_upper": ((0.525, -0.125, -0.03), (0.575, -0.165, -0.04), (0.62, -0.20, -0.06)),
    "crow_middle": ((0.53, -0.085, -0.03), (0.585, -0.085, -0.04), (0.635, -0.085, -0.06)),
    "crow_lower": ((0.52, -0.045, -0.03), (0.57, -0.005, -0.04), (0.615, 0.035, -0.06)),
    "cheek": ((0.42, 0.22, 0.06),),
    "hollow": ((0.52, 0.48, 0.0),),
    "fold": (
        (0.175, 0.265, 0.06), (0.235, 0.335, 0.04), (0.295, 0.43, 0.03), (0.35, 0.53, 0.0),
        (0.355, 0.63, -0.02),
    ),
    "marionette": ((0.31, 0.62, 0.0), (0.325, 0.68, 0.0), (0.32, 0.75, 0.0)),
    "dimple": ((0.36, 0.565, 0.0),),
    "wing": ((0.105, 0.215, 0.14), (0.145, 0.275, 0.10), (0.13, 0.335, 0.08), (0.075, 0.345, 0.12)),
    "nostril": ((0.066, 0.328, 0.14),),
    "nose_side": ((0.085, -0.05, 0.04), (0.09, 0.08, 0.08), (0.095, 0.18, 0.12)),
    "glabella": ((0.05, -0.43, 0.03), (0.055, -0.35, 0.03), (0.045, -0.27, 0.03)),
    "nose_wrinkle_1": ((0.025, -0.16, 0.08), (0.07, -0.125, 0.06), (0.115, -0.06, 0.03)),
    "nose_wrinkle_2": ((0.03, -0.08, 0.1), (0.08, -0.04, 0.08), (0.13, 0.03, 0.04)),
    "temple": ((0.62, -0.42, 0.0),),
    "ear": (
        (0.71, -0.20, -0.45), (0.78, -0.245, -0.5), (0.825, -0.14, -0.5), (0.80, 0.02, -0.48),
        (0.755, 0.135, -0.45), (0.70, 0.12, -0.42),
    ),
}  # fmt: skip

_FURROW_X = (0.0, 0.09, 0.18, 0.27, 0.36, 0.44)
# From the middle to the image's right; mirrored to one curve across the face.
_ACROSS: Mapping[str, _Line] = {
    "upper_outer": ((0.0, 0.518, 0.12), (0.075, 0.50, 0.12), (0.18, 0.537, 0.07), (0.285, 0.578, 0.0)),
    "upper_inner": ((0.0, 0.582, 0.11), (0.075, 0.575, 0.11), (0.18, 0.577, 0.06), (0.285, 0.578, 0.0)),
    "lower_inner": ((0.0, 0.584, 0.11), (0.075, 0.578, 0.11), (0.18, 0.58, 0.06), (0.285, 0.578, 0.0)),
    "lower_outer": ((0.0, 0.685, 0.11), (0.085, 0.68, 0.10), (0.19, 0.643, 0.06), (0.285, 0.578, 0.0)),
    "furrow_1": tuple((x, -0.52 - 0.02 * (x > 0.2), 0.0) for x in _FURROW_X),
    "furrow_2": tuple((x, -0.62 - 0.02 * (x > 0.2), 0.0) for x in _FURROW_X),
    "furrow_3": tuple((x, -0.72 - 0.02 * (x > 0.2), 0.0) for x in _FURROW_X),
    "mentolabial": ((0.0, 0.765, 0.04), (0.07, 0.76, 0.03), (0.13, 0.745, 0.02)),
}  # fmt: skip

# The silhouette, with depth given outright: the head's ellipsoid is steep there.
_SILHOUETTE: Mapping[str, _Line] = {
    "jaw": (
        (0.0, 1.0, 0.50), (0.11, 0.99, 0.49), (0.24, 0.945, 0.45), (0.39, 0.84, 0.36), (0.52, 0.69, 0.26),
        (0.625, 0.49, 0.17), (0.685, 0.26, 0.12), (0.715, 0.02, 0.09), (0.725, -0.22, 0.06),
        (0.71, -0.48, 0.03),
    ),
    "crown": (
        (0.0, -1.23, 0.0), (0.22, -1.20, 0.0), (0.42, -1.105, 0.0), (0.58, -0.94, 0.0), (0.68, -0.71, 0.01),
        (0.71, -0.48, 0.03),
    ),
}  # fmt: skip

_CENTRAL: Mapping[str, _Line] = {
    "bridge": ((0.0, -0.24, 0.05), (0.0, -0.12, 0.08), (0.0, 0.0, 0.14), (0.0, 0.12, 0.2)),
    "nose_tip": ((0.0, 0.265, 0.30),),
    "columella": ((0.0, 0.345, 0.2),),
    "philtrum": ((0.0, 0.42, 0.1), (0.0, 0.475, 0.11)),
    "chin": ((0.0, 0.865, 0.04),),
}


@lru_cache(maxsize=1)
def mean_face() -> tuple[Points, Mapping[str, slice]]:
    """All landmarks of the mean face, and where each part lies among them.

    Returns:
        float32 [landmarks, 3] in face units, and a slice per part; paired parts are named `brow.left`,
        `brow.right` after the side of the image.
    """
    parts: dict[str, NDArray[np.float64]] = {}
    for name, half in _PAIRED.items():
        right = _on_head(half)
        parts[f"{name}.right"] = right
        parts[f"{name}.left"] = right * (-1, 1, 1)
    for name, half in _ACROSS.items():
        parts[name] = _mirrored(_on_head(half))
    for name, half in _SILHOUETTE.items():
        parts[name] = _mirrored(np.asarray(half))
    for name, points in _CENTRAL.items():
        parts[name] = _on_head(points)
    stops = np.cumsum([0, *(len(points) for points in parts.values())]).tolist()
    slices = {name: slice(stops[i], stops[i + 1]) for i, name in enumerate(parts)}
    return np.concatenate(list(parts.values())).astype(np.float32), slices


def ends_of(name: str) -> tuple[str, ...]:
    """Both halves of a paired part, or the part itself."""
    return (f"{name}.left", f"{name}.right") if name in _PAIRED else (name,)


def right_share(x: float) -> float:
    """How much of a point at `x` moves with the muscles of the image's right half, 0–1."""
    return min(max(0.5 + x / (2 * _SIDE_BLEND), 0.0), 1.0)


def half_to_whole(half: float | Sequence[float], points: int) -> NDArray[np.float64]:
    """One number per point from one for all, one each, or half of a curve that crosses the face."""
    given = np.atleast_1d(np.asarray(half, float))
    if len(given) == 1:
        return np.full(points, given[0])
    return given if len(given) == points else np.concatenate([given[:0:-1], given])


@lru_cache(maxsize=64)
def spline(points: int, *, samples: int, closed: bool = False) -> Points:
    """Matrix of a Catmull–Rom curve (Catmull & Rom, 1974) through control points.

    Args:
        points: number of control points, ≥2.
        samples: curve points per segment.
        closed: whether the last point joins the first.

    Returns:
        float32 [curve points, control points]; multiply it with control points of any dimension.
    """
    segments = points if closed else points - 1
    rows = []
    for segment in range(segments):
        for t in np.arange(samples) / samples:
            rows.append(_spline_row(points, segment, float(t), closed=closed))
    if not closed:
        rows.append(np.eye(points)[-1])
    return np.asarray(rows, np.float32)


def _spline_row(points: int, segment: int, t: float, *, closed: bool) -> NDArray[np.float64]:
    weights = (
        -0.5 * t + t**2 - 0.5 * t**3,
        1 - 2.5 * t**2 + 1.5 * t**3,
        0.5 * t + 2 * t**2 - 1.5 * t**3,
        -0.5 * t**2 + 0.5 * t**3,
    )
    row = np.zeros(points)
    for offset, weight in zip((-1, 0, 1, 2), weights, strict=True):
        index = segment + offset
        row[index % points if closed else min(max(index, 0), points - 1)] += weight
    return row


def head_depth(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Depth (z) of the head's ellipsoid at [n, ≥2] points, face units; 0 outside of it."""
    inside = 1 - (points[:, 0] / 0.84) ** 2 - (points[:, 1] / 1.4) ** 2
    return 0.64 * np.sqrt(np.maximum(inside, 0.0))


def _on_head(points: _Line) -> NDArray[np.float64]:
    placed = np.asarray(points, float)
    placed[:, 2] += head_depth(placed)
    return placed


def _mirrored(half: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([half[:0:-1] * (-1, 1, 1), half])
