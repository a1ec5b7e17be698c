"""Paint the mouth: lips, and teeth and tongue when it opens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.sample.canvas import Canvas, Pixels, curve, fill_patch, stroke_patch
from pipelines.sample.geometry import part
from pipelines.sample.head import tone
from pipelines.sample.identity import Identity

_CAVITY = (58, 20, 22)
_TONGUE = (176, 84, 86)
_TEETH = (238, 232, 220)
_UPPER_TEETH = 0.095
"""How far the upper teeth hang below the lip's rest line, face units."""
_PARTED = 0.018
"""Lips nearer than this (face units) are closed."""


def paint_mouth(canvas: Canvas, face: NDArray[np.float32], identity: Identity) -> None:
    """Lips and what lies between them."""
    lines = {
        name: canvas.place(curve(part(face, name), samples=4))
        for name in ("upper_outer", "upper_inner", "lower_inner", "lower_outer")
    }
    upper = np.concatenate([lines["upper_outer"], lines["upper_inner"][::-1]])
    lower = np.concatenate([lines["lower_inner"], lines["lower_outer"][::-1]])
    crispness = 0.012 * (1 - 0.6 * identity.make_up)
    canvas.blend(upper, tone(identity.lips, 0.84), 0.92, soft=crispness)
    canvas.blend(lower, identity.lips, 0.9, soft=crispness)
    gap = np.max(lines["lower_inner"][:, 1] - lines["upper_inner"][:, 1]) / canvas.unit_px
    if gap > _PARTED:
        _paint_inside(canvas, face, lines)
    _paint_seam(canvas, lines, identity, closed=gap <= _PARTED)


def _paint_inside(canvas: Canvas, face: NDArray[np.float32], lines: dict[str, NDArray[np.float32]]) -> None:
    unit = canvas.unit_px
    opening = np.concatenate([lines["upper_inner"], lines["lower_inner"][::-1]])
    # Upper teeth belong to the skull: they stay where the nose is, whatever the lips do.
    skull = canvas.place(part(face, "columella") + np.array((0, 0.235, -0.14), np.float32))[0]
    across = lines["upper_inner"][[0, -1], 0]
    jaw = canvas.place(part(face, "chin") - np.array((0, 0.30, -0.02), np.float32))[0]

    def paint(patch: Pixels, corner: NDArray[np.float32]) -> None:
        patch[..., :3] = _CAVITY
        t = np.linspace(-1, 1, 13)
        x = skull[0] + t * (across[1] - across[0]) * 0.47
        tongue_y = jaw[1] + (0.085 + 0.05 * t**2) * unit
        _fill_below(patch, x - corner[0], tongue_y - corner[1], _TONGUE)
        edge = skull[1] + (_UPPER_TEETH - 0.075 * t**2) * unit
        _fill_above(patch, x - corner[0], edge - corner[1], _TEETH)
        for step in (-0.62, -0.4, -0.2, 0.0, 0.2, 0.4, 0.62):
            at = skull[0] + step * (across[1] - across[0]) * 0.47 - corner[0]
            low = skull[1] + (_UPPER_TEETH - 0.075 * step**2) * unit - corner[1]
            stroke_patch(patch, np.array([(at, low - 0.12 * unit), (at, low)], np.float32), (204, 194, 184), 1)
        lower_edge = jaw[1] + (0.0 + 0.05 * t**2) * unit
        _fill_band(patch, x * 0.86 + skull[0] * 0.14 - corner[0], lower_edge - corner[1], 0.075 * unit, tone(_TEETH, 0.84))
        # The lip shades what is behind it.
        shaded = patch.copy()
        line = lines["upper_inner"] - corner
        fill_patch(shaded, np.concatenate([line, (line + (0, 0.035 * unit))[::-1]]).astype(np.float32), (40, 14, 16))
        patch[...] = (0.6 * patch + 0.4 * shaded).astype(np.uint8)

    canvas.within(opening, paint)


def _fill_above(patch: Pixels, x: NDArray[np.float64], y: NDArray[np.float64], colour: tuple[float, float, float]) -> None:
    _fill_band(patch, x, y - 200.0, 200.0, colour)


def _fill_below(patch: Pixels, x: NDArray[np.float64], y: NDArray[np.float64], colour: tuple[float, float, float]) -> None:
    _fill_band(patch, x, y, 200.0, colour)


def _fill_band(patch: Pixels, x: NDArray[np.float64], top: NDArray[np.float64], height: float, colour: tuple[float, float, float]) -> None:
    line = np.stack([x, top], axis=1)
    fill_patch(patch, np.concatenate([line, (line + (0, height))[::-1]]).astype(np.float32), colour)


def _paint_seam(canvas: Canvas, lines: dict[str, NDArray[np.float32]], identity: Identity, *, closed: bool) -> None:
    dark = tone(identity.lips, 0.42)
    if closed:
        canvas.stroke((lines["upper_inner"] + lines["lower_inner"]) / 2, dark, 0.02)
    else:
        canvas.stroke(lines["upper_inner"], tone(identity.lips, 0.55), 0.012)
    for end in (0, -1):
        corner = lines["upper_inner"][end]
        canvas.blend(
            corner + np.array([(-0.03, 0), (0, -0.02), (0.03, 0), (0, 0.02)], np.float32) * canvas.unit_px,
            dark, 0.7, soft=0.01,
        )  # fmt: skip
