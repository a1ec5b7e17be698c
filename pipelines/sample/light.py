"""Light a painted head: Lambert with warm shadows, a little gloss, strands of hair."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.sample.canvas import Canvas
from pipelines.sample.hair import strands
from pipelines.sample.identity import Identity
from pipelines.sample.pose import UNIT_SHARE
from pipelines.sample.relief import Form

_HEAD = (0.86, 1.22, 0.95)
"""Half-axes of the head's ellipsoid for shading, face units."""
_STEEPEST = 1.6
"""The ellipsoid's slope is cut here: at its rim it would be infinite."""
_ROOM = (1.06, 0.97, 0.96)
"""Colour of the light in the shade: skin absorbs green and blue deeper than red, its shadows are warm."""
_FLUSH = (0.05, -0.13, -0.12)
"""What blood near the surface adds to red, green and blue."""
_WRAP = 0.25
"""How far light reaches round the terminator: skin scatters it (after Green, 2004, GPU Gems, ch. 16)."""


@dataclass(frozen=True, kw_only=True)
class Light:
    """One lamp and the light of the room."""

    azimuth_deg: float = -30.0
    """0 = from the camera, positive from the image's right."""
    elevation_deg: float = 30.0
    key: float = 0.65
    """Strength of the lamp."""
    ambient: float = 0.40
    warmth: float = 0.0
    """−1 (bluish) to 1 (orange)."""

    def direction(self) -> tuple[float, float, float]:
        """Unit vector from the face to the lamp, x right, y down, z to the viewer."""
        azimuth, elevation = np.deg2rad(self.azimuth_deg), np.deg2rad(self.elevation_deg)
        x, y = np.sin(azimuth) * np.cos(elevation), -np.sin(elevation)
        return float(x), float(y), float(np.cos(azimuth) * np.cos(elevation))


def illuminate(canvas: Canvas, form: Form, identity: Identity, light: Light) -> NDArray[np.float32]:
    """Give the painted colours light and shade.

    Returns:
        float32 [size, size, 4], premultiplied RGBA, 0–255.
    """
    size = canvas.size_px
    bare = 1 - canvas.cover.astype(np.float32) * np.float32(1 / 255)
    head_x, head_y = _head_slopes(size)
    normal_x = head_x - form.slope_x * bare
    normal_y = head_y - form.slope_y * bare
    length = 1 / np.sqrt(normal_x**2 + normal_y**2 + 1)
    to_x, to_y, to_z = light.direction()
    facing = (normal_x * np.float32(to_x) + normal_y * np.float32(to_y) + np.float32(to_z)) * length
    diffuse = np.maximum((facing + np.float32(_WRAP)) * np.float32(1 / (1 + _WRAP)), 0)
    shade = 1 - np.clip(form.dark, -0.2, 0.85) * bare
    shade *= _overshadow(canvas, light)
    if canvas.hair.any():
        texture = strands(size, identity.texture, curly=identity.style == "curly")
        hair = canvas.hair.astype(np.float32) * np.float32(1 / 255)
        shade *= 1 + hair * (texture * np.float32(0.17))
    gloss = _gloss(normal_x, normal_y, length, (to_x, to_y, to_z)) * (bare * np.float32(26 * light.key))
    key = diffuse * shade * np.float32(light.key)
    fill = shade * shade * np.float32(light.ambient)
    flush = np.clip(form.red, 0, 1) * bare
    planes = cv2.split(canvas.pixels)
    lit = []
    for plane, lamp, room, blood in zip(planes[:3], _tint(light.warmth), _ROOM, _FLUSH, strict=True):
        level = (key * np.float32(lamp) + fill * np.float32(room)) * (1 + np.float32(blood) * flush)
        lit.append(plane * level + gloss * np.float32(lamp))
    return np.asarray(cv2.merge([*lit, planes[3].astype(np.float32)]), np.float32)


def _tint(warmth: float) -> tuple[float, float, float]:
    return 1 + 0.10 * warmth, 1.0, 1 - 0.16 * warmth


def _gloss(
    normal_x: NDArray[np.float32],
    normal_y: NDArray[np.float32],
    length: NDArray[np.float32],
    to_light: tuple[float, float, float],
) -> NDArray[np.float32]:
    """Blinn's highlight with exponent 16."""
    half = np.array(to_light)
    half[2] += 1
    half /= np.linalg.norm(half)
    mirror = (normal_x * np.float32(half[0]) + normal_y * np.float32(half[1]) + np.float32(half[2])) * length
    gloss = np.maximum(mirror, np.float32(0))
    for _ in range(4):
        gloss *= gloss
    return np.asarray(gloss, np.float32)


def _overshadow(canvas: Canvas, light: Light) -> NDArray[np.float32]:
    """Hair and hats throw a soft shadow on the skin beside them."""
    if not canvas.cover.any():
        return np.ones((1, 1), np.float32)
    unit = canvas.unit_px
    to_x, to_y, _ = light.direction()
    move = np.array([[1, 0, -to_x * 0.07 * unit], [0, 1, -to_y * 0.07 * unit + 0.02 * unit]])
    shadow = cv2.warpAffine(canvas.cover, move, canvas.cover.shape[::-1])
    shadow = cv2.GaussianBlur(cv2.subtract(shadow, canvas.cover), (0, 0), 0.03 * unit)
    shadow = cv2.subtract(shadow, canvas.cover)
    return 1 - shadow.astype(np.float32) * np.float32(0.45 / 255)


@lru_cache(maxsize=8)
def _head_slopes(size_px: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Slopes of the head's ellipsoid, float32 [size, size]: positive where it turns right, and down."""
    along = (np.arange(size_px) + 0.5) / size_px
    u, v = np.meshgrid((along - 0.5) / UNIT_SHARE / _HEAD[0], (along - 0.525 + 0.035) / UNIT_SHARE / _HEAD[1])
    depth = np.sqrt(np.maximum(1 - u**2 - v**2, 0.03))
    slope_x = np.clip(_HEAD[2] * u / depth / _HEAD[0], -_STEEPEST, _STEEPEST)
    slope_y = np.clip(_HEAD[2] * v / depth / _HEAD[1], -_STEEPEST, _STEEPEST)
    return slope_x.astype(np.float32), slope_y.astype(np.float32)
