"""Read original pictures by their locators, and find the face detector's file.

A *locator* is a short text that says where a picture lies relative to the repository's root:
`data/happy/x.jpg`, or `data/fer2013.csv#123` for data row 123 of a CSV file. The manifest keeps it,
so that evaluation can read the original again, through the model's own contract.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.core import pixel_table
from pipelines.core.paths import FACE_MODEL
from serving.contract import Image, decode_with_header
from serving.contract.faces import FACE_MODEL_VARIABLE, YUNET_FILE
from serving.libraries import MOST_ORIGINAL_PIXELS

_ROW = re.compile(rf"(.*(?:^|/){re.escape(pixel_table.NAME)})#(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Source:
    """One original picture, not yet read."""

    locator: str
    """Where it lies, see the module's docstring."""
    label: str
    """The class its folder or row says."""
    split: str | None
    """The split its folder or row says; None where `prepare` decides."""


@dataclass(frozen=True, slots=True)
class Original:
    """One original picture, decoded."""

    image: Image
    """uint8 [h, w, 3], RGB, upright."""
    mode: str
    """Pillow's name for the file's pixels."""
    orientation: int
    """EXIF orientation the file had, 1–8."""
    bytes: int
    """Size of the file, or of the CSV row."""


def read_image(locator: str, root: Path) -> Image:
    """Read and decode one original: uint8 [h, w, 3], RGB, upright.

    Raises:
        ImageError: the bytes are no picture this project reads.
        OSError: the file cannot be read.
    """
    return read_original(locator, root).image


def read_original(locator: str, root: Path) -> Original:
    """As `read_image`, with what the file said of itself."""
    if row := _ROW.fullmatch(locator):
        gray, size = pixel_table.read_pixels(root / row[1], int(row[2]))
        return Original(image=np.dstack([gray] * 3), mode="L", orientation=1, bytes=size)
    data = (root / locator).read_bytes()
    image, header = decode_with_header(data, max_pixels=MOST_ORIGINAL_PIXELS)
    return Original(image=image, mode=header.mode, orientation=header.orientation, bytes=len(data))


def face_model_file() -> Path | None:
    """YuNet's file: the one that `MIEN_FACE_MODEL` names, else that of the stage `weights`; None: neither."""
    setting = os.environ.get(FACE_MODEL_VARIABLE)
    if setting:
        return Path(setting)
    stored = FACE_MODEL / YUNET_FILE
    return stored if stored.is_file() else None
