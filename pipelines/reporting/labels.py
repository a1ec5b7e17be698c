"""Names beside points of a chart: none on another, none on a point, none beyond the edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A rectangle, y upwards, any unit."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: Box) -> bool:
        """Whether the two share any area."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )

    def within(self, other: Box) -> bool:
        """Whether nothing sticks out of `other`."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.bottom >= other.bottom
            and self.top <= other.top
        )


# Directions in the order a reader expects a name: right, left, above, below, then the corners.
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
_RINGS = 14
"""Distances tried; the last is far enough for some twenty names."""


def place(
    points: Sequence[Point], sizes: Sequence[Point], *, bounds: Box, blocked: Sequence[Box], gap: float
) -> list[Box]:
    """Find a place for each name, the nearest free one first.

    Args:
        points: where the points are.
        sizes: width and height of each name.
        bounds: of the chart.
        blocked: what no name may lie on (points, whiskers).
        gap: between a point and its name.

    Returns:
        One box per point. Where nothing is free the nearest place inside the bounds, then beside
        the point.
    """
    taken = list(blocked)
    placed = []
    for point, size in zip(points, sizes, strict=True):
        tries = [
            _box(point, size, direction, gap + ring * size[1] * 0.6)
            for ring in range(_RINGS)
            for direction in _DIRECTIONS
        ]
        inside = [box for box in tries if box.within(bounds)] or tries
        free = [box for box in inside if not any(box.overlaps(other) for other in taken)]
        box = (free or inside)[0]
        taken.append(box)
        placed.append(box)
    return placed


def _box(point: Point, size: Point, direction: tuple[int, int], distance: float) -> Box:
    center_x = point[0] + direction[0] * (distance + size[0] / 2)
    center_y = point[1] + direction[1] * (distance + size[1] / 2)
    return Box(center_x - size[0] / 2, center_y - size[1] / 2, center_x + size[0] / 2, center_y + size[1] / 2)
