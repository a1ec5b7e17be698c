"""One head, from who and what to lit pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sample_faces.action_units import Expression
from sample_faces.beard import paint_beard
from sample_faces.canvas import Canvas
from sample_faces.eyes import paint_eyes
from sample_faces.geometry import shape_face
from sample_faces.hair import paint_back_hair, paint_front_hair
from sample_faces.head import paint_body, paint_brows, paint_ears, paint_nostrils, paint_skin
from sample_faces.identity import Identity
from sample_faces.light import Light, illuminate
from sample_faces.mouth import paint_mouth
from sample_faces.pose import Pose
from sample_faces.relief import raise_form
from sample_faces.wear import paint_glasses, paint_headwear


def paint_portrait(
    identity: Identity,
    expression: Expression,
    *,
    pose: Pose,
    light: Light,
    gaze: tuple[float, float],
    size_px: int,
) -> NDArray[np.float32]:
    """Paint and light a head with neck and shoulders; roll is left to the camera.

    Returns:
        float32 [size, size, 4], premultiplied RGBA, 0–255.
    """
    face = shape_face(identity.shape, expression)
    canvas = Canvas(size_px=size_px, pose=pose)
    paint_back_hair(canvas, identity)
    paint_body(canvas, identity)
    paint_ears(canvas, face, identity)
    paint_skin(canvas, face, identity)
    paint_mouth(canvas, face, identity)
    paint_beard(canvas, face, identity)
    paint_nostrils(canvas, face, identity)
    paint_eyes(canvas, face, identity, gaze)
    paint_brows(canvas, face, identity)
    paint_front_hair(canvas, face, identity)
    paint_headwear(canvas, face, identity)
    paint_glasses(canvas, face, identity)
    form = raise_form(
        canvas.place(face), expression, age=identity.age, unit_px=canvas.unit_px, size_px=size_px
    )
    return illuminate(canvas, form, identity, light)
