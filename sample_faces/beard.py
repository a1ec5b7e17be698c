"""Paint beards; their outlines hang on landmarks, so they move with jaw and lips."""

from __future__ import annotations

import numpy as np

from sample_faces.canvas import Canvas, curve
from sample_faces.geometry import part
from sample_faces.head import tone
from sample_faces.identity import Identity
from sample_faces.landmarks import Points

_LIGHT_HAIR = 170
"""Beards of people with lighter hair than this (0–255) take the darker colour of their brows."""


def paint_beard(canvas: Canvas, face: Points, identity: Identity) -> None:
    """Stubble, a moustache, a goatee or a full beard."""
    if identity.beard == "none":
        return
    colour = tone(identity.hair if max(identity.hair) < _LIGHT_HAIR else identity.brow, 0.9)
    stubble = identity.beard == "stubble"
    for outline in _outlines(face, identity):
        placed = canvas.place(outline)
        canvas.blend(
            placed, colour, 0.3 if stubble else identity.beard_density, soft=0.05 if stubble else 0.022
        )
        if not stubble:
            canvas.mark_hair(placed, 0.6)


def _outlines(face: Points, identity: Identity) -> list[Points]:
    if identity.beard == "moustache":
        return [_moustache(face)]
    if identity.beard == "goatee":
        return [_moustache(face), _goatee(face)]
    return [_moustache(face), _full(face)]


def _moustache(face: Points) -> Points:
    lip, nose = part(face, "upper_outer"), part(face, "columella")
    left, right = part(face, "fold.left"), part(face, "fold.right")
    outline = np.concatenate([
        _shifted(lip[:1], -0.05, 0.03), (lip[1:2] + left[2:3]) / 2, _shifted(nose, -0.08, 0.055),
        _shifted(nose, 0.08, 0.055), (lip[-2:-1] + right[2:3]) / 2, _shifted(lip[-1:], 0.05, 0.03),
        _shifted(lip[-2:0:-1], 0.0, -0.008),
    ])  # fmt: skip
    return curve(outline, samples=3, closed=True)


def _goatee(face: Points) -> Points:
    below, chin = _shifted(part(face, "lower_outer")[2:-2], 0.0, 0.025), part(face, "jaw")[7:12]
    return curve(np.concatenate([below, _shifted(chin[::-1], 0.0, 0.015)]), samples=3, closed=True)


def _full(face: Points) -> Points:
    """Along the jaw from ear to ear, and back under the cheeks and round the mouth."""
    lip, below = part(face, "upper_outer"), _shifted(part(face, "lower_outer")[1:-1], 0.0, 0.025)
    rim = part(face, "jaw")[2:-2] * np.array((1.015, 1.015, 1), np.float32)
    left, right = part(face, "fold.left")[4:5], part(face, "fold.right")[4:5]
    narrow = np.array((0.93, 1, 1), np.float32)
    return np.concatenate([
        rim, rim[-1:] * narrow, _shifted(right, 0.12, -0.12), _shifted(right, 0.02, 0.0),
        _shifted(lip[-1:], 0.03, 0.02), below[::-1], _shifted(lip[:1], -0.03, 0.02),
        _shifted(left, -0.02, 0.0), _shifted(left, -0.12, -0.12), rim[:1] * narrow,
    ])  # fmt: skip


def _shifted(points: Points, right: float, down: float) -> Points:
    return points + np.array((right, down, 0.0), np.float32)
