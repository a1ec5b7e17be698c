"""Paint what people wear on their heads: glasses, scarves, beanies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.sample.canvas import Canvas, curve
from pipelines.sample.geometry import part
from pipelines.sample.head import head_outline, tone
from pipelines.sample.identity import Identity

_FRAME = (34, 30, 32)


def paint_glasses(canvas: Canvas, face: NDArray[np.float32], identity: Identity) -> None:
    """A frame with two lenses that reflect a little."""
    if not identity.glasses:
        return
    inner = []
    for side, sign in (("left", -1), ("right", 1)):
        x, y, z = part(face, f"iris.{side}")[0]
        rim = canvas.place(_rim(identity, sign) + np.array((x, y + 0.03, z + 0.10), np.float32))
        canvas.blend(rim, (235, 240, 245), 0.10)
        canvas.stroke(rim, _FRAME, 0.022, closed=True)
        inner.append(rim[np.argmin(np.abs(rim[:, 0] - canvas.size_px / 2))])
        temple = np.array([(x + sign * 0.19, y - 0.02, z + 0.08), (sign * 0.74, y - 0.06, 0.0)], np.float32)
        canvas.stroke(canvas.place(temple), _FRAME, 0.022)
    bridge = np.stack([inner[0], (inner[0] + inner[1]) / 2 - (0, 0.03 * canvas.unit_px), inner[1]])
    canvas.stroke(curve(bridge.astype(np.float32)), _FRAME, 0.022)


def paint_headwear(canvas: Canvas, face: NDArray[np.float32], identity: Identity) -> None:
    """A scarf round the face or a beanie over the hair."""
    if identity.style == "beanie":
        crown = part(face, "crown") * np.array((1.06, 1.07, 1), np.float32)
        rim = np.array([(0.74, -0.56, 0.1), (0.5, -0.62, 0.42), (0, -0.64, 0.56), (-0.5, -0.62, 0.42), (-0.74, -0.56, 0.1)], np.float32)
        canvas.fill_cloth(canvas.place(np.concatenate([curve(crown), curve(rim)])), identity.cloth)
        band = np.concatenate([rim, (rim - (0, 0.2, 0))[::-1]]).astype(np.float32)
        canvas.fill_cloth(canvas.place(curve(band, closed=True)), tone(identity.cloth, 0.82))
    if identity.style == "scarf":
        inside = head_outline(face) * np.array((0.925, 0.93, 1), np.float32) + np.array((0, 0.035, 0.05), np.float32)
        outside = np.array([(0, -1.32, 0), (0.5, -1.2, 0), (0.78, -0.8, 0), (0.84, -0.2, 0), (0.80, 0.5, 0), (0.62, 1.0, 0.1), (0.7, 1.5, 0),
                            (-0.7, 1.5, 0), (-0.62, 1.0, 0.1), (-0.80, 0.5, 0), (-0.84, -0.2, 0), (-0.78, -0.8, 0), (-0.5, -1.2, 0)], np.float32)  # fmt: skip
        _fill_ring(canvas, canvas.place(curve(outside, closed=True)), canvas.place(inside), identity)


def _fill_ring(
    canvas: Canvas, outside: NDArray[np.float32], inside: NDArray[np.float32], identity: Identity
) -> None:
    # One polygon with a slit: out along the ring, back along the hole.
    start = int(np.argmin(np.linalg.norm(outside - inside[0], axis=1)))
    ring = np.roll(outside, -start, axis=0)
    canvas.fill_cloth(np.concatenate([ring, ring[:1], inside[:1], inside[::-1]]), identity.cloth)
    canvas.stroke(inside, tone(identity.cloth, 0.7), 0.02, closed=True)


def _rim(identity: Identity, sign: int) -> NDArray[np.float32]:
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    power = 1.0 if identity.glasses_round else 0.55
    x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power * 0.215
    y = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power * (0.185 if identity.glasses_round else 0.15)
    return np.stack([x * sign, y, -0.1 * (x / 0.215) ** 2], axis=1).astype(np.float32)
