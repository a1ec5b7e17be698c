"""Paint the eyes: white, iris, pupil, lids and lashes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.sample.canvas import Canvas, Pixels, curve, disc_patch, fill_patch
from pipelines.sample.geometry import part
from pipelines.sample.head import tone
from pipelines.sample.identity import Identity

_IRIS = 0.082
"""Radius, face units. Irises differ little between people, whatever the eye's opening."""
_WHITE = (236, 230, 226)
_OPEN = 0.025
"""Lids nearer than this (face units) are shut: only the lash line shows."""


def paint_eyes(
    canvas: Canvas, face: NDArray[np.float32], identity: Identity, gaze: tuple[float, float]
) -> None:
    """Both eyes.

    Args:
        canvas: already has skin.
        face: landmarks, face units.
        identity: colours and lashes.
        gaze: where the irises look, −1 to 1 right and down.
    """
    for side in ("left", "right"):
        upper = canvas.place(curve(part(face, f"upper_lid.{side}")))
        lower = canvas.place(curve(part(face, f"lower_lid.{side}")))
        centre = canvas.place(part(face, f"iris.{side}"))[0] + np.array(gaze) * (0.045, 0.03) * canvas.unit_px
        if np.max(lower[:, 1] - upper[:, 1]) > _OPEN * canvas.unit_px:
            _paint_ball(canvas, upper, lower, centre.astype(np.float32), identity)
        _paint_lids(canvas, face, side, upper, lower, identity)


def _paint_ball(
    canvas: Canvas,
    upper: NDArray[np.float32],
    lower: NDArray[np.float32],
    centre: NDArray[np.float32],
    identity: Identity,
) -> None:
    unit = canvas.unit_px

    def paint(patch: Pixels, corner: NDArray[np.float32]) -> None:
        patch[..., :3] = _WHITE
        at = centre - corner
        red = tuple(0.6 * a + 0.4 * b for a, b in zip(_WHITE, identity.lips, strict=True))
        for end in (0, -1):
            disc_patch(patch, upper[end] - corner, 0.035 * unit, (red[0], red[1], red[2]))
        disc_patch(patch, at, _IRIS * unit, tone(identity.iris, 0.45))
        disc_patch(patch, at, 0.83 * _IRIS * unit, identity.iris)
        disc_patch(patch, at + (0, 0.25 * _IRIS * unit), 0.5 * _IRIS * unit, tone(identity.iris, 1.35))
        disc_patch(patch, at, 0.42 * _IRIS * unit, (14, 11, 12))
        # The upper lid throws a shadow on the ball.
        shadow = np.concatenate([upper, (upper + (0, 0.028 * unit))[::-1]]) - corner
        under = patch.copy()
        fill_patch(under, shadow.astype(np.float32), (60, 44, 44))
        patch[...] = (0.55 * patch + 0.45 * under).astype(np.uint8)
        disc_patch(patch, at + np.array((-0.35, -0.38)) * _IRIS * unit, 0.22 * _IRIS * unit, (255, 255, 255))

    canvas.within(np.concatenate([upper, lower[::-1]]), paint)


def _paint_lids(
    canvas: Canvas,
    face: NDArray[np.float32],
    side: str,
    upper: NDArray[np.float32],
    lower: NDArray[np.float32],
    identity: Identity,
) -> None:
    unit = canvas.unit_px
    lash = tone(identity.brow, 0.35)
    crease = canvas.place(curve(part(face, f"crease.{side}"), samples=4))
    canvas.stroke(crease[2:-1], tone(identity.skin, 0.68), 0.013)
    canvas.stroke(lower[2:-2] + (0, 0.006 * unit), tone(identity.skin, 0.66), 0.012)
    thick = np.linspace(0.4, 1.0, len(upper))[:, None] * identity.lashes * 0.026 * unit
    band = np.concatenate([upper - thick * (0.0, 1.0), (upper + (0, 0.008 * unit))[::-1]])
    canvas.fill(band.astype(np.float32), lash)
    outwards = np.sign(upper[-1] - upper[0])[0]
    if identity.lashes > 1.2:
        for index in (-2, -5, -8):
            root = upper[index]
            tip = root + np.array((outwards * 0.045, -0.05)) * unit
            canvas.stroke(np.stack([root, tip]).astype(np.float32), lash, 0.012)


