"""Paint hair: what falls behind the head, what lies over it, and the strands' texture."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from sample_faces.canvas import Canvas, curve
from sample_faces.geometry import part
from sample_faces.head import tone
from sample_faces.identity import Identity, mixed
from sample_faces.landmarks import Points, mean_face
from sample_faces.pose import UNIT_SHARE

_Line = tuple[tuple[float, float, float], ...]

# The hair's lower edge on the forehead, from the image's left to its right, face units.
_SHORT: _Line = (
    (-0.70, -0.22, 0.10), (-0.655, -0.50, 0.22), (-0.56, -0.74, 0.36), (-0.30, -0.83, 0.50),
    (0, -0.81, 0.54), (0.30, -0.83, 0.50), (0.56, -0.74, 0.36), (0.655, -0.50, 0.22),
    (0.70, -0.22, 0.10),
)  # fmt: skip
_CROP: _Line = (
    (-0.71, -0.30, 0.10), (-0.665, -0.50, 0.22), (-0.60, -0.66, 0.36), (-0.34, -0.70, 0.50),
    (0, -0.69, 0.54), (0.34, -0.70, 0.50), (0.60, -0.66, 0.36), (0.665, -0.50, 0.22),
    (0.71, -0.30, 0.10),
)  # fmt: skip
_RECEDING: _Line = (
    (-0.70, -0.25, 0.10), (-0.665, -0.52, 0.18), (-0.60, -0.82, 0.25), (-0.42, -1.00, 0.34),
    (0, -0.93, 0.46), (0.42, -1.00, 0.34), (0.60, -0.82, 0.25), (0.665, -0.52, 0.18),
    (0.70, -0.25, 0.10),
)  # fmt: skip
_PART: _Line = (
    (-0.715, -0.10, 0.10), (-0.70, -0.42, 0.22), (-0.63, -0.56, 0.36), (-0.40, -0.62, 0.50),
    (-0.05, -0.76, 0.56), (0.24, -0.93, 0.50), (0.52, -0.80, 0.38), (0.665, -0.52, 0.22),
    (0.71, -0.15, 0.10),
)  # fmt: skip
_FRINGE: _Line = (
    (-0.72, -0.05, 0.10), (-0.69, -0.36, 0.24), (-0.60, -0.50, 0.40), (-0.36, -0.50, 0.54),
    (0, -0.48, 0.60), (0.36, -0.50, 0.54), (0.60, -0.50, 0.40), (0.69, -0.36, 0.24),
    (0.72, -0.05, 0.10),
)  # fmt: skip
_CURTAIN: _Line = (
    (-0.74, 0.30, 0.06), (-0.715, -0.15, 0.14), (-0.645, -0.43, 0.26), (-0.42, -0.70, 0.44),
    (0.02, -0.90, 0.48), (0.42, -0.70, 0.44), (0.645, -0.43, 0.26), (0.715, -0.15, 0.14),
    (0.74, 0.30, 0.06),
)  # fmt: skip
_HAIRLINES = {
    "short": _SHORT, "crop": _CROP, "receding": _RECEDING, "part": _PART, "wave": _PART, "fringe": _FRINGE,
    "long": _CURTAIN, "bob": _FRINGE, "curly": _CROP, "bun": _SHORT,
}  # fmt: skip
_LENGTHS = {"long": (1.75, 0.96), "bob": (0.78, 0.93), "wave": (0.55, 0.84)}
"""How far hair falls (y) and how wide it hangs (x), face units."""
_STAND = {"receding": 0.02, "crop": 0.03, "curly": 0.1, "fringe": 0.05, "bob": 0.06}
"""How far hair stands off the skull where the style says so, as a share of its size."""
_TUFTS = {"fringe": 0.10, "bob": 0.10, "part": 0.05, "wave": 0.05}
"""How far single strands hang over the forehead, face units."""


def paint_back_hair(canvas: Canvas, identity: Identity) -> None:
    """Hair behind neck and ears."""
    if identity.style in _LENGTHS:
        fall = _fall(*_LENGTHS[identity.style], identity.hair_volume)
        canvas.fill_hair(canvas.place(curve(fall, closed=True)), tone(identity.hair, 0.62))
    if identity.style == "bun":
        canvas.fill_hair(canvas.place(_ball((0.0, -1.38, -0.1), 0.30)), tone(identity.hair, 0.85))
    if identity.style == "curly":
        cloud = _cloud(0.92 + identity.hair_volume, identity.texture)
        canvas.fill_hair(canvas.place(cloud), tone(identity.hair, 0.8))


def paint_front_hair(canvas: Canvas, face: Points, identity: Identity) -> None:
    """Hair over skull and forehead."""
    if identity.style not in _HAIRLINES:
        return
    edge = curve(_hairline(face, identity), samples=6)
    crown = part(face, "crown") * np.float32(1 + _STAND.get(identity.style, identity.hair_volume))
    rim = canvas.place(edge)
    # Hair thins out at its edge.
    canvas.stroke(rim, mixed(identity.hair, identity.skin, 0.6), 0.045)
    canvas.stroke(rim, mixed(identity.hair, identity.skin, 0.3), 0.022)
    canvas.fill_hair(canvas.place(np.concatenate([curve(crown), edge[::-1]])), identity.hair)
    if identity.style in _TUFTS:
        canvas.fill_tufts(rim, _tuft_table(identity.texture, _TUFTS[identity.style]), identity.hair)


def _hairline(face: Points, identity: Identity) -> Points:
    """Control points of the hair's lower edge, left to right."""
    line = np.array(_HAIRLINES[identity.style], np.float32)
    if identity.style in ("part", "wave") and identity.hair_side < 0:
        line = (line * np.array((-1, 1, 1), np.float32))[::-1]
    # The hairlines were drawn for a head of average width.
    mean, slices = mean_face()
    widen = part(face, "jaw")[-1, 0] / mean[slices["jaw"]][-1, 0]
    return line * np.array((widen, 1, 1), np.float32) + np.array((0, identity.hairline, 0.06), np.float32)


