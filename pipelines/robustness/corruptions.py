"""Eight corruptions of photographs at three severities: blur, noise, compression, light, occlusion, pose.

    damaged = CORRUPTIONS["noise"](image, 3)

Each is a pure function: what is random in it (noise, place, direction) follows from the picture's own bytes
and is the same at every severity, so that the same picture is damaged alike on every machine and more at each
severity.

Where a corruption is one of ImageNet-C (Hendrycks & Dietterich, 2019, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations"), the severities here are its severities 1, 3 and 5, with
the constants of its `make_imagenet_c.py`. Those are for pictures of 224 px. Here lengths grow with the
picture, and noise and compression artefacts are made at 224 px and carried to the picture's size, so that
after the network's resizing a picture of 48 px and the same one of 1,000 px are damaged alike.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from serving.contract.arrays import Image

SEVERITIES: Final = (1, 2, 3)
Corruption = Callable[[Image, int], Image]
"""(uint8 [h, w, 3] RGB, severity 1–3) → a new picture of the same size and type."""

_REFERENCE_PX = 224
"""Side of ImageNet-C's pictures, for which its constants are."""
_MOST_BLUR_PX = 896
"""Larger pictures are blurred in a copy of half this side, which looks the same and takes seconds less."""


def blur(image: Image, severity: int) -> Image:
    """Gaussian blur, σ 1, 3, 6 px of 224 (ImageNet-C, `gaussian_blur`)."""
    small = _small(image)
    sigma = (1.0, 3.0, 6.0)[severity - 1] * _scale(small)
    return _resized(cv2.GaussianBlur(small, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), image)


def motion_blur(image: Image, severity: int) -> Image:
    """Blur along a line within 45° of the horizontal (ImageNet-C, `motion_blur`).

    The line is 10, 15, 20 px of 224 long, with the weights of half a Gaussian, σ 3, 8, 15 px. Its centroid
    is put into the middle, so that the picture does not move.
    """
    length, sigma = ((10.0, 3.0), (15.0, 8.0), (20.0, 15.0))[severity - 1]
    angle, small = math.radians(_random(image).uniform(-45, 45)), _small(image)
    along = np.linspace(0.0, length, 256)
    weights = np.exp(-0.5 * (along / sigma) ** 2)
    weights /= weights.sum()
    along = (along - (along * weights).sum()) * _scale(small)
    kernel = _line_kernel(along * math.cos(angle), along * math.sin(angle), weights)
    return _resized(cv2.filter2D(small, -1, kernel, borderType=cv2.BORDER_REPLICATE), image)


def noise(image: Image, severity: int) -> Image:
    """Gaussian noise, σ 0.08, 0.18, 0.38 of white at 224 px (ImageNet-C, `gaussian_noise`).

    In every channel of its own; a gray picture stays gray.
    """
    deviation = (0.08, 0.18, 0.38)[severity - 1] * 255
    width, height = _reference_size(image)
    is_gray = bool((image == image[..., :1]).all())
    drawn = _random(image).normal(size=(height, width, 1 if is_gray else 3)).astype(np.float32)
    field = np.repeat(drawn, 3, axis=2) if is_gray else drawn
    return _image(image + deviation * _carried(field, image))


def jpeg(image: Image, severity: int) -> Image:
    """Artefacts of JPEG, qualities 25, 15, 7 at 224 px (ImageNet-C, `jpeg_compression`)."""
    shrinking = cv2.INTER_AREA if _scale(image) > 1 else cv2.INTER_LINEAR
    reference = cv2.resize(image, _reference_size(image), interpolation=shrinking)
    quality = [cv2.IMWRITE_JPEG_QUALITY, (25, 15, 7)[severity - 1]]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(reference, cv2.COLOR_RGB2BGR), quality)
    decoded = cv2.cvtColor(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)
    artefacts = decoded.astype(np.float32) - reference.astype(np.float32)
    return _image(image + _carried(artefacts, image))


def dark(image: Image, severity: int) -> Image:
    """Underexposure by 1, 2, 3 stops: a half, a quarter, an eighth of the light.

    ImageNet-C has no dark pictures; a stop is photography's unit of exposure, a factor of 2.
    """
    return _exposed(image, 0.5**severity)


def bright(image: Image, severity: int) -> Image:
    """Overexposure that raises a middle gray, 0.5 of white, by 0.1, 0.3, 0.5 (ImageNet-C, `brightness`).

    0.6, 1.5 and 2.2 stops. ImageNet-C raises the value of HSV instead, which turns black into strong colours.
    """
    raised = 0.5 + (0.1, 0.3, 0.5)[severity - 1]
    return _exposed(image, float(_light(np.array(raised)) / _light(np.array(0.5))))


