"""The static files of the page in `serving/page`: read once, compressed once, versioned by content.

All files except `index.html` are served under a folder whose name is a hash of all files. So browsers may
cache them without limit, and the modules of one page always belong to the same release.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

INDEX = "index.html"
_FOLDER = "page"
# Placeholders in `index.html`: the folder's name and the list of modules.
_VERSION_MARK, _MODULES_MARK = b"{{version}}", b"{{modules}}"
_VERSION_DIGITS = 16
_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "jpg": "image/jpeg",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml; charset=utf-8",
}
_COMPRESSED = frozenset({"css", "html", "js", "svg"})


@dataclass(frozen=True, kw_only=True, slots=True)
class PageFile:
    """One file, ready to send."""

    body: bytes
    gzipped: bytes | None
    """The body compressed with gzip; None for formats that are compressed already."""
    media_type: str
    etag: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PageFiles:
    """All files of one release of the page."""

    version: str
    """Hash of all files; name of the folder under which they are served."""
    index: PageFile
    others: Mapping[str, PageFile]
    """All files except the index, by path inside the folder."""


@cache
def page_files() -> PageFiles:
    """Read the files of this installation."""
    found = dict(sorted(_read(files("serving") / _FOLDER)))
    index = found.pop(INDEX)
    version = _digest(index, *(part for name, body in found.items() for part in (name.encode(), body)))
    modules = "\n".join(
        f'<link rel="modulepreload" href="page/{version}/{name}">' for name in found if name.endswith(".js")
    )
    index = index.replace(_MODULES_MARK, modules.encode()).replace(_VERSION_MARK, version.encode())
    return PageFiles(
        version=version,
        index=_page_file(INDEX, index),
        others={name: _page_file(name, body) for name, body in found.items()},
    )


def _read(folder: Traversable, prefix: str = "") -> list[tuple[str, bytes]]:
    found = []
    for item in folder.iterdir():
        if item.is_dir():
            found += _read(item, f"{prefix}{item.name}/")
        elif _suffix(item.name) in _TYPES:
            found.append((prefix + item.name, item.read_bytes()))
    return found


def _page_file(name: str, body: bytes) -> PageFile:
    kind = _suffix(name)
    return PageFile(
        body=body,
        # mtime 0: every worker compresses the same file to the same bytes.
        gzipped=gzip.compress(body, mtime=0) if kind in _COMPRESSED else None,
        media_type=_TYPES[kind],
        # Weak: compressed and plain bytes share it.
        etag=f'W/"{_digest(body)}"',
    )


def _suffix(name: str) -> str:
    return name.rpartition(".")[2]


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:_VERSION_DIGITS]
