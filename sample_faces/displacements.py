"""How each facial action unit moves the mean face's landmarks.

Directions follow the FACS manual's descriptions (Ekman & Friesen, 1978); sizes were set by eye, in face units
at full activation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Move = tuple[str, float | Sequence[float], tuple[float, float, float]]
"""A part, how much each of its points follows (one number for all, or one half of a curve that crosses the
face, from its middle), and where to: outwards, down, towards the viewer."""

_LID = (0.0, 0.75, 1.0, 0.85, 0.0)
_LIP = (1.0, 0.85, 0.4, 0.0)
_CORNER = (0.0, 0.08, 0.45, 1.0)
_LIPS = ("upper_outer", "upper_inner", "lower_inner", "lower_outer")


def _corners(outwards: float, down: float, forwards: float) -> tuple[Move, ...]:
    """All four lip lines follow the mouth's corners."""
    return tuple((lip, _CORNER, (outwards, down, forwards)) for lip in _LIPS)


MOVES: Mapping[int, Sequence[Move]] = {
    1: (
        ("brow", (1.0, 0.7, 0.28, 0.0, 0.0), (-0.01, -0.16, 0)),
        ("crease", (0.6, 0.5, 0.2, 0.0, 0.0), (0, -0.05, 0)),
        ("glabella", 1.0, (0, -0.06, 0)),
        ("furrow_1", (1, 1, 0.8, 0.4, 0, 0), (0, -0.05, 0)),
        ("furrow_2", (1, 1, 0.8, 0.4, 0, 0), (0, -0.04, 0)),
    ),
    2: (
        ("brow", (0.0, 0.3, 0.75, 1.0, 0.9), (0, -0.15, 0)),
        ("crease", (0.0, 0.2, 0.5, 0.6, 0.5), (0, -0.05, 0)),
        ("furrow_1", (0, 0, 0.2, 0.6, 1, 1), (0, -0.05, 0)),
        ("furrow_2", (0, 0, 0.2, 0.6, 1, 1), (0, -0.04, 0)),
    ),
    4: (
        ("brow", (0.8, 0.95, 0.85, 0.5, 0.2), (0, 0.12, 0.02)),
        ("brow", (1.0, 0.8, 0.5, 0.2, 0.0), (-0.055, 0, 0)),
        ("crease", (0.6, 0.8, 0.7, 0.5, 0.2), (0, 0.05, 0)),
        ("glabella", 1.0, (-0.012, 0.05, 0)),
    ),
    5: (
        ("upper_lid", _LID, (0, -0.075, 0)),
        ("crease", _LID, (0, -0.02, 0)),
    ),
    6: (
        ("cheek", 1.0, (0.01, -0.10, 0.05)),
        ("lower_lid", (0.0, 0.6, 1.0, 1.1, 0.0), (0, -0.055, 0)),
        ("upper_lid", (0.0, 0.2, 0.5, 0.8, 0.0), (0, 0.03, 0)),
        ("bag", 1.0, (0, -0.035, 0.01)),
        ("brow", (0.0, 0.0, 0.2, 0.6, 0.8), (0, 0.025, 0)),
    ),
    7: (
        ("lower_lid", _LID, (0, -0.05, 0)),
        ("upper_lid", _LID, (0, 0.03, 0)),
        ("bag", 1.0, (0, -0.02, 0)),
    ),
    9: (
        ("wing", 1.0, (0.02, -0.065, 0)),
        ("nostril", 1.0, (0.012, -0.055, 0)),
        ("nose_tip", 1.0, (0, -0.03, 0)),
        ("columella", 1.0, (0, -0.04, 0)),
        ("philtrum", 1.0, (0, -0.06, 0)),
        ("upper_outer", (1.0, 1.0, 0.6, 0.1), (0, -0.075, 0)),
        ("upper_inner", (0.8, 0.8, 0.4, 0.0), (0, -0.065, 0)),
        ("brow", (1.0, 0.8, 0.4, 0.1, 0.0), (-0.03, 0.08, 0)),
        ("crease", (0.6, 0.6, 0.4, 0.2, 0.0), (0, 0.04, 0)),
        ("lower_lid", _LID, (0, -0.045, 0)),
        ("upper_lid", _LID, (0, 0.03, 0)),
        ("bag", 1.0, (0, -0.03, 0)),
        ("cheek", 1.0, (0, -0.07, 0.02)),
        ("fold", (1.0, 0.9, 0.6, 0.3, 0.1), (0.015, -0.06, 0)),
    ),
    10: (
        ("upper_outer", (0.8, 1.0, 0.9, 0.15), (0, -0.07, 0)),
        ("upper_inner", (0.7, 0.9, 0.7, 0.0), (0, -0.055, 0)),
        ("philtrum", 1.0, (0, -0.04, 0)),
        ("wing", 1.0, (0.015, -0.02, 0)),
        ("fold", (0.6, 1.0, 0.7, 0.3, 0.0), (0.02, -0.04, 0)),
    ),
    12: (
        *_corners(0.125, -0.145, -0.06),
        ("lower_outer", (1.0, 0.8, 0.3, 0.0), (0, -0.012, 0)),
        ("upper_outer", (1.0, 1.0, 0.5, 0.0), (0, 0.01, 0)),
        ("cheek", 1.0, (0.015, -0.05, 0.04)),
        ("fold", (0.2, 0.5, 0.9, 1.0, 0.9), (0.085, -0.05, 0)),
        ("marionette", 1.0, (0.09, -0.05, 0)),
        ("dimple", 1.0, (0.12, -0.09, 0)),
        ("wing", 1.0, (0.018, -0.008, 0)),
        ("jaw", (0, 0, 0, 0.2, 0.7, 1.0, 0.6, 0.1, 0, 0), (0.028, -0.01, 0)),
    ),
    14: (
        *_corners(0.035, -0.01, -0.02),
        ("dimple", 1.0, (0.02, 0, 0)),
    ),
    15: (
        *_corners(0.01, 0.125, -0.02),
        ("lower_outer", (0.6, 0.5, 0.3, 0.0), (0, 0.01, 0)),
        ("marionette", 1.0, (0.02, 0.05, 0)),
        ("fold", (0.0, 0.1, 0.3, 0.7, 1.0), (0.0, 0.04, 0)),
    ),
    16: (
        ("lower_inner", _LIP, (0, 0.085, 0)),
        ("lower_outer", (1.0, 0.95, 0.6, 0.05), (0, 0.085, 0)),
        ("mentolabial", 1.0, (0, 0.035, 0)),
    ),
    17: (
        ("chin", 1.0, (0, -0.05, 0.03)),
        ("lower_outer", (1.0, 0.9, 0.4, 0.0), (0, -0.045, 0.02)),
        ("lower_inner", (1.0, 0.9, 0.4, 0.0), (0, -0.025, 0.02)),
        ("upper_inner", (1.0, 0.9, 0.4, 0.0), (0, -0.022, 0.02)),
        ("mentolabial", 1.0, (0, -0.045, -0.01)),
        ("jaw", (1.0, 0.9, 0.5, 0.1, 0, 0, 0, 0, 0, 0), (0, -0.03, 0)),
    ),
    20: (
        *_corners(0.15, 0.05, -0.07),
        ("lower_inner", (0.4, 0.7, 0.7, 0.0), (0, 0.035, 0)),
        ("lower_outer", (0.2, 0.5, 0.7, 0.0), (0, 0.03, 0)),
        ("dimple", 1.0, (0.10, 0.05, 0)),
        ("marionette", 1.0, (0.10, 0.04, 0)),
        ("jaw", (0, 0, 0, 0.3, 0.8, 0.8, 0.3, 0, 0, 0), (0.02, 0, 0)),
    ),
    23: (
        *_corners(-0.055, 0.012, 0.02),
        ("upper_outer", (0.9, 1.0, 0.7, 0.0), (0, 0.042, 0)),
        ("lower_outer", (1.0, 1.0, 0.7, 0.0), (0, -0.052, 0)),
        ("dimple", 1.0, (-0.04, 0.0, 0)),
    ),
    25: (
        ("lower_inner", (1.0, 0.97, 0.7, 0.0), (0, 0.08, 0)),
        ("lower_outer", (1.0, 0.95, 0.65, 0.0), (0, 0.062, 0)),
        ("upper_inner", _LIP, (0, -0.022, 0)),
        ("upper_outer", _LIP, (0, -0.008, 0)),
    ),
    26: (
        ("jaw", (1.0, 1.0, 0.95, 0.75, 0.45, 0.18, 0.0, 0.0, 0.0, 0.0), (0, 0.23, -0.03)),
        ("chin", 1.0, (0, 0.23, -0.03)),
        ("mentolabial", 1.0, (0, 0.23, -0.03)),
        ("lower_inner", (1.0, 0.97, 0.75, 0.25), (0, 0.255, -0.02)),
        ("lower_outer", (1.0, 0.97, 0.78, 0.25), (0, 0.24, -0.02)),
        ("upper_inner", (1.0, 0.9, 0.5, 0.0), (0, -0.015, 0)),
        *((lip, _CORNER, (-0.045, 0.03, 0.02)) for lip in ("upper_outer", "upper_inner")),
        *((lip, _CORNER, (-0.045, -0.02, 0.02)) for lip in ("lower_inner", "lower_outer")),
        ("marionette", 1.0, (-0.02, 0.08, 0)),
        ("fold", (0.0, 0.1, 0.3, 0.6, 1.0), (-0.015, 0.05, 0)),
        ("hollow", 1.0, (0, 0.06, 0)),
    ),
    43: (
        ("upper_lid", _LID, (0, 0.155, 0.02)),
        ("crease", _LID, (0, 0.03, 0)),
    ),
}
