"""Finds pretrained weights on this machine, best source first, and checks that they are complete."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.architectures import Pretrained
from pipelines.core.errors import ResultCorrupt
from pipelines.core.io import sha256_of
from pipelines.core.model_results import Origin
from pipelines.core.records import read_record

_HDF5 = b"\x89HDF\r\n\x1a\n"
# Where the end-of-file address stands, by superblock version ("HDF5 File Format Specification", II.A).
_END_ADDRESS = {0: 40, 1: 44, 2: 28, 3: 28}
_CHUNK_BYTES = 1 << 20
CHECKPOINT_FILES = ("config.json", "model.safetensors")
"""Required files of a Hugging Face checkpoint, the tensors last."""
OPTIONAL_FILES = ("preprocessor_config.json",)
"""Optional file; without it the default scaling is used."""


def problem_with(path: Path, *, md5: str | None = None) -> str | None:
    """Describe the defect of a weights file or checkpoint folder; None without one.

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
        return f"{path} is not an HDF5 file"
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
        return f"{tensors} is not a safetensors file"
    size, expected = tensors.stat().st_size, 8 + length + max(ends, default=0)
    return f"{tensors} is truncated: {size} of {expected} bytes" if size < expected else None


FOLDER_VARIABLE = "MIEN_WEIGHTS_DIR"
"""Folder of the user's own: `ARCHITECTURE.weights.h5`, Keras' file under its name, or a checkpoint folder."""
# Enough to tell two files apart in a table.
_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Found:
    """Weights that can be used."""

    path: Path
    """A weights file, or the folder of a checkpoint."""
    name: str
    """Name in the stage's output; shows the options that it belongs to."""
    where: str
    """Description for the output."""


def find_local(architecture: str, pretrained: Pretrained, *, output: Path) -> tuple[Found | None, list[str]]:
    """The first complete weights of all places, and the defects of those before.

    Args:
        architecture: its name.
        pretrained: its kind of weights.
        output: the stage's own folder; weights that are there already are kept.
    """
    complaints: list[str] = []
    for found in _candidates(architecture, pretrained, output):
        # A file of the user's own need not be the published one.
        own = found.where == FOLDER_VARIABLE or found.name != pretrained.file
        problem = problem_with(found.path, md5=None if own else pretrained.md5)
        if problem is None:
            return found, complaints
        complaints.append(problem)
    return None, complaints


def _candidates(architecture: str, pretrained: Pretrained, output: Path) -> Iterator[Found]:
    for place, where in (
        *((path, FOLDER_VARIABLE) for path in _in_folder(architecture, pretrained)),
        *((path, "kept from before") for path in _kept(pretrained, output)),
        *((path, "cache") for path in _cached(pretrained)),
    ):
        if place.exists():
            yield Found(path=place, name=_stored_name(place, pretrained), where=where)


def _in_folder(architecture: str, pretrained: Pretrained) -> list[Path]:
    setting = os.environ.get(FOLDER_VARIABLE)
    if not setting:
        return []
    folder = Path(setting).expanduser()
    if pretrained.file is not None:
        return [folder / f"{architecture}.weights.h5", folder / pretrained.file]
    repository = repository_of(pretrained)
    return [folder / architecture, folder / repository, folder / repository.split("/")[-1]]


def _kept(pretrained: Pretrained, output: Path) -> list[Path]:
    try:
        origin = read_record(output / "origin.json", Origin, stage="weights")
        if origin.file is None:
            return []
        path = output / origin.file
        fits = origin.reason == description(path, _stored_name(path, pretrained))
    except (OSError, ValueError, KeyError, TypeError, ResultCorrupt):
        return []
    return [path] if fits and origin.origin == pretrained.origin else []


def _cached(pretrained: Pretrained) -> list[Path]:
    home = Path.home()
    if pretrained.file is not None:
        keras = Path(os.environ.get("KERAS_HOME") or home / ".keras")
        return [keras / "models" / pretrained.file]
    hub = os.environ.get("HF_HUB_CACHE") or (
        Path(os.environ.get("HF_HOME") or home / ".cache" / "huggingface") / "hub"
    )
    repository = Path(hub) / f"models--{repository_of(pretrained).replace('/', '--')}"
    try:
        revision = (repository / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        return []
    return [repository / "snapshots" / revision]


def description(path: Path, name: str) -> str:
    """Identity of the weights: the same at every place, so that moving the files does not retrain."""
    tensors = path / CHECKPOINT_FILES[-1] if path.is_dir() else path
    return f"{name}, sha256 {sha256_of(tensors)[:_DIGITS]}"


def repository_of(pretrained: Pretrained) -> str:
    """`ORGANISATION/NAME` of a Hugging Face checkpoint."""
    return (pretrained.checkpoint or "").removeprefix("hf://")


def _stored_name(path: Path, pretrained: Pretrained) -> str:
    """Keras' file name, which shows the options; its newer format requires the suffix `.weights.h5`."""
    if pretrained.file is None:
        return repository_of(pretrained).split("/")[-1]
    if path.name.endswith(".weights.h5"):
        return f"{Path(pretrained.file).stem}.weights.h5"
    return pretrained.file
