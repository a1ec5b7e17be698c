"""Who is drawn: everything about a face that stays when its expression goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sample_faces.shapes import SHAPES

HairStyle = Literal[
    "bald",
    "receding",
    "short",
    "crop",
    "part",
    "fringe",
    "long",
    "bob",
    "wave",
    "curly",
    "bun",
    "scarf",
    "beanie",
]
Beard = Literal["none", "stubble", "moustache", "goatee", "full"]
Colour = tuple[float, float, float]
"""Red, green, blue in 0–255."""

SKIN_TONES = (
    (248, 225, 208), (243, 211, 187), (235, 196, 164), (224, 177, 141), (205, 156, 118),
    (178, 128, 93), (150, 104, 75), (124, 84, 61), (99, 68, 51), (80, 56, 45),
)  # fmt: skip
"""RGB, from the lightest to the darkest of ten, after the Monk Skin Tone scale (Monk, 2019), warmed."""
_DARK_HAIR = ((26, 23, 24), (38, 29, 26), (58, 40, 31))
_HAIR = (
    *_DARK_HAIR, (92, 60, 40), (120, 70, 40), (158, 112, 64), (204, 166, 106), (226, 196, 142),
    (154, 74, 38), (182, 98, 52),
)  # fmt: skip
_GRAY = ((128, 126, 126), (176, 174, 172), (216, 213, 208))
_EYES = ((62, 38, 24), (86, 54, 32), (112, 82, 46), (98, 112, 70), (92, 126, 150), (120, 138, 146))
_CLOTH = (
    (52, 62, 84), (120, 44, 48), (58, 92, 74), (210, 204, 192), (38, 38, 42), (150, 116, 70),
    (92, 76, 120), (70, 118, 150), (196, 132, 120), (134, 140, 146),
)  # fmt: skip
_LIGHTEST_BROW = 118.0
"""Brightest channel (0–255) of a brow."""
_SOFT_STYLES: tuple[HairStyle, ...] = (
    "long", "long", "bob", "bob", "wave", "wave", "fringe", "bun", "curly", "crop", "scarf", "beanie",
)  # fmt: skip
_STRONG_STYLES: tuple[HairStyle, ...] = (
    "short", "short", "short", "part", "part", "crop", "fringe", "curly", "bald", "receding", "long",
    "beanie",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Identity:
    """One person."""

    shape: NDArray[np.float32]
    """float32 [len(SHAPES)], about standard normal."""
    skin: Colour
    lips: Colour
    hair: Colour
    brow: Colour
    iris: Colour
    cloth: Colour
    style: HairStyle
    hair_volume: float
    """How far hair stands off the skull, face units (half a face's height)."""
    hairline: float
    """How far the hairline sits below (+) or above (−) the usual, face units."""
    hair_side: int
    """−1 or 1: the side of the parting."""
    texture: int
    """Which of the noise textures the hair and skin use."""
    brow_thickness: float
    """1 = average."""
    beard: Beard
    beard_density: float
    age: float
    """0 (young, no lines) to 1 (deep lines)."""
    freckles: float
    glasses: bool
    glasses_round: bool
    lashes: float
    """Weight of the lash line, 1 = average."""
    make_up: float
    """How much the lips are coloured, 0–1."""


def draw_identity(rng: np.random.Generator, *, glasses_share: float) -> Identity:
    """Draw a person.

    Args:
        rng: every person takes the same number of draws for a given look.
        glasses_share: chance (0–1) of wearing glasses.
    """
    soft = rng.random() < 0.5
    age = float(rng.beta(1.1, 1.8))
    tone = float(rng.beta(0.9, 1.1)) * (len(SKIN_TONES) - 1)
    skin = _jitter(_between(SKIN_TONES, tone), 5, rng)
    hair = _draw_hair(tone, age, rng)
    make_up = float(rng.random() ** 2) if soft and rng.random() < 0.6 else 0.0
    styles = _SOFT_STYLES if soft else _STRONG_STYLES
    style = styles[rng.integers(len(styles))]
    return Identity(
        shape=_draw_shape(soft, rng),
        skin=skin,
        lips=_lip_colour(skin, make_up, rng),
        hair=hair,
        brow=_brow_colour(hair, skin),
        iris=_draw_iris(tone, rng),
        cloth=_jitter(_CLOTH[rng.integers(len(_CLOTH))], 10, rng),
        style=style,
        hair_volume=float(rng.uniform(0.03, 0.12)),
        hairline=float(rng.normal(0, 0.03)),
        hair_side=1 if rng.random() < 0.5 else -1,
        texture=int(rng.integers(4)),
        brow_thickness=float(np.clip(rng.normal(0.9 if soft else 1.25, 0.25), 0.5, 1.9)),
        beard=_draw_beard(soft, rng),
        beard_density=float(rng.uniform(0.6, 0.95)),
        age=age,
        freckles=float(rng.random() < 0.12) * float(tone < 4),
        glasses=bool(rng.random() < glasses_share),
        glasses_round=bool(rng.random() < 0.5),
        lashes=float(rng.uniform(1.0, 1.8) if soft else rng.uniform(0.5, 1.0)),
        make_up=make_up,
    )


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """`first` with a share (0–1) of `second`."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def _draw_shape(soft: bool, rng: np.random.Generator) -> NDArray[np.float32]:
    shape = np.clip(rng.normal(0, 0.8, len(SHAPES)), -1.8, 1.8)
    sign = -1 if soft else 1
    for name, mean in {"jaw_width": 0.6, "chin_length": 0.3, "brow_height": -0.4, "eye_size": -0.4}.items():
        shape[list(SHAPES).index(name)] += sign * mean
    return shape.astype(np.float32)


def _draw_hair(tone: float, age: float, rng: np.random.Generator) -> Colour:
    usual = _DARK_HAIR if tone > 4.5 else _HAIR
    colour = usual[rng.integers(len(usual))]
    grizzled = _GRAY[rng.integers(len(_GRAY))]
    is_gray = rng.random() < max(0.0, 1.6 * age - 0.5)
    return _jitter(grizzled if is_gray else colour, 6, rng)


def _draw_iris(tone: float, rng: np.random.Generator) -> Colour:
    usual = _EYES[:2] if tone > 4.5 else _EYES
    return _jitter(usual[rng.integers(len(usual))], 6, rng)


def _draw_beard(soft: bool, rng: np.random.Generator) -> Beard:
    kinds: tuple[Beard, ...] = ("none", "stubble", "moustache", "goatee", "full")
    kind = kinds[rng.choice(len(kinds), p=(0.5, 0.18, 0.08, 0.08, 0.16))]
    return "none" if soft else kind


def _lip_colour(skin: Colour, make_up: float, rng: np.random.Generator) -> Colour:
    natural = mixed(skin, (168, 74, 78) if skin[0] > 150 else (118, 56, 58), 0.5)
    return _jitter(mixed(natural, (172, 34, 56), 0.7 * make_up), 5, rng)


def _brow_colour(hair: Colour, skin: Colour) -> Colour:
    # Brows are darker than light hair, and never as light as the skin behind them.
    share = min(0.75, _LIGHTEST_BROW / max(hair))
    red, green, blue = hair
    return mixed((red * share, green * share, blue * share), skin, 0.12)


def _between(palette: tuple[Colour, ...], position: float) -> Colour:
    low = min(int(position), len(palette) - 2)
    return mixed(palette[low], palette[low + 1], position - low)


def _jitter(colour: Colour, spread: float, rng: np.random.Generator) -> Colour:
    # Mostly lighter or darker, a little of another hue.
    moved = np.asarray(colour) + rng.normal(0, spread) + rng.normal(0, 0.3 * spread, 3)
    red, green, blue = np.clip(moved, 8, 250).tolist()
    return red, green, blue
