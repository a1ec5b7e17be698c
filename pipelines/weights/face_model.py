"""YuNet's file, with which the service finds faces: found on this machine or downloaded, never shipped.

`weights/face_model/` is an output of the stage `weights`; `register` packages it with the model version, so
that a service that follows the registry has it without any setting. The image build calls this file by its
path (deploy/docker/serving.Dockerfile), so it needs the standard library and `serving.contract` only:

    python pipelines/weights/face_model.py FOLDER
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from serving.contract.faces import FACE_MODEL_VARIABLE, YUNET_FILE, YUNET_SHA256

REVISION = "3cc26e7f1014a5ee5d74a42acee58bafc9d0a310"
"""Commit of huggingface.co/opencv/face_detection_yunet that has the file."""
LICENSE_FILE = "face_detection_yunet_LICENSE.txt"
LICENSE = """\
MIT License

Copyright (c) 2020 Shiqi Yu <shiqi.yu@gmail.com>

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES
OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
"""Of YuNet's file (OpenCV Zoo, models/face_detection_yunet/LICENSE); it goes wherever the file goes."""

# The file has 232,589 bytes.
_MAX_BYTES = 1_000_000
_POINTER = b"version https://git-lfs.github.com/spec/"
_TIMEOUT_S = 10.0


class FaceModelUnavailable(Exception):
    """YuNet's file is not available; the message says why, place by place, in one line."""


def addresses() -> tuple[str, str]:
    """Where the file is published: the Hugging Face hub (or its mirror HF_ENDPOINT), the Zoo on GitHub."""
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    return (
        f"{hub}/opencv/face_detection_yunet/resolve/{REVISION}/{YUNET_FILE}",
        # Plain file addresses there answer with a pointer of Git LFS.
        f"https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/{YUNET_FILE}",
    )


def cached_face_model() -> Path:
    """The copy for all projects of this user; it need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mien" / YUNET_FILE


def find_face_model(places: Iterable[Path]) -> tuple[Path | None, list[str]]:
    """The first place that has the official file, and what is wrong with the files before it.

    Args:
        places: files to look at before the user's cache; those that do not exist are passed over.
    """
    setting = os.environ.get(FACE_MODEL_VARIABLE)
    complaints = []
    for place in (*([Path(setting)] if setting else []), *places, cached_face_model()):
        try:
            data = place.read_bytes()
        except OSError as error:
            if setting and place == Path(setting):
                complaints.append(f"{FACE_MODEL_VARIABLE}={place}: {error.strerror}")
            continue
        problem = _problem(data)
        if problem is None:
            return place, complaints
        complaints.append(f"{place} {problem}")
    return None, complaints


def download_face_model(urls: Iterable[str], *, timeout_s: float) -> Path:
    """Download the file into the user's cache and return its path.

    Args:
        urls: addresses, tried in order.
        timeout_s: for the connection and for every pause within the answer.

    Raises:
        FaceModelUnavailable: no address gave the official file, or the cache cannot be written.
    """
    reasons = []
    for data, reason in _answers(urls, timeout_s):
        if data is None:
            reasons.append(reason)
            continue
        path = cached_face_model()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}-{os.getpid()}")
            partial.write_bytes(data)
            partial.replace(path)
        except OSError as error:
            raise FaceModelUnavailable(f"{path} cannot be written: {error.strerror}") from error
        return path
    raise FaceModelUnavailable("; ".join(reasons) or "no address is left to try")


def _answers(urls: Iterable[str], timeout_s: float) -> Iterator[tuple[bytes | None, str]]:
    """The official bytes, or None and what an address gave instead."""
    for url in urls:
        try:
            with urlopen(url, timeout=timeout_s) as answer:  # noqa: S310 - https, or the mirror that the user names
                data = answer.read(_MAX_BYTES + 1)
        except (OSError, HTTPException, ValueError) as error:
            if isinstance(error, HTTPError):
                error.close()
            yield None, f"{url}: {error}"
            continue
        problem = _problem(data)
        yield (data, "") if problem is None else (None, f"{url} {problem}")


def _problem(data: bytes) -> str | None:
    if data.startswith(_POINTER):
        return "is a pointer of Git LFS, not the file"
    if len(data) > _MAX_BYTES:
        return f"has more than {_MAX_BYTES} bytes, expected {YUNET_FILE}"
    got = hashlib.sha256(data).hexdigest()
    return None if got == YUNET_SHA256 else f"has the sha256 {got}, expected {YUNET_SHA256}"


def copy_face_model(source: Path, folder: Path) -> None:
    """Copy the file and its licence into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / YUNET_FILE).write_bytes(source.read_bytes())
    (folder / LICENSE_FILE).write_text(LICENSE, encoding="utf-8")


def main() -> None:
    """Put the file into a folder; without a network say loudly that it is missing and succeed."""
    folder = Path(sys.argv[1])
    path, reasons = find_face_model(())
    if path is None:
        try:
            path = download_face_model(addresses(), timeout_s=_TIMEOUT_S)
        except FaceModelUnavailable as error:
            reasons.append(str(error))
    if path is not None:
        copy_face_model(path, folder)
        print(f"{folder / YUNET_FILE}: YuNet finds the faces")
        return
    folder.mkdir(parents=True, exist_ok=True)
    rule = "=" * 100
    print(
        rule,
        "WARNING: built WITHOUT YuNet: Haar's cascade finds the faces, slower and fewer of them, until a",
        f"model version brings {YUNET_FILE} or {FACE_MODEL_VARIABLE} names it.",
        *reasons,
        rule,
        sep="\n",
    )


if __name__ == "__main__":
    main()
