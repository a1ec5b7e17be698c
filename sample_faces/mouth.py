"""Paint the mouth: lips, and teeth and tongue when it opens."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sample_faces.canvas import Canvas, Curve, Pixels, curve, fill_patch, moved, stroke_patch
from sample_faces.geometry import part
from sample_faces.head import tone
from sample_faces.identity import Identity
from sample_faces.landmarks import Points

_CAVITY = (58, 20, 22)
_TONGUE = (176, 84, 86)
_TEETH = (230, 223, 211)
_GAPS = (204, 194, 184)
_SHADE = (40, 14, 16)
_SKULL_TEETH = (0.0, 0.235, -0.14)
"""From under the nose to the middle of the upper teeth's roots: they stay with the skull."""
_JAW_TEETH = (0.0, -0.30, 0.02)
"""From the chin to the lower teeth's edge: they follow the jaw."""
_TOOTH = 0.095
"""How far the upper teeth hang below their roots' line, face units."""
_ARCH = 0.47
"""Half-width of the row of teeth as a share of the mouth's width."""
_PARTED = 0.018
"""Lips nearer than this (face units) are closed."""
_FAR = 200.0
"""Beyond any mouth, px."""


def paint_mouth(canvas: Canvas, face: Points, identity: Identity) -> None:
    """Lips and what lies between them."""
    lines = {
        name: canvas.place(curve(part(face, name), samples=4))
        for name in ("upper_outer", "upper_inner", "lower_inner", "lower_outer")
    }
    soft = 0.012 * (1 - 0.6 * identity.make_up)
    upper = np.concatenate([lines["upper_outer"], lines["upper_inner"][::-1]])
    lower = np.concatenate([lines["lower_inner"], lines["lower_outer"][::-1]])
    canvas.blend(upper, tone(identity.lips, 0.84), 0.92, soft=soft)
    canvas.blend(lower, identity.lips, 0.9, soft=soft)
    gap = np.max(lines["lower_inner"][:, 1] - lines["upper_inner"][:, 1])
    parted = bool(gap > _PARTED * canvas.unit_px)
    if parted:
        _paint_inside(canvas, face, lines)
    _paint_seam(canvas, lines, identity, parted=parted)


def _paint_inside(canvas: Canvas, face: Points, lines: Mapping[str, Curve]) -> None:
    unit, rim = canvas.unit_px, lines["upper_inner"]
    skull = canvas.place(part(face, "columella") + np.array(_SKULL_TEETH, np.float32))[0]
    jaw = canvas.place(part(face, "chin") + np.array(_JAW_TEETH, np.float32))[0]
    half = _ARCH * float(rim[-1, 0] - rim[0, 0])
    t = np.linspace(-1, 1, 13)

    def paint(patch: Pixels, corner: Curve) -> None:
        patch[..., :3] = _CAVITY
        x, y = (skull - corner).tolist()
        low = float(jaw[1] - corner[1])
        _band(patch, x + half * t, low + (0.085 + 0.05 * t**2) * unit, _FAR, _TONGUE)
        _band(patch, x + half * t, y + _edge(t) * unit - _FAR, _FAR, _TEETH)
        for place in (-0.62, -0.4, -0.2, 0.0, 0.2, 0.4, 0.62):
            end = y + float(_edge(np.array(place))) * unit
            gap = np.array([(x + half * place, end - 0.12 * unit), (x + half * place, end)], np.float32)
            stroke_patch(patch, gap, _GAPS, 1)
        _band(patch, x + 0.86 * half * t, low + 0.05 * t**2 * unit, 0.075 * unit, tone(_TEETH, 0.84))
        # The lip shades what is behind it.
        shaded = patch.copy()
        fill_patch(shaded, np.concatenate([rim, moved(rim, 0, 0.035 * unit)[::-1]]) - corner, _SHADE)
        patch[...] = (0.6 * patch + 0.4 * shaded).astype(np.uint8)

    canvas.within(np.concatenate([rim, lines["lower_inner"][::-1]]), paint)


def _edge(across: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lower edge of the upper teeth below their roots' line, face units; `across` −1 to 1."""
    return np.asarray(_TOOTH - 0.075 * across**2)


def _band(
    patch: Pixels,
    x: NDArray[np.float64],
    top: NDArray[np.float64],
    height: float,
    colour: tuple[float, float, float],
) -> None:
    line = np.stack([x, top], axis=1).astype(np.float32)
    fill_patch(patch, np.concatenate([line, moved(line, 0, height)[::-1]]), colour)


def _paint_seam(canvas: Canvas, lines: Mapping[str, Curve], identity: Identity, *, parted: bool) -> None:
    dark, rim = tone(identity.lips, 0.42), lines["upper_inner"]
    if parted:
        canvas.stroke(rim, tone(identity.lips, 0.55), 0.012)
    else:
        canvas.stroke((rim + lines["lower_inner"]) * np.float32(0.5), dark, 0.02)
    spot = np.array([(-0.03, 0), (0, -0.02), (0.03, 0), (0, 0.02)], np.float32) * np.float32(canvas.unit_px)
    for end in (0, -1):
        canvas.blend(rim[end] + spot, dark, 0.7, soft=0.01)
