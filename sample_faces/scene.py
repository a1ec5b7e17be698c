"""Under what circumstances somebody is seen: pose, light, framing, background, camera, things in the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sample_faces.light import Light
from sample_faces.pose import Pose

Occluder = Literal["none", "hand", "strand", "mask", "bar"]
_OCCLUDED = 0.10
"""Share of images with something in the way."""
_LAMP_OUT = 0.45
"""Low light: what is left of lamp and room."""

Framing = Literal["face", "portrait"]
"""`face`: forehead to chin, as face datasets and the service's own crops are; `portrait`: head and neck."""
FRAMINGS: tuple[Framing, ...] = ("face", "portrait")
_FRAMING, _LOOSE = 6, 0.25
"""Key of the random stream of the framing; share of pictures that are framed more loosely than the face.

Of portraits, Haar's box is 0.74 of the side, and with the service's margin (`MIEN_FACE_MARGIN`, 0.15) 0.96.
"""
_FACE_SIDE, _FACE_MIDDLE = 0.62, (0.5, 0.58)
"""Forehead to chin: rows 27–89 %, columns 19–81 % of a portrait."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The square of a portrait that is photographed; shares of the portrait's side."""

    left: float = 0.0
    top: float = 0.0
    side: float = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """All of an image but person and expression."""

    pose: Pose
    light: Light
    is_dim: bool
    """Taken in low light."""
    gaze: tuple[float, float]
    zoom: float
    """Of the portrait; 1 = the head fills about 80 % of the height."""
    shift: tuple[float, float]
    """Of the head in the portrait, as shares of it, right and down."""
    window: Window
    backdrop: NDArray[np.float32]
    """float32 [n, 3]: colours of the backdrop's blurred shapes, 0–255."""
    exposure: float
    contrast: float
    blur: float
    """Standard deviation of the camera's blur, as a share of the frame's width."""
    noise: float
    """Standard deviation of the sensor's noise, 0–255."""
    occluder: Occluder
    seed: int
    """Of what is drawn at random while painting: backdrop, noise, occluder."""


def draw_scene(rng: np.random.Generator, *, low_light_share: float, framing: Framing = "portrait") -> Scene:
    """Draw the circumstances of one image.

    Args:
        rng: every scene takes the same draws in the same order.
        low_light_share: chance (0–1) that lamp and room are dim.
        framing: changes the window and nothing else.
    """
    pose = Pose(
        yaw_deg=_bounded(rng, 8, 22), pitch_deg=_bounded(rng, 4.5, 12), roll_deg=_bounded(rng, 3.5, 12)
    )
    is_dim = rng.random() < low_light_share
    dim = _LAMP_OUT if is_dim else 1.0
    light = Light(
        azimuth_deg=float(rng.uniform(-50, 50)),
        elevation_deg=float(rng.uniform(5, 50)),
        key=float(rng.uniform(0.42, 0.66)) * dim,
        ambient=float(rng.uniform(0.34, 0.5)) * dim,
        warmth=float(np.clip(rng.normal(0, 0.5), -1, 1)),
    )
    kinds: tuple[Occluder, ...] = ("hand", "strand", "mask", "bar")
    hidden, kind = rng.random(), kinds[rng.integers(len(kinds))]
    drawn = Scene(
        pose=pose,
        light=light,
        is_dim=is_dim,
        gaze=(_bounded(rng, 0.35, 0.9), _bounded(rng, 0.25, 0.7)),
        zoom=float(rng.uniform(1.16, 1.32)),
        shift=(_bounded(rng, 0.012, 0.04), _bounded(rng, 0.012, 0.04)),
        backdrop=_draw_backdrop(rng),
        exposure=float(np.exp(rng.normal(0.02, 0.12))),
        contrast=float(np.exp(rng.normal(0, 0.1))),
        blur=float(rng.uniform(0.001, 0.005) if rng.random() < 0.85 else rng.uniform(0.005, 0.012)),
        noise=float(rng.uniform(6, 11) if is_dim else rng.uniform(1, 4)),
        occluder=kind if hidden < _OCCLUDED else "none",
        window=Window(),
        seed=int(rng.integers(2**31)),
    )
    if framing == "portrait":
        return drawn
    return replace(drawn, window=_draw_window(np.random.default_rng((drawn.seed, _FRAMING))))


def _draw_window(rng: np.random.Generator) -> Window:
    """Boxes of a detector vary by some percent; loose ones lie anywhere between face and portrait."""
    tight = np.clip(rng.normal(_FACE_SIDE, 0.03), 0.55, 0.70)
    loose, is_loose = rng.uniform(0.70, 1.0), rng.random() < _LOOSE
    side = float(loose if is_loose else tight)
    # The middle moves from the face's to the portrait's as the window grows.
    share = max(0.0, (side - _FACE_SIDE) / (1 - _FACE_SIDE))
    moved = np.clip(rng.normal(0, 0.015, 2), -0.04, 0.04) * (1 - share)
    x, y = (np.array(_FACE_MIDDLE) * (1 - share) + 0.5 * share + moved).tolist()
    return Window(left=x - side / 2, top=y - side / 2, side=side)


def _bounded(rng: np.random.Generator, spread: float, limit: float) -> float:
    return float(np.clip(rng.normal(0, spread), -limit, limit))


def _draw_backdrop(rng: np.random.Generator) -> NDArray[np.float32]:
    base = rng.uniform(55, 205) + rng.normal(0, 11, 3)
    return np.clip(base + rng.normal(0, 22, (6, 1)) + rng.normal(0, 9, (6, 3)), 8, 245).astype(np.float32)
