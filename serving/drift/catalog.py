"""Columns that drift compares: the name of each for people, what it is, and the values that it can have.

`/drift` and the page show these texts; docs/drift.md has the same names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class ColumnMeaning:
    """What one column means."""

    label: str
    """Name of the column for people; without a comma, since names stand in lists."""
    explanation: str
    """What the column measures, and what changes it: one or two sentences."""
    minimum: float | None = None
    """Smallest possible value, for `predicted` of a share; None without a bound."""
    maximum: float | None = None
    """Largest possible value; None without a bound."""


MEANINGS: Mapping[str, ColumnMeaning] = MappingProxyType(
    {
        "brightness": ColumnMeaning(
            label="Brightness",
            explanation="How bright the input of the network is, from 0 (black) to 1 (white). "
            "Light and cameras change it.",
            minimum=0.0,
            maximum=1.0,
        ),
        "contrast": ColumnMeaning(
            label="Contrast",
            explanation="How much the brightness varies within the input of the network. "
            "Light and cameras change it.",
            minimum=0.0,
            maximum=0.5,
        ),
        "sharpness": ColumnMeaning(
            label="Sharpness",
            explanation="How much neighbouring pixels of the input of the network differ. "
            "Blur, compression and small faces lower it.",
            minimum=0.0,
        ),
        "face_size": ColumnMeaning(
            label="Size of the face",
            explanation="The shorter side of the part that was cut out for the network, in pixels. "
            "Distance and resolution change it.",
            minimum=0.0,
        ),
        "confidence": ColumnMeaning(
            label="Confidence",
            explanation="The probability of the emotion that was answered. "
            "It falls with pictures that are harder for the model.",
            minimum=0.0,
            maximum=1.0,
        ),
        "entropy": ColumnMeaning(
            label="Doubt (entropy)",
            explanation="How evenly the model spreads its probabilities over the emotions; 0: it is certain. "
            "It rises with pictures that are harder for the model.",
            minimum=0.0,
        ),
        "novelty": ColumnMeaning(
            label="Novelty",
            explanation="How unlike the training pictures a picture is, also if the model is sure.",
        ),
        "predicted": ColumnMeaning(
            label="Emotions",
            explanation="How often each emotion is answered.",
            minimum=0.0,
            maximum=1.0,
        ),
    }
)
"""Column → its meaning, except for the directions of the embedding, which `meaning_of` describes.

The bounds are those of `serving.contract.preprocessing` and `serving.observations.records`.
"""
_DIRECTION = re.compile(r"embedding_([1-9]\d*)")


def meaning_of(name: str) -> ColumnMeaning:
    """Return what a column means; of an unknown one, as in the result of a later release, only a label."""
    if direction := _DIRECTION.fullmatch(name):
        return ColumnMeaning(
            label=f"Network features (direction {direction[1]})",
            explanation="The network turns a face into a long list of numbers, its features. "
            "They are compared along the directions in which the pictures of the test split differ most from "
            "each other, direction 1 first. A change means that faces look different to the network.",
        )
    return MEANINGS.get(name) or ColumnMeaning(
        label=name.replace("_", " ").capitalize(), explanation="This release does not know the column."
    )


def possible(name: str) -> dict[str, float | None]:
    """Return the smallest (`min`) and largest (`max`) possible value of a column; None without a bound."""
    meaning = meaning_of(name)
    return {"min": meaning.minimum, "max": meaning.maximum}
