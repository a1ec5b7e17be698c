"""Crop, resize and colour conversion, shared by `prepare` and the service; statistics of a picture.

The statistics are stored in the manifest, recorded by the service and compared by drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from serving.contract.arrays import Box, Image
from serving.contract.model import InputSpec

_SHRINK = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}
_ENLARGE = {"area": cv2.INTER_LINEAR, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}


def preprocess(image: Image, spec: InputSpec, *, face: Box | None = None) -> Image:
    """Turn a decoded picture into the network's input.

    Args:
        image: the upright picture, uint8 [h, w, 3], RGB.
        spec: target size, colour mode, crop rule and filter.
        face: box of the face to crop to. Without one the whole picture is used, which is also
            what `crop: none` asks for.

    Returns:
        uint8 [spec.height, spec.width, 3], RGB; a fresh array, the input is not changed.
    """
    if face is not None:
        image = crop_square(image, face, margin=spec.margin)
    return _colored(_resized(image, spec), spec)


def crop_square(image: Image, box: Box, *, margin: float) -> Image:
    """The square around `box` with `margin` × its longer side added on each side.

    Where the square reaches beyond the picture the border pixels are repeated, so that the face
    keeps its proportions and its place in the middle.

    Returns:
        uint8 [side, side, 3].
    """
    left, top, width, height = box
    side = max(1, round(max(width, height) * (1 + 2 * margin)))
    x0 = round(left + width / 2 - side / 2)
    y0 = round(top + height / 2 - side / 2)
    rows, columns = image.shape[:2]
    inside = image[max(y0, 0) : max(y0 + side, 0), max(x0, 0) : max(x0 + side, 0)]
    pads = (
        max(0, -y0),
        max(0, y0 + side - rows),
        max(0, -x0),
        max(0, x0 + side - columns),
    )
    if not any(pads):
        return inside
    return _uint8(cv2.copyMakeBorder(inside, *pads, cv2.BORDER_REPLICATE))


def _resized(image: Image, spec: InputSpec) -> Image:
    rows, columns = image.shape[:2]
    if (rows, columns) == (spec.height, spec.width):
        return image.copy()
    shrinking = rows >= spec.height and columns >= spec.width
    filters = _SHRINK if shrinking else _ENLARGE
    return _uint8(cv2.resize(image, (spec.width, spec.height), interpolation=filters[spec.resize]))


def _colored(image: Image, spec: InputSpec) -> Image:
    if spec.color == "rgb":
        return image
    return _uint8(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))


def _uint8(image: Any) -> Image:
    # OpenCV's stubs name a wider dtype; uint8 in is uint8 out.
    return np.asarray(image, dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class ImageStatistics:
    """Computed on the network's input, so that a picture's size does not matter."""

    brightness: float
    """Mean luminance (ITU-R BT.601), in [0, 1]."""
    contrast: float
    """Standard deviation of the luminance (RMS contrast), in [0, 0.5]."""
    sharpness: float
    """Variance of the 3×3 Laplacian of the luminance in [0, 1]; 0 for a flat picture.

    Pech-Pacheco et al., 2000, "Diatom autofocusing in brightfield microscopy".
    """


def image_statistics(image: Image) -> ImageStatistics:
    """Brightness, contrast and sharpness of one uint8 [h, w, 3] RGB picture."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    mean, deviation = cv2.meanStdDev(gray)
    _, edges = cv2.meanStdDev(cv2.Laplacian(gray, cv2.CV_16S))
    return ImageStatistics(
        brightness=float(mean[0, 0]) / 255,
        contrast=float(deviation[0, 0]) / 255,
        sharpness=(float(edges[0, 0]) / 255) ** 2,
    )
