"""The sheet a head is painted on: flat colours with coverage, and a mask of what is hair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from sample_faces.identity import Colour
from sample_faces.landmarks import spline
from sample_faces.pose import UNIT_SHARE, Pose

Pixels = NDArray[np.uint8]
Curve = NDArray[np.float32]
"""Points on the canvas, px: [n, 2], or [2] for one."""
_SHIFT = 4
"""Fractional bits of coordinates that OpenCV draws with."""


@dataclass(kw_only=True, eq=False)
class Canvas:
    """Premultiplied RGBA, uint8, drawn with anti-aliased edges."""

    size_px: int
    pose: Pose
    pixels: Pixels = field(init=False)
    """uint8 [size, size, 4]"""
    hair: Pixels = field(init=False)
    """uint8 [size, size]: 255 where hair lies on top."""
    cover: Pixels = field(init=False)
    """uint8 [size, size]: 255 where the skin's relief does not show (hair, cloth, frames)."""

    def __post_init__(self) -> None:
        self.pixels = np.zeros((self.size_px, self.size_px, 4), np.uint8)
        self.hair = np.zeros((self.size_px, self.size_px), np.uint8)
        self.cover = np.zeros((self.size_px, self.size_px), np.uint8)

    @property
    def unit_px(self) -> float:
        """Length of a face unit, px."""
        return UNIT_SHARE * self.size_px

    def place(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Face units [n, 3] → px [n, 2], in the head's pose."""
        return self.pose.project(points, self.size_px)

    def fill(self, outline: NDArray[np.float32], colour: Colour) -> None:
        """Fill a polygon given in px [n, 2]."""
        _fill(self.pixels, outline, (*colour, 255))

    def fill_skin(self, outline: NDArray[np.float32], colour: Colour) -> None:
        """Fill a polygon that is skin, over hair that lies behind it."""
        self.fill(outline, colour)
        _fill(self.hair, outline, (0,))
        _fill(self.cover, outline, (0,))

    def fill_hair(self, outline: NDArray[np.float32], colour: Colour) -> None:
        """Fill a polygon that is hair: it gets strands instead of the skin's relief."""
        self.fill(outline, colour)
        _fill(self.hair, outline, (255,))
        _fill(self.cover, outline, (255,))

    def fill_tufts(self, edge: NDArray[np.float32], tufts: NDArray[np.float32], colour: Colour) -> None:
        """Let strands of hair hang from an edge.

        Args:
            edge: px [n, 2].
            tufts: [m, 4]: place along the edge (0–1), length, sideways lean and width (face units).
            colour: of the hair.
        """
        root = edge[np.clip(np.rint(tufts[:, 0] * (len(edge) - 1)).astype(int), 0, len(edge) - 1)]
        length, lean, width = (tufts[:, 1:] * self.unit_px).T
        up = np.stack([width, -0.5 * width - 2], axis=1)
        tip = root + np.stack([lean, length], axis=1)
        spikes = _fixed(np.stack([root + up * (-1, 1), root + up, tip], axis=1).astype(np.float32))
        for target, value in ((self.pixels, (*colour, 255)), (self.hair, (255,)), (self.cover, (255,))):
            for spike in spikes:
                cv2.fillConvexPoly(target, spike, value, cv2.LINE_AA, _SHIFT)

    def mark_hair(self, outline: NDArray[np.float32], share: float) -> None:
        """Give a polygon that is already painted some of the strands' texture."""
        _fill(self.hair, outline, (255 * share,))

    def fill_cloth(self, outline: NDArray[np.float32], colour: Colour) -> None:
        """Fill a polygon that hides the skin's relief and any hair."""
        self.fill(outline, colour)
        _fill(self.hair, outline, (0,))
        _fill(self.cover, outline, (255,))

    def stroke(
        self, line: NDArray[np.float32], colour: Colour, width: float, *, closed: bool = False
    ) -> None:
        """Draw a line through px [n, 2]; `width` in face units."""
        thick = max(1, round(width * self.unit_px))
        cv2.polylines(self.pixels, [_fixed(line)], closed, (*colour, 255), thick, cv2.LINE_AA, _SHIFT)

    def blend(
        self, outline: NDArray[np.float32], colour: Colour, opacity: float, *, soft: float = 0.0
    ) -> None:
        """Lay a translucent colour over a polygon; `soft` blurs its edge, face units."""
        self.within(
            outline,
            lambda patch, _: patch.__setitem__((..., slice(0, 3)), colour),
            opacity=opacity,
            soft=soft,
        )

    def within(
        self,
        outline: NDArray[np.float32],
        paint: Callable[[Pixels, NDArray[np.float32]], None],
        *,
        opacity: float = 1.0,
        soft: float = 0.0,
    ) -> None:
        """Let `paint` draw, and keep what falls inside a polygon.

        Args:
            outline: px [n, 2].
            paint: gets a copy of the patch around the polygon, and the patch's corner (px [2]).
            opacity: 0–1.
            soft: blur of the edge, face units.
        """
        margin = 2 + 3 * soft * self.unit_px
        low = np.clip(np.floor(outline.min(axis=0) - margin), 0, self.size_px).astype(int)
        high = np.clip(np.ceil(outline.max(axis=0) + margin) + 1, 0, self.size_px).astype(int)
        if (high <= low).any():
            return
        under = self.pixels[low[1] : high[1], low[0] : high[0]]
        patch = under.copy()
        paint(patch, low.astype(np.float32))
        mask = np.zeros(under.shape[:2], np.uint8)
        _fill(mask, outline - low, (255,))
        if soft:
            cv2.GaussianBlur(mask, (0, 0), soft * self.unit_px, dst=mask)
        weight = mask.astype(np.float32) * np.float32(opacity / 255)
        under[...] = cv2.blendLinear(patch, under.copy(), weight, 1 - weight)


def curve(points: NDArray[np.float32], *, samples: int = 5, closed: bool = False) -> NDArray[np.float32]:
    """A smooth line through control points of any dimension, [n, d] → [more, d]."""
    return spline(len(points), samples=samples, closed=closed) @ points


def moved(points: NDArray[np.float32], right_px: float, down_px: float) -> NDArray[np.float32]:
    """Points [..., 2] shifted."""
    return points + np.array((right_px, down_px), np.float32)


def fill_patch(patch: Pixels, outline: NDArray[np.float32], colour: Colour) -> None:
    """Fill a polygon on a patch that `Canvas.within` gave out."""
    _fill(patch, outline, (*colour, 255))


def stroke_patch(patch: Pixels, line: NDArray[np.float32], colour: Colour, thick_px: int) -> None:
    """Draw a line on such a patch."""
    cv2.polylines(patch, [_fixed(line)], False, (*colour, 255), max(1, thick_px), cv2.LINE_AA, _SHIFT)


def disc_patch(patch: Pixels, centre: NDArray[np.float32], radius_px: float, colour: Colour) -> None:
    """Fill a circle on such a patch."""
    x, y = _fixed(centre[None])[0].tolist()
    cv2.circle(
        patch, (x, y), max(1, round(radius_px * (1 << _SHIFT))), (*colour, 255), -1, cv2.LINE_AA, _SHIFT
    )


def _fill(target: Pixels, outline: NDArray[np.float32], colour: tuple[float, ...]) -> None:
    cv2.fillPoly(target, [_fixed(outline)], colour, cv2.LINE_AA, _SHIFT)


def _fixed(points: NDArray[np.float32]) -> NDArray[np.int32]:
    return np.rint(points * (1 << _SHIFT)).astype(np.int32)
