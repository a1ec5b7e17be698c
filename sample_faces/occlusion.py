"""Things in front of a face: a hand, a strand of hair, a mask pulled down, a bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sample_faces.canvas import Pixels
from sample_faces.head import tone
from sample_faces.identity import Colour, Identity
from sample_faces.scene import Scene, Window

_SHIFT = 4
"""Fractional bits of coordinates that OpenCV draws with."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sheet:
    """What is laid over the picture, at twice its size; coordinates are shares of the portrait."""

    pixels: Pixels
    """uint8 [2 × size, 2 × size, 4], premultiplied RGBA."""
    rng: np.random.Generator
    level: float
    """Light on things in front of the face, 1 = as painted."""
    window: Window
    """What of the portrait the picture shows."""

    def line(self, points: NDArray[np.float64], width: float, colour: Colour) -> None:
        thick = max(1, round(width * len(self.pixels) / self.window.side))
        cv2.polylines(self.pixels, [self._fixed(points)], False, (*colour, 255), thick, cv2.LINE_AA, _SHIFT)

    def fill(self, points: NDArray[np.float64], colour: Colour) -> None:
        cv2.fillPoly(self.pixels, [self._fixed(points)], (*colour, 255), cv2.LINE_AA, _SHIFT)

    def _fixed(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        shown = (points - (self.window.left, self.window.top)) / self.window.side
        return np.rint(shown * (len(self.pixels) << _SHIFT)).astype(np.int32)


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
    size = picture.shape[0]
    sheet = _Sheet(
        pixels=np.zeros((2 * size, 2 * size, 4), np.uint8),
        rng=np.random.default_rng((scene.seed, 5)),
        level=scene.light.ambient + 0.8 * scene.light.key,
        window=scene.window,
    )
    _OCCLUDERS[scene.occluder](sheet, identity)
    small = cv2.resize(sheet.pixels, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    return picture * (1 - small[..., 3:] * np.float32(1 / 255)) + small[..., :3]


def _paint_hand(sheet: _Sheet, identity: Identity) -> None:
    """Fingers that reach in from below or from the side."""
    rng, thick = sheet.rng, 0.085
    side = 1 if rng.random() < 0.5 else -1
    base = np.array((0.5 + side * rng.uniform(0.20, 0.34), rng.uniform(0.70, 0.82)))
    reach = rng.uniform(0.20, 0.32)
    heading = np.deg2rad(-90 - side * rng.uniform(20, 60))
    along = np.array((np.cos(heading), np.sin(heading)))
    across = np.array((-along[1], along[0]))
    skin = tone(identity.skin, 0.93 * sheet.level)
    palm = base + across * 1.3 * thick
    arm = palm + np.array((side * 0.35, 0.5))
    sheet.line(np.stack([arm, palm]), 3.6 * thick, tone(skin, 0.92))
    for finger, length in enumerate((0.8, 1.0, 0.95, 0.75)):
        root = base + across * finger * thick * 0.92
        bone = np.stack([root, root + along * reach * length])
        sheet.line(bone, thick + 0.01, tone(skin, 0.62))
        sheet.line(bone, thick - 0.015, skin)


def _paint_strand(sheet: _Sheet, identity: Identity) -> None:
    """Hair across the face."""
    rng, t = sheet.rng, np.linspace(0, 1, 12)
    start, end = rng.uniform(0.38, 0.62), rng.uniform(0.3, 0.7)
    bulge = 0.10 * np.sin(np.pi * t) * np.sign(start - 0.5)
    for _ in range(14):
        stray = rng.normal(0, 0.02, 2)
        x = start + stray[0] + (end - start + stray[1]) * t + bulge
        colour = tone(identity.hair, sheet.level * rng.uniform(0.7, 1.1))
        sheet.line(np.stack([x, 0.10 + 0.62 * t], axis=1), rng.uniform(0.004, 0.018), colour)


def _paint_mask(sheet: _Sheet, identity: Identity) -> None:
    """A mask pulled down over the chin, at most to the lower lip."""
    colour = _cloth(sheet)
    x = np.linspace(-0.34, 0.34, 15)
    rim = np.stack([0.5 + x, sheet.rng.uniform(0.79, 0.86) - 1.1 * x**2], axis=1)
    sheet.fill(np.concatenate([rim, [(0.78, 1.1), (0.22, 1.1)]]), colour)
    for pleat in (0.045, 0.09, 0.135):
        sheet.line(rim[2:-2] + np.array((0, pleat)), 0.015, tone(colour, 0.8))
    sheet.line(rim, 0.02, tone(colour, 0.72))
    for end, outwards in ((0, -0.16), (-1, 0.16)):
        band = np.stack([rim[end], rim[end] + np.array((outwards, -0.10))])
        sheet.line(band, 0.015, tone(colour, 0.85))


def _paint_bar(sheet: _Sheet, identity: Identity) -> None:
    """A pole or strap across the picture."""
    rng, colour = sheet.rng, _cloth(sheet)
    middle, lean, half = rng.uniform(0.15, 0.85), rng.uniform(-0.25, 0.25), rng.uniform(0.02, 0.05)
    line = np.array([(middle - lean, -0.1), (middle + lean, 1.1)])
    sheet.line(line, 2 * half, tone(colour, 0.8))
    sheet.line(line - np.array((0.3 * half, 0)), half, colour)


def _cloth(sheet: _Sheet) -> Colour:
    red, green, blue = sheet.rng.uniform(40, 225, 3).tolist()
    return tone((red, green, blue), 0.95 * sheet.level)


_OCCLUDERS: Mapping[str, Callable[[_Sheet, Identity], None]] = {
    "hand": _paint_hand,
    "strand": _paint_strand,
    "mask": _paint_mask,
    "bar": _paint_bar,
}
