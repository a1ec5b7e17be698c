"""Under what circumstances somebody is seen: pose, light, background, camera, things in the way."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """All of an image but person and expression."""

    pose: Pose
    light: Light
    gaze: tuple[float, float]
    zoom: float
    """1 = the head fills about 80 % of the height."""
    shift: tuple[float, float]
    """Of the head in the frame, as shares of the frame, right and down."""
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


def draw_scene(rng: np.random.Generator, *, low_light_share: float) -> Scene:
    """Draw the circumstances of one image.

    Args:
        rng: every scene takes the same draws in the same order.
        low_light_share: chance (0–1) that lamp and room are dim.
    """
    pose = Pose(
        yaw_deg=_bounded(rng, 8, 22), pitch_deg=_bounded(rng, 4.5, 12), roll_deg=_bounded(rng, 3.5, 12)
    )
    dim = _LAMP_OUT if rng.random() < low_light_share else 1.0
    light = Light(
        azimuth_deg=float(rng.uniform(-50, 50)),
        elevation_deg=float(rng.uniform(5, 50)),
        key=float(rng.uniform(0.42, 0.66)) * dim,
        ambient=float(rng.uniform(0.34, 0.5)) * dim,
        warmth=float(np.clip(rng.normal(0, 0.5), -1, 1)),
    )
    kinds: tuple[Occluder, ...] = ("hand", "strand", "mask", "bar")
    hidden, kind = rng.random(), kinds[rng.integers(len(kinds))]
    return Scene(
        pose=pose,
        light=light,
        gaze=(_bounded(rng, 0.35, 0.9), _bounded(rng, 0.25, 0.7)),
        zoom=float(rng.uniform(1.16, 1.32)),
        shift=(_bounded(rng, 0.012, 0.04), _bounded(rng, 0.012, 0.04)),
        backdrop=_draw_backdrop(rng),
        exposure=float(np.exp(rng.normal(0.02, 0.12))),
        contrast=float(np.exp(rng.normal(0, 0.1))),
        blur=float(rng.uniform(0.001, 0.005) if rng.random() < 0.85 else rng.uniform(0.005, 0.012)),
        noise=float(rng.uniform(1, 4) if dim == 1.0 else rng.uniform(6, 11)),
        occluder=kind if hidden < _OCCLUDED else "none",
        seed=int(rng.integers(2**31)),
    )


def _bounded(rng: np.random.Generator, spread: float, limit: float) -> float:
    return float(np.clip(rng.normal(0, spread), -limit, limit))


def _draw_backdrop(rng: np.random.Generator) -> NDArray[np.float32]:
    base = rng.uniform(55, 205) + rng.normal(0, 11, 3)
    return np.clip(base + rng.normal(0, 22, (6, 1)) + rng.normal(0, 9, (6, 3)), 8, 245).astype(np.float32)
