"""A model version as the soak test registers it: a package with a reference, so that drift is computed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.packages import write_package
from pipelines.core.reference import reference_table, write_reference
from sample_faces.dataset import SampleSpec, Shot, draw_image, plan_shots
from serving.contract import image_statistics, preprocess
from serving.drift.data import REFERENCE
from serving.inference.onnx_classifier import OnnxClassifier

# The sample's people are 0–1399; these were never drawn for it.
_FIRST_PERSON, _PEOPLE, _PER_PERSON = 15_000, 30, 7
_SEED = 20


def write_version(model: Path, folder: Path) -> Path:
    """Write the files of one version; returns their folder."""
    write_package(model, folder)
    _write_reference(OnnxClassifier.open(model), folder / REFERENCE)
    return folder


def _write_reference(classifier: OnnxClassifier, path: Path) -> None:
    """What the model answers to drawn faces; those of a class that it does not know are left out."""
    contract = classifier.contract
    drawn = {shot: image for shot, image in _drawn().items() if shot.label in contract.classes}
    inputs = np.stack([preprocess(image, contract.input) for image in drawn.values()])
    statistics = [image_statistics(image) for image in inputs]
    rows = pd.DataFrame(
        {
            "path": [shot.name for shot in drawn],
            "group": [f"id{shot.identity}" for shot in drawn],
            "label": [shot.label for shot in drawn],
            "width": [image.shape[1] for image in drawn.values()],
            "height": [image.shape[0] for image in drawn.values()],
            **{
                name: [getattr(one, name) for one in statistics]
                for name in ("brightness", "contrast", "sharpness")
            },
        }
    )
    answers = classifier.predict(inputs)
    whole = contract.input.crop == "none"
    write_reference(path, reference_table(rows, answers, contract.classes, whole=whole))


@cache
def _drawn() -> Mapping[Shot, NDArray[np.uint8]]:
    """One picture of each emotion of each person, drawn once for all versions."""
    spec = SampleSpec(
        per_class=_PEOPLE,
        seed=_SEED,
        identities=(_FIRST_PERSON, _FIRST_PERSON + _PEOPLE - 1),
        per_person=_PER_PERSON,
    )
    return {shot: draw_image(spec, shot) for shot in plan_shots(spec)}
