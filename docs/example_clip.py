"""Draw a clip of people whose places and expressions are known, and the picture of its timeline; about 60 s.

    python -m docs.example_clip clip.mp4           # the clip alone, for `mien score clip.mp4`
    python -m docs.example_clip --picture MODEL    # docs/images/timeline.png, by a model's ONNX file

People are drawn as those of docs/example_faces.py are. The picture needs Debian's package chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from docs.example_faces import SEED, lay
from sample_faces.action_units import draw_expression
from sample_faces.identity import draw_identity
from sample_faces.portrait import paint_portrait
from sample_faces.pose import Pose
from sample_faces.scene import draw_scene

WIDTH, HEIGHT, RATE = 640, 480, 25.0
WALL = (150, 166, 172)
INTENSITY = 0.8
CHANGE_S = 0.3
"""How long an expression takes to begin; the one before it takes as long to end."""
# Forehead to chin, as shares of a painted head: sample_faces.scene.
_FACE_LEFT, _FACE_TOP, _FACE_SIDE = 0.19, 0.27, 0.62
_PICTURE = Path(__file__).resolve().parent / "images" / "timeline.png"


@dataclass(frozen=True, kw_only=True)
class Actor:
    """A person of a clip: who, where and when, and with which expressions."""

    number: int
    """Of the drawn person."""
    head_px: int
    start: tuple[float, float]
    """Middle of the head when the person comes, px."""
    end: tuple[float, float]
    """Middle of the head when the person leaves, px; the way between is straight."""
    expressions: tuple[tuple[float, str], ...]
    """Time at which each expression begins, seconds, and its name."""
    until_s: float

    @property
    def from_s(self) -> float:
        """When the person comes, seconds."""
        return self.expressions[0][0]

    def is_seen(self, time_s: float) -> bool:
        """Whether the person is in the picture."""
        return self.from_s <= time_s < self.until_s

    def emotion(self, time_s: float) -> str:
        """The expression at a time."""
        return [label for begin_s, label in self.expressions if begin_s <= time_s][-1]

    def corner(self, time_s: float) -> tuple[int, int]:
        """Left and top of the head, px."""
        share = (time_s - self.from_s) / (self.until_s - self.from_s)
        middle = [a + share * (b - a) for a, b in zip(self.start, self.end, strict=True)]
        return round(middle[0] - self.head_px / 2), round(middle[1] - self.head_px / 2)

    def box(self, time_s: float) -> tuple[float, float, float, float]:
        """Left, top, width and height of the face, forehead to chin, px."""
        left, top = self.corner(time_s)
        size = self.head_px
        return left + _FACE_LEFT * size, top + _FACE_TOP * size, _FACE_SIDE * size, _FACE_SIDE * size

    def head(self, time_s: float) -> NDArray[np.float32]:
        """The painted head, float32 [s, s, 4], premultiplied RGBA, 0–255."""
        begins = [begin_s for begin_s, _ in self.expressions]
        shown = self.emotion(time_s)
        since_s = time_s - max(begin_s for begin_s in begins if begin_s <= time_s)
        left_s = min([begin_s - time_s for begin_s in begins if begin_s > time_s], default=CHANGE_S)
        share = min(1.0, since_s / CHANGE_S if since_s < time_s - self.from_s else 1.0, left_s / CHANGE_S)
        return _head(self.number, shown, round(share * 4) / 4 * INTENSITY, self.head_px)


ACTORS = (
    Actor(
        number=10,
        head_px=210,
        start=(150, 250),
        end=(240, 230),
        expressions=((0, "neutral"), (3, "happy"), (8, "surprise"), (11, "sad"), (16, "happy")),
        until_s=20,
    ),
    Actor(
        number=47,
        head_px=190,
        start=(520, 240),
        end=(430, 260),
        expressions=((0, "happy"), (5, "angry"), (10, "neutral"), (14, "surprise")),
        until_s=18,
    ),
)
"""Two people: one is seen all the time, the other leaves."""
DURATION_S = 20.0


@lru_cache(maxsize=256)
def _head(number: int, label: str, intensity: float, size_px: int) -> NDArray[np.float32]:
    expression = draw_expression(label, intensity, np.random.default_rng((SEED, number)))
    painted = paint_portrait(
        draw_identity(np.random.default_rng((SEED, 1, number)), glasses_share=0.0),
        expression,
        pose=Pose(),
        light=draw_scene(np.random.default_rng(SEED), low_light_share=0).light,
        gaze=(0.0, 0.0),
        size_px=2 * size_px,
    )
    return np.asarray(cv2.resize(painted, (size_px, size_px), interpolation=cv2.INTER_AREA), np.float32)


def draw_frame(actors: Sequence[Actor], time_s: float) -> NDArray[np.uint8]:
    """One frame, uint8 [HEIGHT, WIDTH, 3], RGB."""
    picture = np.full((HEIGHT, WIDTH, 3), WALL, np.float32)
    for actor in actors:
        if actor.is_seen(time_s):
            left, top = actor.corner(time_s)
            lay(picture, actor.head(time_s), left=left, top=top)
    return np.clip(picture, 0, 255).astype(np.uint8)


def draw_frames(
    actors: Sequence[Actor], duration_s: float, *, rate: float = RATE
) -> Iterator[NDArray[np.uint8]]:
    """All frames of a clip."""
    return (draw_frame(actors, number / rate) for number in range(round(duration_s * rate)))


def write_clip(
    path: Path, frames: Iterator[NDArray[np.uint8]], *, rate: float = RATE, codec: str = "mp4v"
) -> Path:
    """Write frames to a video file; its container follows from the name."""
    first = next(frames)
    size = (first.shape[1], first.shape[0])
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), rate, size)
    try:
        for frame in (first, *frames):
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()
    return path


def take_picture(model: str) -> None:
    """Score the clip with a model and take the picture of its page."""
    from playwright.sync_api import sync_playwright

    executable = shutil.which("chromium")
    if executable is None:
        raise SystemExit("error: Chromium is missing; install Debian's package chromium")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        clip = write_clip(folder / "clip.mp4", draw_frames(ACTORS, DURATION_S))
        out, html = folder / "timeline.parquet", folder / "timeline.html"
        command = ["-m", "serving.score", str(clip), "--out", str(out), "--html", str(html), "--model", model]
        subprocess.run([sys.executable, *command], check=True)  # noqa: S603 - the file's own command
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1180, "height": 940})
        page.goto(html.as_uri())
        page.screenshot(path=_PICTURE)
        browser.close()


def main() -> None:
    """Draw the clip, or take the picture of its timeline."""
    parser = argparse.ArgumentParser(description="Draw a clip of people with known expressions.")
    parser.add_argument("clip", nargs="?", type=Path, help="MP4 file that is written")
    parser.add_argument(
        "--picture", metavar="MODEL", help="take the guide's picture, with a model as MIEN_MODEL"
    )
    arguments = parser.parse_args()
    if arguments.picture is not None:
        take_picture(arguments.picture)
    elif arguments.clip is not None:
        write_clip(arguments.clip, draw_frames(ACTORS, DURATION_S))
    else:
        parser.error("name the file to write, or --picture MODEL")


if __name__ == "__main__":
    main()
