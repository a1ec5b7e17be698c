"""Numbers that describe a picture: kept in the manifest, recorded by the service, compared by drift."""

from __future__ import annotations

from dataclasses import dataclass

import cv2

from serving.contract.arrays import Image


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
