"""Paint the eyes: white, iris, pupil, lids and lashes."""

from __future__ import annotations

import numpy as np

from sample_faces.canvas import Canvas, Curve, Pixels, curve, disc_patch, fill_patch, moved
from sample_faces.geometry import part
from sample_faces.head import tone
from sample_faces.identity import Identity, mixed
from sample_faces.landmarks import Points

_IRIS = 0.082
"""Radius, face units. Irises differ little between people, for any opening of the eye."""
_WHITE = (222, 215, 211)
_PUPIL = (14, 11, 12)
_SHADE = (60, 44, 44)
_GAZE = (0.045, 0.03)
"""How far an iris travels at the strongest gaze, face units right and down."""
_SHUT = 0.025
"""Lids nearer than this (face units) are shut: only the lash line shows."""


def paint_eyes(canvas: Canvas, face: Points, identity: Identity, gaze: tuple[float, float]) -> None:
    """Both eyes.

    Args:
        canvas: already has skin.
        face: landmarks, face units.
        identity: colours and lashes.
        gaze: where the irises look, −1 to 1 right and down.
    """
    unit = canvas.unit_px
    for side in ("left", "right"):
        upper = canvas.place(curve(part(face, f"upper_lid.{side}")))
        lower = canvas.place(curve(part(face, f"lower_lid.{side}")))
        iris = canvas.place(part(face, f"iris.{side}"))[0]
        if np.max(lower[:, 1] - upper[:, 1]) > _SHUT * unit:
            looking = moved(iris, gaze[0] * _GAZE[0] * unit, gaze[1] * _GAZE[1] * unit)
            _paint_ball(canvas, upper, lower, looking, identity)
        crease = canvas.place(curve(part(face, f"crease.{side}"), samples=4))
        canvas.stroke(crease[2:-1], tone(identity.skin, 0.68), 0.013)
        canvas.stroke(moved(lower[2:-2], 0, 0.006 * unit), tone(identity.skin, 0.66), 0.012)
        _paint_lashes(canvas, upper, identity)


def _paint_ball(canvas: Canvas, upper: Curve, lower: Curve, iris: Curve, identity: Identity) -> None:
    unit, radius = canvas.unit_px, _IRIS * canvas.unit_px

    def paint(patch: Pixels, corner: Curve) -> None:
        patch[..., :3] = _WHITE
        for end in (0, -1):
            disc_patch(patch, upper[end] - corner, 0.035 * unit, mixed(_WHITE, identity.lips, 0.4))
        at = iris - corner
        disc_patch(patch, at, radius, tone(identity.iris, 0.45))
        disc_patch(patch, at, 0.83 * radius, identity.iris)
        disc_patch(patch, moved(at, 0, 0.25 * radius), 0.5 * radius, tone(identity.iris, 1.35))
        disc_patch(patch, at, 0.42 * radius, _PUPIL)
        # The upper lid throws a shadow on the ball.
        shaded = patch.copy()
        fill_patch(shaded, np.concatenate([upper, moved(upper, 0, 0.028 * unit)[::-1]]) - corner, _SHADE)
        patch[...] = (0.55 * patch + 0.45 * shaded).astype(np.uint8)
        disc_patch(patch, moved(at, -0.35 * radius, -0.38 * radius), 0.22 * radius, (255, 255, 255))

    canvas.within(np.concatenate([upper, lower[::-1]]), paint)


def _paint_lashes(canvas: Canvas, upper: Curve, identity: Identity) -> None:
    """A line that thickens outwards; heavy lashes end in single hairs."""
    unit, colour = canvas.unit_px, tone(identity.brow, 0.35)
    thick = np.linspace(0.4, 1.0, len(upper), dtype=np.float32) * np.float32(0.026 * identity.lashes * unit)
    raised = upper - np.stack([0 * thick, thick], axis=1)
    canvas.fill(np.concatenate([raised, moved(upper, 0, 0.008 * unit)[::-1]]), colour)
    outwards = float(np.sign(upper[-1, 0] - upper[0, 0]))
    if identity.lashes > 1.2:
        for index in (-2, -5, -8):
            tip = moved(upper[index], 0.045 * outwards * unit, -0.05 * unit)
            canvas.stroke(np.stack([upper[index], tip]), colour, 0.012)
