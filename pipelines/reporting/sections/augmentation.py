"""What the network sees of a training picture, epoch after epoch."""

from __future__ import annotations

import numpy as np

from pipelines.core import paths
from pipelines.explain.selection import Pick, spread
from pipelines.export.pictures import read_pictures
from pipelines.report.formatting import data_uri
from pipelines.report.inputs import Inputs
from pipelines.report.page import Section, absent
from pipelines.training.augmentation import augment, is_idle, random_transforms
from serving.contract.arrays import Image

_ID, _TITLE, _SHORT = "augmentation", "Augmentation", "Augmentation"
_FACES, _VARIANTS = 4, 7


def section(inputs: Inputs) -> Section:
    """A few training faces, each as it is and as training changes it at random."""
    if inputs.manifest is None:
        return absent(_ID, _TITLE, short=_SHORT, lacks="The manifest", stage="prepare")
    train = inputs.manifest[inputs.manifest["split"] == "train"]
    picks = spread(
        Pick(path=path, label=label, predicted=label, confidence=1.0)
        for path, label in zip(train["path"], train["label"], strict=True)
    )[:_FACES]
    places = [inputs.root / paths.PREPARED / pick.path for pick in picks]
    if not all(place.exists() for place in places):
        return absent(_ID, _TITLE, short=_SHORT, lacks="A prepared picture", stage="prepare")
    settings = inputs.params.augmentation
    rng = np.random.default_rng(inputs.params.seed)
    rows = []
    for pick, face in zip(picks, read_pictures(places), strict=True):
        rows.append(
            {
                "label": pick.label,
                "original": data_uri(face),
                "variants": [data_uri(variant) for variant in _variants(face, inputs, rng)],
            }
        )
    return Section(
        id=_ID,
        title=_TITLE,
        short=_SHORT,
        context={
            "rows": rows,
            "idle": is_idle(settings),
            "flip": settings.flip,
            "degrees": settings.rotation * 360,
            "zoom": settings.zoom,
            "shift": settings.shift,
        },
    )


def _variants(face: Image, inputs: Inputs, rng: np.random.Generator) -> Image:
    height, width = face.shape[:2]
    transforms = random_transforms(
        inputs.params.augmentation, rng, count=_VARIANTS, height=height, width=width
    )
    return augment(np.stack([face] * _VARIANTS), transforms)
