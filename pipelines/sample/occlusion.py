"""Things in front of a face: a hand, a strand of hair, the edge of a mask, a bar."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.sample.head import tone
from pipelines.sample.identity import Colour, Identity
from pipelines.sample.scene import Scene, cloth_colour


def paint_occluder(picture: NDArray[np.float32], scene: Scene, identity: Identity) -> NDArray[np.float32]:
    """Lay the scene's occluder over a picture.

    Args:
        picture: float32 [size, size, 3], RGB, 0–255.
        scene: says which occluder, and seeds its place.
        identity: gives skin and hair their colours.

    Returns:
        The picture itself when nothing is in the way, else a new one.
    """
    if scene.occluder == "none":
        return picture
    rng = np.random.default_rng((scene.seed, 5))
    size = picture.shape[0]
    over = np.zeros((2 * size, 2 * size, 4), np.uint8)
    level = scene.light.ambient + 0.8 * scene.light.key
    {"hand": _hand, "strand": _strand, "mask": _mask, "bar": _bar}[scene.occluder](over, rng, scene, identity, level)
    small = cv2.resize(over, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    return picture * (1 - small[..., 3:] / 255) + small[..., :3]


def _hand(over: NDArray[np.uint8], rng: np.random.Generator, scene: Scene, identity: Identity, level: float) -> None:
    """Fingers that reach in from below or from the side."""
    size = over.shape[0]
    side = 1 if rng.random() < 0.5 else -1
    thick = 0.085 * size
    base = np.array((0.5 + side * rng.uniform(0.20, 0.34), rng.uniform(0.70, 0.82))) * size
    reach = rng.uniform(0.20, 0.32) * size
    heading = np.deg2rad(-90 - side * rng.uniform(20, 60))
    across = np.array((-np.sin(heading), np.cos(heading)))
    skin = tone(identity.skin, 0.93 * level)
    palm = base + across * 1.3 * thick
    _limb(over, palm + np.array((side * 0.35, 0.5)) * size, palm, 3.6 * thick, tone(identity.skin, 0.85 * level))
    for finger, length in enumerate((0.8, 1.0, 0.95, 0.75)):
        root = base + across * finger * thick * 0.92
        tip = root + np.array((np.cos(heading), np.sin(heading))) * reach * length
        _limb(over, root, tip, thick + 2, tone(skin, 0.62))
        _limb(over, root, tip, thick - 3, skin)


def _strand(over: NDArray[np.uint8], rng: np.random.Generator, scene: Scene, identity: Identity, level: float) -> None:
    """Hair across the face."""
    size = over.shape[0]
    start, end = rng.uniform(0.38, 0.62), rng.uniform(0.3, 0.7)
    t = np.linspace(0, 1, 12)
    for _ in range(14):
        bend = rng.normal(0, 0.02, 2)
        x = start + bend[0] + (end - start + bend[1]) * t + 0.10 * np.sin(np.pi * t) * np.sign(start - 0.5)
        line = np.stack([x * size, (0.10 + 0.62 * t) * size], axis=1)
        colour = tone(identity.hair, level * rng.uniform(0.7, 1.1))
        cv2.polylines(over, [_fixed(line)], False, (*colour, 255), int(rng.integers(1, 4)), cv2.LINE_AA, 4)


def _mask(over: NDArray[np.uint8], rng: np.random.Generator, scene: Scene, identity: Identity, level: float) -> None:
    """A mask or collar pulled up over the chin, at most to the lower lip."""
    size = over.shape[0]
    top = rng.uniform(0.80, 0.87)
    line = np.array([(0.08, top - 0.10), (0.3, top - 0.02), (0.5, top), (0.7, top - 0.02), (0.92, top - 0.10), (1.0, 1.1), (0.0, 1.1)]) * size
    colour = tone(cloth_colour(scene), level)
    cv2.fillPoly(over, [_fixed(line)], (*colour, 255), cv2.LINE_AA, 4)
    cv2.polylines(over, [_fixed(line[:5])], False, (*tone(colour, 0.75), 255), 4, cv2.LINE_AA, 4)


def _bar(over: NDArray[np.uint8], rng: np.random.Generator, scene: Scene, identity: Identity, level: float) -> None:
    """A pole, branch or strap across the picture."""
    size = over.shape[0]
    middle, lean, half = rng.uniform(0.15, 0.85), rng.uniform(-0.25, 0.25), rng.uniform(0.02, 0.05)
    line = np.array([(middle - lean, -0.1), (middle + lean, 1.1)]) * size
    colour = tone(cloth_colour(scene), level * 0.9)
    _limb(over, line[0], line[1], 2 * half * size, tone(colour, 0.8))
    _limb(over, line[0] - (half * 0.3 * size, 0), line[1] - (half * 0.3 * size, 0), half * size, colour)


def _limb(over: NDArray[np.uint8], start: NDArray[np.float64], end: NDArray[np.float64], width: float, colour: Colour) -> None:
    cv2.polylines(over, [_fixed(np.stack([start, end]))], False, (*colour, 255), max(1, round(width)), cv2.LINE_AA, 4)


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.rint(points * 16).astype(np.int32)
