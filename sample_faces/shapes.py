"""In which directions faces differ: what a shape coefficient of 1 does to the mean face.

Sizes were set by eye, in face units, so that few faces look wrong at two standard deviations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sample_faces.displacements import Move

EYE = ("upper_lid", "lower_lid", "crease", "iris", "bag", "crow_upper", "crow_middle", "crow_lower")
LIPS = ("upper_outer", "upper_inner", "lower_inner", "lower_outer")
_MOUTH = (*LIPS, "marionette", "dimple")
_NOSE = ("wing", "nostril", "nose_tip", "columella", "nose_side")
_OUTLINE = ("jaw", "crown", "ear", "temple", "hollow")
_EYE_CENTRE = (0.325, -0.085)
_LIP = (1.0, 1.0, 0.6, 0.0)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Parts grow about a centre; on the image's left half about its mirror image."""

    parts: tuple[str, ...]
    centre: tuple[float, float] = (0.0, 0.0)
    x: float = 0.0
    y: float = 0.0
    """Relative growth."""
    tilt: float = 0.0
    """Rise per face unit outwards."""


def _all(parts: tuple[str, ...], move: tuple[float, float, float]) -> tuple[Move, ...]:
    return tuple((name, 1.0, move) for name in parts)


SHAPES: Mapping[str, Sequence[Move | Scale]] = {
    "face_width": (Scale(parts=_OUTLINE, x=0.05), Scale(parts=("cheek", *EYE, "brow", *_MOUTH), x=0.02)),
    "jaw_width": (("jaw", (0.0, 0.25, 0.55, 0.9, 1.0, 1.0, 0.7, 0.3, 0.0, 0.0), (0.045, 0, 0)),),
    "chin_length": (
        ("jaw", (1.0, 1.0, 0.9, 0.6, 0.3, 0.1, 0.0, 0.0, 0.0, 0.0), (0, 0.045, 0)),
        *_all(("chin", "mentolabial"), (0, 0.02, 0)),
    ),
    "cheekbones": (
        ("jaw", (0.0, 0.0, 0.0, 0.0, 0.2, 0.5, 1.0, 1.0, 0.7, 0.2), (0.025, 0, 0)),
        ("cheek", 1.0, (0, 0, 0.02)),
    ),
    "forehead": (("crown", (1.0, 1.0, 0.9, 0.6, 0.2, 0.0), (0, -0.05, 0)),),
    "eye_spacing": _all((*EYE, "brow"), (0.02, 0, 0)),
    "eye_size": (Scale(parts=EYE, centre=_EYE_CENTRE, x=0.07, y=0.08),),
    "eye_opening": (Scale(parts=("upper_lid", "lower_lid"), centre=_EYE_CENTRE, y=0.13),),
    "eye_tilt": (Scale(parts=EYE, centre=_EYE_CENTRE, tilt=0.07),),
    "eye_height": _all((*EYE, "brow"), (0, 0.018, 0)),
    "brow_height": _all(("brow",), (0, -0.02, 0)),
    "brow_arch": (("brow", (-0.3, 0.3, 1.0, 0.6, -0.8), (0, -0.016, 0)),),
    "brow_tilt": (Scale(parts=("brow",), centre=(0.33, 0.0), tilt=0.05),),
    "nose_length": (*_all(_NOSE, (0, 0.028, 0)), ("philtrum", 1.0, (0, 0.012, 0))),
    "nose_width": (Scale(parts=("wing", "nostril", "nose_side"), x=0.13),),
    "nose_depth": _all(("nose_tip", "columella", "bridge"), (0, 0, 0.035)),
    "mouth_width": (Scale(parts=(*_MOUTH, "fold"), x=0.07),),
    "mouth_height": _all((*_MOUTH, "philtrum"), (0, 0.016, 0)),
    "lip_upper": (("upper_outer", _LIP, (0, -0.012, 0)),),
    "lip_lower": (("lower_outer", _LIP, (0, 0.014, 0)),),
    "mouth_curve": tuple((lip, (0.0, 0.0, 0.3, 1.0), (0, -0.01, 0)) for lip in LIPS),
}
"""A face's shape coefficients, one per entry and in this order, are about standard normal."""
