"""Hashes of pictures: one of all pixels, for equality, and a perceptual one, for similarity."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np

from serving.contract.arrays import Image

_SIDE_PX, _LOW = 32, 8


def pixel_sha256(image: Image) -> str:
    """SHA-256 over size and pixels of a decoded picture: equal for a PNG and its lossless WebP."""
    rows, columns = image.shape[:2]
    hasher = hashlib.sha256(f"{columns}x{rows}\n".encode())
    hasher.update(np.ascontiguousarray(image).data)
    return hasher.hexdigest()


def perceptual_hash(image: Image) -> str:
    """The 64-bit pHash of a picture, as 16 hexadecimal digits.

    The signs of the 8×8 lowest frequencies of the 32×32 luminance against their median
    (Zauner, 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions", 3.2.1);
    frequency 0 is left out, so that a change of light alone does not matter.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[1 : _LOW + 1, 1 : _LOW + 1].ravel()
    bits = np.packbits(low > np.median(low))
    return bits.tobytes().hex()
