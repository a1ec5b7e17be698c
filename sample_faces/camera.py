"""From a lit head to a photograph: framing, backdrop, things in the way, exposure, blur, noise."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from sample_faces.identity import Identity
from sample_faces.occlusion import paint_occluder
from sample_faces.scene import Scene

_BACKDROP_PX = 24
"""Backdrops are painted this small and enlarged: out of focus at no cost."""
_SHARP_PX = 0.25
"""A blur below this changes nothing, px."""
_PIVOT = np.float32(110)
"""Level (0–255) that contrast leaves as it is."""
_METERED_ON = 165.0
"""Luma (0–255) of the skin that automatic exposure leaves as it is."""


def photograph(
    head: NDArray[np.float32], scene: Scene, identity: Identity, *, size_px: int
) -> NDArray[np.uint8]:
    """Put a head into its scene.

    Args:
        head: float32 [s, s, 4], premultiplied RGBA, 0–255, s > size_px: it is scaled down.
        scene: framing and circumstances.
        identity: whose hand or hair may be in the way.
        size_px: rows and columns of the photograph.

    Returns:
        uint8 [size_px, size_px, 3], RGB.
    """
    rng = np.random.default_rng(scene.seed)
    framed = _frame(head, framing(scene, head.shape[0], size_px), size_px)
    cover = framed[..., 3:] * np.float32(1 / 255)
    picture = framed[..., :3] + (1 - cover) * _backdrop(scene, rng, size_px)
    picture = paint_occluder(picture, scene, identity)
    if scene.blur * size_px > _SHARP_PX:
        cv2.GaussianBlur(picture, (0, 0), scene.blur * size_px, dst=picture)
    gain = scene.exposure * _metered(identity)
    picture = (picture - _PIVOT) * np.float32(scene.contrast * gain) + np.float32(_PIVOT * gain)
    picture += _noise(size_px, int(rng.integers(8)), int(rng.integers(4))) * np.float32(scene.noise)
    return to_bytes(picture)


def to_bytes(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round to 0–255."""
    rounded: NDArray[np.uint8] = np.clip(picture + np.float32(0.5), 0, 255).astype(np.uint8)
    return rounded


def _metered(identity: Identity) -> float:
    """Automatic exposure on the face: it takes back some of the difference between skins."""
    luma = float(np.dot(identity.skin, (0.299, 0.587, 0.114)))
    return float((_METERED_ON / luma) ** 0.25)


def framing(scene: Scene, source_px: int, size_px: int) -> NDArray[np.float64]:
    """Where the photograph shows each point of the painted head: roll, zoom, shift and window.

    Returns:
        float64 [2, 3]: affine, from px of the painted head (`source_px`) to px of the photograph.
    """
    zoom = scene.zoom * size_px / source_px
    pivot = np.array((0.5, 0.56))  # between nose and mouth, where zooming keeps most of the face
    turn = cv2.getRotationMatrix2D((pivot * source_px).tolist(), -scene.pose.roll_deg, zoom)
    turn[:, 2] += pivot * (size_px - source_px) + np.array(scene.shift) * size_px
    window = scene.window
    turn[:, 2] -= np.array((window.left, window.top)) * size_px
    return np.asarray(turn / window.side, np.float64)


def _frame(head: NDArray[np.float32], turn: NDArray[np.float64], size_px: int) -> NDArray[np.float32]:
    """What the affine map shows of a head, in one resampling."""
    soft = cv2.GaussianBlur(head, (3, 3), 0.6)  # about two source pixels per pixel: no aliasing
    framed = cv2.warpAffine(soft, turn, (size_px, size_px), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(framed, np.float32)


def _backdrop(scene: Scene, rng: np.random.Generator, size_px: int) -> NDArray[np.float32]:
    """A gradient with blurred shapes."""
    small = np.empty((_BACKDROP_PX, _BACKDROP_PX, 3), np.float32)
    ramp = np.linspace(0, 1, _BACKDROP_PX, dtype=np.float32)
    mix = (ramp[:, None] if rng.random() < 0.5 else ramp[None, :])[..., None]
    small[...] = scene.backdrop[0] * mix + scene.backdrop[1] * (1 - mix)
    for colour in scene.backdrop[2:]:
        x, y, w, h = rng.integers((0, 0, 2, 2), (_BACKDROP_PX, _BACKDROP_PX, 9, 22)).tolist()
        if rng.random() < 0.6:
            small[y : y + h, x : x + w] = colour
        else:
            cv2.circle(small, (x, y), w, colour.tolist(), -1)
    cv2.GaussianBlur(small, (0, 0), 0.6 + 1.6 * rng.random(), dst=small)
    small *= np.float32(scene.light.ambient + 0.55 * scene.light.key)
    large = cv2.resize(small, (size_px, size_px), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.float32)


@lru_cache(maxsize=16)
def _noise_tile(size_px: int, index: int) -> NDArray[np.float32]:
    rng = np.random.default_rng((size_px, index))
    luma = rng.normal(0, 0.85, (size_px, size_px, 1))
    chroma = cv2.GaussianBlur(rng.normal(0, 1.0, (size_px, size_px, 3)), (0, 0), 0.8)
    return (luma + chroma).astype(np.float32)


def _noise(size_px: int, index: int, turns: int) -> NDArray[np.float32]:
    """Sensor noise of unit strength; a few tiles, turned, serve all images."""
    return np.rot90(_noise_tile(size_px, index), turns)
