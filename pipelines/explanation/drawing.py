"""A picture with its heatmap on it, as pixels and as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from serving.contract.arrays import Image

TILE_PX = 192
"""Side of a tile: three times the sample profile's 64 px, large enough for a phone."""

_STRONGEST = 0.8
"""Opacity of the heat at 1."""
_SHADE = 0.6
"""How much of the picture's darkness stays in the heat's colour, so that eyes and mouth show through."""
_DARKEST, _LIGHTEST = 50, 225
"""Luminance of the gray picture beneath the heat, 0–255."""
_FLAT = 32.0
"""A picture whose luminance spans less than this is not spread further: it would be noise."""
_WEBP_QUALITY = 88
"""No artefact can be seen at this size, a third of a PNG's bytes."""


def tile(image: Image, *, side_px: int = TILE_PX) -> Image:
    """The picture at a tile's size, uint8 [side, side, 3]."""
    shrinking = image.shape[0] > side_px
    filter_ = cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (side_px, side_px), interpolation=filter_), dtype=np.uint8)


def overlay(image: Image, heatmap: NDArray[np.float32], *, side_px: int = TILE_PX) -> Image:
    """Draw the heat over the picture in gray: cold is transparent, hot glows.

    Args:
        image: uint8 [h, w, 3], RGB.
        heatmap: float32 [rows, columns] in [0, 1], over the whole picture.
        side_px: of the result.

    Returns:
        uint8 [side, side, 3], RGB.
    """
    gray = _evened(cv2.cvtColor(tile(image, side_px=side_px), cv2.COLOR_RGB2GRAY))[..., np.newaxis]
    smooth = cv2.resize(heatmap, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    heat = np.clip(smooth, 0, 1).astype(np.float32)
    levels = np.rint(heat * 255).astype(np.uint8)
    color = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    color = color * (1 - _SHADE + _SHADE * gray / 255)
    opacity = _STRONGEST * heat[..., np.newaxis]
    return np.asarray(np.rint(gray * (1 - opacity) + color * opacity), dtype=np.uint8)


def _evened(gray: NDArray[Any]) -> NDArray[np.float32]:
    """Spread the luminance of a picture over a fixed range, so that heat shows as well on dark faces."""
    dark, light = np.percentile(gray, (2, 98))
    middle, span = float(dark + light) / 2, max(float(light - dark), _FLAT)
    spread = (gray.astype(np.float32) - middle) / span + 0.5
    return np.asarray(_DARKEST + (_LIGHTEST - _DARKEST) * np.clip(spread, 0, 1), dtype=np.float32)


def save_tile(image: Image, path: Path) -> None:
    """Write one tile as WebP; the same pixels give the same bytes."""
    from PIL import Image as Pillow

    Pillow.fromarray(image).save(path, format="WEBP", quality=_WEBP_QUALITY, method=4, exact=True)
