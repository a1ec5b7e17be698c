"""What decides the outcome of a training run, as one key: a checkpoint is used by no other run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipelines.core.dataset import Dataset
from pipelines.core.io import sha256_of
from pipelines.core.params import Params
from pipelines.training.checkpoint import checkpoint_key

_CODE = Path(__file__).parents[1]


def run_key(name: str, params: Params, *, dataset: Dataset, origin: Mapping[str, Any], weights: Path) -> str:
    """Hash of data, seed, parameters, pretrained weights, source code and library versions.

    Args:
        name: of the architecture.
        params: all parameters; those of other stages and architectures do not count.
        dataset: what `prepare` made.
        origin: content of `origin.json`.
        weights: the folder that lies in.
    """
    inputs = {
        **asdict(dataset),
        "seed": params.seed,
        "origin": dict(origin),
        "weights": _content(weights, origin["file"]),
        **params.model_dump(mode="json", include={"training", "augmentation", "head"}),
        "model": params.model(name).model_dump(mode="json"),
        "libraries": [version("keras"), version("tensorflow")],
    }
    return checkpoint_key(inputs, _sources(name))


def _sources(name: str) -> list[Path]:
    return [
        *(_CODE / f"{module}.py" for module in ("train", "classifier", "pretrained")),
        *(_CODE / "training").glob("*.py"),
        *(_CODE / "architectures").glob("_*.py"),
        _CODE / "architectures" / f"{name}.py",
    ]


def _content(folder: Path, file: str | None) -> list[str]:
    if file is None:
        return []
    path = folder / file
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [sha256_of(item) for item in files if item.is_file()]
