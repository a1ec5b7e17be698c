"""Folders of model versions as `register` packages them, for registries of benchmarks."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipelines.core.paths import FACE_MODEL
from pipelines.weights.face_model import find_face_model
from serving.contract.faces import YUNET_FILE


def write_package(model: Path, folder: Path) -> Path:
    """Write a folder with a network and YuNet's file, if it is here; returns the folder.

    There is no reference, so the service computes no drift. Without YuNet it finds faces with Haar's cascade.
    """
    folder.mkdir(parents=True)
    shutil.copyfile(model, folder / "model.onnx")
    yunet, _ = find_face_model([FACE_MODEL / YUNET_FILE])
    if yunet is not None:
        shutil.copyfile(yunet, folder / YUNET_FILE)
    return folder
