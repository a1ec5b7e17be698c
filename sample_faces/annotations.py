"""Faces with dense labels: action units, landmarks and pose, which the painter knows exactly.

Wood et al., 2021, "Fake it till you make it: Face analysis in the wild using synthetic data alone", train on
such labels of rendered faces. The people are not those of any sample: their random streams have a key of
their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sample_faces.action_units import CLASSES, draw_expression, draw_free_expression, draw_intensity
from sample_faces.camera import framing
from sample_faces.dataset import Sitting, paint_sitting
from sample_faces.geometry import part, shape_face
from sample_faces.identity import draw_identity
from sample_faces.scene import draw_scene

_ANNOTATED = 3
"""Key of the random streams; samples have 1 and 2 (`sample_faces.dataset`)."""
_FREE = 0.5
"""Share of faces whose action units are drawn independently, not those of an emotion."""
_GLASSES, _LOW_LIGHT = 0.16, 0.05
"""Shares, as in the sample."""
_UNIT_PX = 1000
"""Side of the square that landmarks are projected into before they become shares of the frame."""

_PAIRED = ("brow", "upper_lid", "lower_lid", "iris", "wing")
LANDMARKS = (
    *(f"{name}.{side}" for name in _PAIRED for side in ("left", "right")),
    *("upper_outer", "upper_inner", "lower_inner", "lower_outer", "nose_tip", "bridge", "chin", "jaw"),
)
"""Parts of `sample_faces.landmarks` that are labelled: what dlib's and 300-W's 68 points mark, and more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotation:
    """What is known of one picture."""

    action_units: NDArray[np.float32]
    """float32 [action units, 2] in 0–1: intensity on the image-left and image-right half."""
    landmarks: NDArray[np.float32]
    """float32 [landmarks, 2]: shares of the picture's side, right and down; outside of 0–1 if cut off."""
    pose_deg: NDArray[np.float32]
    """float32 [3]: yaw, pitch, roll."""


def draw_annotated(seed: int, index: int, *, size_px: int) -> tuple[NDArray[np.uint8], Annotation]:
    """Draw one picture of one person, framed as the sample's are, with its labels.

    Args:
        seed: of all pictures.
        index: which picture; each has its own person.
        size_px: rows and columns.

    Returns:
        uint8 [size_px, size_px, 3], RGB, and what it shows.
    """
    sitting = draw_annotated_sitting(seed, index)
    return paint_sitting(sitting, framing="face", size_px=size_px), annotate(sitting)


def draw_annotated_sitting(seed: int, index: int) -> Sitting:
    """Draw person, expression and circumstances of one picture."""
    rng = np.random.default_rng((seed, _ANNOTATED, index))
    person = draw_identity(rng, glasses_share=_GLASSES)
    intensity = draw_intensity(rng, "clear")
    label = CLASSES[rng.integers(len(CLASSES))]
    is_free = rng.random() < _FREE
    expression = draw_free_expression(rng) if is_free else draw_expression(label, intensity, rng)
    scene = draw_scene(rng, low_light_share=_LOW_LIGHT, framing="face")
    return Sitting(person=person, intensity=intensity, expression=expression, scene=scene)


def annotate(sitting: Sitting) -> Annotation:
    """Say where the landmarks of a sitting are in its picture, and the rest of what is known."""
    scene = sitting.scene
    face = shape_face(sitting.person.shape, sitting.expression)
    points = np.concatenate([part(face, name) for name in LANDMARKS])
    placed = scene.pose.project(points, _UNIT_PX)
    turn = framing(scene, _UNIT_PX, _UNIT_PX)
    framed = (placed @ turn[:, :2].T + turn[:, 2]) / _UNIT_PX
    pose = scene.pose
    return Annotation(
        action_units=sitting.expression.activation,
        landmarks=framed.astype(np.float32),
        pose_deg=np.array([pose.yaw_deg, pose.pitch_deg, pose.roll_deg], np.float32),
    )
