"""Paint skin, ears, neck, nostrils and brows: flat colours, their form comes with the light."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.sample.canvas import Canvas, curve
from pipelines.sample.geometry import part
from pipelines.sample.identity import Colour, Identity
from pipelines.sample.landmarks import mean_face

_NECK = np.array(
    [(-0.42, 0.55, -0.25), (-0.43, 1.0, -0.2), (-0.62, 1.5, -0.2), (0.62, 1.5, -0.2), (0.43, 1.0, -0.2), (0.42, 0.55, -0.25)],
    np.float32,
)
_SHOULDERS = np.array(
    [(-1.7, 2.2, 0), (-1.55, 1.5, 0), (-0.95, 1.28, 0), (-0.46, 1.15, 0), (-0.25, 1.3, 0), (0, 1.36, 0), (0.25, 1.3, 0),
     (0.46, 1.15, 0), (0.95, 1.28, 0), (1.55, 1.5, 0), (1.7, 2.2, 0)],
    np.float32,
)  # fmt: skip
_BROW_HALF = np.array((0.026, 0.034, 0.031, 0.022, 0.006), np.float32)
"""Half the thickness of an average brow along its length, face units."""


def paint_body(canvas: Canvas, identity: Identity) -> None:
    """Neck and shoulders; they stay when the head turns."""
    still = canvas.unit_px * np.array((1, 1), np.float32)
    centre = np.array((0.5, 0.525), np.float32) * canvas.size_px
    canvas.fill_skin(_NECK[:, :2] * still + centre, tone(identity.skin, 0.74))
    canvas.fill_cloth(curve(_SHOULDERS[:, :2], samples=4) * still + centre, identity.cloth)


def paint_ears(canvas: Canvas, face: NDArray[np.float32], identity: Identity) -> None:
    """Ears, behind the head's edge."""
    for side in ("left", "right"):
        ear = canvas.place(curve(part(face, f"ear.{side}"), closed=True))
        canvas.fill_skin(ear, tone(identity.skin, 0.93))
        middle = ear.mean(axis=0)
        canvas.stroke((ear[4:-6] - middle) * 0.6 + middle, tone(identity.skin, 0.66), 0.02)


def head_outline(face: NDArray[np.float32]) -> NDArray[np.float32]:
    """Closed outline of the head, face units [n, 3]: over the crown, round the jaw."""
    crown, jaw = part(face, "crown"), part(face, "jaw")
    return curve(np.concatenate([crown, jaw[::-1][1:-1]]), closed=True)


def paint_skin(canvas: Canvas, face: NDArray[np.float32], identity: Identity) -> None:
    """The head, without hair."""
    canvas.fill_skin(canvas.place(head_outline(face)), identity.skin)


def paint_nostrils(canvas: Canvas, face: NDArray[np.float32], identity: Identity) -> None:
    """Nostrils and the wings' lower edge."""
    dark = tone(identity.skin, 0.36)
    for side, sign in (("left", -1), ("right", 1)):
        x, y = canvas.place(part(face, f"nostril.{side}"))[0]
        unit = canvas.unit_px
        angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        oval = np.stack([np.cos(angle) * 0.036, np.sin(angle) * 0.015 + np.cos(angle) * 0.012 * sign], axis=1)
        canvas.blend((oval * unit + (x, y)).astype(np.float32), dark, 0.85, soft=0.008)
        wing = canvas.place(curve(part(face, f"wing.{side}")))
        canvas.stroke(wing[5:14], tone(identity.skin, 0.72), 0.012)


def paint_brows(canvas: Canvas, face: NDArray[np.float32], identity: Identity) -> None:
    """Brows: a tapered band with single hairs."""
    for side in ("left", "right"):
        middle = canvas.place(curve(part(face, f"brow.{side}"), samples=4))
        half = curve(_BROW_HALF[:, None], samples=4) * identity.brow_thickness * canvas.unit_px
        up = half * np.array((0.0, 1.0), np.float32)
        band = np.concatenate([middle - up, (middle + up)[::-1]])
        canvas.blend(band, identity.brow, 0.9, soft=0.01)
        outwards = np.sign(middle[-1, 0] - middle[0, 0])
        for index in range(0, len(middle) - 3, 2):
            root = middle[index] + (0, half[index, 0] * 0.5)
            lean = 0.5 + 1.2 * index / len(middle)
            tip = root + np.array((outwards * half[index, 0] * 2 * lean, -half[index, 0] * 1.6 * (1.1 - 0.5 * lean)))
            canvas.stroke(np.stack([root, tip]).astype(np.float32), tone(identity.brow, 0.92), 0.008)


def tone(colour: Colour, factor: float) -> Colour:
    """Darker (<1) or lighter (>1); shadows of skin turn redder, as blood shows through."""
    red, green, blue = colour
    return min(red * factor**0.85, 255), min(green * factor, 255), min(blue * factor**1.02, 255)


def freckle_places(texture: int) -> NDArray[np.float32]:
    """Where freckles lie, as landmarks' offsets: float32 [n, 2] face units around nose and cheeks."""
    rng = np.random.default_rng(texture)
    return rng.normal((0, 0.12), (0.3, 0.09), (40, 2)).astype(np.float32)


def paint_freckles(canvas: Canvas, face: NDArray[np.float32], identity: Identity) -> None:
    """Small spots over nose and cheeks."""
    if not identity.freckles:
        return
    mean, _ = mean_face()
    depth = 0.64 * np.sqrt(np.maximum(1 - (freckle_places(identity.texture)[:, :1] / 0.84) ** 2, 0.1))
    places = canvas.place(np.concatenate([freckle_places(identity.texture), depth], axis=1).astype(np.float32))
    for spot in places:
        canvas.stroke(np.stack([spot, spot]), tone(identity.skin, 0.8), 0.012)