def occlusion(image: Image, severity: int) -> Image:
    """A gray rectangle of the picture's shape over 5, 15, 30 % of its area, anywhere inside.

    Within the 2–40 % of Zhong et al., 2020, "Random Erasing Data Augmentation"; the larger rectangle holds
    the smaller.
    """
    side = math.sqrt((0.05, 0.15, 0.3)[severity - 1])
    down, right = _random(image).uniform(size=2)
    covered = image.copy()
    height, width = image.shape[:2]
    top, left = down * height * (1 - side), right * width * (1 - side)
    rows = slice(round(top), round(top + side * height))
    covered[rows, round(left) : round(left + side * width)] = 128
    return covered


def rotation_shift(image: Image, severity: int) -> Image:
    """Rotation by 5, 10, 15° either way and a shift of 3, 6, 10 % of the side in any direction.

    Engstrom et al., 2019, "Exploring the Landscape of Spatial Robustness", rotate by up to 30° and shift by
    up to 10 %; half of their rotation is a tilted head. The border's pixels fill the gaps.
    """
    degrees, part = ((5.0, 0.03), (10.0, 0.06), (15.0, 0.1))[severity - 1]
    random = _random(image)
    direction, sign = random.uniform(0, 2 * math.pi), random.choice((-1.0, 1.0))
    height, width = image.shape[:2]
    moved = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), sign * degrees, 1.0)
    shift = part * math.sqrt(width * height)
    moved[0, 2] += shift * math.cos(direction)
    moved[1, 2] += shift * math.sin(direction)
    return _image(cv2.warpAffine(image, moved, (width, height), borderMode=cv2.BORDER_REPLICATE))


CORRUPTIONS: Final[Mapping[str, Corruption]] = {
    "blur": blur,
    "motion blur": motion_blur,
    "noise": noise,
    "JPEG": jpeg,
    "dark": dark,
    "bright": bright,
    "occlusion": occlusion,
    "rotation and shift": rotation_shift,
}
"""By the names that reports show, in their order."""


def _exposed(image: Image, factor: float) -> Image:
    """The picture with as many times the light, cut off at white."""
    light = np.minimum(_light(np.arange(256) / 255) * factor, 1.0)
    values = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(values * 255).astype(np.uint8)[image], dtype=np.uint8)


def _light(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear light of values in [0, 1], by sRGB's curve (IEC 61966-2-1, 1999)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _random(image: Image) -> np.random.Generator:
    """Random numbers that follow from the picture alone."""
    return np.random.default_rng(zlib.crc32(np.ascontiguousarray(image).tobytes()))


def _scale(image: Image) -> float:
    """Geometric mean of the sides ÷ 224."""
    return math.sqrt(image.shape[0] * image.shape[1]) / _REFERENCE_PX


def _reference_size(image: Image) -> tuple[int, int]:
    """Width and height of the picture at 224 px."""
    scale = _scale(image)
    return max(1, round(image.shape[1] / scale)), max(1, round(image.shape[0] / scale))


def _small(image: Image) -> Image:
    """The picture, or a smaller copy of a large one."""
    ratio = _MOST_BLUR_PX / 2 / (_scale(image) * _REFERENCE_PX)
    if ratio > 0.5:
        return image
    size = (max(1, round(image.shape[1] * ratio)), max(1, round(image.shape[0] * ratio)))
    return _image(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _resized(small: NDArray[Any], image: Image) -> Image:
    """A copy from `_small`, in the size of the picture."""
    height, width = image.shape[:2]
    return _image(small if small.shape == image.shape else cv2.resize(small, (width, height)))


def _carried(field: NDArray[np.float32], image: Image) -> NDArray[np.float32]:
    """A field of 224 px resized to the picture: float32 [h, w, 3]."""
    height, width = image.shape[:2]
    shrinking = cv2.INTER_AREA if _scale(image) < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(field, (width, height), interpolation=shrinking), dtype=np.float32)


def _line_kernel(
    right: NDArray[np.float64], down: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Kernel with weights at points around its middle, each shared among the four nearest elements."""
    reach = math.ceil(max(np.abs(right).max(), np.abs(down).max()))
    kernel = np.zeros((2 * reach + 3, 2 * reach + 3))
    x, y = right + reach + 1, down + reach + 1
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    for below in (0, 1):
        for beside in (0, 1):
            share = np.abs(1 - below - (y - row)) * np.abs(1 - beside - (x - column))
            np.add.at(kernel, (row + below, column + beside), weights * share)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def _image(values: NDArray[Any]) -> Image:
    """Values of 0–255, rounded and cut off: uint8."""
    if values.dtype == np.uint8:
        return np.asarray(values, dtype=np.uint8)
    return np.asarray(np.clip(np.rint(np.asarray(values, np.float32)), 0, 255), dtype=np.uint8)
