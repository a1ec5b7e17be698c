"""Turn the head and bring it onto the canvas."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

UNIT_SHARE = 0.345
"""Length of a face unit as a share of the canvas: head, hair and chin fill about 80 % of its height."""
_CENTRE = (0.5, 0.525)
_PERSPECTIVE = 0.10
"""Growth per face unit towards the viewer: a camera about ten half-faces away."""


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Which way the head looks; degrees, 0 = at the camera."""

    yaw_deg: float = 0.0
    """Positive: towards the image's right."""
    pitch_deg: float = 0.0
    """Positive: downwards."""
    roll_deg: float = 0.0
    """Positive: clockwise."""

    def project(self, points: NDArray[np.float32], size_px: int) -> NDArray[np.float32]:
        """Rotate [n, 3] face units by yaw and pitch (roll turns the finished picture), give [n, 2] px."""
        turned = points @ self._rotation
        scale = UNIT_SHARE * size_px * (1 + _PERSPECTIVE * (turned[:, 2:] - 0.4))
        return np.asarray(turned[:, :2] * scale + _centre(size_px), np.float32)

    @cached_property
    def _rotation(self) -> NDArray[np.float32]:
        yaw, pitch = np.deg2rad(self.yaw_deg), np.deg2rad(self.pitch_deg)
        about_y = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
        about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
        return np.asarray(about_y @ about_x, np.float32)


@lru_cache(maxsize=8)
def _centre(size_px: int) -> NDArray[np.float32]:
    return np.array(_CENTRE, np.float32) * np.float32(size_px)