@lru_cache(maxsize=32)
def strands(size_px: int, texture: int, *, curly: bool) -> NDArray[np.float32]:
    """Light and dark of hair, float32 [size, size] around 0: strands that run down, or curls."""
    rng = np.random.default_rng((texture, int(curly)))
    if curly:
        return 0.65 * _noise(rng, (size_px, size_px), size_px / 90, size_px / 90)
    polar = 0.55 * _noise(rng, (24, 1440), 1.5, 2) + 0.6 * _noise(rng, (24, 1440), 9, 2)
    along = (np.arange(size_px) / size_px - 0.5) / UNIT_SHARE
    # The strands' origin lies above the crown: they fan out a little, then hang.
    x, y = np.meshgrid(along, along + 1.9)
    angle = ((np.arctan2(x, y) / (2 * np.pi) + 0.5) * 1439).astype(np.float32)
    distance = np.clip((np.hypot(x, y) - 0.4) * 9, 0, 23).astype(np.float32)
    return np.asarray(cv2.remap(polar, angle, distance, cv2.INTER_LINEAR), np.float32)


def _noise(
    rng: np.random.Generator, shape: tuple[int, int], sigma_x: float, sigma_y: float
) -> NDArray[np.float32]:
    """Blurred noise of unit variance."""
    noise = cv2.GaussianBlur(
        rng.normal(0, 1, shape).astype(np.float32), (0, 0), sigmaX=sigma_x, sigmaY=sigma_y
    )
    return np.asarray(noise / noise.std(), np.float32)


@lru_cache(maxsize=64)
def _tuft_table(texture: int, longest: float) -> NDArray[np.float32]:
    """Strands that break the hair's lower edge: float32 [n, 4], place along it (0–1), length, lean, width."""
    rng = np.random.default_rng((texture, 7))
    count = 44
    where = np.linspace(0.04, 0.96, count) + rng.normal(0, 0.008, count)
    length = rng.uniform(0.25, 1, count) * longest
    lean, width = rng.normal(0, 0.02, count), rng.uniform(0.02, 0.05, count)
    return np.stack([where, length, lean, width], axis=1).astype(np.float32)


def _fall(low: float, wide: float, volume: float) -> Points:
    """Closed outline of hair that hangs behind the head."""
    wide += 0.6 * volume
    half = ((0, -1.25, -0.2), (0.5, -1.1, -0.2), (0.8, -0.6, -0.25), (wide, 0.1, -0.25),
            (wide, low * 0.7, -0.2), (wide * 0.8, low, -0.2), (0.3, low, -0.2))  # fmt: skip
    right = np.array(half, np.float32)
    outline: Points = np.concatenate([right, right[:0:-1] * np.array((-1, 1, 1), np.float32)])
    return outline


def _ball(centre: tuple[float, float, float], radius: float) -> Points:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(24)], axis=1) * radius
    return np.asarray(ring + np.array(centre), np.float32)


def _cloud(radius: float, texture: int) -> Points:
    """Closed outline of curls round the head, down to the ears."""
    rng = np.random.default_rng((texture, 11))
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    curls = 0.035 * np.abs(np.sin(angle * 13 + rng.uniform(0, 3))) + rng.uniform(-0.015, 0.015, 90)
    x, y = np.cos(angle) * radius * (1 + curls), np.sin(angle) * radius * (1 + curls) * 0.95 - 0.48
    return np.stack([x, np.minimum(y, 0.25), np.full(90, -0.2)], axis=1).astype(np.float32)
