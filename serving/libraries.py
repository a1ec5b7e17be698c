"""What native libraries read from the process before they are loaded, and what they write to it.

Imports nothing but the standard library, so that it can run before everything else.
"""

from __future__ import annotations

import os

PIXEL_LIMIT_VARIABLE = "OPENCV_IO_MAX_IMAGE_PIXELS"
"""OpenCV reads it once, when it is loaded; its own limit is 2³⁰ pixels."""
MOST_ORIGINAL_PIXELS = 89_478_485
"""Largest picture of a data set, width × height: ¼ GiB of RGB, the bound that Pillow warns at."""


def limit_opencv(max_pixels: int) -> None:
    """Let OpenCV itself refuse larger pictures; works only before `cv2` is imported.

    The second line behind `serving.contract.check_header`: it holds where OpenCV's decoders read another size
    than the header's reader does.
    """
    os.environ[PIXEL_LIMIT_VARIABLE] = str(max_pixels)
