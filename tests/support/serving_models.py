"""Models as the service finds them: folders in its cache, and versions in a registry.

A flat picture of brightness `LEVELS[i]` is class i; with the levels exchanged a model says other things,
so that a test can tell which of two models answered.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from mlflow import MlflowClient
from numpy.typing import NDArray

from serving.contract import ModelContract
from serving.inference.model_slot import ModelIdentity, write_identity
from serving.inference.onnx_classifier import OnnxClassifier
from tests.support.onnx_models import CLASSES, Novelty, brightness_levels, write_model

LEVELS = brightness_levels(len(CLASSES))
NAME = "emotion"


class FolderOptions(TypedDict, total=False):
    """The keywords of `model_folder`, for what passes them on."""

    seed: int
    levels: Sequence[float]
    contract: ModelContract | None
    self_test: bool
    fails_above: float | None
    endless_above: float | None
    external: str | None
    novelty: Novelty


def flat(index: int, *, count: int = 1, side: int = 16) -> NDArray[np.uint8]:
    """Pictures of class `index`, [count, side, side, 3]."""
    return np.full((count, side, side, 3), round(LEVELS[index] * 255), np.uint8)


def model_folder(
    folder: Path,
    *,
    seed: int = 0,
    levels: Sequence[float] = LEVELS,
    contract: ModelContract | None = None,
    self_test: bool = True,
    fails_above: float | None = None,
    endless_above: float | None = None,
    external: str | None = None,
    novelty: Novelty = "sound",
) -> Path:
    """What is registered: `model.onnx` and `selftest.npz`; returns the folder."""
    path = write_model(
        folder / "model.onnx",
        contract=contract,
        levels=levels,
        seed=seed,
        fails_above=fails_above,
        endless_above=endless_above,
        external=external,
        novelty=novelty,
    )
    if self_test and endless_above is None and external is None:
        classifier = OnnxClassifier.open(path)
        spec = classifier.contract.input
        images = np.concatenate([flat(index, side=spec.height) for index in range(len(levels))])
        arrays: dict[str, Any] = classifier.predict(images).arrays()
        np.savez_compressed(folder / "selftest.npz", image=images, **arrays)
    return folder


def cached_folder(
    folder: Path, *, version: str = "1", sha256: str | None = None, **options: Unpack[FolderOptions]
) -> Path:
    """As the follower leaves it, with its identity."""
    model_folder(folder, **options)
    identity = ModelIdentity(
        name=NAME,
        version=version,
        sha256=sha256 or sha256_of(folder),
        source=f"models:/{NAME}/{version}",
    )
    write_identity(folder, identity)
    return folder


def sha256_of(folder: Path) -> str:
    """Of the folder's model."""
    return hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()


class FilledRegistry:
    """A real MLflow store with versions in it."""

    def __init__(self, uri: str, artifacts: Path) -> None:
        self.uri = uri
        self.artifacts = artifacts
        self.client = MlflowClient(tracking_uri=uri)
        self.client.create_registered_model(NAME)

    def add(
        self,
        *,
        tagged: bool = True,
        sha256: str | None = None,
        run_id: str | None = None,
        **options: Unpack[FolderOptions],
    ) -> str:
        """Register a version; `sha256` is what the registry gets, the file's own without it."""
        folder = self.artifacts / f"v{len(list(self.artifacts.glob('*')))}"
        model_folder(folder, **options)
        tags = {"architecture": "lenet", "weights": "scratch", "dataset": "5" * 64, "git_commit": "c" * 40}
        if tagged:
            tags["sha256"] = sha256 or sha256_of(folder)
        made = self.client.create_model_version(NAME, source=folder.as_uri(), run_id=run_id, tags=tags)
        return str(made.version)

    def promote(self, version: str, alias: str = "production") -> None:
        """Point the alias at a version."""
        self.client.set_registered_model_alias(NAME, alias, version)

    def demote(self, alias: str = "production") -> None:
        """Remove the alias."""
        self.client.delete_registered_model_alias(NAME, alias)


def copied(folder: Path, to: Path) -> Path:
    """The folder's files laid over those in `to`."""
    shutil.copytree(folder, to, dirs_exist_ok=True)
    return to
