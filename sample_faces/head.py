"""Paint skin, ears, neck, nostrils and brows: flat colours, their form comes with the light."""

from __future__ import annotations

import numpy as np

from sample_faces.canvas import Canvas, curve, moved
from sample_faces.geometry import part
from sample_faces.identity import Colour, Identity
from sample_faces.landmarks import Points, head_depth
from sample_faces.pose import Pose

# Right halves, face units.
_NECK = ((0.42, 0.55, 0.0), (0.43, 1.0, 0.0), (0.62, 1.5, 0.0))
_SHOULDER = (
    (0.0, 1.36, 0.0),
    (0.25, 1.3, 0.0),
    (0.46, 1.15, 0.0),
    (0.95, 1.28, 0.0),
    (1.55, 1.5, 0.0),
    (1.7, 2.2, 0.0),
)
_BROW_HALF = np.array((0.026, 0.034, 0.031, 0.022, 0.006), np.float32)
"""Half the thickness of an average brow along its length, face units."""
_NOSTRIL = (0.036, 0.015, 0.012)
"""Half-axes of a nostril and how far its outer end rises, face units."""
_FRECKLES = 40


def paint_body(canvas: Canvas, identity: Identity) -> None:
    """Neck and shoulders; they stay when the head turns."""
    still = Pose()
    for half, colour in ((_NECK, tone(identity.skin, 0.74)), (_SHOULDER, identity.cloth)):
        right = np.array(half, np.float32)
        outline = np.concatenate([right[::-1] * np.array((-1, 1, 1), np.float32), right])
        if half is _NECK:
            canvas.fill_skin(still.project(outline, canvas.size_px), colour)
        else:
            canvas.fill_cloth(still.project(curve(outline, samples=4), canvas.size_px), colour)


def paint_ears(canvas: Canvas, face: Points, identity: Identity) -> None:
    """Ears, behind the head's edge."""
    for side in ("left", "right"):
        ear = canvas.place(curve(part(face, f"ear.{side}"), closed=True))
        canvas.fill_skin(ear, tone(identity.skin, 0.93))
        middle = ear.mean(axis=0)
        canvas.stroke((ear[4:-6] - middle) * np.float32(0.6) + middle, tone(identity.skin, 0.66), 0.02)


def head_outline(face: Points) -> Points:
    """Closed outline of the head, face units [n, 3]: over the crown, round the jaw."""
    crown, jaw = part(face, "crown"), part(face, "jaw")
    return curve(np.concatenate([crown, jaw[::-1][1:-1]]), closed=True)


def paint_skin(canvas: Canvas, face: Points, identity: Identity) -> None:
    """The head, without hair."""
    canvas.fill_skin(canvas.place(head_outline(face)), identity.skin)
    if identity.freckles:
        _paint_freckles(canvas, identity)


def paint_nostrils(canvas: Canvas, face: Points, identity: Identity) -> None:
    """Nostrils and the wings' lower edge."""
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    wide, high, rise = _NOSTRIL
    for side, sign in (("left", -1), ("right", 1)):
        oval = np.stack([np.cos(angle) * wide, np.sin(angle) * high + np.cos(angle) * rise * sign], axis=1)
        hole = (oval * canvas.unit_px).astype(np.float32) + canvas.place(part(face, f"nostril.{side}"))
        canvas.blend(hole, tone(identity.skin, 0.36), 0.85, soft=0.008)
        wing = canvas.place(curve(part(face, f"wing.{side}")))
        canvas.stroke(wing[5:14], tone(identity.skin, 0.72), 0.012)


def paint_brows(canvas: Canvas, face: Points, identity: Identity) -> None:
    """Brows: a tapered band with single hairs."""
    half = curve(_BROW_HALF[:, None], samples=4)[:, 0] * identity.brow_thickness * canvas.unit_px
    up = np.stack([0 * half, -half], axis=1).astype(np.float32)
    for side, sign in (("left", -1), ("right", 1)):
        middle = canvas.place(curve(part(face, f"brow.{side}"), samples=4))
        canvas.blend(np.concatenate([middle + up, (middle - up)[::-1]]), identity.brow, 0.9, soft=0.01)
        for index in range(0, len(middle) - 3, 2):
            lean = 0.5 + 1.2 * index / len(middle)
            root = moved(middle[index], 0.0, 0.5 * half[index])
            tip = moved(root, sign * 2 * lean * half[index], (0.8 * lean - 1.76) * half[index])
            canvas.stroke(np.stack([root, tip]), tone(identity.brow, 0.92), 0.008)


def tone(colour: Colour, factor: float) -> Colour:
    """Darker (<1) or lighter (>1); shadows of skin turn redder, as blood shows through."""
    red, green, blue = colour
    return min(red * factor**0.85, 255), min(green * factor, 255), min(blue * factor**1.02, 255)


def _paint_freckles(canvas: Canvas, identity: Identity) -> None:
    rng = np.random.default_rng((identity.texture, 13))
    flat = rng.normal((0, 0.12), (0.3, 0.09), (_FRECKLES, 2))
    for spot in canvas.place(np.column_stack([flat, head_depth(flat)]).astype(np.float32)):
        canvas.stroke(np.stack([spot, spot]), tone(identity.skin, 0.8), 0.012)
