"""Pixels and picture files as data URIs: the report asks for nothing outside itself."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from pipelines.core import paths
from pipelines.export.pictures import read_pictures
from serving.contract.arrays import Image

_QUALITY = 90
"""Of small faces as WebP: no artefact can be seen, a quarter of a PNG's bytes."""
_TYPES = {".webp": "image/webp", ".png": "image/png", ".jpg": "image/jpeg"}


def data_uri(image: Image) -> str:
    """Encode uint8 [h, w, 3] RGB."""
    from PIL import Image as Pillow

    buffer = io.BytesIO()
    Pillow.fromarray(image).save(buffer, format="WEBP", quality=_QUALITY, method=4)
    return _uri("image/webp", buffer.getvalue())


def prepared_uri(root: Path, path: str) -> str | None:
    """A prepared picture by its path in the manifest; None when it is not there.

    Raises:
        DataError: it is damaged.
    """
    place = root / paths.PREPARED / path
    return data_uri(read_pictures([place])[0]) if place.exists() else None


def file_uri(path: Path) -> str | None:
    """A picture file as it is; None when it is not there."""
    try:
        return _uri(_TYPES[path.suffix], path.read_bytes())
    except FileNotFoundError:
        return None


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
