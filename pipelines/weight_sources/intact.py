"""Whether a weights file is whole, told without reading it as one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

_HDF5 = b"\x89HDF\r\n\x1a\n"
# Where the end-of-file address stands, by superblock version ("HDF5 File Format Specification", II.A).
_END_ADDRESS = {0: 40, 1: 44, 2: 28, 3: 28}
_CHUNK_BYTES = 1 << 20
CHECKPOINT_FILES = ("config.json", "model.safetensors")
"""What a Hugging Face checkpoint must have, the tensors last."""
OPTIONAL_FILES = ("preprocessor_config.json",)
"""What it may have: without it the usual scaling holds."""


def problem_with(path: Path, *, md5: str | None = None) -> str | None:
    """What is wrong with a weights file or checkpoint folder; None: nothing.

    Args:
        path: a Keras weights file (HDF5), or a folder with `CHECKPOINT_FILES`.
        md5: the published hash, of a file only.
    """
    try:
        if path.is_dir():
            return _problem_with_checkpoint(path)
        return _problem_with_hdf5(path) or _problem_with_hash(path, md5)
    except OSError as error:
        return f"{path}: {error.strerror or error}"


def _problem_with_hdf5(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(64)
    if len(head) < 64 or not head.startswith(_HDF5) or head[8] not in _END_ADDRESS:
        return f"{path} is no HDF5 file"
    start = _END_ADDRESS[head[8]]
    expected = int.from_bytes(head[start : start + 8], "little")
    size = path.stat().st_size
    return f"{path} is truncated: {size} of {expected} bytes" if size < expected else None


def _problem_with_hash(path: Path, md5: str | None) -> str | None:
    if md5 is None:
        return None
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    got = digest.hexdigest()
    return f"{path} has MD5 {got}, published is {md5}" if got != md5 else None


def _problem_with_checkpoint(folder: Path) -> str | None:
    for name in CHECKPOINT_FILES:
        if not (folder / name).is_file():
            return f"{folder} has no {name}"
    tensors = folder / "model.safetensors"
    with tensors.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        # The format's own limit on the header.
        header = file.read(min(length, 100_000_000))
    try:
        entries = json.loads(header)
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{tensors} is no safetensors file"
    size, expected = tensors.stat().st_size, 8 + length + max(ends, default=0)
    return f"{tensors} is truncated: {size} of {expected} bytes" if size < expected else None
