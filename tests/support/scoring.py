"""Folders of pictures to score, and scorers with a small real model."""

from __future__ import annotations

from pathlib import Path

from serving.detection.image_reader import FacesMode
from serving.inference.admission import admit
from serving.score.scorer import Scorer
from serving.settings import Settings
from tests.support.http_service import picture_of
from tests.support.onnx_models import CLASSES
from tests.support.serving_models import cached_folder


def pictures_in(folder: Path, count: int) -> Path:
    """`count` pictures named by their number, each of the class number modulo the classes."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [picture_of(index) for index in range(len(CLASSES))]
    for number in range(count):
        (folder / f"{number:05}.png").write_bytes(files[number % len(files)])
    return folder


def scorer_in(
    folder: Path, *, version: int = 1, faces: FacesMode = "none", embedding: bool = False
) -> Scorer:
    """A scorer whose model lies in `folder`; each version has weights of its own."""
    model = folder / f"model-{version}"
    if not model.exists():
        cached_folder(model, version=str(version), seed=version - 1)
    live = admit(model, threads=1, max_batch=16)
    return Scorer.configured(Settings(), live, faces=faces, embedding=embedding)
