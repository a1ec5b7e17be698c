"""Format numbers as text (rounded, with units, a dash for None) and pictures as data URIs.

Data URIs make the report self-contained.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path

from pipelines.core import paths
from pipelines.export.pictures import read_pictures
from serving.contract.arrays import Image

NONE = "–"
_THIN = "\u202f"
"""A narrow space that does not break a line."""


def percent(value: float | None, digits: int = 1) -> str:
    """0.7142 → `71.4 %`."""
    return NONE if value is None else f"{value * 100:.{digits}f}{_THIN}%"


def share(value: float | None, digits: int = 3) -> str:
    """0.71421 → `0.714`."""
    return NONE if value is None else f"{value:.{digits}f}"


def count(value: float | None) -> str:
    """1234567 → `1 234 567`."""
    return NONE if value is None else f"{value:,.0f}".replace(",", _THIN)


def large(value: float | None) -> str:
    """1234567 → `1.23 M`; three significant digits."""
    if value is None:
        return NONE
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{_THIN}{unit}"
    return f"{value:.0f}"


def measure(value: float | None, unit: str) -> str:
    """Three significant digits with a unit: 0.8123, `ms` → `0.812 ms`."""
    if value is None:
        return NONE
    digits = 0 if value >= 99.5 else 1 if value >= 9.95 else 2
    return f"{value:.{digits}f}{_THIN}{unit}"


def plain(value: float | None) -> str:
    """Four significant digits without trailing zeros: 200.0 → `200`."""
    return NONE if value is None else f"{value:.4g}"


def plural(value: int, one: str, many: str) -> str:
    """1, face, faces → `1 face`."""
    return f"{count(value)} {one if value == 1 else many}"


_QUALITY = 90
"""WebP quality: no visible artefacts on small faces, a quarter of a PNG's bytes."""
_TYPES = {".webp": "image/webp", ".png": "image/png", ".jpg": "image/jpeg"}


def data_uri(image: Image) -> str:
    """Encode a picture, uint8 [h, w, 3] RGB, as a WebP data URI."""
    from PIL import Image as Pillow

    buffer = io.BytesIO()
    Pillow.fromarray(image).save(buffer, format="WEBP", quality=_QUALITY, method=4)
    return _uri("image/webp", buffer.getvalue())


def prepared_uri(root: Path, path: str) -> str | None:
    """Encode the prepared picture at a path of the manifest; None if the file does not exist.

    Raises:
        DataError: the file is damaged.
    """
    place = root / paths.PREPARED / path
    return data_uri(read_pictures([place])[0]) if place.exists() else None


def file_uri(path: Path) -> str | None:
    """Encode a picture file without change; None if it does not exist."""
    try:
        return _uri(_TYPES[path.suffix], path.read_bytes())
    except FileNotFoundError:
        return None


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
