"""Draw the example faces that the page offers while a model of the drawn sample is live; about 10 s.

    python -m docs.example_faces

People are those of the committed sample's test split, drawn larger and as portraits; see `sample_faces`.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sample_faces.action_units import draw_expression, draw_intensity
from sample_faces.camera import to_bytes
from sample_faces.dataset import SampleSpec, Shot, draw_image
from sample_faces.identity import draw_identity
from sample_faces.portrait import paint_portrait
from sample_faces.pose import Pose
from sample_faces.scene import draw_scene

FOLDER = Path(__file__).resolve().parents[1] / "serving" / "page" / "faces"
SEED = 20
"""Of the committed sample."""
ALONE = {"happy": 76, "surprise": 83, "sad": 109, "angry": 19, "fear": 113}
"""Expression → person."""
TOGETHER = (
    ("happy", 118, 150, 300),
    ("surprise", 40, 440, 262),
    ("sad", 83, 735, 318),
    ("angry", 76, 1015, 275),
)
"""Expression, person, and where in the picture the middle of the face is, px."""
WIDTH, HEIGHT = 1160, 620
HEAD_PX = 470
QUALITY = 86


def together() -> NDArray[np.uint8]:
    """Several people in one picture, uint8 [HEIGHT, WIDTH, 3] RGB."""
    light = np.linspace(1.05, 0.8, WIDTH)[None, :, None] * np.linspace(1.05, 0.9, HEIGHT)[:, None, None]
    picture = (light * (148, 164, 172)).astype(np.float32)
    for label, number, x, y in TOGETHER:
        lay(picture, head(label, number), left=x - HEAD_PX // 2, top=y - HEAD_PX // 2)
    return to_bytes(picture)


def head(label: str, number: int, *, intensity: float | None = None) -> NDArray[np.float32]:
    """Somebody alone, float32 [HEAD_PX, HEAD_PX, 4], premultiplied RGBA, 0–255.

    Args:
        label: the expression.
        number: of the person.
        intensity: of the expression, 0–1; drawn when not given.
    """
    rng = np.random.default_rng((SEED, number))
    drawn = draw_intensity(rng)
    expression = draw_expression(label, drawn if intensity is None else intensity, rng)
    person = draw_identity(np.random.default_rng((SEED, 1, number)), glasses_share=SampleSpec.glasses)
    painted = paint_portrait(
        person,
        expression,
        pose=Pose(),
        light=draw_scene(np.random.default_rng(SEED), low_light_share=0).light,
        gaze=(0.0, 0.0),
        size_px=2 * HEAD_PX,
    )
    return np.asarray(cv2.resize(painted, (HEAD_PX, HEAD_PX), interpolation=cv2.INTER_AREA), np.float32)


def lay(picture: NDArray[np.float32], cutout: NDArray[np.float32], *, left: int, top: int) -> None:
    """Put a premultiplied cutout into a picture, which is changed; what lies beyond it is left out."""
    height, width = picture.shape[:2]
    rows = slice(max(0, top), min(height, top + len(cutout)))
    columns = slice(max(0, left), min(width, left + cutout.shape[1]))
    part = cutout[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    picture[rows, columns] = part[..., :3] + (1 - part[..., 3:] / 255) * picture[rows, columns]


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    spec = SampleSpec(
        per_class=1, seed=SEED, size_px=400, framing="portrait", clarity="subtle", low_light=0.0
    )
    pictures = {
        label: draw_image(spec, Shot(label=label, identity=person, number=0))
        for label, person in ALONE.items()
    }
    for name, picture in (pictures | {"together": together()}).items():
        cv2.imwrite(str(FOLDER / f"{name}.jpg"), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


if __name__ == "__main__":
    main()
