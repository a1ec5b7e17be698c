"""Light a painted head: Lambert with warm shadows, a little gloss, strands of hair."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from sample_faces.canvas import Canvas
from sample_faces.hair import strands
from sample_faces.identity import Identity
from sample_faces.pose import UNIT_SHARE
from sample_faces.relief import Form

_HEAD = (0.86, 1.22, 0.95)
"""Half-axes of the head's ellipsoid for shading, face units."""
_STEEPEST = 1.6
"""The ellipsoid's slope is cut here: at its rim it would be infinite."""
_ROOM = (1.06, 0.97, 0.96)
"""Colour of the light in the shade: skin absorbs green and blue deeper than red, its shadows are warm."""
_FLUSH = (0.05, -0.13, -0.12)
"""What blood near the surface adds to red, green and blue."""
_GLOSS = 26.0
"""Brightest highlight on skin under a lamp of strength 1, 0–255."""
_STRANDS = 0.17
"""How far strands lighten and darken hair."""
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
    bare = 1 - canvas.cover * np.float32(1 / 255)
    head_x, head_y = _head_slopes(canvas.size_px)
    normal_x = head_x - form.slope_x * bare
    normal_y = head_y - form.slope_y * bare
    length = 1 / np.sqrt(normal_x * normal_x + normal_y * normal_y + 1)
    to_light = light.direction()
    diffuse = _facing(normal_x, normal_y, length, to_light)
    diffuse += np.float32(_WRAP)
    diffuse *= np.float32(1 / (1 + _WRAP))
    np.maximum(diffuse, 0, out=diffuse)
    shade = _shade(canvas, form, identity, light, bare)
    diffuse *= shade
    diffuse *= np.float32(light.key)
    room = shade * shade
    room *= np.float32(light.ambient)
    gloss = _gloss(normal_x, normal_y, length, to_light)
    gloss *= bare * np.float32(_GLOSS * light.key)
    return _coloured(canvas, diffuse, room, gloss, np.clip(form.red, 0, 1) * bare, light)


def _shade(
    canvas: Canvas, form: Form, identity: Identity, light: Light, bare: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What folds, hair and hats leave of the light, float32 [size, size]."""
    shade = 1 - np.clip(form.dark, -0.2, 0.85) * bare
    if canvas.cover.any():
        shade *= _overshadow(canvas, light)
    if canvas.hair.any():
        texture = strands(canvas.size_px, identity.texture, curly=identity.style == "curly")
        hair = canvas.hair * np.float32(1 / 255)
        shade *= 1 + hair * (texture * np.float32(_STRANDS))
    return shade


def _coloured(
    canvas: Canvas,
    lamp: NDArray[np.float32],
    room: NDArray[np.float32],
    gloss: NDArray[np.float32],
    flush: NDArray[np.float32],
    light: Light,
) -> NDArray[np.float32]:
    """Light of each source on the painted colours, float32 [size, size, 4]."""
    *planes, alpha = cv2.split(canvas.pixels)
    lit = []
    for plane, tint, ambient, blood in zip(planes, _tint(light.warmth), _ROOM, _FLUSH, strict=True):
        level = lamp * np.float32(tint)
        level += room * np.float32(ambient)
        level *= 1 + np.float32(blood) * flush
        level *= plane
        level += gloss * np.float32(tint)
        lit.append(level)
    return np.asarray(cv2.merge([*lit, alpha.astype(np.float32)]), np.float32)


def _tint(warmth: float) -> tuple[float, float, float]:
    return 1 + 0.10 * warmth, 1.0, 1 - 0.16 * warmth


def _facing(
    normal_x: NDArray[np.float32],
    normal_y: NDArray[np.float32],
    length: NDArray[np.float32],
    direction: tuple[float, float, float],
) -> NDArray[np.float32]:
    """Cosine between the surface and a direction; the normal is (x, y, 1) × length."""
    x, y, z = direction
    facing = normal_x * np.float32(x)
    facing += normal_y * np.float32(y)
    facing += np.float32(z)
    facing *= length
    return facing


def _gloss(
    normal_x: NDArray[np.float32],
    normal_y: NDArray[np.float32],
    length: NDArray[np.float32],
    to_light: tuple[float, float, float],
) -> NDArray[np.float32]:
    """Blinn's highlight with exponent 16."""
    half = np.array(to_light) + np.array((0.0, 0.0, 1.0))
    x, y, z = (half / np.linalg.norm(half)).tolist()
    gloss = _facing(normal_x, normal_y, length, (x, y, z))
    np.maximum(gloss, 0, out=gloss)
    for _ in range(4):
        gloss *= gloss
    return gloss


def _overshadow(canvas: Canvas, light: Light) -> NDArray[np.float32]:
    """Hair and hats throw a soft shadow on the skin beside them."""
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
