"""Paint hair and beards: what falls behind the head, what lies over it, and the strands' texture."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.sample.canvas import Canvas, curve
from pipelines.sample.geometry import part
from pipelines.sample.head import tone
from pipelines.sample.identity import Colour, Identity

_Line = tuple[tuple[float, float, float], ...]

# The hair's lower edge on the forehead, from the image's left to its right, face units. Depth follows the brow.
_SHORT: _Line = ((-0.70, -0.22, 0.10), (-0.655, -0.50, 0.22), (-0.56, -0.74, 0.36), (-0.30, -0.83, 0.50), (0, -0.81, 0.54), (0.30, -0.83, 0.50), (0.56, -0.74, 0.36), (0.655, -0.50, 0.22), (0.70, -0.22, 0.10))
_CROP: _Line = ((-0.71, -0.30, 0.10), (-0.665, -0.50, 0.22), (-0.60, -0.66, 0.36), (-0.34, -0.70, 0.50), (0, -0.69, 0.54), (0.34, -0.70, 0.50), (0.60, -0.66, 0.36), (0.665, -0.50, 0.22), (0.71, -0.30, 0.10))
_RECEDING: _Line = ((-0.70, -0.25, 0.10), (-0.665, -0.52, 0.18), (-0.60, -0.82, 0.25), (-0.42, -1.00, 0.34), (0, -0.93, 0.46), (0.42, -1.00, 0.34), (0.60, -0.82, 0.25), (0.665, -0.52, 0.18), (0.70, -0.25, 0.10))
_PART: _Line = ((-0.715, -0.10, 0.10), (-0.70, -0.42, 0.22), (-0.63, -0.56, 0.36), (-0.40, -0.62, 0.50), (-0.05, -0.76, 0.56), (0.24, -0.93, 0.50), (0.52, -0.80, 0.38), (0.665, -0.52, 0.22), (0.71, -0.15, 0.10))
_FRINGE: _Line = ((-0.72, -0.05, 0.10), (-0.69, -0.36, 0.24), (-0.60, -0.50, 0.40), (-0.36, -0.50, 0.54), (0, -0.48, 0.60), (0.36, -0.50, 0.54), (0.60, -0.50, 0.40), (0.69, -0.36, 0.24), (0.72, -0.05, 0.10))
_CURTAIN: _Line = ((-0.74, 0.30, 0.06), (-0.715, -0.15, 0.14), (-0.66, -0.45, 0.26), (-0.42, -0.78, 0.44), (0.02, -0.96, 0.46), (0.42, -0.78, 0.44), (0.66, -0.45, 0.26), (0.715, -0.15, 0.14), (0.74, 0.30, 0.06))
_HAIRLINES = {
    "short": _SHORT, "crop": _CROP, "receding": _RECEDING, "part": _PART, "fringe": _FRINGE,
    "long": _CURTAIN, "bob": _FRINGE, "curly": _CROP, "bun": _SHORT,
}  # fmt: skip
_LENGTHS = {"long": (1.75, 0.96), "bob": (0.78, 0.93), "part": (0.55, 0.84)}
"""How far hair falls (y) and how wide it hangs (x), face units."""


def paint_back_hair(canvas: Canvas, identity: Identity) -> None:
    """Hair behind neck and ears."""
    dark = tone(identity.hair, 0.62)
    if identity.style in _LENGTHS:
        if identity.style == "part" and identity.lashes < 1:
            return
        low, wide = _LENGTHS[identity.style]
        wide += identity.hair_volume * 0.6
        half = [(0, -1.25, -0.2), (0.5, -1.1, -0.2), (0.8, -0.6, -0.25), (wide, 0.1, -0.25), (wide, low * 0.7, -0.2), (wide * 0.8, low, -0.2), (0.3, low, -0.2)]
        right = np.array(half, np.float32)
        outline = np.concatenate([right, right[:0:-1] * (-1, 1, 1)]).astype(np.float32)
        canvas.fill_hair(canvas.place(curve(outline, closed=True)), dark)
    if identity.style == "bun":
        canvas.fill_hair(canvas.place(_ball((0.0, -1.38, -0.1), 0.30)), tone(identity.hair, 0.85))
    if identity.style == "curly":
        canvas.fill_hair(canvas.place(_bumpy(0.92 + identity.hair_volume, identity.texture)), tone(identity.hair, 0.8))


def paint_front_hair(canvas: Canvas, face: NDArray[np.float32], identity: Identity) -> None:
    """Hair over skull and forehead."""
    if identity.style not in _HAIRLINES:
        return
    line = np.array(_HAIRLINES[identity.style], np.float32) * (1, 1, 1)
    if identity.style == "part":
        line = line * (identity.hair_side, 1, 1)
        line = line if identity.hair_side > 0 else line[::-1]
    widen = part(face, "jaw")[-1, 0] / 0.71
    line = line * np.array((widen, 1, 1)) + np.array((0, identity.hairline, 0.06))
    crown = part(face, "crown")
    stand = {"receding": 0.02, "crop": 0.03, "curly": 0.1, "fringe": 0.05, "bob": 0.06}.get(identity.style, identity.hair_volume)
    outer = crown * (1 + stand) + np.array((0, 0.0, 0))
    edge = curve(line.astype(np.float32), samples=6)
    if identity.style in ("fringe", "bob", "crop", "part", "short"):
        edge = _ragged(edge, identity)
    shape = np.concatenate([curve(outer.astype(np.float32)), edge[::-1]]).astype(np.float32)
    canvas.fill_hair(canvas.place(shape), identity.hair)


def paint_beard(canvas: Canvas, face: NDArray[np.float32], identity: Identity) -> None:
    """Stubble, moustache, goatee or a full beard; it moves with jaw and lips."""
    if identity.beard == "none":
        return
    colour = tone(identity.hair if max(identity.hair) < 170 else identity.brow, 0.9)
    density = 0.3 if identity.beard == "stubble" else identity.beard_density
    soft = 0.05 if identity.beard == "stubble" else 0.022
    for outline in _beard_outlines(face, identity.beard):
        canvas.blend(canvas.place(outline), colour, density, soft=soft)


def _beard_outlines(face: NDArray[np.float32], kind: str) -> list[NDArray[np.float32]]:
    jaw, upper, lower = part(face, "jaw"), part(face, "upper_outer"), part(face, "lower_outer")
    fold_left, fold_right = part(face, "fold.left"), part(face, "fold.right")
    under_nose = part(face, "columella") + np.array((0, 0.035, -0.05), np.float32)
    moustache = np.concatenate([
        upper[:1] + (-0.05, 0.03, 0), (upper[1:2] + fold_left[2:3]) / 2, under_nose + (-0.08, 0.02, 0), under_nose + (0.08, 0.02, 0),
        (upper[-2:-1] + fold_right[2:3]) / 2, upper[-1:] + (0.05, 0.03, 0), (upper[1:-1] + (0, -0.008, 0))[::-1],
    ])  # fmt: skip
    if kind == "moustache":
        return [curve(moustache.astype(np.float32), samples=3, closed=True)]
    below = lower[1:-1] + np.array((0, 0.025, 0), np.float32)
    if kind == "goatee":
        chin = jaw[7:12] * (1, 1, 1) + np.array((0, 0.015, 0), np.float32)
        patch = np.concatenate([below[1:-1], chin[::-1]])
        return [curve(moustache.astype(np.float32), samples=3, closed=True), curve(patch.astype(np.float32), samples=3, closed=True)]
    rim = jaw[2:-2] * np.array((1.015, 1.015, 1), np.float32)
    inner_left = np.stack([rim[0] * (0.93, 1, 1), fold_left[4] + (-0.12, -0.12, 0), fold_left[4] + (-0.02, 0.0, 0)])
    inner_right = inner_left[::-1] * np.array((-1, 1, 1), np.float32)
    inner_right[0], inner_right[1] = fold_right[4] + (0.02, 0.0, 0), fold_right[4] + (0.12, -0.12, 0)
    beard = np.concatenate([rim, inner_right[::-1], upper[-1:] + (0.03, 0.02, 0), below[::-1], upper[:1] + (-0.03, 0.02, 0), inner_left[::-1]])
    return [curve(moustache.astype(np.float32), samples=3, closed=True), beard.astype(np.float32)]


@lru_cache(maxsize=32)
def strands(size_px: int, texture: int, *, curly: bool) -> NDArray[np.float32]:
    """Light and dark of hair, float32 [size, size] around 0: strands that run down from the crown, or curls."""
    rng = np.random.default_rng((texture, int(curly)))
    if curly:
        noise = cv2.GaussianBlur(rng.normal(0, 1, (size_px, size_px)).astype(np.float32), (0, 0), size_px / 90)
        return (noise / noise.std() * 0.9).astype(np.float32)
    fine = rng.normal(0, 1, (24, 1440)).astype(np.float32)
    fine = cv2.GaussianBlur(fine, (0, 0), sigmaX=1.6, sigmaY=3)
    broad = cv2.GaussianBlur(rng.normal(0, 1, (24, 1440)).astype(np.float32), (0, 0), sigmaX=8, sigmaY=3)
    polar = 0.8 * fine / fine.std() + 0.7 * broad / broad.std()
    along = (np.arange(size_px, dtype=np.float32) / size_px - 0.5) / 0.345
    x, y = np.meshgrid(along, along + 1.9)
    angle = (np.arctan2(x, y) / (2 * np.pi) + 0.5) * 1439
    # Far from the crown strands hang straight instead of fanning out.
    radius = np.hypot(x, y)
    return cv2.remap(polar, angle.astype(np.float32), np.clip((radius - 0.4) * 9, 0, 23).astype(np.float32), cv2.INTER_LINEAR)


def shine_colour(colour: Colour) -> Colour:
    """What light adds on hair."""
    return tone(colour, 1.6)


def _ragged(edge: NDArray[np.float32], identity: Identity) -> NDArray[np.float32]:
    rng = np.random.default_rng((identity.texture, 7))
    depth = 0.07 if identity.style in ("fringe", "bob") else 0.035
    jag = np.zeros((len(edge), 3), np.float32)
    jag[3:-3, 1] = rng.uniform(-depth, depth / 2, len(edge) - 6)
    return edge + jag


def _ball(centre: tuple[float, float, float], radius: float) -> NDArray[np.float32]:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(24)], axis=1) * radius
    return (ring + centre).astype(np.float32)


def _bumpy(radius: float, texture: int) -> NDArray[np.float32]:
    rng = np.random.default_rng((texture, 11))
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    swell = radius * (1 + 0.035 * np.abs(np.sin(angle * 13 + rng.uniform(0, 3))) + rng.uniform(-0.015, 0.015, 90))
    x, y = np.cos(angle) * swell, np.sin(angle) * swell * 0.95 - 0.48
    return np.stack([x, np.minimum(y, 0.25), np.full(90, -0.2)], axis=1).astype(np.float32)
