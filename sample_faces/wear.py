"""Paint what people wear on their heads: glasses, scarves, beanies."""

from __future__ import annotations

import numpy as np

from sample_faces.canvas import Canvas, curve, moved
from sample_faces.geometry import part
from sample_faces.head import head_outline, tone
from sample_faces.identity import Identity
from sample_faces.landmarks import Points

_FRAME = (34, 30, 32)
_FRAME_WIDTH = 0.022
_LENS = (235, 240, 245)
_BEANIE_RIM = (
    (0.74, -0.56, 0.1),
    (0.5, -0.62, 0.42),
    (0, -0.64, 0.56),
    (-0.5, -0.62, 0.42),
    (-0.74, -0.56, 0.1),
)
_SCARF = (
    (0, -1.32, 0), (0.5, -1.2, 0), (0.78, -0.8, 0), (0.84, -0.2, 0), (0.80, 0.5, 0), (0.62, 1.0, 0.1),
    (0.7, 1.5, 0), (-0.7, 1.5, 0), (-0.62, 1.0, 0.1), (-0.80, 0.5, 0), (-0.84, -0.2, 0), (-0.78, -0.8, 0),
    (-0.5, -1.2, 0),
)  # fmt: skip


def paint_glasses(canvas: Canvas, face: Points, identity: Identity) -> None:
    """A frame with two lenses that reflect a little."""
    if not identity.glasses:
        return
    inner = []
    for side, sign in (("left", -1), ("right", 1)):
        x, y, z = part(face, f"iris.{side}")[0].tolist()
        rim = canvas.place(_rim(identity, sign) + np.array((x, y + 0.03, z + 0.10), np.float32))
        canvas.blend(rim, _LENS, 0.10)
        canvas.stroke(rim, _FRAME, _FRAME_WIDTH, closed=True)
        inner.append(rim[len(rim) // 2])
        temple = np.array([(x + sign * 0.19, y - 0.02, z + 0.08), (sign * 0.74, y - 0.06, 0.0)], np.float32)
        canvas.stroke(canvas.place(temple), _FRAME, _FRAME_WIDTH)
    left, right = inner
    middle = moved((left + right) * np.float32(0.5), 0, -0.03 * canvas.unit_px)
    canvas.stroke(curve(np.stack([left, middle, right])), _FRAME, _FRAME_WIDTH)


def paint_headwear(canvas: Canvas, face: Points, identity: Identity) -> None:
    """A scarf round the face or a beanie over the hair."""
    if identity.style == "beanie":
        _paint_beanie(canvas, face, identity)
    elif identity.style == "scarf":
        _paint_scarf(canvas, face, identity)


def _paint_beanie(canvas: Canvas, face: Points, identity: Identity) -> None:
    crown = part(face, "crown") * np.array((1.06, 1.07, 1), np.float32)
    rim = np.array(_BEANIE_RIM, np.float32)
    canvas.fill_cloth(canvas.place(np.concatenate([curve(crown), curve(rim)])), identity.cloth)
    cuff = np.concatenate([rim, (rim - np.array((0, 0.2, 0), np.float32))[::-1]])
    canvas.fill_cloth(canvas.place(curve(cuff, closed=True)), tone(identity.cloth, 0.82))


def _paint_scarf(canvas: Canvas, face: Points, identity: Identity) -> None:
    """A ring of cloth: one polygon with a slit, out along its edge and back along the hole."""
    hole = head_outline(face) * np.array((0.925, 0.93, 1), np.float32)
    inside = canvas.place(hole + np.array((0, 0.035, 0.05), np.float32))
    outside = canvas.place(curve(np.array(_SCARF, np.float32), closed=True))
    start = int(np.argmin(np.linalg.norm(outside - inside[0], axis=1)))
    ring = np.roll(outside, -start, axis=0)
    canvas.fill_cloth(np.concatenate([ring, ring[:1], inside[:1], inside[::-1]]), identity.cloth)
    canvas.stroke(inside, tone(identity.cloth, 0.7), 0.02, closed=True)


def _rim(identity: Identity, sign: int) -> Points:
    """Closed outline of a lens about its middle, starting at the temple; face units [28, 3]."""
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    power, high = (1.0, 0.185) if identity.glasses_round else (0.55, 0.15)
    x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power * 0.215
    y = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power * high
    return np.stack([x * sign, y, -0.1 * (x / 0.215) ** 2], axis=1).astype(np.float32)
