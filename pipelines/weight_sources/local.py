"""Pretrained weights on this machine, best source first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.architectures import Pretrained
from pipelines.core.io import read_json, sha256_of
from pipelines.weight_sources.intact import CHECKPOINT_FILES, problem_with

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
    """What to call it in the stage's output; tells the options it fits."""
    where: str
    """For people."""


def find_local(architecture: str, pretrained: Pretrained, *, output: Path) -> tuple[Found | None, list[str]]:
    """The first whole one of all places, and what was wrong with those before it.

    Args:
        architecture: its name.
        pretrained: what it wants.
        output: the stage's own folder; what lies there already is kept rather than looked for again.
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
        origin = read_json(output / "origin.json")
        path = output / origin["file"]
        name = _stored_name(path, pretrained)
        fits = origin["origin"] == pretrained.origin and origin["reason"] == description(path, name)
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [path] if fits else []


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
    """Which weights these are: the same wherever they were found, so that moving house retrains nothing."""
    tensors = path / CHECKPOINT_FILES[-1] if path.is_dir() else path
    return f"{name}, sha256 {sha256_of(tensors)[:_DIGITS]}"


def repository_of(pretrained: Pretrained) -> str:
    """`ORGANISATION/NAME` of a Hugging Face checkpoint."""
    return (pretrained.checkpoint or "").removeprefix("hf://")


def _stored_name(path: Path, pretrained: Pretrained) -> str:
    """Keras' own name, for it tells the options; but its newer format is read by the ending `.weights.h5`."""
    if pretrained.file is None:
        return repository_of(pretrained).split("/")[-1]
    if path.name.endswith(".weights.h5"):
        return f"{Path(pretrained.file).stem}.weights.h5"
    return pretrained.file
