"""Facial action units, and which of them make an expression.

Ekman & Friesen, 1978, "Facial Action Coding System" (FACS) names the movements; the same authors' EMFACS
(Friesen & Ekman, 1983, "EMFACS-7: Emotional Facial Action Coding System", unpublished manual) says which of
them signal an emotion. Accompanying units follow the variants in Ekman, Friesen & Hager, 2002, "FACS
Investigator's Guide".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")

ACTION_UNITS: Mapping[int, str] = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    14: "dimpler",
    15: "lip corner depressor",
    16: "lower lip depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    25: "lips part",
    26: "jaw drop",
    43: "eyes closed",
}

PROTOTYPES: Mapping[str, tuple[int, ...]] = {
    "angry": (4, 5, 7, 23),
    "disgust": (9, 15, 16),
    "fear": (1, 2, 4, 5, 7, 20, 26),
    "happy": (6, 12),
    "neutral": (),
    "sad": (1, 4, 15),
    "surprise": (1, 2, 5, 26),
}
"""EMFACS: the action units of each emotion."""

ACCOMPANYING: Mapping[str, Mapping[int, float]] = {
    "angry": {17: 0.3, 10: 0.2},
    "disgust": {25: 0.5, 10: 0.4, 17: 0.2},
    "fear": {25: 0.6},
    "happy": {25: 0.7, 26: 0.2},
    "neutral": {},
    "sad": {17: 0.5, 7: 0.2},
    "surprise": {25: 0.6},
}
"""Units often seen with an emotion, and how often (0–1); they scale with its intensity."""

_NOISE: Mapping[int, float] = {
    1: 0.25, 2: 0.25, 4: 0.25, 5: 0.1, 6: 0.15, 7: 0.2, 9: 0.06, 10: 0.1, 12: 0.25,
    14: 0.2, 15: 0.15, 16: 0.08, 17: 0.2, 20: 0.08, 23: 0.15, 25: 0.3, 26: 0.12, 43: 0.15,
}  # fmt: skip
"""How often (0–1) a unit twitches in a face that means nothing by it."""

_NOISE_PEAK = 0.22
"""Upper end of such a twitch, on the scale of intensities (1 = the strongest a face can do)."""

_FREE = 0.2
"""How often (0–1) a unit is active in a freely drawn expression."""

Clarity = Literal["clear", "subtle"]
"""How strongly emotions tend to show."""
CLARITIES: tuple[Clarity, ...] = ("clear", "subtle")
_SHAPES: Mapping[Clarity, tuple[float, float]] = {"clear": (2.4, 0.9), "subtle": (1.7, 1.15)}
"""Parameters of the beta distributions of intensities: medians 0.80 and 0.64."""

_FULL, _BARE = 1.0, 0.08
"""Intensities: FACS level E (maximum), and less than level A (trace)."""

_INDEX = {unit: index for index, unit in enumerate(ACTION_UNITS)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Expression:
    """How far each action unit is pulled."""

    activation: NDArray[np.float32]
    """float32 [action units, 2] in 0–1: image-left and image-right half, rows as in ACTION_UNITS."""

    def side(self, unit: int) -> tuple[float, float]:
        """Activation of one unit on the image-left and image-right half, 0–1."""
        left, right = self.activation[_INDEX[unit]]
        return float(left), float(right)


def unit_index(unit: int) -> int:
    """Row of an action unit in `Expression.activation`."""
    return _INDEX[unit]


def express(units: Mapping[int, float]) -> Expression:
    """Build a symmetric expression from action units and their intensities (0–1)."""
    activation = np.zeros((len(ACTION_UNITS), 2), np.float32)
    for unit, intensity in units.items():
        activation[_INDEX[unit]] = intensity
    return Expression(activation=activation)


def draw_intensity(rng: np.random.Generator, clarity: Clarity = "subtle") -> float:
    """Draw how strongly an emotion shows: from barely visible to full, often clear."""
    return float(_BARE + (_FULL - _BARE) * rng.beta(*_SHAPES[clarity]))


def draw_expression(label: str, intensity: float, rng: np.random.Generator) -> Expression:
    """Draw one showing of an emotion.

    Every call takes the same number of draws from `rng` for every class: with `intensity` 0 every
    class gives the face that `neutral` gives.

    Args:
        label: one of CLASSES.
        intensity: 0 (not at all) to 1 (full).
        rng: source of the asymmetry, of accompanying units and of unrelated twitches.
    """
    count = len(ACTION_UNITS)
    pull, chance, asymmetry, twitch, strength = rng.random((5, count)).astype(np.float32)
    activation = np.zeros(count, np.float32)
    for unit in PROTOTYPES[label]:
        activation[_INDEX[unit]] = intensity * (0.75 + 0.25 * pull[_INDEX[unit]])
    for unit, likelihood in ACCOMPANYING[label].items():
        if chance[_INDEX[unit]] < likelihood:
            activation[_INDEX[unit]] = intensity * (0.3 + 0.6 * pull[_INDEX[unit]])
    rate = np.fromiter((_NOISE[unit] for unit in ACTION_UNITS), np.float32, count)
    activation += np.where(twitch < rate, _NOISE_PEAK * strength, 0.0)
    # Posed and felt expressions differ a little between the halves (FACS codes them apart).
    tilt = (asymmetry - 0.5) * 0.3
    both = np.stack([activation * (1 - tilt), activation * (1 + tilt)], axis=1)
    return Expression(activation=np.clip(both, 0, 1).astype(np.float32))


def draw_free_expression(rng: np.random.Generator) -> Expression:
    """Draw action units independently of each other: faces of no emotion in particular.

    Each unit is active in a fifth of the faces: on average three or four of the eighteen are, as in an
    emotion's prototype; the halves differ as those of `draw_expression`.
    """
    count = len(ACTION_UNITS)
    active, strength, asymmetry = rng.random((3, count)).astype(np.float32)
    activation = np.where(active < _FREE, strength, 0.0)
    tilt = (asymmetry - 0.5) * 0.3
    both = np.stack([activation * (1 - tilt), activation * (1 + tilt)], axis=1)
    return Expression(activation=np.clip(both, 0, 1).astype(np.float32))
